import io
import json
import tarfile

import numpy as np
import pytest

from helpers.data.duplicates import normalise
from helpers.data.load import load_data
from helpers.data.reviews import (
    CLEAR,
    agreement,
    group_agreement,
    list_mean_ratings,
    load_ambiguous,
    read_review_splits,
    read_reviews,
    single_rater_accuracy,
)  # fmt: skip
from helpers.exceptions import DataError
from helpers.files import ROOT

ARCHIVE = ROOT / "data/cache/vaderSentiment/vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
needs_archive = pytest.mark.skipif(not ARCHIVE.exists(), reason="python -m helpers fetch brings the movie reviews")

SNIPPETS = [
    ("A fine film.", [2, 3, 1]),
    ("A fine film, &amp; a long one.", [2, 1, 1]),  # holds the first one
    ("Dull  as\u00a0dishwater.", [-2, -3, -2]),
    ("Neither here nor there.", [0, 1, -1]),
    ("It is neither here nor there!", [-1, -1, -2]),  # holds an ambiguous one
]


def write_archive(folder, snippets=SNIPPETS, *, drop_rating=False, bad_line=False):
    texts = [f"{i}\t{np.mean(r)}\t{t}" for i, (t, r) in enumerate(snippets, start=1)]
    rated = [f"{i}\t{np.mean(r)}\t{np.std(r)}\t{json.dumps(r)}" for i, (_, r) in enumerate(snippets, start=1)]
    rated = rated[1:] if drop_rating else rated
    texts = [*texts, "6\tno text"] if bad_line else texts
    path = folder / "hutto_ICWSM_2014.tar.gz"
    with tarfile.open(path, "w:gz") as files:
        for name, lines in (("GroundTruth", texts), ("anonDataRatings", rated)):
            content = "\r\n".join(lines).encode()
            member = tarfile.TarInfo(f"hutto_ICWSM_2014/movieReviewSnippets_{name}.txt")
            member.size = len(content)
            files.addfile(member, io.BytesIO(content))
    return path


def test_ratings_become_labels_and_texts_are_tidied(tmp_path):
    reviews = read_reviews(write_archive(tmp_path))
    assert reviews["label"].tolist() == ["positive", "positive", "negative", "ambiguous", "negative"]
    assert reviews["text"][1:3].tolist() == ["A fine film, & a long one.", "Dull as dishwater."]
    assert reviews["mean_rating"][0] == 2
    assert reviews["rating_sd"][0] == pytest.approx(0.816)
    assert json.loads(reviews["ratings"][0]) == [2, 3, 1]


@pytest.mark.parametrize("damage", [{"drop_rating": True}, {"bad_line": True}])
def test_a_damaged_archive_is_refused_in_a_sentence(tmp_path, damage):
    with pytest.raises(DataError, match=r"hutto_ICWSM_2014.tar.gz.*fetch"):
        read_reviews(write_archive(tmp_path, **damage))


def test_what_is_no_archive_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "hutto_ICWSM_2014.tar.gz").write_bytes(b"not a tar")
    with pytest.raises(DataError, match="fetch"):
        read_reviews(tmp_path / "hutto_ICWSM_2014.tar.gz")


def test_a_group_with_an_ambiguous_member_goes_to_test(tmp_path):
    splits = read_review_splits(write_archive(tmp_path))
    assert splits["ambiguous"]["snippet"].tolist() == [4]
    assert 5 in splits["test"]["snippet"].tolist()
    homes = {int(s): name for name, rows in splits.items() for s in rows["snippet"]}
    assert homes[1] == homes[2]
    assert sorted(homes) == [1, 2, 3, 4, 5]


def test_agreement_counts_undecided_raters_half():
    assert agreement(["[2, 1, 0, -1]", "[-1, -2]", "[1]"], [1, 0, 0]).tolist() == [0.625, 1, 0]


def test_every_text_is_in_one_group_of_agreement():
    groups = group_agreement(np.array([1.0, 0.5, 0.9, 0.8, 0.79, 0.99]))
    rows = {name: np.flatnonzero(mask).tolist() for name, mask in groups.items()}
    assert rows == {"all raters": [0], "90 % or more": [2, 5], "80 to 90 %": [3], "less than 80 %": [1, 4]}


def test_a_single_rater_is_compared_with_all_the_others():
    assert single_rater_accuracy(["[3, 2, 4]"]) == 1
    assert single_rater_accuracy(["[3, 3, -1]"]) == pytest.approx(2 / 3)
    assert single_rater_accuracy(["[3, 3, 0]"]) == pytest.approx((1 + 1 + 0.5) / 3)


@needs_archive
def test_the_real_reviews_load_by_name_with_fixed_splits():
    data = load_data("movie-reviews")
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 6071,
        "validation": 1921,
        "test": 2051,
    }
    assert data.label_names == ["negative", "positive"]
    assert len(load_ambiguous()) == 562
    raters = [len(json.loads(row)) for split in data.splits.values() for row in split["ratings"]]
    assert (min(raters), max(raters)) == (15, 29)


@needs_archive
def test_no_snippet_or_part_of_one_sits_on_two_sides():
    splits = read_review_splits(ARCHIVE)
    keys = {name: [f" {normalise(text)} " for text in rows["text"]] for name, rows in splits.items()}
    for name, others in (("train", ("validation", "test", "ambiguous")), ("validation", ("test", "ambiguous"))):
        here, there = "|".join(keys[name]), "|".join(key for other in others for key in keys[other])
        assert not [key for key in keys[name] if key in there]
        assert not [key for other in others for key in keys[other] if key in here]


def test_the_mean_ratings_of_all_snippets_are_listed_the_ambiguous_ones_too():
    means = list_mean_ratings(load_data("movie-reviews"), load_ambiguous("movie-reviews"))
    assert len(means) == 10_605
    assert (np.abs(means) <= CLEAR).sum() == 562
