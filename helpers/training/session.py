"""What a training run needs besides its loop: Accelerate, the rows' order, checkpoints, curves, a bar, validation."""

import contextlib
import dataclasses
import re
import shutil
import traceback
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers.device import Device, fast_matmul, peak_memory_bytes, reset_peak_memory
from helpers.evaluation import metrics
from helpers.exceptions import TrainingError
from helpers.models.batches import EncodedTexts
from helpers.models.classifier import count_parameters, label_names
from helpers.models.frozen import lower_layers_once
from helpers.models.shortcuts import occurring_words_only
from helpers.runs import ProgressBar
from helpers.training import checkpoints, processes
from helpers.training.config import TrainingConfig, TrainingResult, best_epoch, make_optimizer, plan_steps
from helpers.training.graphs import RecordedSteps
from helpers.training.losses import default_loss
from helpers.training.memory import choose_max_tokens
from helpers.training.pace import Pace

# How PyTorch words a lack of memory; an "illegal memory access" is none.
NO_MEMORY = re.compile(r"out of memory|not enough memory|can.t allocate memory|failed to allocate", re.IGNORECASE)


class Session:
    """One call of `fit`: opened with its parts, closed with the classifier as a plain module again.
    The plan of all steps depends on the lengths and the seed alone, so that a resumed run finds its place in it."""

    def __init__(
        self, classifier, train: EncodedTexts, validation: EncodedTexts, config: TrainingConfig, device: Device,
        run_folder: str | Path | None = None, loss_function=default_loss, *, tracker: str | None = None,
        tracker_project: str | None = None,
    ):  # fmt: skip
        self.classifier, self.train, self.validation = classifier, train, validation
        self.config, self.device, self.loss_function = config, device, loss_function
        self.chooses_passes = config.max_tokens is None
        self.folder = Path(run_folder) / "checkpoint" if run_folder else None
        self.accelerator = processes.make_accelerator(device, tracker, run_folder)
        self.plan = plan_steps(train.lengths, config)
        self.steps_total = sum(map(len, self.plan))
        self.pace = Pace()
        self.settings = dataclasses.asdict(config) | checkpoints.describe_run(
            classifier, train, validation, loss_function
        )
        self.parameters = count_parameters(classifier)
        processes.start_trackers(self.accelerator, run_folder, tracker_project, self.settings)
        self.best: dict[str, torch.Tensor] = {}
        self.predictions: np.ndarray | None = None  # on validation, after the last epoch that this call ran

    def __enter__(self) -> "Session":
        torch.manual_seed(self.config.seed + self.accelerator.process_index)  # dropout
        reset_peak_memory(self.device)
        own = getattr(self.classifier, "own_ids", [])  # of a prompt around the texts
        texts = [*self.train.input_ids, *self.validation.input_ids, [self.train.pad_id, self.validation.pad_id, *own]]
        with contextlib.ExitStack() as stack:
            stack.enter_context(occurring_words_only(self.classifier, chain.from_iterable(texts)))
            stack.enter_context(lower_layers_once(self.classifier))
            stack.enter_context(processes.released(self.classifier))
            stack.enter_context(fast_matmul(self.device))
            stack.enter_context(explain_lack_of_memory(self))
            optimizer = make_optimizer(self.classifier, self.config)
            self.model, self.optimizer = self.accelerator.prepare(self.classifier, optimizer)  # may lack memory, too
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind, *error) -> bool | None:
        if kind is not None:  # whoever holds the error, as a notebook does, must not hold a run's memory with it
            self.classifier.zero_grad(set_to_none=True)
            self.optimizer.state.clear()
        return self._stack.__exit__(kind, *error)

    def begin(self) -> checkpoints.TrainingState:
        """Return the state of a run that has not begun; what an unfinished one left is thrown away."""
        if self.folder and self.accelerator.is_main_process:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self._show(checkpoints.TrainingState(self.settings))

    def resume(self) -> checkpoints.TrainingState:
        """Return the state that the last checkpoint holds, model and optimizer set to it; without one, a new state."""
        if not self.folder:
            return self.begin()
        parts = (self.accelerator, self.model, self.optimizer)
        state, self.best = checkpoints.load_checkpoint(self.folder, self.settings, *parts)
        return self._show(state)

    def _show(self, state: checkpoints.TrainingState) -> checkpoints.TrainingState:
        if self.chooses_passes:
            self.config = dataclasses.replace(self.config, max_tokens=self._choose_max_tokens(state))
        state.settings["max_tokens"] = self.config.max_tokens
        self.recorded = RecordedSteps(self)
        self._stack.callback(self.recorded.release)
        bar = ProgressBar(self.steps_total, state.step, silent=not self.accelerator.is_main_process)
        self.bar = self._stack.enter_context(bar)
        return state

    def _choose_max_tokens(self, state: checkpoints.TrainingState) -> int:
        """Return the size of a pass that memory allows; of a run that goes on, the one that it began with, if that is
        not more: then it ends bit for bit as if it had not stopped. All processes take the smallest of theirs."""
        began = state.settings.get("max_tokens")
        if state.finished and began:
            return began
        found = choose_max_tokens(self.classifier, self.train, self.device, self.optimizer)
        found = self.accelerator.gather(torch.tensor([found], device=self.accelerator.device)).min().item()
        return min(began or found, found)

    def rows_left(self, state: checkpoints.TrainingState) -> Iterator[np.ndarray]:
        """Yield the rows of each step that is left of epoch `state.epoch`; then note the step that was taken."""
        self.model.train()
        done = state.step - sum(map(len, self.plan[: state.epoch]))
        for rows in self.plan[state.epoch][done:]:
            before = state.train_seconds
            state.start_step()
            yield rows
            self._note_pace(state.train_seconds - before, rows)
            loss, rate = state.step_losses[-1], float(self.optimizer.param_groups[0]["lr"])
            self.accelerator.log({"step_loss": loss, "learning_rate": rate}, step=state.step)
            self.bar.advance(f"epoch {state.epoch + 1}, loss {loss:.3f}")

    def _note_pace(self, seconds: float, rows: np.ndarray) -> None:
        """Say once if another program slows training down. In a notebook's stored outputs the bar, and so this, is off."""
        if self.device.kind == "cpu" and (said := self.pace.note(seconds, len(rows) * self.train.lengths[rows].max())):
            self.bar.show(said)

    def save_if_due(self, state: checkpoints.TrainingState) -> None:
        """Write a checkpoint if `checkpoint_steps` says that this step wants one."""
        if self.config.checkpoint_steps and state.step % self.config.checkpoint_steps == 0:
            self._save(state)

    def _save(self, state: checkpoints.TrainingState) -> None:
        if self.folder:
            checkpoints.save_checkpoint(self.folder, state, self.accelerator, self.model, self.optimizer)

    def finish_epoch(self, state: checkpoints.TrainingState) -> None:
        """Validate, note the epoch in the history, keep its weights if they are the best so far, write a checkpoint."""
        train_loss = float(np.mean(state.step_losses[-len(self.plan[state.epoch]) :]))
        row = {"epoch": state.epoch + 1, "train_loss": train_loss, **self._validate()}
        state.epoch += 1
        state.history.append(row)
        self.accelerator.log({name: value for name, value in row.items() if name != "epoch"}, step=state.step)
        self.bar.show(
            f"epoch {row['epoch']}: train loss {row['train_loss']:.3f}, validation loss {row['loss']:.3f}, "
            f"macro F1 {row['f1_macro']:.3f}"
        )
        if best_epoch(state.history, self.config.metric) == row["epoch"]:
            self.best = checkpoints.trained_weights(self.classifier)
            if self.folder and self.accelerator.is_main_process:
                checkpoints.write_weights(self.folder / checkpoints.BEST, self.best)
        self._save(state)

    def _validate(self) -> dict:
        """Return loss and metrics on validation."""
        labels = self.validation.labels
        logits = processes.predict_logits_together(self.classifier, self.validation, self.device)
        probability = metrics.probabilities(logits, multilabel=labels.ndim == 2)
        self.predictions = metrics.decide(probability, multilabel=labels.ndim == 2)
        found = metrics.compute_metrics(labels, self.predictions, label_names(self.classifier))
        del found["per_class"]
        return {"loss": metrics.mean_loss(logits, labels), **found}

    def finish(self, state: checkpoints.TrainingState) -> TrainingResult:
        """Give the classifier the weights of its best epoch, end the curves, and return the result.
        The weights stay in the checkpoint, too, until the run is complete: whatever fails after training loses nothing."""
        history = pd.DataFrame(state.history)
        figures = self._draw(history, state) if self.accelerator.trackers else {}
        processes.finish_trackers(self.accelerator, figures, state.step)
        self.classifier.load_state_dict(self.best, strict=False)
        self.classifier.eval()
        if self.folder and self.accelerator.is_main_process:
            checkpoints.finish_checkpoint(self.folder, state)
        self.accelerator.wait_for_everyone()  # another run in this folder must not find half a checkpoint
        return TrainingResult(
            config=self.config,
            history=history,
            step_losses=state.step_losses,
            best_epoch=best_epoch(state.history, self.config.metric),
            stopped_early=state.epoch < self.config.epochs,
            train_seconds=state.train_seconds,
            samples_per_second=len(self.train) * state.epoch / state.train_seconds,
            parameters=self.parameters,
            peak_memory_bytes=peak_memory_bytes(self.device),
        )

    def _draw(self, history: pd.DataFrame, state: checkpoints.TrainingState) -> dict:
        """Return the figures that a tracker gets: the curves, and for one label per text the last confusion matrix."""
        from helpers.plots import plot_confusion, plot_history

        figures = {"history": plot_history(history, state.step_losses)}
        if self.predictions is not None and self.validation.labels.ndim == 1:
            counts = metrics.confusion_counts(self.validation.labels, self.predictions, label_names(self.classifier))
            figures["confusion"] = plot_confusion(counts, title="Validation, last epoch")
        return figures


@contextlib.contextmanager
def explain_lack_of_memory(run: Session) -> Iterator[None]:
    """Turn the errors that mean "out of memory" into a `TrainingError` that names the setting to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # on a CPU PyTorch raises a RuntimeError that says so
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not NO_MEMORY.search(str(error)):
            raise
        traceback.clear_frames(error.__traceback__)  # their variables are the batch that did not fit
        now = f"now {run.config.max_tokens} " if run.config.max_tokens else ""
        raise TrainingError(
            f"Out of memory. Lower max_tokens ({now}padded tokens per pass): the result stays the same, only slower. Or "
            f"lower batch_size (now {run.config.batch_size} texts); if one text alone is too much, lower max_length."
        ) from error
