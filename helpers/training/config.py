"""A run's settings, checked, and what follows from them alone: steps, learning rate, optimizer, the best epoch.
Taught in notebook 01, section 4."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from helpers.exceptions import SettingError
from helpers.models.batches import make_batches
from helpers.models.classifier import ParameterCount

# What may choose the best epoch; "loss" is minimised, "f1_then_loss" weighs both, "epoch" simply takes the last one.
METRICS = ("f1_macro", "f1_micro", "f1_weighted", "accuracy", "loss", "f1_then_loss", "epoch")
CLOSE_ENOUGH = 0.01  # macro F1 that "f1_then_loss" gives up for a lower loss
SCHEDULES = ("cosine", "step")


def pick_settings(cls, chosen, changes: dict) -> dict:
    """Return what the dataclass `cls` is made with: its fields from `chosen`, then `changes`; None keeps a default."""
    given = {field.name: vars(chosen).get(field.name) for field in dataclasses.fields(cls)}
    given |= changes  # not picked from: a change that is no setting is a slip, and `cls` refuses it
    return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class TrainingConfig:
    """Every setting of a training run, with a default that suits a small encoder and a few thousand texts."""

    epochs: int = 3
    learning_rate: float = 2e-4
    batch_size: int = 32  # texts per optimizer step
    max_tokens: int | None = None  # padded tokens per pass; a bigger batch takes several. None: see `choose_max_tokens`
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of all steps; then the rate falls as the schedule says
    schedule: str = "cosine"  # a half cosine to zero; or "step": times 0.9 after every epoch
    clip_norm: float = 1.0
    metric: str = "f1_macro"  # chooses the best epoch, on validation: one of METRICS
    patience: int | None = None  # stop after this many epochs without a better one
    checkpoint_steps: int | None = None  # save resumable state every so many steps, besides every epoch
    seed: int = 0

    @classmethod
    def of(cls, chosen, **changes) -> "TrainingConfig":
        """Return the configuration that a notebook's `chosen` parameters make, with `changes`; None is the default."""
        return cls(**pick_settings(cls, chosen, changes))

    def __post_init__(self):
        """Refuse settings that cannot work, before any work is done."""
        for name in ("epochs", "batch_size", "max_tokens", "patience", "checkpoint_steps"):
            value = getattr(self, name)
            optional = name in ("max_tokens", "patience", "checkpoint_steps")
            if not (optional and value is None) and (not isinstance(value, int) or value < 1):
                raise SettingError(f"{name}={value!r}: it must be a whole number of at least 1.")
        for name, known in (("metric", METRICS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise SettingError(f"{name}={getattr(self, name)!r} is unknown: use one of {', '.join(known)}.")
        for name, lowest in (("weight_decay", 0.0), ("seed", 0)):
            if not getattr(self, name) >= lowest:
                raise SettingError(f"{name}={getattr(self, name)!r}: it must not be negative.")
        if not self.clip_norm > 0:
            raise SettingError(f"clip_norm={self.clip_norm!r}: it must be above 0; 1.0 is usual.")
        if not 0 < self.learning_rate < 1:
            raise SettingError(f"learning_rate={self.learning_rate!r}: it must lie between 0 and 1; try 2e-5 to 2e-4.")
        if not 0 <= self.warmup < 1:
            raise SettingError(f"warmup={self.warmup!r}: it must be at least 0 and below 1.")


@dataclass(frozen=True)
class TrainingResult:
    """What `fit` returns; by then the classifier holds the weights of `best_epoch`."""

    config: TrainingConfig
    history: pd.DataFrame  # a row per epoch: epoch, train_loss, then loss and metrics on validation
    step_losses: list[float]  # one per optimizer step
    best_epoch: int  # counted from 1
    stopped_early: bool
    train_seconds: float  # in training steps alone, without evaluation and saving
    samples_per_second: float
    parameters: ParameterCount
    peak_memory_bytes: int | None  # of `fit` alone; see `device.peak_memory_bytes`


def plan_steps(lengths: np.ndarray, config: TrainingConfig) -> list[list[np.ndarray]]:
    """Return the row numbers of every step of every epoch. Known beforehand, so that any step can be returned to."""
    return [make_batches(lengths, config.batch_size, seed=config.seed, epoch=epoch) for epoch in range(config.epochs)]


def learning_rate_at(step: int, steps_total: int, config: TrainingConfig) -> float:
    """Return the learning rate of `step` (from 0): a linear warm-up, then what `config.schedule` says.

    Warm-up keeps the random head's first, large gradients from disturbing the pretrained layers; the cosine is that
    of Loshchilov & Hutter, *SGDR* (2017), without restarts; "step" is what PyTorch calls StepLR, by 0.9 per epoch.
    """
    warmup = math.ceil(config.warmup * steps_total)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "step":
        return config.learning_rate * 0.9 ** (step * config.epochs // steps_total)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps_total - warmup)))


def make_optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW over the trainable parameters; matrices decay, biases and norm scales do not.
    `fused` updates all of a tensor in one kernel: five times faster on a CPU than PyTorch's default."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the optimizer's next step."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)  # a recorded step (`graphs`) reads it from this place
        else:
            group["lr"] = rate


def best_epoch(history: list[dict], metric: str) -> int:
    """Return the epoch (from 1) with the best validation `metric`; of equals the earliest.
    "f1_then_loss" takes the lowest loss among the epochs whose macro F1 is within `CLOSE_ENOUGH` of the best."""
    if metric == "f1_then_loss":
        enough = max(row["f1_macro"] for row in history) - CLOSE_ENOUGH
        return min((row["loss"], i) for i, row in enumerate(history, start=1) if row["f1_macro"] >= enough)[1]
    values = [row[metric] for row in history]
    return 1 + values.index(min(values) if metric == "loss" else max(values))


def is_out_of_patience(history: list[dict], config: TrainingConfig) -> bool:
    """Return whether `config.patience` epochs have passed without a better one."""
    return bool(config.patience and history) and len(history) - best_epoch(history, config.metric) >= config.patience
