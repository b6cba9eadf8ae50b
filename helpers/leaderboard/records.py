"""Run folders, read and checked: every score is computed again from the predictions beside it. Notebook 07, section 1."""

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.evaluation.fingerprints import fingerprint_answers, fingerprint_rows, is_sealed, make_keys
from helpers.evaluation.metrics import fast_score
from helpers.exceptions import DataError, SettingError, shorten
from helpers.files import DATA, atomic_folder, write_json, write_table

GRID = DATA / "grid"  # the stored runs of notebook 07
SCORES = ("accuracy", "f1_macro", "f1_micro", "f1_weighted")
NEEDED = ("notebook", "model", "method", "dataset", "seed", "sizes", "per_class", "intervals", *SCORES)
# What makes two runs different systems, besides model and method.
RECIPE = (
    "revision", "pooling", "rank", "epochs", "learning_rate", "batch_size", "max_length", "loss_name",
    "max_train_examples",
)  # fmt: skip
COSTS = ("train_seconds", "peak_memory_bytes", "parameters_total", "parameters_trainable")
COLUMNS = (
    "notebook",
    "model",
    "method",
    "system",
    "dataset",
    "data",
    "fold",
    "folds",
    "seed",
    *RECIPE,
    *SCORES,
    *COSTS,
)
# What a record's values are, where they are not None; these alone must not be None: `NEEDED`.
PLAIN = (str, int, float, bool)
KINDS = (
    dict.fromkeys(COLUMNS, PLAIN)
    | dict.fromkeys(("model", "method", "dataset", "notebook", "system", "data"), (str,))
    | dict.fromkeys(("seed", "fold", "folds"), (int,))
    | dict.fromkeys((*SCORES, *COSTS), (int, float))
    | dict.fromkeys(("sizes", "per_class", "intervals"), (dict,))
)
PACKED = {"metrics.json", "predictions.csv"}
ALMOST = 1e-6  # by how much a score that was computed again may differ


@dataclass(frozen=True)
class Runs:
    """Runs that were read and checked. Answers of one test set are in one order: row by row, they belong together."""

    table: pd.DataFrame  # a row per run: its folder, and what its record says
    answers: list[np.ndarray]  # likewise, as `truths`
    truths: dict[str, np.ndarray] = field(default_factory=dict)  # by test set: (rows,), or (rows, labels) of 0 and 1

    def choose(self, mask: Iterable[bool]) -> "Runs":
        """Return the runs for which `mask` is true."""
        kept = np.flatnonzero(np.asarray(mask))
        return Runs(self.table.iloc[kept].reset_index(drop=True), [self.answers[i] for i in kept], self.truths)


def find_places(named: str) -> list[Path]:
    """Return the folders that a notebook's parameter names, separated by commas; "grid" is the stored one."""
    return [GRID if name.strip() == "grid" else Path(name.strip()).expanduser() for name in named.split(",")]


def find_run_folders(places: Iterable[str | Path]) -> list[Path]:
    """Return all folders below `places` that hold a `metrics.json`, sorted, each once.
    Raises `DataError` for a place that is not there, and where there is no finished run at all."""
    found: set[Path] = set()
    for place in map(Path, places):
        if not place.is_dir():
            raise DataError(f"There is no folder {place}: name one that holds runs.")
        found |= {path.parent for path in place.rglob("metrics.json")}
    if not found:
        raise DataError(f"No finished run is in {', '.join(map(str, places))}: none holds a metrics.json.")
    return sorted(found)


def read_runs(places: Iterable[str | Path]) -> Runs:
    """Return all finished runs below `places`, folders of one machine or of several, each with its scores computed again.
    Raises `DataError` for a record that was changed, is damaged, or does not fit its predictions."""
    reader, rows, answers = _Reader(), [], []
    for folder in find_run_folders(places):
        row, predicted = reader.read(folder, read_record(folder), read_predictions(folder))
        rows.append(row)
        answers.append(predicted)
    return Runs(pd.DataFrame(rows), answers, reader.truths)


class _Reader:
    """Reads run folders. Most have the same texts and the same true labels: these are kept once."""

    def __init__(self):
        self.keys: dict[str, str] = {}
        self.truths: dict[str, np.ndarray] = {}
        self.known: dict[tuple, tuple] = {}  # keys, true and label names of a file: its test set, the order, the truth

    def read(self, folder: Path, record: dict, table: dict[str, list[str]]) -> tuple[dict, np.ndarray]:
        """Return the row for the table of a run with this record and these predictions, and its answers in the order of
        its test set."""
        names, several = tuple(record["per_class"]), "exact_match" in record
        keys = table.get("key") or [self._key(text) for text in table["text"]]
        asked = (tuple(keys), tuple(table["true"]), names)
        if asked not in self.known:
            order = sorted(range(len(keys)), key=lambda i: (keys[i], table["true"][i]))
            truth = encode(folder, [table["true"][i] for i in order], names, several)
            self.known[asked] = fingerprint_rows(keys, table["true"]), np.array(order, int), truth
        test_set, order, truth = self.known[asked]
        predicted = encode(folder, table["predicted"], names, several)[order]
        self.truths.setdefault(test_set, truth)
        answers = fingerprint_answers(keys, table["true"], table["predicted"])
        refuse_changes(folder, record, {"test_set": test_set, "answers": answers})
        check_scores(folder, record, truth, predicted)
        known = {name: record.get(name) for name in COLUMNS} | {"folder": str(folder), "test_set": test_set}
        known |= {"sealed": "seal" in record, "several": several, "rows": len(keys), "answered": answers}
        known |= {f"{name} rows": record["sizes"].get(name) for name in ("train", "validation")}
        return known | {f"f1 {name}": own["f1"] for name, own in record["per_class"].items()}, predicted

    def _key(self, text: str) -> str:
        if text not in self.keys:
            self.keys[text] = make_keys([text])[0]
        return self.keys[text]


def read_record(folder: Path) -> dict:
    """Return the content of a `metrics.json`; `DataError` for one that is damaged or lacks what a comparison needs."""
    path = folder / "metrics.json"
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, OSError):
        raise DataError(f"{path} cannot be read: run that cell again, or delete its folder.") from None
    lacking = [name for name in NEEDED if name not in record] if isinstance(record, dict) else ["all of it"]
    if lacking:
        raise DataError(f"{path} lacks {', '.join(lacking[:4])}: it is no record of a run of this course.")
    if odd := _find_odd(record):
        raise DataError(f"{path}: {odd[0]} is not what a run writes: it was changed by hand. Run it again.")
    return record


def _find_odd(record: dict) -> list[str]:
    """Return the names in `record` whose values a run does not write: JSON of another kind, a fold beyond the folds."""
    found = {name: record.get(name) for name in KINDS}
    odd = [name for name, value in found.items() if value is not None or name in NEEDED]
    odd = [name for name in odd if type(found[name]) not in KINDS[name]]
    if not odd and (record.get("fold"), record.get("folds")) != (None, None):
        fold, folds = record.get("fold") or 0, record.get("folds") or 0
        odd += ["fold"] if not 1 <= fold <= folds or folds < 2 else []
    f1s = [own.get("f1") if isinstance(own, dict) else None for own in (record["per_class"] or {}).values()]
    return odd + ["per_class"] * (not f1s or not all(type(f1) in (int, float) for f1 in f1s))


def read_predictions(folder: Path) -> dict[str, list[str]]:
    """Return the columns text (or key), true and predicted of a `predictions.csv`; `DataError` if they cannot be had."""
    path, wanted = folder / "predictions.csv", ("key", "text", "true", "predicted")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            names, *rows = csv.reader(file)
        places = {name: names.index(name) for name in wanted if name in names}
        columns = {name: [row[place] for row in rows] for name, place in places.items()}
    except (ValueError, IndexError, OSError, csv.Error):
        raise DataError(f"{path} cannot be read: without it, nothing proves the run's scores. Run it again.") from None
    if not rows or len(columns) < 3:
        raise DataError(f"{path} needs the columns text (or key), true and predicted, and at least one row.")
    return columns


def encode(folder: Path, labels: list[str], names: tuple[str, ...], several: bool) -> np.ndarray:
    """Return labels as written in a `predictions.csv` as numbers `(rows,)`, or as 0 and 1 `(rows, labels)`."""
    places = {name: i for i, name in enumerate(names)}
    try:
        if not several:
            return np.array([places[label] for label in labels], dtype=np.int16)
        known = {words: i for i, words in enumerate(dict.fromkeys(labels))}  # each combination is taken apart once
        numbers = np.zeros((len(known), len(names)), dtype=np.int8)
        for words, row in known.items():
            numbers[row, [places[word] for word in words.split(",") if words]] = 1
        return numbers[[known[words] for words in labels]]
    except KeyError as error:
        raise DataError(f"{folder}: predictions.csv has a label {error} that metrics.json does not know.") from None


def refuse_changes(folder: Path, record: dict, found: dict[str, str]) -> None:
    """Raise `DataError` if the record's seal is broken, or if it was not made from the predictions beside it."""
    wrong = [name for name, value in found.items() if record.get(name, value) != value]
    if wrong:
        what = {"test_set": "other rows", "answers": "other answers"}[wrong[0]]
        raise DataError(f"{folder}: predictions.csv holds {what} than metrics.json was made from: run it again.")
    if is_sealed(record) is False:
        raise DataError(f"{folder}: metrics.json was changed after the run, its seal does not fit: run it again.")


def check_scores(folder: Path, record: dict, truth: np.ndarray, predicted: np.ndarray) -> None:
    """Raise `DataError` if a score in the record is not what the predictions give."""
    truth, predicted = truth.astype(np.int64), predicted.astype(np.int64)
    for name in SCORES:
        if not abs((value := fast_score(name, truth, predicted)) - record[name]) <= ALMOST:  # not: nan is no score
            said = f"metrics.json says {name} {record[name]:.4f}, its predictions give {value:.4f}"
            raise DataError(f"{shorten(folder, 120)}: {said}: one of the two was changed. Run it again.")
    if truth.ndim == 1:
        places = np.arange(len(record["per_class"]))
        truth, predicted = truth[:, None] == places, predicted[:, None] == places
    f1 = 2 * (truth & predicted).sum(0) / np.maximum(truth.sum(0) + predicted.sum(0), 1)
    for value, (name, own) in zip(f1, record["per_class"].items(), strict=True):
        if not abs(value - own["f1"]) <= ALMOST:
            said = f"metrics.json says F1 {own['f1']:.4f} of {name!r}, its predictions give {value:.4f}"
            raise DataError(f"{shorten(folder, 120)}: {said}: one of the two was changed. Run it again.")


def pack_runs(places: Iterable[str | Path], target: str | Path) -> Iterator[Path]:
    """Copy what a comparison needs of every run below `places` into a folder of `target`, and yield that: the record as it
    is, and the predictions without their texts and probabilities. So results can be shared where texts must not be.
    Runs of one name, of two machines say, get numbers. Raises `SettingError` for a `target` that holds the runs."""
    reader, places, target = _Reader(), [Path(place) for place in places], Path(target)
    folders = find_run_folders(places)
    for place in (place.resolve() for place in places):
        if target.resolve() in (place, *place.parents):
            raise SettingError(f"{target} holds the runs themselves: name a folder beside them.")
    for folder in folders:
        record, table = read_record(folder), read_predictions(folder)
        reader.read(folder, record, table)  # what does not fit is not passed on
        keys = table.get("key") or make_keys(table.pop("text"))
        columns = {"key": keys, "true": table["true"], "predicted": table["predicted"]}
        packed = _find_free(target, folder.name, record)
        with atomic_folder(packed) as work:
            write_table(work / "predictions.csv", pd.DataFrame(columns))
            write_json(work / "metrics.json", record)
        yield packed


def _find_free(target: Path, name: str, record: dict) -> Path:
    """Return the folder `name` of `target`, with the first number under which nothing lies but this very run, packed."""
    for number in itertools.count(1):
        folder = target / (name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            return folder
        if {path.name for path in folder.iterdir()} == PACKED and read_record(folder) == record:
            return folder
