"""What a model says of many texts, batch by batch, in their order. Taught in notebook 01, section 6."""

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch

from helpers.device import Device, autocast
from helpers.models.batches import EncodedTexts, collate, cut_by_tokens
from helpers.models.shortcuts import first_token_only


@contextmanager
def modes_restored(model: torch.nn.Module, *, training: bool = False):
    """Put `model` into evaluation mode (or training mode) inside the block, and every part of it back into its own."""
    others = [module for module in model.modules() if module.training != training]  # mostly none, and quick
    for module in others:
        module.training = training
    try:
        yield
    finally:
        for module in others:
            module.training = not training


@contextmanager
def evaluation_mode(model: torch.nn.Module):
    """Switch dropout and gradients off inside the block, and put every part of the model back into its mode."""
    with modes_restored(model), torch.inference_mode():
        yield


def compute_rows(
    compute: Callable, model: torch.nn.Module, encoded: EncodedTexts, shape: tuple[int, ...],
    device: Device | None = None, *, max_tokens: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Return `compute(input_ids, attention_mask)` for all of `encoded`, `(rows, *shape)` in fp32 and in their order.

    Rows are sorted by length and cut into batches of at most `max_tokens` padded tokens: by default 16384 on a GPU,
    which wants large batches, and 1024 on a CPU, which would spend half of a large one on padding. The mode of `model`
    is restored. Given a `device`, it runs in that device's mixed precision, else in fp32.
    """
    where = next(model.parameters()).device
    max_tokens = max_tokens or (16384 if where.type == "cuda" else 1024)
    results = np.empty((len(encoded), *shape), dtype=np.float32)
    with evaluation_mode(model), autocast(device):
        for rows in cut_by_tokens(np.arange(len(encoded)), encoded.lengths, max_tokens):
            batch = collate(encoded, rows, where)
            results[rows] = compute(batch["input_ids"], batch["attention_mask"]).float().cpu().numpy()
    return results


def predict_logits(
    classifier, encoded: EncodedTexts, device: Device | None = None, *, max_tokens: int | None = None
) -> np.ndarray:
    """Return fp32 logits `(rows, labels)` in the order of `encoded`, batch by batch as in `compute_rows`."""

    def compute(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return classifier(input_ids=input_ids, attention_mask=attention_mask).logits

    with first_token_only(classifier):
        return compute_rows(
            compute, classifier, encoded, (classifier.config.num_labels,), device, max_tokens=max_tokens
        )
