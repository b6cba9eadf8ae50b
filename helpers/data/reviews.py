"""Movie-review snippets with every rating that 15 to 29 people gave each of them: a sentiment corpus that knows its doubts.
Hutto & Gilbert, *VADER* (ICWSM 2014), from the source archive of the package vaderSentiment (MIT licence); the snippets
are those of Pang & Lee (2005), and hence of SST. Never train on one of the two and test on the other. Taught in notebook 03."""

import hashlib
import html
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.assets.find import find_dataset
from helpers.data.corpus import LoadedData
from helpers.data.duplicates import group_parts
from helpers.data.tables import SPLITS
from helpers.exceptions import DataError

FOLDER = "hutto_ICWSM_2014"
ARCHIVE = f"{FOLDER}.tar.gz"  # a file of this name is read here, see `load_data`
CLEAR = 0.5  # a mean rating beyond this, on the scale from -4 to 4, is a label; what lies between is ambiguous


def load_ambiguous(dataset: str = "movie-reviews") -> pd.DataFrame:
    """Return the snippets that the raters did not decide: no label, in none of the splits, a probe for overconfidence."""
    return read_review_splits(Path(find_dataset(dataset).location))["ambiguous"]


def read_review_splits(archive: Path) -> dict[str, pd.DataFrame]:
    """Return train, validation, test (60, 20 and 20 %) and `ambiguous`, each with the columns of `read_reviews`. The split
    depends on the snippets' numbers alone. Groups (see `group_parts`) stay on one side; a group with an ambiguous member
    goes to test, so that nothing in the probe set was met in training either."""
    reviews = read_reviews(archive)
    group = group_parts(reviews["text"])
    place = reviews["snippet"].groupby(group).transform("min").map(_place_of)
    ambiguous = reviews["label"] == "ambiguous"
    conditions = [ambiguous, ambiguous.groupby(group).transform("any"), place < 0.6, place < 0.8]
    split = np.select(conditions, ["ambiguous", "test", "train", "validation"], "test")
    return {name: reviews[split == name].reset_index(drop=True) for name in (*SPLITS, "ambiguous")}


def read_reviews(archive: Path) -> pd.DataFrame:
    """Return every snippet's text, label, mean_rating, rating_sd, ratings (a JSON list) and snippet (its number).
    Raises `DataError` when the archive is damaged, or its two files do not speak of the same snippets."""
    try:
        with tarfile.open(archive) as files:
            texts = _read_rows(files, "movieReviewSnippets_GroundTruth.txt", columns=3)
            rated = _read_rows(files, "movieReviewSnippets_anonDataRatings.txt", columns=4)
        ratings = [json.loads(row[3]) for row in rated]
    except (OSError, EOFError, KeyError, ValueError, tarfile.TarError) as error:
        remedy = "delete data/cache/vaderSentiment and run `python -m helpers fetch` again."
        raise DataError(f"{archive.name} could not be read ({error}): {remedy}") from error
    if [row[0] for row in texts] != [row[0] for row in rated]:
        raise DataError(f"{archive.name}: texts and ratings are not of the same snippets: fetch it again.")
    mean = np.array([np.mean(row) for row in ratings])
    columns = {
        "text": [" ".join(html.unescape(row[2]).split()) for row in texts],
        "label": np.select([mean > CLEAR, mean < -CLEAR], ["positive", "negative"], "ambiguous"),
        "mean_rating": mean.round(3),
        "rating_sd": [round(float(np.std(row)), 3) for row in ratings],
        "ratings": [json.dumps(row) for row in ratings],
        "snippet": [int(row[0]) for row in texts],
    }
    return pd.DataFrame(columns)


def _read_rows(files: tarfile.TarFile, name: str, columns: int) -> list[list[str]]:
    lines = files.extractfile(f"{FOLDER}/{name}").read().decode("utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    if any(len(row) != columns for row in rows):
        raise ValueError(f"{name} has lines without {columns} cells")
    return rows


def _place_of(snippet: int) -> float:
    """Return a fixed number between 0 and 1 that looks random but is the same on every machine, for ever."""
    return int.from_bytes(hashlib.sha256(str(snippet).encode()).digest()[:4]) / 2**32


def list_mean_ratings(corpus: LoadedData, ambiguous: pd.DataFrame) -> np.ndarray:
    """Return the mean rating of every snippet: those of the corpus's splits, and the ambiguous ones."""
    tables = [*corpus.splits.values(), ambiguous]
    return np.concatenate([np.array(table["mean_rating"], dtype=float) for table in tables])


def agreement(ratings, labels) -> np.ndarray:
    """Return the share of raters on the label's side, between 0 and 1, per text `(rows,)`; a rating of 0 counts half.
    `ratings` are JSON lists as in the column of that name, `labels` 1 for positive and 0 for negative."""
    sides = [np.sign(json.loads(row)) * (1 if label else -1) for row, label in zip(ratings, labels, strict=True)]
    return np.array([((side + 1) / 2).mean() for side in sides])


def group_agreement(agreed: np.ndarray) -> dict[str, np.ndarray]:
    """Return masks `(rows,)` by how many raters are on the label's side, from `agreement`; the names say how many."""
    bounds = {"less than 80 %": (0, 0.8), "80 to 90 %": (0.8, 0.9), "90 % or more": (0.9, 1)}
    groups = {"all raters": agreed == 1}
    return groups | {name: (low <= agreed) & (agreed < high) for name, (low, high) in reversed(bounds.items())}


def single_rater_accuracy(ratings) -> float:
    """Return how often one rater takes the side of all the others: the accuracy of a human judge, for comparison.
    Each rater is left out of the mean that he or she is compared with. A rating of 0 is a coin toss, and counts half."""
    hits = []
    for row in ratings:
        values = np.array(json.loads(row), dtype=float)
        others = (values.sum() - values) / (len(values) - 1)
        decided = others != 0
        hits.extend((np.sign(values) * np.sign(others))[decided] / 2 + 0.5)
    return float(np.mean(hits))
