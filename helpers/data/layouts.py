"""Which files of a folder are which split: as people and as tools name them."""

import re
from pathlib import Path

import pandas as pd

from helpers.data.tables import SPLITS, Table, find_kind, read_table
from helpers.exceptions import DataError, shorten
from helpers.files import read_json

NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing"),
}
SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")  # as the Hub numbers the parts of a split


def find_split(name: str) -> str | None:
    """Return which split is called `name`, whatever the case: "dev" is validation; None for any other name."""
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def read_folder(folder: Path) -> tuple[dict[str, Table], list[str]]:
    """Return the splits that a folder holds, and notes on names that had to be understood.
    Looked for are train.csv and its like, the Hub's data/train-00000-of-00001.parquet, and train/0000.parquet."""
    files, notes = find_files(folder)
    return {split: read_parts(found) for split, found in files.items()}, notes


def find_files(folder: Path, within: str = "") -> tuple[dict[str, list[Path]], list[str]]:
    """Return each split's files in `folder`, in their order, and notes. Raises `DataError` where no file is train."""
    seen = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "~$")))
    data = [path for path in seen if find_kind(path) and path.is_file()]
    files = {split: found for split in SPLITS if (found := _files_of(split, data, seen))}
    notes, shown = [], shorten(within or folder.name)
    for split in [split for split in SPLITS if split not in files]:
        part = [path for path in data if split in {find_split(word) for word in re.split(r"[\W_]+", _stem(path))}]
        taken = {path for found in files.values() for path in found}
        part = [path for path in part if path not in taken and "label" not in path.name.lower()]
        if part:
            files[split] = part
            notes.append(f"{shorten(part[0].name)} is taken for {split}.")
    if not files and len(data) == 1:
        files["train"] = data
        notes.append(f"{shorten(data[0].name)}, the only file of {shown}, is taken for train.")
    for split, found in files.items():
        _check_parts(shown, split, found)
    if not files:
        return _look_below(folder, seen, within)
    unread = [path.name for path in data if not any(path in found for found in files.values())]
    if unread:
        notes.append(f"Not read: {shorten(', '.join(unread), 120)}.")
    return {split: files[split] for split in SPLITS if split in files}, notes


def _look_below(folder: Path, seen: list[Path], within: str):
    """Look for the splits in the one folder below that has some; `data` comes first, as in the Hub's repositories."""
    below = [path for path in seen if path.is_dir()]
    found = {}
    for path in [] if within.count("/") > 2 else below:
        try:
            found[path.name] = find_files(path, f"{within or folder.name}/{path.name}")
        except DataError:
            continue
    found = {"data": found["data"]} if "data" in found else found
    if len(found) > 1:
        raise DataError(f"{shorten(folder)} holds several datasets ({shorten(', '.join(found), 80)}): name one folder.")
    if found:
        return next(iter(found.values()))
    if any(path.suffix == ".txt" for directory in below for path in directory.rglob("*.txt")):
        raise DataError(f"{shorten(folder, 90)} holds .txt files in folders: put them into one train.csv: text,label.")
    raise DataError(
        f"{shorten(folder, 100)} holds no train file: name it train.csv, .tsv, .jsonl, .json, .xlsx or .parquet (also with .gz)."
    )


def _stem(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return SHARD.sub("", name.removesuffix(f".{find_kind(path)}"))


def _files_of(split: str, data: list[Path], seen: list[Path]) -> list[Path]:
    """Return the files called like `split`, or those in a folder called so."""
    if files := [path for path in data if find_split(_stem(path)) == split]:
        return files
    folders = [path for path in seen if path.is_dir() and find_split(path.name.lower().partition(".")[0]) == split]
    parts = [
        [p for p in sorted(folder.iterdir()) if find_kind(p) and p.is_file() and p.name[0] not in "._"]
        for folder in folders
    ]
    parts = [found for found in parts if found and find_kind(found[0]) != "txt"]
    return parts[0] if len(parts) == 1 else []


def _check_parts(shown: str, split: str, found: list[Path]) -> None:
    """Refuse two files for one split, unless they are all the numbered parts of one."""
    if all(re.fullmatch(r"\d+|part-.*", _stem(path)) for path in found):
        return  # train/0000.parquet, train/0001.parquet
    numbers = [SHARD.search(re.sub(r"(\.\w+)?(\.gz)?$", "", path.name.lower())) for path in found]
    if all(numbers) and len({_stem(path) for path in found}) == 1:
        wanted = int(numbers[0][2])
        if {int(number[1]) for number in numbers} != set(range(wanted)) or len(found) != wanted:
            raise DataError(f"{shown} holds {len(found)} of the {wanted} parts of {split}: fetch the others.")
    elif len(found) > 1:
        names = f"{shorten(found[0].name)} and {shorten(found[1].name)}"
        raise DataError(f"{shown} holds {names}: keep only one file for {split}.")


def read_parts(files: list[Path]) -> Table:
    """Return the rows of a split's `files`, in their order."""
    tables = [read_table(path) for path in files]
    if len(tables) == 1:
        return tables[0]
    rows = pd.concat([table.rows for table in tables], ignore_index=True)
    source = f"{tables[0].source} and {len(tables) - 1} more"
    return Table(rows, source, tables[0].first_line, [note for table in tables for note in table.notes])


def is_saved_dataset(path: Path) -> bool:
    """Return whether `datasets.save_to_disk` wrote this folder."""
    if (path / "dataset_dict.json").is_file():
        return True
    state = path / "state.json"
    return state.is_file() and "_data_files" in read_json(state)
