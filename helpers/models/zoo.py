"""The model zoo: `data/zoo.csv` says for every model where it is, and which method and settings suit it.

Taught in notebook 04, section 9. A setting that you pass yourself always wins over the table's.
"""

from pathlib import Path

import pandas as pd

from helpers.assets.find import ROOT, read_manifest

ZOO = ROOT / "data" / "zoo.csv"
METHODS = ("probe", "lora", "qlora", "full")
# For a model that the table does not list: what is usual for an encoder of BERT's size.
USUAL = {"method": "full", "pooling": "mean", "learning_rate": 2e-5, "batch_size": 32, "epochs": 4, "rank": 16}


def read_zoo(path: Path = ZOO) -> pd.DataFrame:
    """Return the table, a row per model, indexed by its short name; what is unknown is NaN."""
    return pd.read_csv(path, index_col="name", dtype={"revision": str, "targets": str})


def find_row(model: str, path: Path = ZOO) -> dict | None:
    """Return the row of `model`, given its short name, its Hub id, or the end of it, in any case; None if not listed."""
    zoo = read_zoo(path)
    wanted = str(model).lower()  # what is no text is refused later, with the other parameters
    for name, row in zoo.iterrows():
        if wanted in (name.lower(), row["hub_id"].lower(), row["hub_id"].split("/")[-1].lower()):
            return {"name": name} | {key: None if pd.isna(value) else value for key, value in row.items()}
    return None


def find_defaults(model: str, path: Path = ZOO) -> dict:
    """Return what a notebook needs to run `model`: where to load it (model, revision), method, and settings.

    A name of `data/assets.toml` stays that name; a folder, or a Hub id that is not listed, gets the usual settings.
    """
    row = find_row(model, path)
    if row is None:
        return {"model": model, "revision": None, "targets": None, **USUAL}
    settings = USUAL | {name: row[name] for name in USUAL if row[name] is not None}
    for name in ("batch_size", "epochs", "rank"):
        settings[name] = int(settings[name])
    return {
        "model": row["name"] if row["name"] in read_manifest()["models"] else row["hub_id"],
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
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown: use one of {', '.join(METHODS)}.")
    return method
