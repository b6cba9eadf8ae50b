"""Texts that equal, or are part of, other texts: the leak that makes every score too good. Notebooks 00 and 03."""

import unicodedata
from collections import defaultdict
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
from datasets import Dataset
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def normalise(text: str) -> str:
    """Return `text` without case, punctuation and extra spaces: what makes two texts duplicates of each other.
    Letters, digits, combining marks and emoji stay; é is one letter, also where it is stored as e and an accent."""
    folded = unicodedata.normalize("NFC", text).casefold()
    kept = [c if c.isalnum() or unicodedata.category(c) in ("So", "Mn", "Mc") else " " for c in folded]
    return " ".join("".join(kept).split()) or text.strip()


def duplicate_report(splits) -> pd.DataFrame:
    """Return, for each split and each pair of splits (columns first, second), how many `texts` occur more than once,
    and how many of these with `conflicting` labels. Case, punctuation and spaces do not count. `splits` maps names to
    tables with `text` and label columns; a `DatasetDict` of `load_data` will do."""
    seen = {}
    for name, split in splits.items():
        table = split.to_pandas() if isinstance(split, Dataset) else split
        columns = [c for c in ("label", "labels") if c in table.columns] or [c for c in table.columns if c != "text"]
        labels = [str(tuple(map(str, row))) for row in table[columns].itertuples(index=False)]
        keys = table["text"].map(normalise)
        seen[name] = pd.Series(labels, dtype=object).groupby(keys.to_numpy()).agg(["size", set])
    rows = []
    for first, second in combinations_with_replacement(seen, 2):
        if first == second:
            labels = seen[first]["set"][seen[first]["size"] > 1]
        else:
            both = seen[first].merge(seen[second], left_index=True, right_index=True, suffixes=("_1", "_2"))
            labels = [a | b for a, b in zip(both["set_1"], both["set_2"], strict=True)]
        rows.append((first, second, len(labels), sum(len(of_one_text) > 1 for of_one_text in labels)))
    return pd.DataFrame(rows, columns=["first", "second", "texts", "conflicting"])


def duplicate_notes(splits) -> list[str]:
    """Return a sentence for each row of `duplicate_report` that counts something."""
    notes = []
    for row in duplicate_report(splits).query("texts > 0").itertuples():
        count = "1 text occurs" if row.texts == 1 else f"{row.texts:,} texts occur"
        within = row.first == row.second
        where = f"more than once in {row.first}" if within else f"both in {row.first} and in {row.second}"
        notes.append(f"Warning: {count} {where}, {row.conflicting:,} of them with conflicting labels.")
    return notes


def find_parts(texts, among) -> list[list[int]]:
    """Return for each of `texts` the rows of `among` that equal or contain it. Case, punctuation and spaces do not
    count, and a part is a run of whole words."""
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


def share_of_parts(texts, among) -> float:
    """Return which share of `texts` equal, or are part of, one of `among`: see `find_parts`."""
    return float(np.mean([bool(rows) for rows in find_parts(texts, among)]))


def group_parts(texts) -> np.ndarray:
    """Return a group number per text `(rows,)`: texts that equal, or are part of, one another share a group.
    Groups join up: if a short text is part of two long ones, all three belong together."""
    texts = list(texts)
    pairs = [(row, other) for row, containing in enumerate(find_parts(texts, texts)) for other in containing]
    rows, others = np.array(pairs, dtype=int).reshape(-1, 2).T
    links = coo_array((np.ones(len(pairs)), (rows, others)), shape=(len(texts), len(texts)))
    return connected_components(links, directed=False)[1]
