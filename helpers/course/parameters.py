"""Check what a notebook's parameters were set to, before any of its work is done."""

import re
from importlib.util import find_spec

from helpers.assets.find import find_dataset, find_model

COUNTS = (
    "epochs",
    "batch_size",
    "max_length",
    "max_train_examples",
    "max_validation_examples",
    "max_tokens",
    "seeds",
    "rank",
    "decoder_examples",
)
NAMES = ("profile", "text_column", "run_name", "push_to")
MODELS = ("model", "encoder", "decoder")
DATASETS = ("dataset", "phrases")
SWITCHES = ("resume", "longer_run", "show_texts", "gradient_checkpointing")
CHOICES = {
    "tracker": ("tensorboard", "wandb"),
    "schedule": ("cosine", "step"),
    "decoder_method": ("full", "lora"),
    "loss": ("bce", "sqrt_pos_weight", "pos_weight", "focal", "asymmetric"),
    "threshold": ("half", "global", "per_label"),
    "keep": ("f1_macro", "loss", "f1_then_loss"),
}


def check_parameters(chosen: dict) -> None:
    """Refuse parameters that cannot work, in one sentence that names the parameter. `None` always works.

    Raises `ValueError`, or `AssetError` for a model or dataset that is not there; other names pass unchecked.
    """
    for name, value in chosen.items():
        if value is not None:
            _check_value(name, value)
            if name in MODELS:
                find_model(value)
            if name in DATASETS:
                find_dataset(value)


def check_run_name(run_name: str) -> None:
    """Refuse a name with anything in it that could lead out of the runs' folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", run_name):
        raise ValueError(
            f"run_name={run_name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit."
        )


def _check_value(name: str, value) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name in COUNTS and not (whole and value >= 1):
        raise ValueError(f"{name}={value!r}: it must be a whole number of at least 1.")
    if name == "comparison_examples" and not (whole and value >= 0):
        raise ValueError(f"comparison_examples={value!r}: it must be a whole number; 0 leaves the comparisons out.")
    if name == "seed" and not (whole and 0 <= value < 2**32):
        raise ValueError(f"seed={value!r}: it must be a whole number, and not negative.")
    if name.endswith("learning_rate") and not (isinstance(value, int | float) and 0 < value < 1):
        raise ValueError(f"{name}={value!r}: it must lie between 0 and 1; try 2e-5 to 2e-4.")
    if name in SWITCHES and not isinstance(value, bool):
        raise ValueError(f"{name}={value!r}: it must be True or False.")
    if name in (*NAMES, *MODELS, *DATASETS) and not (isinstance(value, str) and value.strip()):
        raise ValueError(f"{name}={value!r}: it must be a text, or None for the default.")
    if name == "run_name":
        check_run_name(value)
    if name == "profile":
        from helpers.device import pick_profile

        pick_profile(value)
    if name == "label_column" and not (value and isinstance(value, str | list | tuple)):
        raise ValueError(f"label_column={value!r}: it must be a column's name, or several joined by commas.")
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"{name}={value!r} is unknown: use one of {', '.join(CHOICES[name])}, or None.")
    if name == "tracker" and find_spec(value) is None:
        raise ValueError(f"tracker={value!r} is not installed: run `pip install {value}`, or use tensorboard.")
