"""A classifier: a transformer with a last linear layer whose rows belong to the labels.

Where an architecture's own `…ForSequenceClassification` reads a text as wanted, the classifier is that class, and every
tool of the ecosystem knows it; `TextClassifier` is for the other ways of pooling. Taught in notebook 01, section 3; the
poolings in notebook 02, section 2.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from helpers.device import Device
from helpers.exceptions import SettingError

POOLINGS = ("cls", "mean", "last")


class TextClassifier(nn.Module):
    """`backbone` (any Hugging Face `AutoModel`) with a linear layer on one pooled vector per text.

    `pooling` says which vector: "cls" the first token's, "mean" the average over the real tokens, "last" the last real
    token's (the only one that has seen the whole text in a decoder). The labels are those of `backbone.config`, as
    `set_labels` writes them. It answers to the names that Hugging Face's own classes answer to.
    """

    def __init__(self, backbone: nn.Module, *, pooling: str, dropout: float = 0.1):
        super().__init__()
        if pooling not in POOLINGS:
            raise SettingError(f"pooling={pooling!r} is unknown: use one of {', '.join(POOLINGS)}.")
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None  # BERT's own pooling layer: not used here, so never trained
        self.backbone, self.config = backbone, backbone.config
        self.config.pooling, self.config.classifier_dropout = pooling, dropout
        self.name_or_path = self.config._name_or_path  # where it came from, as peft asks for it
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.config.hidden_size, self.config.num_labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **ignored) -> SequenceClassifierOutput:
        """Return `logits` `(batch, labels)` for token ids and mask, both `(batch, length)`."""
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = pool(hidden, attention_mask, self.config.pooling)  # (batch, hidden)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))

    @property
    def base_model(self) -> nn.Module:
        """The transformer without its last layer, as Hugging Face calls it."""
        return self.backbone

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of token vectors."""
        return self.backbone.get_input_embeddings()


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


def label_names(classifier) -> list[str]:
    """Return the names of the labels in the order of the logits."""
    return [classifier.config.id2label[i] for i in range(classifier.config.num_labels)]


def is_multilabel(classifier) -> bool:
    """Return whether several labels may be true of one text."""
    return classifier.config.problem_type == "multi_label_classification"


def set_labels(config, names: list[str], *, multilabel: bool) -> None:
    """Write the labels into a model's configuration, where `pipeline` and `Trainer` look for them."""
    config.id2label = dict(enumerate(names))  # the number of labels follows
    config.label2id = {name: i for i, name in enumerate(names)}
    config.problem_type = "multi_label_classification" if multilabel else "single_label_classification"


def pooling_of(classifier) -> str:
    """Return which vector of a text the classifier reads: one of `POOLINGS`, or "native", the architecture's own way."""
    named = [getattr(classifier.config, name, None) for name in ("pooling", "classifier_pooling")]
    of_decoder = "last" if hasattr(plain_model(classifier), "score") else None
    return next(filter(None, [*named, of_decoder]), "native")


def plain_model(classifier) -> nn.Module:
    """Return the classifier itself, without an adapter's wrapper."""
    return classifier.get_base_model() if hasattr(classifier, "get_base_model") else classifier


def backbone_of(classifier) -> nn.Module:
    """Return the transformer inside, whose `last_hidden_state` the head reads."""
    return plain_model(classifier).base_model


def backbone_prefix(classifier) -> str:
    """Return how the names of the backbone's parameters begin, e.g. "bert."."""
    plain = plain_model(classifier)
    return next(f"{name}." for name, child in plain.named_children() if child is plain.base_model)


def head_parts(classifier) -> list[str]:
    """Return the names of the modules that stand on the backbone and hold weights, e.g. ["classifier"]."""
    plain = plain_model(classifier)
    children = ((name, child) for name, child in plain.named_children() if child is not plain.base_model)
    return [name for name, child in children if next(child.parameters(), None) is not None]


def final_layer_name(classifier) -> str:
    """Return the name, inside the plain model, of the linear layer whose rows are the labels."""
    plain, prefix = plain_model(classifier), backbone_prefix(classifier)
    return [
        name
        for name, module in plain.named_modules()  # an adapter keeps the layer that it replaced, unused
        if isinstance(module, nn.Linear) and not name.startswith(prefix) and "original_module" not in name
    ][-1]


def final_layer(classifier) -> nn.Linear:
    """Return the linear layer whose rows are the labels."""
    return plain_model(classifier).get_submodule(final_layer_name(classifier))


def find_pooler(model: nn.Module) -> nn.Linear | None:
    """Return the square matrix of BERT's pooling layer, which its classifier applies to the first token's vector."""
    return getattr(getattr(model.base_model, "pooler", None), "dense", None)


def let_through(pooler: nn.Linear) -> None:
    """Make the layer the identity, in place: the head then reads the first token's vector itself (in tanh, which hardly
    bends it). Better than random numbers, and than numbers that were trained for another purpose."""
    with torch.no_grad():
        pooler.weight.copy_(torch.eye(len(pooler.weight)))
        pooler.bias.zero_()


class ByteDropout(nn.Dropout):
    """Dropout that spends a random byte per value instead of a random float: a training step on a CPU gains a tenth.

    The probability is rounded to a multiple of 1/256 (0.1 becomes 26/256 = 0.1016) and the scale is exact for the
    rounded one, so that the expected value stays the input.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return `values` with a share of them set to zero in training, unchanged in evaluation."""
        threshold = round(self.p * 256)
        if not self.training or threshold == 0:
            return values
        words = torch.empty((values.numel() + 7) // 8, dtype=torch.int64, device=values.device)
        draws = words.random_(-(2**63), None).view(torch.uint8)[: values.numel()].view(values.shape)
        return values * (draws >= threshold).to(values.dtype).mul_(256 / (256 - threshold))

    def extra_repr(self) -> str:
        """Say how it differs, to whoever prints the model."""
        return f"p={self.p}, one random byte per value"


def use_byte_dropout(module: nn.Module) -> None:
    """Replace every `nn.Dropout` inside `module` by `ByteDropout`, in place."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, ByteDropout(child.p))
        else:
            use_byte_dropout(child)


def prepare(classifier: nn.Module, device: Device | None) -> nn.Module:
    """Return `classifier`, in place made ready: faster dropout on a CPU, 4-bit weights that keep their scales."""
    if device is not None and device.kind == "cpu":
        use_byte_dropout(classifier)
    for module in classifier.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):  # bitsandbytes would round the scales of 4-bit weights, for
            module.support_avx512bf16_for_cpu = False  # good, at the first evaluation on a CPU with AVX-512 BF16
    return classifier


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
