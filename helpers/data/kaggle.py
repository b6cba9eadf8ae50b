"""A Kaggle competition folder: `train.csv` and an unlabelled `test.csv` in, `submission.csv` out. Laid out as SemEval-2018
Task 1 E-c: `ID,Tweet,anger,…,trust`, with NONE for what is to be predicted. Taught in notebook 04, section 11."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.columns import TEXT_COLUMNS, check_unique, join_names, match_column
from helpers.data.labels import is_unlabelled
from helpers.data.layouts import find_files, is_saved_dataset, read_parts
from helpers.data.tables import Table, read_table
from helpers.exceptions import DataError
from helpers.files import atomic_path, write_table

UNKNOWN = "NONE"  # what stands where a label is to be predicted


@dataclass(frozen=True)
class Questions:
    """The rows a competition asks about, in its own order; `id_column` is what it calls their IDs."""

    ids: list[str]
    texts: list[str]
    source: str
    id_column: str = "ID"


def read_questions(dataset: str | Path, label_names: Sequence[str], text_column: str | None = None) -> Questions | None:
    """Return the unlabelled test rows of a competition folder, or None where it has no test file, or one with labels.

    `text_column` is what train calls its texts, if that is no usual name. A row without a text is a question, too: a
    submission answers every ID. Where nothing asks for IDs, neither the file nor a sample of the submission, rows are
    numbered from 1. Raises `DataError` for an ID that is empty or occurs twice, and for a file without what it needs."""
    files = _find_files(Path(dataset).expanduser())
    if "test" not in files:
        return None
    table = read_parts(files["test"])
    if _has_labels(table, files.get("train", []), label_names):
        return None
    name, has = match_column(table, "ID"), f"it has {join_names(table.rows)}"
    if name is None and any(files["test"][0].parent.glob("sample*.csv")):
        raise DataError(f"{table.source} has no column 'ID' ({has}): a submission names its rows by it, add one.")
    ids = table.rows[name].fillna("").map(str) if name else pd.Series(range(1, len(table.rows) + 1)).map(str)
    if (empty := table.first(ids.str.strip() == "")) is not None:
        raise DataError(f"{table.place(empty)}: the ID is empty: give every row its own.")
    check_unique(table, ids)
    names = [text_column, *TEXT_COLUMNS] if text_column else TEXT_COLUMNS
    usual = [found for known in names if (found := match_column(table, known))]
    left = [column for column in table.rows if column != name and not is_unlabelled(table, [column])]
    if not usual and len(left) != 1:
        raise DataError(f"{table.source} has no column 'text' ({has}): call its texts so, here and in train.")
    return Questions(
        ids.tolist(), table.rows[(usual or left)[0]].fillna("").map(str).tolist(), table.source, name or "ID"
    )


def _find_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files right in `folder` that `load_data` reads, by split; {} for any other dataset."""
    if not folder.is_dir() or is_saved_dataset(folder):
        return {}
    try:
        files = find_files(folder)[0]
    except DataError:  # it is no dataset, only called like one
        return {}
    return {split: found for split, found in files.items() if found[0].parent == folder}


def _has_labels(table: Table, train: list[Path], label_names: Sequence[str]) -> bool:
    """Return whether the test rows are labelled: in columns called like the labels, or in whatever column train has."""
    if asked := [found for name in label_names if (found := match_column(table, name))]:
        return not is_unlabelled(table, asked)
    same = [match_column(table, column) for column in read_parts(train).rows] if train else [None]
    return None not in same and not any(is_unlabelled(table, [column]) for column in same)


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
    """Write the IDs and a 0/1 column per label, in the order of the questions; return the path. The file is read back and
    compared before it takes its name. Raises `ValueError` for predictions that do not fit."""
    predictions, rows, labels = np.asarray(predictions), len(questions.ids), len(label_names)
    if predictions.shape != (rows, labels):
        raise ValueError(f"The submission needs {rows} rows and {labels} labels, not {predictions.shape}.")
    if not np.isin(predictions, (0, 1)).all():
        raise ValueError("A submission holds 0 and 1: apply thresholds to the probabilities first.")
    table = pd.DataFrame({questions.id_column: questions.ids})
    table[list(label_names)] = predictions.astype(int)
    with atomic_path(path) as temporary:
        write_table(temporary, table)
        check_submission(temporary, questions, label_names)
    return Path(path)


def check_submission(path: str | Path, questions: Questions, label_names: Sequence[str]) -> str:
    """Return a sentence that says the file is complete; raise `DataError` with the first thing that is wrong with it."""
    path, name = Path(path), questions.id_column
    rows = read_table(path).rows
    if list(rows.columns) != [name, *label_names]:
        raise DataError(
            f"{path.name} has the columns {', '.join(rows)}: they must be {name}, {', '.join(label_names)}."
        )
    source = questions.source
    if len(rows) != len(questions.ids):
        raise DataError(f"{path.name} has {len(rows):,} rows: {source} asks for {len(questions.ids):,}.")
    for row, (found, wanted) in enumerate(zip(rows[name], questions.ids, strict=True), start=2):
        if found != wanted:
            raise DataError(f"{path.name}, row {row}: the ID is {found!r}, but {source} has {wanted!r}.")
    for row, column in np.argwhere(~rows[list(label_names)].isin(["0", "1"]).to_numpy()):
        value = rows.iloc[row, column + 1]
        raise DataError(f"{path.name}, row {row + 2}: {label_names[column]!r} is {value!r}, not 0 or 1.")
    return f"{path.name}: {len(rows):,} rows, IDs in the order of {source}, {len(label_names)} labels of 0 or 1."


def check_like_sample(path: str | Path, sample: str | Path) -> str:
    """Return a sentence that says the submission has the sample's columns and IDs, in its order; raise `DataError` if not."""
    ours, theirs = (read_table(Path(file)).rows for file in (path, sample))
    name = Path(sample).name
    if list(ours.columns) != list(theirs.columns):
        raise DataError(f"{name} has the columns {', '.join(theirs)}, the submission {', '.join(ours)}.")
    if len(ours) != len(theirs):
        raise DataError(f"{name} has {len(theirs):,} rows, the submission {len(ours):,}.")
    wanted, given = theirs.iloc[:, 0].to_numpy(), ours.iloc[:, 0].to_numpy()
    differs = np.flatnonzero(wanted != given)
    if len(differs):
        row = int(differs[0])
        raise DataError(f"{name}, row {row + 2}: the ID is {wanted[row]!r}, in the submission {given[row]!r}.")
    return f"Like {name}: the same columns, the same {len(ours):,} IDs in the same order."
