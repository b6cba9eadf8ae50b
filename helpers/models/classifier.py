"""A classifier on any transformer backbone: pooled hidden states, dropout, one linear layer.
Taught in notebook 01, step 5; its poolings in notebook 02, section 2."""

from dataclasses import dataclass

import torch
from torch import nn

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
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None  # BERT's own pooling head: never used here, so never trained
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


def build_classifier(
    backbone: nn.Module, label_names: list[str], *, device=None, base: str | None = None, revision: str | None = None,
    **own,
) -> TextClassifier:  # fmt: skip
    """Return a `TextClassifier` with its `own` settings, faster dropout if `device` is a CPU, and its base's name."""
    classifier = TextClassifier(backbone, label_names, **own)
    classifier.base, classifier.revision = base, revision  # an adapter's folder must say what it stands on
    if device is not None and device.kind == "cpu":
        use_byte_dropout(classifier)
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
