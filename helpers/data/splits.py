"""Splits without a leak: what is missing is carved out of train, what leaks is held out anew. Notebook 03, section 2."""

from dataclasses import replace

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict, concatenate_datasets

from helpers.data.corpus import LoadedData
from helpers.data.duplicates import find_parts, normalise, share_of_parts
from helpers.data.tables import Table
from helpers.exceptions import DataError


def carve_missing_splits(tables: dict[str, Table], text_column: str, label_columns: list[str], seed: int) -> list[str]:
    """Carve validation and test out of train where they are missing (10 % of it each time); return what was done."""
    notes = []
    for name in [name for name in ("validation", "test") if name not in tables]:
        train, too_few = tables["train"], f"{tables['train'].source} has too few texts"
        if train.rows[text_column].map(normalise).nunique() < 10:
            raise DataError(f"{too_few} to set some aside as {name}: add rows, or a {name} file.")
        held_out = _hold_out(train.rows, text_column, label_columns, share=0.1, seed=seed)
        if not held_out.any():
            raise DataError(f"{too_few} per label to set some aside as {name}: add a {name} file.")
        part = f"{train.source} ({name} part)"
        tables[name] = replace(train, rows=train.rows[held_out].reset_index(drop=True), source=part)
        tables["train"] = replace(train, rows=train.rows[~held_out].reset_index(drop=True))
        notes.append(f"There is no {name} split: {held_out.sum():,} rows of train were set aside for it (seed {seed}).")
    return notes


def _hold_out(rows: pd.DataFrame, text_column: str, label_columns: list[str], share: float, seed: int) -> np.ndarray:
    """Return a mask over `rows`: about `share` of them, label ratios kept, equal texts on the same side."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    groups = pd.factorize(rows[text_column].map(normalise))[0]
    first_rows = rows[label_columns].groupby(groups).first()
    flags = pd.get_dummies(first_rows.iloc[:, 0]) if len(label_columns) == 1 else first_rows.astype(float).astype(int)
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    _, chosen = next(splitter.split(flags.to_numpy(), flags.to_numpy().astype(int)))
    return np.isin(groups, chosen)


def leak_of_a_random_split(texts, *, share: float = 0.1, seed: int = 0) -> float:
    """Return which share of a random holdout, `share` of the texts, equals or is part of a text that is kept."""
    texts = np.array(list(texts), dtype=object)
    held_out = np.random.default_rng(seed).permutation(len(texts)) < share * len(texts)
    return share_of_parts(texts[held_out], texts[~held_out])


def hold_out_whole_texts(rows: Dataset, *, share: float = 0.1, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Return (kept, held out): `share` of the texts that are part of no other, and no part of them among the kept. For
    corpora like SST-2, whose rows are phrases and the sentences they were cut from: sentences are held out, and every
    phrase that occurs in one of them is in neither."""
    texts = list(rows["text"])
    keys = [normalise(text) for text in texts]
    containing = find_parts(texts, texts)
    whole = [row for row, found in enumerate(containing) if all(keys[other] == keys[row] for other in found)]
    chosen = np.random.default_rng(seed).permutation(sorted({keys[row] for row in whole}))
    chosen = set(chosen[: max(1, round(share * len(chosen)))].tolist())
    held_out = [row for row in whole if keys[row] in chosen]
    inside = find_parts(texts, [texts[row] for row in held_out])
    return rows.select([row for row, found in enumerate(inside) if not found]), rows.select(held_out)


def replace_leaking_test(data: LoadedData, *, allowed: float = 0.05, seed: int = 0) -> LoadedData:
    """Return `data` with train and test divided anew by whole texts, if more than `allowed` of test is part of a
    training text; else unchanged. A note says what was done."""
    train, test = data.splits["train"], data.splits["test"]
    leak = share_of_parts(test["text"], train["text"])
    if leak <= allowed:
        return data
    kept, held_out = hold_out_whole_texts(concatenate_datasets([train, test]), seed=seed)
    note = f"{leak:.0%} of test was part of a training text: {len(held_out):,} whole texts are held out instead."
    splits = DatasetDict({**data.splits, "train": kept, "test": held_out})
    return replace(data, splits=splits, notes=[*data.notes, note])
