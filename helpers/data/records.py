"""Rows that are objects rather than lines: JSON, also as annotation tools export it, and Arrow tables with their types."""

import ast
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.data.delimited import open_text
from helpers.data.names import name_columns
from helpers.exceptions import DataError, shorten


def read_json_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield number and content of the objects in a file that holds one per line, or an array of them, whatever its name says.
    Lines are read one by one; an array has to be read whole. Raises `DataError` with the first row that is no object."""
    found = _read_lines(path) if _has_lines(path) else _read_array(path)
    for number, row in found:
        if not isinstance(row, dict):
            example = '{"text": "…", "label": "…"}'
            raise DataError(f"{shorten(path.name)}, row {number}: {shorten(row, 30)!r} is no object such as {example}.")
        yield number, _flatten_task(row, path, number) if "data" in row else row


def _has_lines(path: Path) -> bool:
    """Return whether the file is to be read line by line: there are several, and the first is whole."""
    with open_text(path) as file:
        first = list(itertools.islice((line for line in file if line.strip()), 2))
    if not first:
        raise DataError(f"{shorten(path.name)} is empty: it needs rows.")
    if len(first) < 2 or first[0].lstrip().startswith("["):
        return False
    try:
        json.loads(first[0])
    except (ValueError, RecursionError):
        return not path.name.lower().removesuffix(".gz").endswith(".json")
    return True


def _read_lines(path: Path) -> Iterator[tuple[int, object]]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as error:
                    what = "is nested too deeply" if isinstance(error, RecursionError) else "is no JSON"
                    raise DataError(
                        f"{shorten(path.name)} could not be read: row {number} {what}: repair it."
                    ) from error


def _read_array(path: Path) -> Iterator[tuple[int, object]]:
    try:
        with open_text(path) as file:
            content = json.load(file)
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"line {error.lineno} is no JSON" if isinstance(error, ValueError) else "it is nested too deeply"
        raise DataError(f"{shorten(path.name)} could not be read: {where}: repair or export it again.") from error
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        if len(lists) == 1 and lists[0] and isinstance(lists[0][0], dict):  # {"data": [{…}, {…}]}
            content = lists[0]
        elif content and all(isinstance(value, dict | list) for value in content.values()):  # a column per name
            columns = {k: list(v.values()) if isinstance(v, dict) else v for k, v in content.items()}
            if len({len(column) for column in columns.values()}) == 1:
                content = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return enumerate(content if isinstance(content, list) else [content], start=1)


def _flatten_task(row: dict, path: Path, number: int) -> dict:
    """Return a task of Label Studio's export, `data` beside `annotations`, as one flat row; any other row as it is.
    A task without choices gets no label; one that people labelled in different ways is refused."""
    if not isinstance(row["data"], dict) or not isinstance(row.get("annotations", row.get("completions")), list):
        return row
    flat, answers = dict(row["data"]), []
    for annotation in row.get("annotations", row.get("completions")):
        if not annotation.get("was_cancelled"):
            results = annotation.get("result", [])
            answers.append({r.get("from_name", "label"): r.get("value", {}).get("choices") for r in results})
    if any(answer != answers[0] for answer in answers):
        raise DataError(f"{shorten(path.name)}, row {number}: its annotations differ: keep one of each text.")
    return flat | (answers[0] if answers else {}) | ({"id": row["id"]} if "id" in row else {})


def cut_json_rows(path: Path, piece_rows: int) -> Iterator[pd.DataFrame]:
    """Yield the objects of a file as rows, at most `piece_rows` at a time, all with the same columns; a cell keeps what it
    held, and is None where an object lacks the key. The index counts the file's lines, or the array's objects."""
    keys = list(dict.fromkeys(key for _, row in read_json_rows(path) for key in row))
    names, objects = name_columns(keys), read_json_rows(path)
    while piece := list(itertools.islice(objects, piece_rows)):
        index = [number - 1 for number, _ in piece]
        cells = {
            name: pd.Series([_mend(row.get(key)) for _, row in piece], index=index, dtype=object)
            for key, name in zip(keys, names, strict=True)
        }
        yield pd.DataFrame(cells, index=index)


def _mend(cell):
    """Return a text with half an emoji (JSON can write one, UTF-8 cannot) replaced by U+FFFD; anything else as it is."""
    if isinstance(cell, str) and not cell.isascii():
        return cell.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return cell


def frame_of_arrow(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table with every cell as text: labels of the Hub by their names, whole numbers without a point.
    Lists and objects stay what they are. What pandas stored of its own index is left out."""
    features = datasets.Features.from_arrow_schema(table.schema)
    columns = {}
    for name in table.column_names:
        if not re.fullmatch(r"__index_level_\d+__", name):
            columns[name] = _column_of_arrow(table.column(name), features.get(name))
    rows = pd.DataFrame(columns, index=range(len(table)))
    return rows.set_axis(name_columns(rows.columns), axis=1)


def _column_of_arrow(column: pa.ChunkedArray, feature) -> pd.Series:
    inner = getattr(feature, "feature", None)
    if isinstance(feature, datasets.ClassLabel):  # -1 says that the label is kept secret
        return pd.Series(
            [feature.names[i] if i is not None and i >= 0 else "" for i in column.to_pylist()], dtype=object
        )
    if isinstance(inner, datasets.ClassLabel):
        lists = column.to_pylist()
        return pd.Series([v and [inner.names[i] for i in v] for v in lists], dtype=object)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return pd.Series(column.to_pylist(), dtype=object)
    if pa.types.is_floating(column.type):
        values = [
            None if v is None or v != v else str(int(v)) if v.is_integer() else str(v) for v in column.to_pylist()
        ]
        return pd.Series(values, dtype=object)
    return column.cast(pa.large_string()).to_pandas()


def read_parquet_pieces(file, piece_rows: int) -> Iterator[pd.DataFrame]:
    """Yield the rows of a parquet file (a path, or bytes in memory), at most `piece_rows` at a time, in its order."""
    done = 0
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(batch_size=piece_rows):
            rows = frame_of_arrow(pa.Table.from_batches([batch], parquet.schema_arrow))
            rows.index = pd.RangeIndex(done, done + len(rows))
            done += len(rows)
            yield rows


def split_cell(cell) -> list[str] | None:
    """Return the labels in a cell that is a list, or that is written as one: ['joy', 'love'], [0, 3], {"choices": […]};
    None for a cell that is neither. Blanks are cut off, and what is missing is ""."""
    if isinstance(cell, dict) and list(cell) == ["choices"]:
        cell = cell["choices"]
    if isinstance(cell, str):
        cell = _read_list(cell.strip())
    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    if isinstance(cell, list | tuple | set):
        nested = any(isinstance(part, list | tuple | dict) for part in cell)
        return None if nested else ["" if part is None or part != part else str(part).strip() for part in cell]
    return None


def _read_list(cell: str):
    """Return what a text in brackets lists; None for any other text."""
    if len(cell) < 2 or cell[0] + cell[-1] not in ("[]", "()", "{}"):
        return None
    inside = cell[1:-1].strip()
    if cell.startswith("{") and re.match(r"""["']choices["']\s*:""", inside):
        return _read_list(inside.partition(":")[2].strip())
    if not inside:
        return [] if cell == "[]" else None
    quoted = re.findall(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", inside)
    if quoted:  # one by one: numpy writes ['joy' 'love'], which Python reads as 'joylove'
        rest = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "", inside)
        return [ast.literal_eval(part) for part in quoted] if not rest.replace(",", "").strip() else None
    if cell[0] != "[":
        return None  # (so happy) and {x} are words
    return [part.strip() for part in inside.split(",") if part.strip()] if "," in inside else inside.split()
