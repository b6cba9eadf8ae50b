"""The training loop, and what makes it safe. Start at `loop.py`: it is the loop that notebook 01 writes out.
Taught in notebook 01 (the loop, resuming) and 04 (losses, folds), 05 (memory)."""

from helpers.training.config import (
    SCHEDULES, TrainingConfig, TrainingResult, best_epoch, learning_rate_at, make_optimizer, plan_steps, set_rate,
)  # fmt: skip
from helpers.training.experiment import Recipe, prepare, train_run
from helpers.training.folds import cross_validate, fold_table, make_folds, take_fold
from helpers.training.loop import fit
from helpers.training.losses import LOSSES, default_loss, make_loss
from helpers.training.memory import count_memory, count_peak, fits

__all__ = [
    "LOSSES", "SCHEDULES", "Recipe", "TrainingConfig", "TrainingResult", "best_epoch", "count_memory", "count_peak",
    "cross_validate", "default_loss", "fit", "fits", "fold_table", "learning_rate_at", "make_folds", "make_loss",
    "make_optimizer", "plan_steps", "prepare", "set_rate", "take_fold", "train_run",
]  # fmt: skip
