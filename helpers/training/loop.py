"""`fit`: the training loop that notebook 01 writes out in full, made safe to interrupt.

The lines of the loop are those of the notebook's cell, in the same order; what a long run needs besides (Accelerate,
checkpoints, curves, a bar) is behind the names of `Session`. Taught in notebook 01, section 5.
"""

import contextlib
import functools
import math
from pathlib import Path

import torch

from helpers.device import Device, find_device
from helpers.exceptions import SettingError, TrainingError
from helpers.models.batches import EncodedTexts, collate, cut_by_tokens, describe_cut
from helpers.runs import is_main_process
from helpers.training.checkpoints import TrainingState
from helpers.training.config import TrainingConfig, TrainingResult, is_out_of_patience, learning_rate_at, set_rate
from helpers.training.losses import compute_loss, default_loss, pick_loss
from helpers.training.session import Session


def fit(
    classifier, train: EncodedTexts, validation: EncodedTexts, config: TrainingConfig, *, device: Device | None = None,
    run_folder: str | Path | None = None, resume: bool = True, loss_function=default_loss, **tracking,
) -> TrainingResult:  # fmt: skip
    """Train `classifier` in place; leave it on the device, in evaluation mode, with the weights of its best epoch.

    With a `run_folder`, the state after every epoch (and every `checkpoint_steps` steps) is kept in
    `run_folder/checkpoint`; after a crash the same call goes on from there and ends with the weights of an
    uninterrupted run, bit for bit on a CPU. What was trained to its end stays there, as its best weights alone, until
    `runs.finish_run`: the same call then returns it at once. `loss_function(logits, labels)` returns the mean over the
    rows. `tracking` may hold `tracker` ("tensorboard", or "wandb", which stays offline unless you set WANDB_MODE) and
    `tracker_project`. One GPU replays most steps from recordings, with the same result (`graphs`); those of a loss of
    your own only if it has a `name`, as the course's have: it must then compute the same at every call.
    Raises `TrainingError` when the loss is not finite or memory runs out, `ValueError` for another run's checkpoint and
    for labels that the classifier has no row for.
    """
    require_labels(classifier, train, validation)
    say_cut(train.truncated, len(train), int(train.lengths.max()))
    device, loss_function = device or find_device(), pick_loss(classifier, loss_function)
    with Session(classifier, train, validation, config, device, run_folder, loss_function, **tracking) as run:
        state = run.resume() if resume else run.begin()
        while state.epoch < config.epochs and not is_out_of_patience(state.history, config):
            for rows in run.rows_left(state):
                set_rate(run.optimizer, learning_rate_at(state.step, run.steps_total, config))
                loss = run.recorded.take_step(rows)  # a GPU replays the five lines below as one, where it can
                if loss is None:
                    loss = accumulate_gradients(run, rows, loss_function)
                    require_finite(loss, state, config)  # one bad step would spoil all weights, and the checkpoint too
                    run.accelerator.clip_grad_norm_(run.model.parameters(), config.clip_norm)  # no batch may throw them
                    run.optimizer.step()
                    run.optimizer.zero_grad()  # gradients add up: the next step must begin with none
                else:
                    require_finite(loss, state, config)  # if it is not, the GPU left the step out
                state.finish_step(loss)
                run.save_if_due(state)
            run.finish_epoch(state)  # validation decides which epoch is kept; the loop itself never looks at it
    return run.finish(state)


@functools.cache  # so that runs on the same texts say it once
def say_cut(count: int, rows: int, max_length: int) -> None:
    """Print how many of the training texts lose their end, if they are more than 1 %."""
    note = describe_cut(count, rows, max_length)
    if note and is_main_process():
        print(f"Training: {note} A larger max_length reads more of them.", flush=True)


def accumulate_gradients(run: Session, rows, loss_function) -> float:
    """Add up the gradients of the mean loss over `rows`, pass by pass, and return that loss.

    Each pass counts by its share of the rows. Processes share the rows of a step; DDP averages their gradients, so
    each multiplies by their number to make the average the sum. DDP also waits for a pass of every process: one that
    no row is left for takes another's, and counts it with 0.
    """
    accelerator, model, train = run.accelerator, run.model, run.train
    mine = rows[accelerator.process_index :: accelerator.num_processes]
    # A batch that is too large for memory is computed in passes: the sum of their gradients is the batch's gradient.
    passes = cut_by_tokens(mine, train.lengths, run.config.max_tokens) if len(mine) else [rows[:1]]
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(passes, start=1):
        with accelerator.no_sync(model) if number < len(passes) else contextlib.nullcontext():
            batch = collate(train, part, accelerator.device)
            loss = compute_loss(model, batch, loss_function) * (len(part) / len(rows) if len(mine) else 0.0)
            accelerator.backward(loss * accelerator.num_processes)
            total += loss.detach()
    return accelerator.reduce(total, "sum").item()


def require_labels(classifier, *encoded: EncodedTexts) -> None:
    """Raise `ValueError` for labels that do not fit the classifier: a GPU would only say that an assertion failed."""
    rows = classifier.config.num_labels
    for labels in (part.labels for part in encoded):
        if labels is None or len(labels) == 0:
            raise SettingError("There is nothing to learn from: give encoded texts with labels.")
        if labels.ndim == 2 and labels.shape[1] != rows:
            raise SettingError(
                f"The labels have {labels.shape[1]} columns, the classifier {rows}: build it with their names."
            )
        if labels.ndim == 1 and not 0 <= labels.min() <= labels.max() < rows:
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise SettingError(f"There is a label {wrong}: this classifier's labels are numbered from 0 to {rows - 1}.")


def require_finite(loss: float, state: TrainingState, config: TrainingConfig) -> None:
    """Raise `TrainingError` for a loss that is NaN or infinite, before the step is taken."""
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss is {loss} at step {state.step + 1} (epoch {state.epoch + 1}). Lower learning_rate (now "
            f"{config.learning_rate:g}), or train in fp32: precision='no'. The last checkpoint is whole."
        )
