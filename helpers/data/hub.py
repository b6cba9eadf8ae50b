"""Datasets of the Hugging Face Hub, and folders that `datasets` itself wrote: typed columns, labels with names."""

import re
from pathlib import Path

import datasets

from helpers.assets.find import read_pinned, split_config
from helpers.assets.hub_errors import explain_hub_errors
from helpers.data.layouts import find_split
from helpers.data.records import frame_of_arrow
from helpers.data.tables import SPLITS, Table
from helpers.exceptions import DataError, shorten


def read_hub_tables(location: str, revision: str | None) -> dict[str, Table]:
    """Return the splits of a dataset on the Hub, `owner/name` or `owner/name:configuration`, its labels by name."""
    name, config = split_config(location)
    folder = read_pinned(name).get("folder")  # where a repository holds several datasets
    try:
        with explain_hub_errors(name):
            loaded = datasets.load_dataset(name, *filter(None, [config]), revision=revision, data_dir=folder)
    except ValueError as error:
        raise DataError(_explain(name, config, error)) from error
    return tables_of(loaded, location)


def _explain(name: str, config: str | None, error: ValueError) -> str:
    """Return a sentence that lists the configurations, where one is missing or unknown."""
    message = str(error)
    if not ("Config name is missing" in message or "BuilderConfig" in message):
        return (
            f"{shorten(name)} could not be read from the Hub ({shorten(message.splitlines()[0], 100)}): choose another."
        )
    listed = re.findall(r"'([^']+)'", message.partition("[")[2].partition("]")[0])
    has = f"{shorten(name)} has the configurations {shorten(', '.join(listed), 120)}"
    problem = f", not {shorten(config, 30)!r}" if config else ""
    return f"{has}{problem}: name one as {shorten(name)}:{shorten(listed[0], 30) if listed else 'NAME'}."


def read_saved_tables(folder: Path) -> dict[str, Table]:
    """Return the splits in a folder that `save_to_disk` wrote."""
    try:
        loaded = datasets.load_from_disk(str(folder))
    except (ValueError, OSError, KeyError) as error:
        raise DataError(f"{shorten(folder.name)} could not be read as a saved dataset: save it again.") from error
    return tables_of(loaded if isinstance(loaded, dict) else {"train": loaded}, shorten(folder.name))


def tables_of(loaded, name: str) -> dict[str, Table]:
    """Return a table for each split of a `DatasetDict`."""
    by_name = {find_split(split) or split: split for split in loaded}
    tables = {}
    for split in [split for split in SPLITS if split in by_name]:
        rows = frame_of_arrow(loaded[by_name[split]].with_format("arrow")[:])
        if len(rows):
            tables[split] = Table(rows, f"{name} ({by_name[split]})", first_line=0)
    if not tables:
        raise DataError(f"{shorten(name)} has no split called train: it has {shorten(', '.join(loaded), 120)}.")
    return tables
