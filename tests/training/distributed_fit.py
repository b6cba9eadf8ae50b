"""Train a tiny model in however many processes this is started with: `torchrun … tests/training/distributed_fit.py MODEL FOLDER`.

Every process writes what it has seen to a file of its own; tests/training/test_distributed.py compares them.
"""

import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from tiny import FP32, LABELS, toy_data

from helpers.evaluation.metrics import compute_metrics
from helpers.models.batches import select_rows
from helpers.models.pretrained import load_classifier
from helpers.training import loop, processes
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit


def train(model: str, folder: Path, *, rows: int = 45, dropout: float = 0.0) -> dict:
    """Return what a run of three epochs on `rows` rows saw: losses, history, logits and metrics on validation."""
    classifier = load_classifier(model, LABELS, dropout=dropout, device=FP32)
    everything, validation = toy_data()
    config = TrainingConfig(epochs=3, learning_rate=5e-3, batch_size=16, max_tokens=128, checkpoint_steps=2)
    result = fit(
        classifier, select_rows(everything, np.arange(rows)), validation, config, device=FP32, run_folder=folder
    )
    logits = processes.predict_logits_together(classifier, validation, FP32)
    return {
        "step_losses": result.step_losses,
        "history": result.history.to_dict("records"),
        "best_epoch": result.best_epoch,
        "logits": logits.tolist(),
        "metrics": compute_metrics(validation.labels, logits.argmax(axis=1), LABELS),
    }


def leave_unfinished(model: str, folder: Path, **options) -> None:
    """Train as `train` does, up to step 6: the checkpoint is that of step 4, in the second of three epochs."""
    check = loop.require_finite

    def interrupt(loss, state, config):
        if state.step == 5:
            raise KeyboardInterrupt

    loop.require_finite = interrupt
    with contextlib.suppress(KeyboardInterrupt):
        train(model, folder, **options)
        raise AssertionError("it was not interrupted")
    loop.require_finite = check


def train_interrupted(model: str, folder: Path, **options) -> dict:
    """Return what `train` returns, interrupted at step 6 and started again: it goes on after step 4."""
    leave_unfinished(model, folder, **options)
    return train(model, folder, **options)


def run_all(model: str, folder: Path) -> dict[str, dict]:
    """Return four runs of one process after another; in "short", the last batch of an epoch has a single row."""
    return {
        "full": train(model, folder / "full"),
        "short": train(model, folder / "short", rows=33),
        "dropout": train(model, folder / "dropout", dropout=0.2),
        "resumed": train_interrupted(model, folder / "resumed", dropout=0.2),
    }


def resume_apart(model: str, folder: Path) -> str:
    """Return what is said when the processes share no disk: the main one alone finds the checkpoint."""
    try:
        train_interrupted(model, folder / f"apart-{torch.distributed.get_rank()}")
    except ValueError as error:
        return str(error)


def main(model: str, folder: Path) -> None:
    shares, predict = [], processes.predict_logits
    processes.predict_logits = lambda classifier, encoded, *rest: (
        shares.append(len(encoded)) or predict(classifier, encoded, *rest)
    )
    found = {"runs": run_all(model, folder), "processes": processes.count_processes(), "rows predicted": shares[-1]}
    found["apart"] = resume_apart(model, folder)
    leave_unfinished(model, folder / "of two")
    found["taken over"] = train(model, folder / "of one")
    (folder / f"seen-{torch.distributed.get_rank()}.json").write_text(json.dumps(found))
    processes.leave_processes()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
