"""Losses for labels that are rare: weigh what is seldom, or what is still wrong, more.
Each function returns a loss that `fit` takes as `loss_function`. Taught in notebook 04, section 7."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid

from helpers.exceptions import SettingError

LOSSES = ("bce", "sqrt_pos_weight", "pos_weight", "focal", "asymmetric")


def default_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy for one label per text (int), binary cross-entropy for several (float)."""
    if labels.is_floating_point():
        return binary_cross_entropy_with_logits(logits, labels)
    return cross_entropy(logits, labels)


def compute_loss(model, batch: dict[str, torch.Tensor], loss_function: Callable = default_loss) -> torch.Tensor:
    """Return the mean loss of `batch`: `loss_function` of the logits and labels; `own_loss` is the model's own.
    In fp32: bf16 has three digits, too few for a logarithm of a small probability."""
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    if loss_function is own_loss:
        return model(**inputs, labels=batch["labels"]).loss
    return loss_function(model(**inputs).logits.float(), batch["labels"])  # logits: (batch, labels)


def own_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Stand for the loss that a model computes itself, as one that writes its labels does: of words, not of `logits`."""
    raise TypeError("This loss needs the model: see compute_loss.")


def pick_loss(classifier, loss_function: Callable) -> Callable:
    """Return `loss_function`, or of a model that has a loss of its own, that one."""
    return own_loss if getattr(classifier, "own_loss", False) else loss_function


def count_pos_weights(labels: np.ndarray, power: float = 1.0) -> np.ndarray:
    """Return per label `(labels,)` how much more a positive row counts: (negative rows / positive rows) ** power.

    Power 1 makes both sides weigh the same in total; power 1/2, the square root, is the usual compromise. A label that
    never occurs has no positive row to weigh: 1.
    """
    labels = np.asarray(labels)
    positive = labels.sum(axis=0)
    ratio = (len(labels) - positive) / np.maximum(positive, 1)
    return np.where(positive > 0, ratio**power, 1.0)


def weighted_bce(weights: np.ndarray) -> Callable:
    """Return binary cross-entropy in which each label's positive rows count `weights` times."""
    weight = torch.as_tensor(weights, dtype=torch.float32)

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal weight
        weight = weight.to(logits.device)  # once: a step that copies from the host could not be recorded (`graphs`)
        return binary_cross_entropy_with_logits(logits, labels, pos_weight=weight)

    return loss


def asymmetric_loss(gamma_positive: float, gamma_negative: float, margin: float = 0.0) -> Callable:
    """Return binary cross-entropy that fades for what is already right: each side times (its error) ** gamma.

    Equal gammas are the focal loss (Lin et al., 2017); a larger `gamma_negative`, and a `margin` below which negatives
    count nothing, the asymmetric loss (Ridnik et al., 2021). All zero is plain binary cross-entropy.
    """

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        probability = torch.sigmoid(logits)  # (batch, labels)
        if margin:
            false = (probability - margin).clamp(min=0)
            log_of_false = torch.log((1 - false).clamp(min=1e-8))
        else:
            false, log_of_false = probability, logsigmoid(-logits)
        positive = labels * (1 - probability) ** gamma_positive * logsigmoid(logits)
        negative = (1 - labels) * false**gamma_negative * log_of_false
        return -(positive + negative).mean()

    return loss


def make_loss(name: str, labels: np.ndarray) -> Callable:
    """Return the loss called `name`, one of `LOSSES`, with weights counted from the training `labels`."""
    if name not in LOSSES:
        raise SettingError(f"loss={name!r} is unknown: use one of {', '.join(LOSSES)}.")
    if name == "focal":
        loss = asymmetric_loss(2.0, 2.0)
    elif name == "asymmetric":
        loss = asymmetric_loss(1.0, 4.0, margin=0.05)
    else:
        power = {"bce": 0.0, "sqrt_pos_weight": 0.5, "pos_weight": 1.0}[name]
        loss = weighted_bce(count_pos_weights(labels, power))
    loss.name = name  # a checkpoint tells runs apart by it
    return loss
