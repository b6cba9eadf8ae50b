"""The model zoo: `data/zoo.csv` says for every model where it is, and which method and settings suit it.
Taught in notebook 04, section 9. A setting that you pass yourself always wins over the table's."""

from pathlib import Path

import pandas as pd

from helpers.assets.find import read_manifest
from helpers.files import DATA

ZOO = DATA / "zoo.csv"
SETTINGS = ("method", "pooling", "learning_rate", "batch_size", "epochs", "rank")


def read_zoo(path: Path = ZOO) -> pd.DataFrame:
    """Return the table, a row per model, indexed by its short name; what is unknown is NaN."""
    return pd.read_csv(path, index_col="name", dtype={"revision": str, "targets": str})


def find_row(model: str, path: Path = ZOO) -> dict | None:
    """Return the row of `model`, given its name, its short name ("bert"), its Hub id or the end of it; else None.
    Case does not count. What is no text at all is left to the checks of all parameters."""
    wanted = str(model).lower()
    for name, row in read_zoo(path).iterrows():
        names = (name, row["short"], row["hub_id"], row["hub_id"].split("/")[-1])
        if wanted in [known.lower() for known in names if isinstance(known, str)]:  # not all have a short name
            return {"name": name} | {key: None if pd.isna(value) else value for key, value in row.items()}
    return None


def find_defaults(model: str, path: Path = ZOO) -> dict:
    """Return what is known of `model`: where to load it (model, revision), targets, and `SETTINGS`; {} if not listed.
    A name of `data/assets.toml` stays that name."""
    row = find_row(model, path)
    if row is None:
        return {}
    settings = {name: row[name] for name in SETTINGS if row[name] is not None}
    settings |= {name: int(settings[name]) for name in ("batch_size", "epochs", "rank") if name in settings}
    return {
        "model": row["name"] if row["name"] in read_manifest().get("models", {}) else row["hub_id"],
        "revision": row["revision"],
        "targets": row["targets"].split() if row["targets"] else None,
        **settings,
    }


def require_method(method: str, model: str) -> str:
    """Return `method` if notebook 04 can do it; raise `ValueError` otherwise."""
    if method == "generation":
        raise ValueError(
            f"{model} is listed with the method generation, which is notebook 05's: classify with it by method='qlora'."
        )
    return method
