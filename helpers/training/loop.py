"""`fit`: the training loop that notebook 01 writes out in full, made safe to interrupt.

Accelerate takes care of devices, precision and several processes. Taught in notebook 01, sections 6 and 7.
"""

import contextlib
import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers.assets.find import PlainError
from helpers.device import Device, find_device
from helpers.evaluation.metrics import compute_metrics, decide, mean_loss, probabilities
from helpers.models.batches import EncodedTexts, collate, cut_by_tokens, make_batches
from helpers.progress import ProgressBar
from helpers.training.checkpoints import (
    TrainingState,
    describe_run,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
    trained_weights,
    write_weights,
)
from helpers.training.processes import make_accelerator, predict_logits_together, released

# What may choose the best epoch; "loss" is minimised, "f1_then_loss" weighs both, "epoch" simply takes the last one.
METRICS = ("f1_macro", "f1_micro", "f1_weighted", "accuracy", "loss", "f1_then_loss", "epoch")
CLOSE_ENOUGH = 0.01  # macro F1 that "f1_then_loss" gives up for a lower loss
SCHEDULES = ("cosine", "step")


@dataclass(frozen=True)
class TrainingConfig:
    """Every setting of a training run, with a default that suits a small encoder and a few thousand texts."""

    epochs: int = 3
    learning_rate: float = 2e-4
    batch_size: int = 32  # texts per optimiser step
    max_tokens: int = 4096  # padded tokens per pass; a bigger batch accumulates gradients over several passes
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1  # of all steps; then the rate falls as the schedule says
    schedule: str = "cosine"  # a half cosine to zero; or "step": times 0.9 after every epoch
    clip_norm: float = 1.0
    metric: str = "f1_macro"  # chooses the best epoch, on validation: one of METRICS
    patience: int | None = None  # stop after this many epochs without a better one
    checkpoint_steps: int | None = None  # save resumable state every so many steps, besides every epoch
    seed: int = 0

    def __post_init__(self):
        """Refuse settings that cannot work, before any work is done."""
        for name in ("epochs", "batch_size", "max_tokens", "patience", "checkpoint_steps"):
            value = getattr(self, name)
            optional = name in ("patience", "checkpoint_steps")
            if not (optional and value is None) and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name}={value!r}: it must be a whole number of at least 1.")
        if self.metric not in METRICS:
            raise ValueError(f"metric={self.metric!r} is unknown: use one of {', '.join(METRICS)}.")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule={self.schedule!r} is unknown: use one of {', '.join(SCHEDULES)}.")
        for name, lowest in (("weight_decay", 0.0), ("seed", 0)):
            if not getattr(self, name) >= lowest:
                raise ValueError(f"{name}={getattr(self, name)!r}: it must not be negative.")
        if not self.clip_norm > 0:
            raise ValueError(f"clip_norm={self.clip_norm!r}: it must be above 0; 1.0 is usual.")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate={self.learning_rate!r}: it must lie between 0 and 1; try 2e-5 to 2e-4.")
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError(f"warmup_fraction={self.warmup_fraction!r}: it must be at least 0 and below 1.")


@dataclass(frozen=True)
class TrainingResult:
    """What `fit` returns; by then the classifier holds the weights of `best_epoch`."""

    history: pd.DataFrame  # a row per epoch: epoch, train_loss, then loss and metrics on validation
    step_losses: list[float]  # one per optimiser step
    best_epoch: int  # counted from 1
    stopped_early: bool
    train_seconds: float  # in training steps alone, without evaluation and saving
    samples_per_second: float


class TrainingError(PlainError, RuntimeError):
    """Training cannot go on; the message says at which step, why, and what to change."""


def fit(
    classifier,
    train: EncodedTexts,
    validation: EncodedTexts,
    config: TrainingConfig,
    *,
    device: Device | None = None,
    run_folder: str | Path | None = None,
    resume: bool = True,
    tracker: str | None = None,
    loss_function=None,
) -> TrainingResult:
    """Train `classifier` in place; leave it on the device, in evaluation mode, with the weights of its best epoch.

    With a `run_folder`, the state after every epoch (and every `checkpoint_steps` steps) is kept in
    `run_folder/checkpoint`; after a crash the same call goes on from there and ends with the weights of an
    uninterrupted run, bit for bit on a CPU. A finished run removes its checkpoint.
    `loss_function(logits, labels)` returns the mean over the rows; the default is cross-entropy, or binary cross-entropy
    for float labels. `tracker` is "tensorboard" or "wandb" (which stays offline unless you set WANDB_MODE).
    Raises `TrainingError` when the loss is not finite or memory runs out, `ValueError` for a checkpoint of other settings.
    """
    device = device or find_device()
    accelerator = make_accelerator(device, tracker, run_folder)
    torch.manual_seed(config.seed + accelerator.process_index)
    plan = plan_steps(train.lengths, config)
    with released(classifier), _explain_lack_of_memory(config):
        model, optimizer = accelerator.prepare(classifier, make_optimizer(classifier, config))
        folder = Path(run_folder) / "checkpoint" if run_folder else None
        settings = dataclasses.asdict(config) | describe_run(classifier, train, validation)
        state, best = TrainingState(settings), {}
        if folder and resume:
            state, best = load_checkpoint(folder, settings, accelerator, model, optimizer)
        elif folder and accelerator.is_main_process:
            remove_checkpoint(folder)

        def save() -> None:
            if folder:
                save_checkpoint(folder, state, accelerator, model, optimizer)

        with ProgressBar(sum(map(len, plan)), state.step, silent=not accelerator.is_main_process) as bar:
            while state.epoch < config.epochs and not _out_of_patience(state.history, config):
                _train_epoch(
                    accelerator, model, optimizer, loss_function or default_loss, train, plan, config, state, save, bar
                )
                row = _validate(classifier, validation, device, state, steps=len(plan[state.epoch]))
                state.epoch += 1
                state.history.append(row)
                accelerator.log({name: value for name, value in row.items() if name != "epoch"}, step=state.step)
                bar.show(
                    f"epoch {row['epoch']}: train loss {row['train_loss']:.3f}, validation loss {row['loss']:.3f}, "
                    f"macro F1 {row['f1_macro']:.3f}"
                )
                if best_epoch(state.history, config.metric) == row["epoch"]:
                    best = trained_weights(classifier)
                    if folder and accelerator.is_main_process:
                        write_weights(folder / "best.safetensors", best)
                save()
    for writer in accelerator.trackers:  # not `end_training`: it would part the processes, and another `fit` may follow
        writer.finish()
    classifier.load_state_dict(best, strict=False)
    classifier.eval()
    if folder and accelerator.is_main_process:
        remove_checkpoint(folder)
    accelerator.wait_for_everyone()  # another run in this folder must not find half a checkpoint
    return TrainingResult(
        history=pd.DataFrame(state.history),
        step_losses=state.step_losses,
        best_epoch=best_epoch(state.history, config.metric),
        stopped_early=state.epoch < config.epochs,
        train_seconds=state.train_seconds,
        samples_per_second=len(train) * state.epoch / state.train_seconds,
    )


def _train_epoch(accelerator, model, optimizer, loss_function, train, plan, config, state, save, bar) -> None:
    """Run what is left of epoch `state.epoch`: per step set the rate, accumulate gradients, clip, update."""
    model.train()
    steps_total, steps_before = sum(map(len, plan)), sum(map(len, plan[: state.epoch]))
    for rows in plan[state.epoch][state.step - steps_before :]:
        start = time.perf_counter()
        rate = learning_rate_at(state.step, steps_total, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _accumulate_gradients(accelerator, model, loss_function, train, rows, config)
        _require_finite(loss, state, config)
        accelerator.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        state.step += 1
        state.step_losses.append(loss)
        state.train_seconds += time.perf_counter() - start
        accelerator.log({"step_loss": loss, "learning_rate": rate}, step=state.step)
        bar.advance(f"epoch {state.epoch + 1}, loss {loss:.3f}")
        if config.checkpoint_steps and state.step % config.checkpoint_steps == 0:
            save()


def _accumulate_gradients(accelerator, model, loss_function, train, rows, config) -> float:
    """Add up the gradients of the mean loss over `rows`, pass by pass, and return that loss.

    Each pass counts by its share of the rows. Processes share the rows of a step; DDP averages their gradients, so
    each multiplies by their number to make the average the sum. DDP also waits for a pass of every process: one that
    no row is left for takes another's, and counts it with 0.
    """
    mine = rows[accelerator.process_index :: accelerator.num_processes]
    passes = cut_by_tokens(mine, train.lengths, config.max_tokens) if len(mine) else [rows[:1]]
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(passes, start=1):
        with accelerator.no_sync(model) if number < len(passes) else contextlib.nullcontext():
            batch = collate(train, part, accelerator.device)
            logits = model(batch["input_ids"], batch["attention_mask"])
            loss = loss_function(logits.float(), batch["labels"]) * (len(part) / len(rows) if len(mine) else 0.0)
            accelerator.backward(loss * accelerator.num_processes)
            total += loss.detach()
    return accelerator.reduce(total, "sum").item()


def _validate(classifier, validation: EncodedTexts, device: Device, state: TrainingState, steps: int) -> dict:
    """Return the history row of the epoch that just ended: its mean training loss, and validation's loss and metrics."""
    logits = predict_logits_together(classifier, validation, device)
    multilabel = validation.labels.ndim == 2
    predictions = decide(probabilities(logits, multilabel=multilabel), multilabel=multilabel)
    metrics = compute_metrics(validation.labels, predictions, classifier.label_names)
    del metrics["per_class"]
    train_loss = float(np.mean(state.step_losses[-steps:]))
    return {"epoch": state.epoch + 1, "train_loss": train_loss, "loss": mean_loss(logits, validation.labels), **metrics}


def plan_steps(lengths: np.ndarray, config: TrainingConfig) -> list[list[np.ndarray]]:
    """Return the row numbers of every step of every epoch. Known beforehand, so that any step can be returned to."""
    return [make_batches(lengths, config.batch_size, seed=config.seed, epoch=epoch) for epoch in range(config.epochs)]


def learning_rate_at(step: int, steps_total: int, config: TrainingConfig) -> float:
    """Return the learning rate of `step` (from 0): a linear warm-up, then what `config.schedule` says.

    Warm-up keeps the random head's first, large gradients from disturbing the pretrained layers; the cosine is that
    of Loshchilov & Hutter, *SGDR* (2017), without restarts; "step" is what PyTorch calls StepLR, by 0.9 per epoch.
    """
    warmup = math.ceil(config.warmup_fraction * steps_total)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "step":
        return config.learning_rate * 0.9 ** (step * config.epochs // steps_total)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps_total - warmup)))


def make_optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW over the trainable parameters; matrices decay, biases and norm scales do not.

    `fused` updates all of a tensor in one kernel: five times faster on a CPU than PyTorch's default.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def default_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy for one label per text (int), binary cross-entropy for several (float)."""
    if labels.is_floating_point():
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    return torch.nn.functional.cross_entropy(logits, labels)


def best_epoch(history: list[dict], metric: str) -> int:
    """Return the epoch (from 1) with the best validation `metric`; of equals the earliest.

    "f1_then_loss" takes the lowest loss among the epochs whose macro F1 is within `CLOSE_ENOUGH` of the best.
    """
    if metric == "f1_then_loss":
        enough = max(row["f1_macro"] for row in history) - CLOSE_ENOUGH
        return min((row["loss"], i) for i, row in enumerate(history, start=1) if row["f1_macro"] >= enough)[1]
    values = [row[metric] for row in history]
    return 1 + values.index(min(values) if metric == "loss" else max(values))


def _out_of_patience(history: list[dict], config: TrainingConfig) -> bool:
    return bool(config.patience and history) and len(history) - best_epoch(history, config.metric) >= config.patience


def _require_finite(loss: float, state: TrainingState, config: TrainingConfig) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss is {loss} at step {state.step + 1} (epoch {state.epoch + 1}). Lower learning_rate (now "
            f"{config.learning_rate:g}), or train in fp32: find_device(precision='no'). The last checkpoint is unharmed."
        )


@contextlib.contextmanager
def _explain_lack_of_memory(config: TrainingConfig):
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # on a CPU PyTorch raises a RuntimeError that says so
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "memory" not in str(error).lower():
            raise
        raise TrainingError(
            f"Out of memory. Lower max_tokens (now {config.max_tokens} padded tokens per pass; a setting of "
            "TrainingConfig): the result stays the same, only slower. Where that is no parameter, lower batch_size (now "
            f"{config.batch_size} texts); if one text alone is too much, lower max_length."
        ) from error
