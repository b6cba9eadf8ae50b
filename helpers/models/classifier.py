"""A classifier on any transformer backbone: pooled hidden states, dropout, one linear layer. Save and load without pickle."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from helpers.assets.find import explain_hub_errors, find_model
from helpers.runs import atomic_folder, read_json, write_json

POOLINGS = ("cls", "mean", "last")


class TextClassifier(nn.Module):
    """`backbone` (any Hugging Face `AutoModel`) with a linear head on one pooled vector per text.

    `pooling` says which vector: "cls" the first token's, "mean" the average over the real tokens, "last" the last real
    token's (the only one that has seen the whole text in a decoder).
    """

    def __init__(self, backbone: nn.Module, label_names: list[str], *, multilabel: bool, pooling: str, dropout: float):
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling={pooling!r} is unknown: use one of {', '.join(POOLINGS)}.")
        self.backbone = backbone
        self.pooling = pooling
        self.label_names = list(label_names)
        self.multilabel = multilabel
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.config.hidden_size, len(label_names))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits `(batch, labels)` for token ids and mask, both `(batch, length)`."""
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        pooled = pool(output.last_hidden_state, attention_mask, self.pooling)  # (batch, hidden)
        return self.head(self.dropout(pooled))


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Return one vector per text `(batch, hidden)` from hidden states `(batch, length, hidden)`; padding has no say."""
    if pooling == "cls":
        first = attention_mask.argmax(dim=1)  # 0 under right padding
        return hidden[torch.arange(len(hidden), device=hidden.device), first]
    if pooling == "last":
        last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(dim=1)
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (batch, length, 1)
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


class ByteDropout(nn.Module):
    """Dropout that spends one random byte per value instead of one random float: four times faster on a CPU.

    The probability is rounded to a multiple of 1/256 (0.1 becomes 26/256 = 0.1016) and the scale is exact for the
    rounded one, so that the expected value stays the input.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p
        self.threshold = round(p * 256)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return `values` with a share of them set to zero in training, unchanged in evaluation."""
        if not self.training or self.threshold == 0:
            return values
        words = torch.empty((values.numel() + 7) // 8, dtype=torch.int64, device=values.device)
        draws = words.random_(-(2**63), None).view(torch.uint8)[: values.numel()].view(values.shape)
        scale = 256 / (256 - self.threshold)
        return values * (draws >= self.threshold).to(values.dtype).mul_(scale)


def use_byte_dropout(module: nn.Module) -> None:
    """Replace every `nn.Dropout` inside `module` by `ByteDropout`, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, ByteDropout(child.p))
        else:
            use_byte_dropout(child)


@dataclass(frozen=True)
class ParameterCount:
    """How many numbers a model holds, and how many of them training may change."""

    total: int
    trainable: int


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count, rather than quote, the parameters of `model`; of 4-bit weights, which are stored in pairs, all of them."""
    sizes = [
        (p.quant_state.shape.numel() if getattr(p, "quant_state", None) else p.numel(), p.requires_grad)
        for p in model.parameters()
    ]
    return ParameterCount(sum(n for n, _ in sizes), sum(n for n, trainable in sizes if trainable))


def load_tokenizer(model: str, *, revision: str | None = None):
    """Return the tokenizer of `model`, ready to pad on the right; decoders without a pad token pad with their end token."""
    from transformers import AutoTokenizer

    asset = find_model(model, revision=revision)
    with explain_hub_errors(model, asset.location):
        tokenizer = AutoTokenizer.from_pretrained(asset.location, revision=asset.revision)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_classifier(
    model: str,
    label_names: list[str],
    *,
    multilabel: bool = False,
    pooling: str = "auto",
    dropout: float = 0.1,
    attention: str = "sdpa",
    seed: int = 0,
    revision: str | None = None,
    quantization=None,
) -> TextClassifier:
    """Return `model`'s pretrained backbone under a new, randomly initialised head.

    `pooling="auto"` takes the mean for bidirectional encoders and for decoders alike: it is what sentence encoders
    were pretrained with, and it works for both. Weights are kept in fp32, whatever the checkpoint stores: mixed
    precision casts what it needs, and small updates would vanish in bf16. `quantization` (`adapters.four_bit_config`)
    keeps the linear layers in 4 bits instead; they cannot be trained then, only adapters beside them.
    """
    from transformers import AutoConfig, AutoModel, logging

    asset = find_model(model, revision=revision)
    if asset.is_local:
        logging.disable_progress_bar()  # for a fifth of a second
    with explain_hub_errors(model, asset.location):
        config = AutoConfig.from_pretrained(asset.location, revision=asset.revision)
        _prepare_config(config)
        backbone = AutoModel.from_pretrained(
            asset.location,
            revision=asset.revision,
            config=config,
            dtype=torch.float32,
            attn_implementation=attention,
            quantization_config=quantization,
            use_safetensors=True,  # a pickle can run any code when it is loaded
        )
    for module in backbone.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):  # bitsandbytes would round the scales of 4-bit weights, for
            module.support_avx512bf16_for_cpu = False  # good, at the first evaluation on a CPU with AVX-512 BF16
    torch.manual_seed(seed)  # the head's initial weights
    return _assemble(backbone, label_names, multilabel, "mean" if pooling == "auto" else pooling, dropout)


def _prepare_config(config) -> None:
    """Set what fine-tuning wants: no attention dropout (slow, and hidden dropout regularises enough), no cache."""
    for name in ("attention_probs_dropout_prob", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    config.use_cache = False


def _assemble(backbone: nn.Module, label_names, multilabel, pooling, dropout) -> TextClassifier:
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # BERT's own pooling head: never used here, so never trained
    classifier = TextClassifier(backbone, label_names, multilabel=multilabel, pooling=pooling, dropout=dropout)
    if not torch.cuda.is_available():
        use_byte_dropout(classifier)
    return classifier


def save_classifier(classifier: TextClassifier, tokenizer, folder: str | Path, **extra) -> Path:
    """Write weights (safetensors), tokenizer and configuration to `folder`; return it.

    The configuration is the backbone's `config.json`; a second file, `classifier.json`, holds what the course adds:
    labels, pooling, dropout, whether labels exclude each other, and `extra` (thresholds, temperature, max_length).
    The folder appears whole or not at all.
    """
    with atomic_folder(folder) as work:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
        save_file(weights, work / "model.safetensors", metadata={"format": "pt"})
        config = classifier.backbone.config
        config.id2label = dict(enumerate(classifier.label_names))
        config.label2id = {name: i for i, name in enumerate(classifier.label_names)}
        config.save_pretrained(work)
        tokenizer.save_pretrained(work)
        own = {
            "label_names": classifier.label_names,
            "multilabel": classifier.multilabel,
            "pooling": classifier.pooling,
            "dropout": classifier.dropout.p,
        }
        write_json(work / "classifier.json", own | extra)
    return Path(folder)


def load_saved_classifier(folder: str | Path, *, attention: str = "sdpa"):
    """Return `(classifier, tokenizer, settings)` as `save_classifier` wrote them; the classifier is in evaluation mode.

    `settings` is the content of `classifier.json`. A folder of `save_adapter` is read as well. Raises `FileNotFoundError` for a folder without a saved model.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    folder = Path(folder)
    if (folder / "adapter_config.json").exists():
        from helpers.models.adapters import load_adapter

        return load_adapter(folder, attention=attention)
    if not (folder / "classifier.json").exists():
        raise FileNotFoundError(f"{folder} holds no saved classifier (no classifier.json): train and save one first.")
    settings = read_json(folder / "classifier.json")
    config = AutoConfig.from_pretrained(folder)
    backbone = AutoModel.from_config(config, attn_implementation=attention, dtype=torch.float32)
    own = (settings["label_names"], settings["multilabel"], settings["pooling"], settings["dropout"])
    classifier = _assemble(backbone, *own)
    classifier.load_state_dict(load_file(folder / "model.safetensors"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = "right"
    return classifier.eval(), tokenizer, settings
