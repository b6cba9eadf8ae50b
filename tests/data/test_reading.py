"""Two readers of one file agree; the line before training; datasets of several configurations; files that are only scored."""

import csv
import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from corpus_of_files import ROWS, hub_parquet, labelled, plain, table
from datasets import disable_progress_bars
from hypothesis import given, settings
from hypothesis import strategies as st
from standin_hub import StandInHub

from helpers.assets.find import split_config
from helpers.data import delimited
from helpers.data.corpus import describe, take_examples
from helpers.data.load import load_data, load_scored
from helpers.exceptions import DataError, shorten
from helpers.files import ROOT
from helpers.models.batches import describe_cut
from helpers.training.loop import say_cut

CELLS = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from('",\n\r\t;\\ '), max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS.map(lambda cell: "x" + cell), CELLS, CELLS), min_size=1, max_size=25),
    separator=st.sampled_from([",", "\t"]), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    piece_rows=st.sampled_from([1, 7, 1000]),
)  # fmt: skip
def test_the_fast_and_the_slow_reader_give_back_what_was_written(
    tmp_path_factory, rows, separator, quoting, piece_rows
):
    path = tmp_path_factory.mktemp("csv") / ("any.csv" if separator == "," else "any.tsv")
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator, quoting=quoting).writerows([("number", "text", "label"), *rows])
    layout = delimited.find_layout(path)
    assert (layout.separator, layout.count.rows, layout.count.is_even) == (separator, len(rows), True)
    fast = pd.concat(delimited.read_pieces(path, layout, piece_rows))
    slow = pd.concat(delimited._read_slowly(path, layout, piece_rows, 0))
    assert list(fast.itertuples(index=False, name=None)) == rows
    pd.testing.assert_frame_equal(fast, slow, check_index_type=False, check_dtype=False)


def test_a_row_longer_than_the_fast_reader_takes_is_read_and_none_twice(tmp_path):
    rows = [(f"text {i} " + ("x" * 3_000_000 if i == 30 else ""), label) for i, (_, label) in enumerate(ROWS)]
    (tmp_path / "long.csv").write_text(table(rows))
    layout = delimited.find_layout(tmp_path / "long.csv")
    found = pd.concat(delimited.read_pieces(tmp_path / "long.csv", layout, 7))
    assert list(found["text"]) == [text for text, _ in rows] and list(found.index) == list(range(40))


def test_the_line_before_training_counts_rows_and_classes(tmp_path):
    (tmp_path / "mine.csv").write_text(table() + "\n\n")
    data = load_data(str(tmp_path / "mine.csv"))
    assert describe(data) == (
        "40 of 42 rows (2 blank) · text 'text', label 'label' · one label per text, in train: anger 16, joy 16"
    )
    assert describe(take_examples(data, 10)).endswith("in train: anger 5, joy 5")


def test_the_line_names_no_more_labels_than_fit(tmp_path):
    (tmp_path / "many.csv").write_text(plain([(f"text {i}", f"l{i % 40:02}") for i in range(1200)]))
    line = describe(load_data(str(tmp_path / "many.csv")))
    assert "l29 2" in line and line.endswith(", and 10 more") and "l30" not in line


@pytest.mark.parametrize(
    ("cut", "says"), [(0, None), (1, None), (2, "2 of 100 texts (2%) lose what is beyond 128 tokens")]
)
def test_texts_that_lose_their_end_are_said_above_one_percent(cut, says):
    note = describe_cut(cut, 100, 128)
    assert note is None if says is None else note == f"{says}."


def test_what_is_cut_is_said_once(capsys):
    for _ in range(2):
        say_cut(31, 217, 24)
    assert (
        capsys.readouterr().out.count(
            "Training: 31 of 217 texts (14%) lose what is beyond 24 tokens. A larger max_length"
        )
        == 1
    )


# Only scored ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        (plain(ROWS[:8]), {"anger": 4, "joy": 4}), (plain(ROWS[:1]), {"joy": 1}),
        (plain([*ROWS[:7], ("one more", "anger")]), {"anger": 4, "joy": 4}), (table() + "\n", {"anger": 20, "joy": 20}),
    ],
)  # fmt: skip
def test_a_file_that_is_only_scored_is_scored_whole(tmp_path, content, counts):
    (tmp_path / "mine.csv").write_text(content)
    data = load_scored(str(tmp_path / "mine.csv"), ["joy", "anger", "fear"])
    found = [data.label_names[label] for label in data.splits["test"]["label"]]
    assert list(data.splits) == ["test"] and {name: found.count(name) for name in counts} == counts
    assert data.notes == [f"Scored: all {sum(counts.values())} rows of mine.csv."]


def test_of_a_folder_the_split_that_is_asked_for_is_scored(tmp_path):
    for name, rows in (("train", ROWS), ("dev", ROWS[:6]), ("test", ROWS[:4])):
        (tmp_path / f"{name}.csv").write_text(plain(rows))
    sizes = {
        split: len(load_scored(str(tmp_path), ["anger", "joy"], split=split).splits["test"])
        for split in ("train", "validation", "test", "all")
    }
    assert sizes == {"train": 40, "validation": 6, "test": 4, "all": 50}
    (tmp_path / "dev.csv").unlink()
    with pytest.raises(DataError, match="has no validation split: it has train, test"):
        load_scored(str(tmp_path), ["anger", "joy"], split="validation")


def test_a_scored_file_may_name_the_models_labels_as_columns(tmp_path):
    (tmp_path / "flags.csv").write_text(plain([("one", 1, 0), ("two", 1, 1)], "text,joy,anger"))
    data = load_scored(str(tmp_path / "flags.csv"), ["joy", "anger"])
    assert data.multilabel and data.splits["test"]["labels"][:] == [[1, 0], [1, 1]]


def test_several_labels_in_a_cell_are_those_of_the_model(tmp_path):
    (tmp_path / "cells.csv").write_text(labelled(['"joy, love"', "anger"]))
    data = load_scored(str(tmp_path / "cells.csv"), ["love", "joy", "anger"])
    assert data.label_names == ["love", "joy", "anger"] and data.splits["test"]["labels"][0] == [1, 1, 0]


def test_questions_are_not_scored(tmp_path):
    (tmp_path / "test.csv").write_text("text,label\nfirst,NONE\nsecond,NONE\n")
    with pytest.raises(DataError, match=r"test\.csv has no labels: its rows can be predicted, not scored"):
        load_scored(str(tmp_path / "test.csv"), ["anger", "joy"])


# Datasets of several configurations ----------------------------------------------------------------------------------

ASK = """
import sys
from helpers.data import describe, load_data
from helpers.exceptions import DataError
for name in sys.argv[1:]:
    try:
        print(describe(load_data(name)))
    except DataError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("owner/name:emotion", ("owner/name", "emotion")), ("owner/name", ("owner/name", None)),
        ("C:\\data\\x.csv", ("C:\\data\\x.csv", None)), ("moments", ("moments", None)), ("a:b", ("a:b", None)),
        ("/cache/hub/name:emotion", ("/cache/hub/name", "emotion")),
    ],
)  # fmt: skip
def test_a_configuration_is_named_behind_a_colon(name, parts):
    assert split_config(name) == parts


def test_one_configuration_of_several_is_chosen_and_the_error_lists_them(tmp_path):
    """20 s: three calls in a process of its own."""
    disable_progress_bars()
    names = ("emoji", "emotion")
    files = {
        f"{name}/train-00000-of-00001.parquet": hub_parquet(ROWS[: 20 * i]) for i, name in enumerate(names, start=1)
    }
    listed = [{"config_name": name, "data_files": [{"split": "train", "path": f"{name}/train-*"}]} for name in names]
    files["README.md"] = f"---\n{json.dumps({'configs': listed})}\n---\n".encode()
    with StandInHub(filled=False) as hub:
        hub.add("datasets", "owner/tweeteval", files)
        environment = os.environ | hub.environment(tmp_path) | {"PYTHONPATH": str(ROOT)}
        asked = ["owner/tweeteval", "owner/tweeteval:irony", "owner/tweeteval:emotion"]
        done = subprocess.run([sys.executable, "-c", ASK, *asked], env=environment, capture_output=True, text=True)
    has = "owner/tweeteval has the configurations emoji, emotion"
    assert done.stdout.splitlines() == [
        f"{has}: name one as owner/tweeteval:emoji.",
        f"{has}, not 'irony': name one as owner/tweeteval:emoji.",
        "40 of 40 rows · text 'text', label 'label' · one label per text, in train: anger 16, joy 16",
    ], done.stderr


def test_a_long_value_is_shortened_in_its_middle():
    assert shorten("short\nvalue") == "short value"
    assert shorten("a" * 50 + "b" * 50, 30) == "a" * 19 + "…" + "b" * 10
