"""Inside a transformer: who sees whom, pooling, what padding breaks, what a pass costs. Taught in notebook 02, sections 1
to 3, and notebook 01, section 9."""

import contextlib
import ctypes
import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from helpers.device import Device, find_device, peak_memory_bytes, reset_peak_memory
from helpers.models.batches import EncodedTexts
from helpers.models.classifier import POOLINGS, backbone_of, pool
from helpers.models.predict import compute_rows, evaluation_mode, modes_restored


def measure_influence(backbone, input_ids: Sequence[int]) -> np.ndarray:
    """Return `(length, length)`: how far the hidden state of token i (row) moves with the embedding of token j (column).

    It is the norm of the gradient of a random projection of state i by embedding j, each row scaled to add up to 1.
    Where no path leads from j to i it is exactly zero: this measures the attention mask instead of drawing it.
    """
    where = next(backbone.parameters()).device
    embedded = backbone.get_input_embeddings()(torch.tensor([list(input_ids)], device=where)).detach().requires_grad_()
    direction = torch.randn(embedded.shape[-1], generator=torch.Generator().manual_seed(0)).to(where)
    with modes_restored(backbone):
        hidden = backbone(inputs_embeds=embedded).last_hidden_state[0]  # (length, hidden)
        gradients = (torch.autograd.grad(state @ direction, embedded, retain_graph=True)[0][0] for state in hidden)
        rows = [gradient.norm(dim=-1) for gradient in gradients]
    influence = torch.stack(rows).cpu().numpy().astype(np.float64)
    return influence / influence.sum(axis=1, keepdims=True)


def pooled_features(
    classifier, encoded: EncodedTexts, device: Device | None = None, *, max_tokens: int = 1024
) -> dict[str, np.ndarray]:
    """Return for every pooling the vectors `(rows, hidden)` that `classifier`'s backbone gives, from one pass over the texts."""

    def pool_each_way(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        ways = [pool(hidden, attention_mask, name) for name in POOLINGS]
        return torch.stack(ways, dim=1)  # (batch, poolings, hidden)

    backbone = backbone_of(classifier)
    shape = (len(POOLINGS), backbone.config.hidden_size)
    vectors = compute_rows(pool_each_way, classifier, encoded, shape, device, max_tokens=max_tokens)
    return {name: vectors[:, i] for i, name in enumerate(POOLINGS)}


def padding_effects(backbone, input_ids: Sequence[int], *, pad_id: int, other_pad_id: int, places: int = 8) -> dict:
    """Return by how much padding moves the vector of a text, relative to its length, for right and for wrong ways.
    0 means that the padded text gets exactly the vector that it gets alone."""
    ids = torch.tensor([list(input_ids)])

    def moved(side: str, pooling: str, *, pad: int = pad_id, masked: bool = True, last_place: bool = False) -> float:
        room = (0, places) if side == "right" else (places, 0)
        padded, mask = functional.pad(ids, room, value=pad), functional.pad(torch.ones_like(ids), room)
        seen = mask if masked else torch.ones_like(mask)
        hidden = backbone(input_ids=padded, attention_mask=seen).last_hidden_state
        vector = hidden[:, -1] if last_place else pool(hidden, mask if pooling == "last" else seen, pooling)
        reference = pool(alone, torch.ones_like(ids), pooling)
        return float((vector - reference).norm() / reference.norm())

    with evaluation_mode(backbone):
        alone = backbone(input_ids=ids).last_hidden_state  # (1, length, hidden)
        return {
            "right, masked: mean": moved("right", "mean"),
            "right, masked: last real token": moved("right", "last"),
            "right, masked, another pad token: mean": moved("right", "mean", pad=other_pad_id),
            "left, masked: mean": moved("left", "mean"),
            "right, masked, but hidden[:, -1]": moved("right", "last", last_place=True),
            "right, mask forgotten: mean": moved("right", "mean", masked=False),
            "the same, another pad token: mean": moved("right", "mean", pad=other_pad_id, masked=False),
            "right, mask forgotten: last real token": moved("right", "last", masked=False),
        }


def measure_forward(net, *args, repeats: int = 3, **kwargs) -> tuple[float, float]:
    """Return what a forward pass `net(*args, **kwargs)` on the CPU costs: seconds, the best of `repeats`, and MB, the peak
    above what the process holds (nan where that is unknown). A first pass, on which memory is measured, warms up."""
    with evaluation_mode(net):
        cpu = dataclasses.replace(find_device("no"), kind="cpu")
        with contextlib.suppress(
            OSError, AttributeError, TypeError
        ):  # else what was freed before hides the peak; glibc alone
            ctypes.CDLL(None).malloc_trim(0)
        reset_peak_memory(cpu)
        before = peak_memory_bytes(cpu)
        net(*args, **kwargs)
        megabytes = (peak_memory_bytes(cpu) - before) / 1e6 if before else math.nan
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            net(*args, **kwargs)
            seconds.append(time.perf_counter() - start)
    return min(seconds), megabytes
