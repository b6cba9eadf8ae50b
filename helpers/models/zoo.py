"""The model zoo, `data/zoo.csv`, for notebooks: the table, and what it knows of a model, by its name.
Taught in notebook 05, section 10. A setting that you pass yourself always wins over the table's."""

from pathlib import Path

import pandas as pd

from helpers.assets.find import resolve_model
from helpers.assets.zoo import ZOO, find_row, require_method

__all__ = ["SETTINGS", "ZOO", "find_defaults", "find_pooling", "find_row", "read_zoo", "require_method"]

SETTINGS = ("method", "pooling", "learning_rate", "batch_size", "max_length", "epochs", "rank")


def read_zoo(path: Path = ZOO) -> pd.DataFrame:
    """Return the table, a row per model, indexed by its name; what is unknown is NaN."""
    return pd.read_csv(path, index_col="name", dtype={"revision": str, "targets": str})


def find_defaults(model: str, path: Path = ZOO) -> dict:
    """Return what is known of `model`: where to load it (model, revision), targets, and `SETTINGS`; {} if not listed.
    A name of `data/assets.toml` stays that name; a setting that the table leaves open is left out."""
    row = find_row(model, path)
    if row is None:
        return {}
    return {
        "model": resolve_model(row["name"], path),
        "revision": row["revision"],
        "targets": row["targets"].split() if row["targets"] else None,
        **{name: row[name] for name in SETTINGS if row[name] is not None},
    }


def find_pooling(model: str) -> str:
    """Return the pooling that suits `model`: the zoo's, or "auto" of one that it does not list."""
    return (find_row(model) or {}).get("pooling") or "auto"
