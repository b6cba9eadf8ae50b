"""Texts that are part of other texts: the leak that equal-text checks miss.

Taught in notebook 03, section 2.
"""

from collections import defaultdict

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict, concatenate_datasets

from helpers.data.load import LoadedData, normalise


def find_parts(texts, among) -> list[list[int]]:
    """Return for each of `texts` the rows of `among` that equal or contain it. Case, punctuation and spaces do not
    count, and a part is a run of whole words.
    """
    keys = [f" {normalise(text)} " for text in among]
    rows_with = defaultdict(list)
    for row, key in enumerate(keys):
        for word in set(key.split()):
            rows_with[word].append(row)
    found = []
    for text in texts:
        key = f" {normalise(text)} "
        rarest = min((rows_with.get(word, []) for word in set(key.split())), key=len)  # only these can contain the text
        found.append([row for row in rarest if key in keys[row]])
    return found


def group_parts(texts) -> np.ndarray:
    """Return a group number per text `(rows,)`: texts that equal, or are part of, one another share a group.

    Groups join up: if a short text is part of two long ones, all three belong together.
    """
    texts = list(texts)
    parent = np.arange(len(texts))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    for row, containing in enumerate(find_parts(texts, texts)):
        for other in containing:
            parent[root(other)] = root(row)
    return pd.factorize(np.array([root(row) for row in range(len(texts))], dtype=int))[0]


def leak_of_a_random_split(texts, *, share: float = 0.1, seed: int = 0) -> float:
    """Return which share of a random holdout, `share` of the texts, equals or is part of a text that is kept."""
    texts = list(texts)
    held_out = np.random.default_rng(seed).permutation(len(texts)) < share * len(texts)
    kept = [text for text, out in zip(texts, held_out, strict=True) if not out]
    parts = find_parts([text for text, out in zip(texts, held_out, strict=True) if out], kept)
    return float(np.mean([bool(rows) for rows in parts]))


def hold_out_whole_texts(rows: Dataset, *, share: float = 0.1, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Return (kept, held out): `share` of the texts that are part of no other, and no part of them among the kept.

    For corpora like SST-2, whose rows are phrases and the sentences they were cut from: sentences are held out, and
    every phrase that occurs in one of them is dropped. What is dropped is in neither.
    """
    texts = list(rows["text"])
    keys = [normalise(text) for text in texts]
    whole = [
        row for row, found in enumerate(find_parts(texts, texts)) if all(keys[other] == keys[row] for other in found)
    ]
    chosen = np.random.default_rng(seed).permutation(sorted({keys[row] for row in whole}))
    chosen = set(chosen[: max(1, round(share * len(chosen)))].tolist())
    held_out = [row for row in whole if keys[row] in chosen]
    inside = find_parts(texts, [texts[row] for row in held_out])
    return rows.select([row for row, found in enumerate(inside) if not found]), rows.select(held_out)


def replace_leaking_test(data: LoadedData, *, allowed: float = 0.05, seed: int = 0) -> LoadedData:
    """Return `data` with train and test divided anew by whole texts, if more than `allowed` of test is part of a
    training text; else unchanged. A note says what was done."""
    train, test = data.splits["train"], data.splits["test"]
    leak = float(np.mean([bool(rows) for rows in find_parts(test["text"], train["text"])]))
    if leak <= allowed:
        return data
    kept, held_out = hold_out_whole_texts(concatenate_datasets([train, test]), seed=seed)
    note = f"{leak:.0%} of test was part of a training text: {len(held_out):,} whole texts are held out instead."
    splits = DatasetDict({**data.splits, "train": kept, "test": held_out})
    return LoadedData(splits, data.label_names, data.multilabel, [*data.notes, note])
