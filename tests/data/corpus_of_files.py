"""The corpus of files: how people really write data, and what each comes to. `python tests/data/corpus_of_files.py` makes all
of them and prints the table; `test_corpus_of_files.py` compares it with what is expected here."""

import gzip
import io
import json
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import pandas as pd

from helpers.data.load import load_data, read_text_chunks
from helpers.data.tables import find_kind
from helpers.exceptions import PlainError

datasets.disable_progress_bars()
ROWS = [(f"text number {i} about things", ("joy", "anger")[i % 2]) for i in range(40)]
TWO = {"anger": 20, "joy": 20}


@dataclass
class Entry:
    """One file or folder of the corpus: `make` writes it and returns its path; `expected` is the number of rows per label,
    or the sentence that refuses it. `sizes` are those of the splits that have files, `notes` what is said of it.
    `predicted` is the number of rows that `predict` reads, or None where it is not asked."""

    name: str
    make: Callable[[Path], Path]
    expected: dict | str
    options: dict = field(default_factory=dict)
    sizes: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    predicted: int | str | None = None


ENTRIES: list[Entry] = []


def add(name: str, content, expected, *, predicted="same", **more) -> None:
    """Add a file of this content (text, bytes, or a function that writes to the path), or a folder of several (a dict).
    Unless it is said otherwise, `predict` reads as many rows as training, or refuses with the same sentence."""

    def make(folder: Path) -> Path:
        path = folder / name
        for file, inside in content.items() if isinstance(content, dict) else [(None, content)]:
            target = path / file if file else path
            target.parent.mkdir(parents=True, exist_ok=True)
            if callable(inside):
                inside(target)
            else:
                target.write_bytes(inside if isinstance(inside, bytes) else inside.encode())
        return path

    if predicted == "same" and (isinstance(content, dict) or find_kind(Path(name)) is None):
        predicted = None
    ENTRIES.append(Entry(name, make, expected, predicted=predicted, **more))


# Writers -------------------------------------------------------------------------------------------------------------


def table(rows=ROWS, head="text,label", separator=",", end="\n", quote='"') -> str:
    lines = [
        head.replace(",", separator),
        *(separator.join([f"{quote}{row[0]}{quote}", *map(str, row[1:])]) for row in rows),
    ]
    return end.join(lines) + end


def plain(rows=ROWS, head="text,label", separator=",", **more) -> str:
    return table(rows, head, separator, quote="", **more)


def labelled(labels: list, head="text,label", separator=",") -> str:
    """The forty texts, with these labels in turn."""
    return plain([(text, labels[i % len(labels)]) for i, (text, _) in enumerate(ROWS)], head, separator)


def quoted(labels: list) -> str:
    return labelled(['"' + str(label).replace('"', '""') + '"' for label in labels])


def objects(rows=ROWS, **changes) -> list[dict]:
    return [{"text": text, "label": label} | changes for text, label in rows]


def jsonl(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def frame(cells: list | None = None, **columns) -> pd.DataFrame:
    cells = cells or ["joy", "anger"]
    given = {"text": [text for text, _ in ROWS], "label": [cells[i % len(cells)] for i in range(40)]} | columns
    return pd.DataFrame({name: values for name, values in given.items() if values is not None})


def parquet(rows: pd.DataFrame | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    (frame() if rows is None else rows).to_parquet(buffer, **options)
    return buffer.getvalue()


def workbook(sheets: dict[str, list[list]] | None = None) -> bytes:
    import openpyxl

    book, buffer = openpyxl.Workbook(), io.BytesIO()
    book.remove(book.active)
    for title, rows in (sheets or {"Sheet1": [["text", "label"], *map(list, ROWS)]}).items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(buffer)
    return buffer.getvalue()


def damage(book: bytes, part: str) -> bytes:
    """Return a workbook of which one part ends in its middle, in a whole archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[: len(content) // 2] if name == part else content)
    return buffer.getvalue()


def named_labels(rows=ROWS, unknown=False) -> datasets.Dataset:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["anger", "joy"])}
    )
    numbers = [-1 if unknown or label is None else int(label == "joy") for _, label in rows]
    return datasets.Dataset.from_dict({"text": [text for text, _ in rows], "label": numbers}, features=features)


def hub_parquet(rows=ROWS, unknown=False) -> bytes:
    buffer = io.BytesIO()
    named_labels(rows, unknown).to_parquet(buffer)
    return buffer.getvalue()


def questions(count=8, head="text", extra="") -> str:
    return head + "\n" + "".join(f"question number {i}{extra}\n" for i in range(count))


def other(count=8, **more) -> str:
    """A split of its own texts, so that none is a duplicate."""
    return plain([(f"other text {i}", label) for i, (_, label) in enumerate(ROWS[:count])], **more)


def pack(content) -> bytes:
    return gzip.compress(content if isinstance(content, bytes) else content.encode())


# What comes of them --------------------------------------------------------------------------------------------------


def outcome(entry: Entry, folder: Path):
    """Return what training would read: the rows per label, the sizes of the splits and the notes; or the sentence."""
    path = entry.make(folder)
    try:
        data = load_data(str(path), **entry.options)
    except PlainError as error:
        return str(error), {}, []
    counts = Counter()
    for split in data.splits.values():
        if data.multilabel:
            for row in split["labels"]:
                counts.update(name for name, on in zip(data.label_names, row, strict=True) if on)
        else:
            counts.update(data.label_names[label] for label in split["label"])
    return dict(sorted(counts.items())), dict(data.splits.num_rows), data.notes


def texts_to_predict(path: Path, chunk_rows: int = 7, text_column: str | None = None) -> list[str]:
    """Return the texts that `predict --file` would read, in their order; raises the same errors."""
    found = []
    for piece, column in read_text_chunks(path, text_column, chunk_rows):
        found += piece.rows[column].tolist()
    return found


def main() -> None:
    """Print the table: file, outcome, what is said of it."""
    import corpus_entries  # noqa: F401  fills ENTRIES

    entries = sys.modules["corpus_of_files"].ENTRIES
    for entry in entries:
        with tempfile.TemporaryDirectory() as folder:
            found, sizes, notes = outcome(entry, Path(folder))
        said = [note for note in notes if "set aside" not in note]
        result = found if isinstance(found, str) else ", ".join(f"{label} {count}" for label, count in found.items())
        rows = f"{sum(sizes.values())} rows: " if sizes else ""
        chosen = f" ({', '.join(f'{name}={value}' for name, value in entry.options.items())})" if entry.options else ""
        print(f"{entry.name}{chosen}\n    {rows}{result}" + "".join(f"\n    {note}" for note in said))
    print(f"{len(entries)} files and folders")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import corpus_of_files

    corpus_of_files.main()
