"""Predictions for a whole file, however long: read, predict and write piece by piece, in the memory of one piece.
Taught in no notebook: it is what `python -m helpers predict --file` does (README, "A large file")."""

import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers.data.load import read_text_chunks
from helpers.deploy.onnx_predictor import OnnxPredictor
from helpers.deploy.predictor import Predictor
from helpers.device import fast_matmul
from helpers.exceptions import DataError, SettingError, shorten
from helpers.files import atomic_path, write_rows
from helpers.runs import ProgressBar

CHUNK_ROWS = 10_000  # enough to find texts of like length, little enough to hold in memory


@dataclass(frozen=True)
class FileReport:
    """What `predict_file` did."""

    rows: int
    blank_rows: int  # lines without any cell filled, which were left out
    truncated: int  # texts that were longer than the model reads
    seconds: float
    notes: tuple[str, ...] = ()  # what was found out about the file rather than said by its user


def predict_file(
    predictor: Predictor | OnnxPredictor,
    source: str | Path,
    target: str | Path,
    *,
    text_column: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> FileReport:
    """Write `target`: the rows of `source` in their order, and beside them label, confidence and all probabilities.

    `source` (any file that `load_data` reads, or .txt with a text per line; also .gz) is first read to its end and checked, so that a bad row in the last line costs
    seconds, not hours. `target` (.csv) appears when it is complete. Predictions are those of `Predictor.predict`, on a
    GPU in bf16, or TF32: the third digit of a probability may differ from that of a single text.
    Raises `DataError` for rows that cannot be predicted, `SettingError` for paths that cannot work.
    """
    source, target = Path(source), Path(target)
    _check_paths(source, target)
    rows, pieces, blank, notes = 0, 0, 0, ()
    for table, _ in read_text_chunks(source, text_column, chunk_rows):
        names = _name_columns(list(table.rows.columns), predictor.label_names, table.source)
        rows, pieces, blank = rows + len(table.rows), pieces + 1, table.left_out.get("blank", 0)
        notes = tuple(table.notes)
    start, truncated, predictor = time.perf_counter(), 0, predictor.for_many()
    with (
        atomic_path(target) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
        ProgressBar(pieces) as bar,
        fast_matmul(predictor.device),  # for the last piece as well, however short
    ):
        for piece, column in read_text_chunks(source, text_column, chunk_rows):
            table = piece.rows
            found = predictor.predict(table[column])
            truncated += sum(prediction.truncated for prediction in found)
            values = [[p.label, p.confidence, *map(p.probabilities.get, predictor.label_names)] for p in found]
            table = pd.concat([table, pd.DataFrame(values, table.index, names)], axis=1)
            write_rows(file, table, header=file.tell() == 0, float_format="%.6f")
            bar.advance(f"{table.index[-1] + 1:,} rows")
    return FileReport(rows, blank, truncated, time.perf_counter() - start, notes)


def _check_paths(source: Path, target: Path) -> None:
    if not source.is_file():
        raise SettingError(f"There is no file {str(source)!r}: check the path.")
    if target.suffix.lower() != ".csv" or target.is_dir():
        raise SettingError(f"{str(target)!r} cannot be written: predictions are a .csv file.")
    if target.exists() and target.samefile(source):
        raise SettingError(f"{str(target)!r} is the file that is read: give the predictions another name.")


def _name_columns(taken: list[str], label_names: list[str], source: str) -> list[str]:
    """Return the names of the columns that come in: a label whose name is taken becomes p(label)."""
    names = ["predicted", "confidence"]
    names += [f"p({name})" if name in (*names, *taken) else name for name in label_names]
    for name in names:
        if name in taken:
            raise DataError(f"{source} has a column {shorten(name, 40)!r} already: rename or delete it.")
    return names
