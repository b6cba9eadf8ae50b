"""Accelerate, set up for a run: device and precision, trackers, and several processes that share a run's rows.
With one process, all of it does what one would do without it. Processes are started by torchrun."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import reduce

from helpers.device import Device
from helpers.exceptions import SettingError
from helpers.models.batches import EncodedTexts, select_rows
from helpers.models.predict import predict_logits

TRACKERS = ("tensorboard", "wandb")


def make_accelerator(device: Device, tracker: str | None, run_folder: str | Path | None) -> Accelerator:
    """Return what moves a model and its batches to `device`, at its precision, and sends curves to `tracker`, if any.
    Raises `ValueError` for a tracker without a folder to write to."""
    if tracker == "wandb":
        os.environ.setdefault("WANDB_MODE", "offline")
    if tracker and not run_folder:
        raise SettingError(f"tracker={tracker!r} needs a run_folder to write to.")
    # One kernel may train at several precisions, and on a GPU and a CPU in turn; Accelerate would keep the first ones.
    elsewhere = PartialState._shared_state != {} and PartialState().device.type != device.kind
    AcceleratorState._reset_state(reset_partial_state=elsewhere)
    return Accelerator(
        mixed_precision=device.precision, cpu=device.kind == "cpu", log_with=tracker, project_dir=run_folder
    )


def start_trackers(accelerator: Accelerator, run_folder, project: str | None, settings: dict) -> None:
    """Open the tracker's run, if there is one, with the `settings` as its configuration."""
    if accelerator.log_with:
        folder = Path(run_folder)  # in Weights & Biases, the runs of a comparison stand together under their names
        own = {"group": folder.parent.name, "name": folder.name, "dir": str(folder)}
        plain = {name: value if isinstance(value, int | float) else str(value) for name, value in settings.items()}
        accelerator.init_trackers(project or "transformers-for-emotion", config=plain, init_kwargs={"wandb": own})


def finish_trackers(accelerator: Accelerator, figures: dict, step: int) -> None:
    """Send matplotlib `figures` by name to the trackers and close them.
    Not by Accelerate's `end_training`: it would part the processes, and another `fit` may follow."""
    for tracker in accelerator.trackers:
        more = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        for name, figure in figures.items():
            tracker.log_images({name: _pixels(figure)[None]}, step=step, **more)
        tracker.finish()


def _pixels(figure) -> np.ndarray:
    """Return the picture of a matplotlib figure, `(height, width, 3)`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


@contextlib.contextmanager
def released(classifier) -> Iterator[None]:
    """At the end, however it comes, undo what Accelerate's `prepare` did to the module itself.

    It wraps `forward` in autocast, and marks the module so that another `prepare` leaves it as it is: without this,
    a second `fit` of the same classifier would silently train in fp32.
    """
    try:
        yield
    finally:
        for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
            vars(classifier).pop(name, None)


@contextlib.contextmanager
def main_process_first(device: Device) -> Iterator[None]:
    """Run the block in the main process, then in the others; if it fails there, the others end without a word.

    So a file is fetched once, a run folder is taken once, and an error that all would meet is said once. Accelerate's
    own would leave the others with a torn connection, and a traceback of fifty lines around the one sentence.
    """
    state = PartialState(cpu=device.kind == "cpu")
    passed = torch.zeros((), device=state.device)
    if not state.is_main_process and not reduce(passed, "sum"):
        time.sleep(2)  # torchrun ends all when the first ends: let the main process say what was wrong
        raise SystemExit(1)
    try:
        yield
        passed += 1
    finally:
        if state.is_main_process:
            reduce(passed, "sum")


def count_processes() -> int:
    """Return how many processes work on this run."""
    return PartialState().num_processes


def leave_processes() -> None:
    """End the connection to the other processes, if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def predict_logits_together(classifier, encoded: EncodedTexts, device: Device) -> np.ndarray:
    """Return in every process what `predict_logits` returns, each process having computed its share of the rows.

    Every row is filled by one process and is 0 in the others, so that the sum is exact and no row counts twice,
    however many there are. The model must be on the device, and every process must call this.
    """
    state = PartialState()
    if state.num_processes == 1:
        return predict_logits(classifier, encoded, device)
    mine = np.arange(state.process_index, len(encoded), state.num_processes)
    logits = torch.zeros(len(encoded), classifier.config.num_labels, device=state.device)
    logits[mine] = torch.from_numpy(predict_logits(classifier, select_rows(encoded, mine), device)).to(state.device)
    return reduce(logits, "sum").cpu().numpy()
