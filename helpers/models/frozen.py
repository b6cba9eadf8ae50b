"""Frozen lower layers make the same of a text in every epoch: inside a block, they are computed once per text.

Of n layers of which the last k are trained, an epoch then costs k of n; the first one the others' forward pass as well.
For decoders, whose layers see no dropout. After "feature extraction" as it was before fine-tuning: Peters et al., *To Tune
or Not to Tune?* (2019). What it gains is measured by `tests/benchmarks/bench_decoders.py`. Taught in notebook 02,
section 8.
"""

import contextlib
from collections.abc import Iterator
from itertools import takewhile

import numpy as np
import torch
from torch import nn

from helpers.exceptions import SettingError
from helpers.models.batches import EncodedTexts, collate
from helpers.models.classifier import backbone_of

# Decoders that are nothing but: token vectors, then `layers`, then `norm`. (Gemma scales what comes from below.)
PLAIN_DECODERS = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
ROOM = 2 << 30  # bytes of remembered texts; what does not fit is computed every time


def last_numbers(config, last_layers: int) -> range:
    """Return the numbers of the last layers of a model with this `config`. Raises `SettingError` if it has no such number."""
    require_layer_count(config, last_layers, setting="last_layers")
    return range(config.num_hidden_layers - last_layers, config.num_hidden_layers)


def require_layer_count(config, layers: int, *, setting: str) -> None:
    """Raise `SettingError`, which names the `setting`, if a model with this `config` has no such number of `layers`."""
    count = config.num_hidden_layers
    if not isinstance(layers, int) or not 1 <= layers <= count:
        raise SettingError(f"{setting}={layers!r}: this model ({config.model_type}) has {count}.")


def list_layers(backbone: nn.Module) -> nn.ModuleList:
    """Return the transformer's layers, the lowest first."""
    lists = (module for module in backbone.modules() if isinstance(module, nn.ModuleList))
    return next(layers for layers in lists if len(layers) == backbone.config.num_hidden_layers)


def freeze_below(classifier: nn.Module, last_layers: int) -> nn.Module:
    """Return `classifier`, in place frozen but for its head, the last layers of its backbone, and what stands on them."""
    backbone = backbone_of(classifier)
    below = list_layers(backbone)[: last_numbers(backbone.config, last_layers).start]
    for part in (backbone.get_input_embeddings(), *below):
        part.requires_grad_(False)
    return classifier


def count_frozen(classifier: nn.Module) -> int:
    """Return how many of the lower layers make the same of a text however long one trains; 0 if that is not known."""
    backbone = backbone_of(classifier)
    config = backbone.config
    if config.model_type not in PLAIN_DECODERS or not hasattr(backbone, "layers"):
        return 0
    alike = len(set(getattr(config, "layer_types", None) or [None])) == 1  # a mask for all: layers are counted anew
    if not alike or config.attention_dropout or is_trained(backbone.embed_tokens):
        return 0
    return len(list(takewhile(lambda layer: not is_trained(layer), backbone.layers)))


def is_trained(module: nn.Module) -> bool:
    """Return whether training changes any number of `module`."""
    return any(parameter.requires_grad for parameter in module.parameters())


class RememberedLayers:
    """Stands in for `backbone.forward`: what the lowest `count` layers make of a text comes from memory, if it is there."""

    def __init__(self, backbone: nn.Module, count: int):
        self.backbone, self.forward = backbone, backbone.forward
        self.lower, self.upper = backbone.layers[:count], backbone.layers[count:]
        self.states: dict[tuple[int, ...], torch.Tensor] = {}  # of a text's token ids: (length, hidden), not on a GPU
        self.bytes = 0

    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **how):
        """Return what the backbone returns for ids and mask, both `(batch, length)`."""
        rows = zip(input_ids.cpu(), attention_mask.cpu() > 0, strict=True)
        texts = [tuple(ids[real].tolist()) for ids, real in rows]
        found = self.look_up(texts)
        size = *input_ids.shape, found[0].shape[-1]
        hidden = torch.zeros(size, dtype=found[0].dtype, device=input_ids.device)  # nobody looks where a text is padded
        hidden[attention_mask > 0] = torch.cat(found).to(hidden.device)
        with self.only(self.upper, self.backbone.norm):
            return self.forward(**how | {"inputs_embeds": hidden, "attention_mask": attention_mask})

    def look_up(self, texts: list[tuple[int, ...]]) -> list[torch.Tensor]:
        """Return the hidden states `(length, hidden)` of `texts`, from memory or computed now."""
        new = [text for text in dict.fromkeys(texts) if text not in self.states]
        computed = dict(zip(new, self.compute(new), strict=True)) if new else {}
        for text, states in computed.items():
            if self.bytes + states.nbytes <= ROOM:
                self.states[text] = states
                self.bytes += states.nbytes
        return [self.states[text] if text in self.states else computed[text] for text in texts]

    @torch.no_grad()
    def compute(self, texts: list[tuple[int, ...]]) -> list[torch.Tensor]:
        """Return what the lower layers make of `texts`, in the precision of the products that read it."""
        where = self.backbone.embed_tokens.weight.device
        batch = collate(EncodedTexts(texts, pad_id=0), np.arange(len(texts)), where)  # what stands in padding is masked
        with self.only(self.lower, nn.Identity()):
            hidden = self.forward(**batch).last_hidden_state
        if torch.is_autocast_enabled(where.type):
            hidden = hidden.to(torch.get_autocast_dtype(where.type))
        return [states[: len(text)].cpu().clone() for states, text in zip(hidden, texts, strict=True)]

    @contextlib.contextmanager
    def only(self, layers: nn.ModuleList, norm: nn.Module) -> Iterator[None]:
        """Inside the block, let the backbone consist of `layers` and what follows them."""
        whole = self.backbone.layers, self.backbone.norm
        self.backbone.layers, self.backbone.norm = layers, norm
        try:
            yield
        finally:
            self.backbone.layers, self.backbone.norm = whole


@contextlib.contextmanager
def lower_layers_once(classifier: nn.Module) -> Iterator[None]:
    """Inside the block, compute the frozen lower layers of a decoder once per text, and remember up to `ROOM` bytes.

    Logits and gradients are the same, up to rounding. A classifier without such layers is left as it is.
    """
    count = count_frozen(classifier)
    if not count:
        yield
        return
    backbone = backbone_of(classifier)
    backbone.forward = RememberedLayers(backbone, count)
    try:
        yield
    finally:
        del backbone.forward
