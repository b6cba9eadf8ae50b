"""Every file of the corpus comes to the right counts, or to the sentence that is expected; nothing is lost on the way."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import corpus_entries  # noqa: F401  fills ENTRIES
import pytest
from corpus_of_files import ENTRIES, ROWS, outcome, texts_to_predict

from helpers.data.load import load_data
from helpers.exceptions import DataError

TEXTS = [text for text, _ in ROWS]
NAMES = [f"{entry.name[:40]}" for entry in ENTRIES]


def test_the_corpus_is_as_large_as_it_says_and_no_name_comes_twice():
    assert len(ENTRIES) >= 150
    assert len({(entry.name, str(entry.options)) for entry in ENTRIES}) == len(ENTRIES)


def is_one_sentence(message: str) -> bool:
    return len(message) <= 300 and "\n" not in message and message.endswith((".", "…"))


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_a_file_comes_to_the_right_counts_or_to_its_sentence(entry, tmp_path):
    found, sizes, notes = outcome(entry, tmp_path)
    if isinstance(entry.expected, str):
        assert isinstance(found, str), f"it was read: {found}"
        assert entry.expected in found and is_one_sentence(found)
        return
    assert found == dict(sorted(entry.expected.items())), notes
    assert {name: sizes[name] for name in entry.sizes} == entry.sizes
    assert set(entry.notes) <= set(notes)
    assert all(is_one_sentence(note) for note in notes)


TO_PREDICT = [entry for entry in ENTRIES if entry.predicted is not None]


@pytest.mark.parametrize("entry", TO_PREDICT, ids=[entry.name[:40] for entry in TO_PREDICT])
def test_predict_reads_every_row_in_its_order(entry, tmp_path):
    """In pieces of 7 rows as in one; the texts are those that training reads, in whatever order it splits them."""
    path, column = entry.make(tmp_path), entry.options.get("text_column")
    expected = entry.expected if entry.predicted == "same" else entry.predicted
    if isinstance(expected, str):
        with pytest.raises(DataError) as caught:
            texts_to_predict(path, text_column=column)
        assert expected in str(caught.value) and is_one_sentence(str(caught.value))
        return
    pieces = texts_to_predict(path, 7, column)
    assert pieces == texts_to_predict(path, 10_000, column)
    if entry.predicted == "same":
        data = load_data(str(path), **entry.options)
        trained = Counter(text for split in data.splits.values() for text in split["text"])
        assert Counter(pieces) == trained
    else:
        assert len(pieces) == entry.predicted
    if not entry.name.startswith("shuffled") and set(pieces) == set(TEXTS):
        assert pieces == TEXTS


def test_the_table_is_printed_by_one_command():
    command = [sys.executable, str(Path(__file__).with_name("corpus_of_files.py"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[:2] == ["plain.csv", "    40 rows: anger 20, joy 20"]
    assert done.stdout.splitlines()[-1] == f"{len(ENTRIES)} files and folders"
