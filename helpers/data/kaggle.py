"""A Kaggle competition folder: `train.csv` and an unlabelled `test.csv` in, `submission.csv` out. Laid out as SemEval-2018
Task 1 E-c: `ID,Tweet,anger,…,trust`, with NONE for what is to be predicted. Taught in notebook 04, section 11."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.columns import TEXT_COLUMNS, check_unique
from helpers.data.labels import is_unlabelled
from helpers.data.tables import read_table
from helpers.exceptions import DataError
from helpers.files import atomic_path, write_table

UNKNOWN = "NONE"  # what stands where a label is to be predicted


@dataclass(frozen=True)
class Questions:
    """The rows a competition asks about, in its own order."""

    ids: list[str]
    texts: list[str]
    source: str


def read_questions(dataset: str | Path, label_names: Sequence[str]) -> Questions | None:
    """Return the unlabelled test rows of a competition folder (they have an `ID`), or None where there are none.
    Raises `DataError` for an ID that is empty or occurs twice."""
    path = Path(dataset).expanduser() / "test.csv"
    if not path.exists():
        return None
    table = read_table(path)
    rows = table.rows
    texts = next((name for name in TEXT_COLUMNS if name in rows), None)
    asked = [name for name in label_names if name in rows]
    if "ID" not in rows or texts is None or not asked or not is_unlabelled(table, asked):
        return None
    if (empty := table.first(rows["ID"].str.strip() == "")) is not None:
        raise DataError(f"{table.place(empty)}: the ID is empty: give every row its own.")
    check_unique(table, rows["ID"])
    return Questions(rows["ID"].tolist(), rows[texts].tolist(), path.name)


def write_questions(folder: str | Path, texts: Sequence[str], label_names: Sequence[str]) -> Questions:
    """Write what a competition would hand out for `texts`, `test.csv` and `sample_submission.csv`; return the questions."""
    table = pd.DataFrame({"ID": [f"text-{number:04d}" for number in range(len(texts))]})
    sample = table.assign(**dict.fromkeys(label_names, 0))
    table = table.assign(Tweet=list(texts), **dict.fromkeys(label_names, UNKNOWN))
    for name, content in (("test.csv", table), ("sample_submission.csv", sample)):
        write_table(Path(folder) / name, content)
    return read_questions(folder, label_names)


def write_submission(
    path: str | Path, questions: Questions, predictions: np.ndarray, label_names: Sequence[str]
) -> Path:
    """Write `ID` and a 0/1 column per label, in the order of the questions; return the path. The file is read back and
    compared before it takes its name. Raises `ValueError` for predictions that do not fit."""
    predictions, rows, labels = np.asarray(predictions), len(questions.ids), len(label_names)
    if predictions.shape != (rows, labels):
        raise ValueError(f"The submission needs {rows} rows and {labels} labels, not {predictions.shape}.")
    if not np.isin(predictions, (0, 1)).all():
        raise ValueError("A submission holds 0 and 1: apply thresholds to the probabilities first.")
    table = pd.DataFrame({"ID": questions.ids})
    table[list(label_names)] = predictions.astype(int)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
        check_submission(temporary, questions, label_names)
    return Path(path)


def check_submission(path: str | Path, questions: Questions, label_names: Sequence[str]) -> str:
    """Return a sentence that says the file is complete; raise `DataError` with the first thing that is wrong with it."""
    path = Path(path)
    rows = read_table(path).rows
    if list(rows.columns) != ["ID", *label_names]:
        raise DataError(f"{path.name} has the columns {', '.join(rows)}: they must be ID, {', '.join(label_names)}.")
    source = questions.source
    if len(rows) != len(questions.ids):
        raise DataError(f"{path.name} has {len(rows):,} rows: {source} asks for {len(questions.ids):,}.")
    for row, (found, wanted) in enumerate(zip(rows["ID"], questions.ids, strict=True), start=2):
        if found != wanted:
            raise DataError(f"{path.name}, row {row}: the ID is {found!r}, but {source} has {wanted!r}.")
    for row, column in np.argwhere(~rows[list(label_names)].isin(["0", "1"]).to_numpy()):
        name, value = label_names[column], rows.iloc[row, column + 1]
        raise DataError(f"{path.name}, row {row + 2}: {name!r} is {value!r}, not 0 or 1.")
    return f"{path.name}: {len(rows):,} rows, IDs in the order of {source}, {len(label_names)} labels of 0 or 1."


def check_like_sample(path: str | Path, sample: str | Path) -> str:
    """Return a sentence that says the submission has the sample's columns and IDs, in its order; raise `DataError` if not."""
    ours, theirs = (read_table(Path(file)).rows for file in (path, sample))
    name = Path(sample).name
    if list(ours.columns) != list(theirs.columns):
        raise DataError(f"{name} has the columns {', '.join(theirs)}, the submission {', '.join(ours)}.")
    if len(ours) != len(theirs):
        raise DataError(f"{name} has {len(theirs):,} rows, the submission {len(ours):,}.")
    differs = np.flatnonzero(ours["ID"].to_numpy() != theirs["ID"].to_numpy())
    if len(differs):
        row = int(differs[0])
        raise DataError(
            f"{name}, row {row + 2}: the ID is {theirs['ID'][row]!r}, in the submission {ours['ID'][row]!r}."
        )
    return f"Like {name}: the same columns, the same {len(ours):,} IDs in the same order."
