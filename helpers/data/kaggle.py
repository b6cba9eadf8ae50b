"""A Kaggle competition folder: `train.csv` and an unlabelled `test.csv` in, `submission.csv` out.

The layout is that of SemEval-2018 Task 1 E-c: `ID,Tweet,anger,…,trust`, with NONE for what is to be predicted.
Taught in notebook 04, section 11.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.columns import TEXT_COLUMNS
from helpers.data.tables import DataError, read_file
from helpers.runs import atomic_path

UNKNOWN = "NONE"


@dataclass(frozen=True)
class Questions:
    """The rows a competition asks about, in its own order."""

    ids: list[str]
    texts: list[str]
    source: str


def read_questions(dataset: str | Path, label_names: Sequence[str]) -> Questions | None:
    """Return the unlabelled test rows of a competition folder, or None where there are none.

    A test file asks if it has an `ID` column and its label columns hold nothing but NONE. Raises `DataError` for an ID
    that is empty or occurs twice.
    """
    path = Path(dataset).expanduser() / "test.csv"
    if not path.exists():
        return None
    rows = read_file(path)
    asked = [name for name in label_names if name in rows]
    texts = next((name for name in TEXT_COLUMNS if name in rows), None)
    if "ID" not in rows or texts is None or not asked or not (rows[asked] == UNKNOWN).all(axis=None):
        return None
    ids = rows["ID"].astype(str)
    for wrong, what in (
        (ids.str.strip() == "", "the ID is empty"),
        (ids.duplicated(), "the ID {!r} occurs a second time"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{path.name}, row {rows.index[row] + 2}: {what.format(ids.iloc[row])}: give every row its own."
            )
    return Questions(ids.tolist(), rows[texts].tolist(), path.name)


def write_submission(
    path: str | Path, questions: Questions, predictions: np.ndarray, label_names: Sequence[str]
) -> Path:
    """Write `ID` and a 0/1 column per label, in the order of the questions; return the path.

    The file is read back and compared before it takes its name. Raises `ValueError` for predictions that do not fit.
    """
    predictions = np.asarray(predictions)
    wanted = (len(questions.ids), len(label_names))
    if predictions.shape != wanted:
        raise ValueError(f"The submission needs {wanted[0]} rows and {wanted[1]} labels, not {predictions.shape}.")
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
    rows = read_file(path)
    if list(rows.columns) != ["ID", *label_names]:
        raise DataError(f"{path.name} has the columns {', '.join(rows)}: they must be ID, {', '.join(label_names)}.")
    if len(rows) != len(questions.ids):
        raise DataError(f"{path.name} has {len(rows):,} rows: {questions.source} asks for {len(questions.ids):,}.")
    for number, (found, wanted) in enumerate(zip(rows["ID"], questions.ids, strict=True)):
        if found != wanted:
            raise DataError(
                f"{path.name}, row {number + 2}: the ID is {found!r}, but {questions.source} has {wanted!r}."
            )
    values = rows[list(label_names)]
    if not values.isin(["0", "1"]).all(axis=None):
        row, column = np.argwhere(~values.isin(["0", "1"]).to_numpy())[0]
        raise DataError(
            f"{path.name}, row {row + 2}: {label_names[column]!r} is {values.iloc[row, column]!r}, not 0 or 1."
        )
    return (
        f"{path.name}: {len(rows):,} rows, IDs in the order of {questions.source}, {len(label_names)} labels of 0 or 1."
    )
