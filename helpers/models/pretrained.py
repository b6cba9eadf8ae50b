"""A new classifier from pretrained weights, ready to train by one of four methods, and its tokenizer.
Taught in notebook 01, step 5, and notebook 04, section 7."""

import torch

from helpers.assets.find import find_model
from helpers.assets.hub_errors import explain_hub_errors
from helpers.device import Device
from helpers.models.adapters import add_lora, four_bit_config
from helpers.models.classifier import build_classifier
from helpers.models.zoo import find_pooling

METHODS = ("probe", "lora", "qlora", "full")
# What architectures call the dropout of their hidden states, and that of their attention.
HIDDEN_DROPOUTS = ("hidden_dropout_prob", "dropout", "resid_pdrop", "embd_pdrop", "embedding_dropout", "mlp_dropout")
ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")


def load_tokenizer(model: str, *, revision: str | None = None):
    """Return the tokenizer of `model`, ready to pad on the right; without a pad token it pads with its end token."""
    from transformers import AutoTokenizer

    asset = find_model(model, revision=revision)
    with explain_hub_errors(model, asset.location):
        tokenizer = AutoTokenizer.from_pretrained(asset.location, revision=asset.revision)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_classifier(
    model: str, label_names: list[str], *, method: str = "full", multilabel: bool = False, pooling: str = "auto",
    dropout: float | None = None, device: Device | None = None, rank: int = 16, targets: list[str] | None = None,
    seed: int = 0, revision: str | None = None,
):  # fmt: skip
    """Return `model`'s pretrained backbone under a new, randomly initialised head, ready to train by `method`.

    "full" trains all weights, "probe" the head alone, "lora" thin matrices of `rank` beside the `targets`, and "qlora"
    the same beside weights that rest in 4 bits; see `helpers.models.adapters`. `pooling="auto"` takes the zoo's, or the
    mean, which sentence encoders were pretrained with, and which works for decoders too. `dropout` is 0.1 before the head and
    what the backbone was pretrained with inside it, unless given for both. `device` chooses the attention kernel.
    Called twice, it returns the same weights twice: every comparison begins from the same start.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown: use one of {', '.join(METHODS)}.")
    backbone = load_backbone(model, device=device, dropout=dropout, four_bit=method == "qlora", revision=revision)
    torch.manual_seed(seed)  # the head's initial weights
    own = {"multilabel": multilabel, "pooling": find_pooling(model) if pooling == "auto" else pooling}
    own |= {"dropout": 0.1 if dropout is None else dropout, "base": model, "revision": revision}
    classifier = build_classifier(backbone, label_names, device=device, **own)
    if method == "probe":
        classifier.backbone.requires_grad_(False)  # a linear probe of what the backbone knows already
    return add_lora(classifier, rank=rank, targets=targets, seed=seed) if "lora" in method else classifier


def load_backbone(
    model: str, *, device: Device | None = None, dropout: float | None = None, four_bit: bool = False,
    revision: str | None = None,
):  # fmt: skip
    """Return `model`'s pretrained transformer without a head.

    Weights are kept in fp32, whatever the checkpoint stores: mixed precision casts what it needs, and small updates
    would vanish in bf16. `four_bit` keeps the linear layers in 4 bits instead; they cannot be trained then.
    """
    from transformers import AutoConfig, AutoModel, logging

    asset = find_model(model, revision=revision)
    if asset.is_local:
        logging.disable_progress_bar()  # for a fifth of a second
    with explain_hub_errors(model, asset.location):
        config = AutoConfig.from_pretrained(asset.location, revision=asset.revision)
        _prepare_config(config, dropout)
        backbone = AutoModel.from_pretrained(
            asset.location,
            revision=asset.revision,
            config=config,
            dtype=torch.float32,
            attn_implementation=device.attention if device else "sdpa",
            quantization_config=four_bit_config(device) if four_bit else None,
            use_safetensors=True,  # a pickle can run any code when it is loaded
        )
    for module in backbone.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):  # bitsandbytes would round the scales of 4-bit weights, for
            module.support_avx512bf16_for_cpu = False  # good, at the first evaluation on a CPU with AVX-512 BF16
    return backbone


def _prepare_config(config, dropout: float | None) -> None:
    """Set what fine-tuning wants: no attention dropout (slow, and hidden dropout regularises enough), no cache."""
    values = dict.fromkeys(ATTENTION_DROPOUTS, 0.0)
    values |= {} if dropout is None else dict.fromkeys(HIDDEN_DROPOUTS, dropout)
    for name, value in values.items():
        if hasattr(config, name):
            setattr(config, name, value)
    config.use_cache = False
