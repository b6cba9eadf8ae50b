"""The model zoo: `data/zoo.csv` says for every model where it is, at which revision, and which settings suit it.

`max_length` is 96 tokens for the models of the tweets with eleven emotions, as in notebook 04 (95 % of the tweets have at
most 45 tokens), and 128 for those of notebooks 01 to 03 (the longest text of dair-ai/emotion has 87). The laptop
profile's two models have none: the notebooks use them at both. `batch_size` is that of an optimizer step, whatever
passes it is computed in. `memory_gib` is the peak of training on a GPU with bf16 at these settings, by a batch of the
longest texts in one pass: all that is alive at the worst moment, as tests/benchmarks/estimate.py finds it without a GPU;
of a model listed with "generation", of learning in 4 bits to write its labels, prompt and answer included;
`train_memory_gib` is what a GPU measured. Read without pandas, because every look-up of a model comes here."""

import csv
import difflib
from pathlib import Path

from helpers.exceptions import SettingError
from helpers.files import DATA

ZOO = DATA / "zoo.csv"
WHOLE = ("batch_size", "max_length", "epochs", "rank")
FRACTIONS = (
    "learning_rate", "parameters_millions", "memory_gib", "reported_f1", "reported_competition_f1", "train_memory_gib",
    "train_texts_per_s", "predict_texts_per_s",
)  # fmt: skip


def read_rows(path: Path = ZOO) -> list[dict]:
    """Return the table, a dictionary per model: numbers as numbers, None for what is unknown; [] where it is missing."""
    if not path.exists():  # a bare package
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [{column: _read_cell(column, text) for column, text in row.items()} for row in csv.DictReader(file)]


def _read_cell(column: str, text: str) -> str | int | float | None:
    if not text:
        return None
    if column in WHOLE:
        return int(float(text))  # pandas writes 16 as 16.0 where a column has gaps
    return float(text) if column in FRACTIONS else text


def find_row(model: str, path: Path = ZOO) -> dict | None:
    """Return the row of `model`, given its name, its short name ("bert"), its Hub id or the end of it; else None.
    Case does not count. What is no text at all is left to the checks of all parameters."""
    wanted = str(model).lower()
    return next((row for row in read_rows(path) if wanted in map(str.lower, list_names(row))), None)


def list_names(row: dict) -> list[str]:
    """Return what a row's model may be called, each name once: its name, its short name, its Hub id, the end of it."""
    names = (row["name"], row["short"], row["hub_id"], row["hub_id"].split("/")[-1])
    return list(dict.fromkeys(name for name in names if name))


def list_near_names(model: str) -> list[str]:
    """Return up to three names and short names of the zoo that look like `model`, the likeliest first; [] if none does."""
    names = {name.lower(): name for row in read_rows() for name in list_names(row) if "/" not in name}
    return [names[near] for near in difflib.get_close_matches(model.lower().split("/")[-1], names)]


def require_method(method: str, model: str, parameter: str = "method") -> str:
    """Return `method` if a classifier can be trained by it; raise `ValueError` that names `parameter` otherwise."""
    if method == "generation":
        remedy = f"classify with it by {parameter}='qlora'."
        raise SettingError(f"{model} is listed with the method generation, which is notebook 06's: {remedy}")
    return method
