"""The competition's layout, on made-up rows of the same form."""

import csv
from pathlib import Path

import numpy as np
import pytest

from helpers.data.columns import ELEVEN_EMOTIONS
from helpers.data.kaggle import check_like_sample, check_submission, read_questions, write_questions, write_submission
from helpers.data.load import load_data
from helpers.exceptions import DataError

NAMES = list(ELEVEN_EMOTIONS)
HEADER = ["ID", "Tweet", *NAMES]


def write_csv(path, rows, header=HEADER):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def write_competition(folder: Path) -> Path:
    """Make `folder` with a train.csv of 150 rows and a test.csv of nine without labels; return it."""
    folder.mkdir()
    write_csv(folder / "train.csv", train_rows(150))
    write_csv(folder / "test.csv", test_rows(9))
    return folder


def train_rows(count=120):
    draw = np.random.default_rng(0)
    labels = (draw.random((count, 11)) < 0.3).astype(int)
    return [[f"2017-{i:05d}", f'He said "no, {i}", twice\\nand left', *labels[i]] for i in range(count)]


def test_rows(count=6):
    return [[f"2018-{i * 7 % 100:05d}", f"question {i}", *["NONE"] * 11] for i in range(count)]


test_rows.__test__ = False


@pytest.fixture
def folder(tmp_path):
    write_csv(tmp_path / "train.csv", train_rows())
    write_csv(tmp_path / "test.csv", test_rows())
    return tmp_path


def test_a_competition_folder_is_read_as_it_is(folder):
    corpus = load_data(str(folder))
    assert corpus.label_names == NAMES and corpus.multilabel
    assert sum(len(split) for split in corpus.splits.values()) == 120, "no question among the rows"
    assert corpus.notes[0] == "test.csv has no labels (NONE): its 6 rows can be predicted, not scored."
    assert "set aside" in corpus.notes[1] and "set aside" in corpus.notes[2]
    assert corpus.splits["train"][0]["text"].startswith('He said "no, ')
    assert corpus.splits["train"].column_names[:2] == ["text", "labels"] and "ID" in corpus.splits["train"].column_names


def test_questions_keep_their_order(folder):
    questions = read_questions(folder, NAMES)
    assert questions.ids == [row[0] for row in test_rows()]
    assert questions.texts == [row[1] for row in test_rows()]


def test_a_test_file_with_labels_asks_nothing(folder):
    write_csv(folder / "test.csv", train_rows(30))
    assert read_questions(folder, NAMES) is None
    assert len(load_data(str(folder)).splits["test"]) == 30


def test_other_datasets_ask_nothing(tmp_path, folder):
    assert read_questions("moments", NAMES) is None
    (folder / "test.csv").unlink()
    assert read_questions(folder, NAMES) is None


def test_a_test_file_with_labels_in_cells_asks_nothing(tmp_path):
    rows = [[f"text {i}", ["joy;love", "love", "joy"][i % 3]] for i in range(30)]
    write_csv(tmp_path / "train.csv", rows, ["text", "mood"])
    write_csv(tmp_path / "test.csv", rows[:6], ["text", "mood"])
    assert read_questions(tmp_path, ["joy", "love"]) is None


@pytest.mark.parametrize(
    ("header", "end"),
    [
        ("id,Tweet,joy,love", ",NONE,NONE"),
        (" ID ,tweet,Joy,love", ",none,nan"),
        ("ID,Tweet", ""),
        ("id,review_text,joy,love", ",None,"),
        ("id,comment_text", ""),
    ],
)
@pytest.mark.parametrize("name", ["test.csv", "test.tsv"])
def test_questions_are_found_however_the_test_file_calls_its_columns(tmp_path, header, end, name):
    lines = [header, f"007,one{end}", f"008,{end}"]
    text = "\n".join(lines).replace(",", "\t" if name.endswith("tsv") else ",")
    (tmp_path / name).write_text(text)
    questions = read_questions(tmp_path, ["joy", "love"])
    assert (questions.ids, questions.texts, questions.source) == (["007", "008"], ["one", ""], name)
    path = write_submission(tmp_path / "submission.csv", questions, np.ones((2, 2)), ["joy", "love"])
    column = header.split(",")[0].strip()
    assert path.read_text() == f"{column},joy,love\n007,1,1\n008,1,1\n"
    (tmp_path / "sample_submission.csv").write_text(f"{column},joy,love\n007,0,0\n008,0,0\n")
    assert check_like_sample(path, tmp_path / "sample_submission.csv").startswith("Like sample_submission.csv")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("number,Tweet", r"no column 'ID' \(it has number, Tweet\): a submission names its rows by it, add one"),
        ("ID,one,two", r"no column 'text' \(it has ID, one, two\): call its texts so"),
    ],
)
def test_a_test_file_that_cannot_be_answered_is_refused(tmp_path, header, message):
    write_csv(tmp_path / "test.csv", [["1", "a", "b"][: header.count(",") + 1]], header.split(","))
    (tmp_path / "sample_submission.csv").write_text("number,joy,love\n1,0,0\n")
    with pytest.raises(DataError, match=message):
        read_questions(tmp_path, ["joy", "love"])


def test_where_nothing_asks_for_ids_rows_are_numbered_and_texts_found_by_their_own_name(tmp_path):
    write_csv(tmp_path / "test.csv", [["ann", "one", "NONE"], ["ben", "two", "NONE"]], ["author", "said", "joy"])
    questions = read_questions(tmp_path, ["joy"], "said")
    assert (questions.ids, questions.texts, questions.id_column) == (["1", "2"], ["one", "two"], "ID")


def test_an_id_with_a_carriage_return_is_answered(tmp_path):
    write_csv(tmp_path / "test.csv", [["a\r1", "text"], ["b", "text"]], ["ID", "Tweet"])
    questions = read_questions(tmp_path, ["joy", "love"])
    assert questions.ids == ["a\r1", "b"]
    path = write_submission(tmp_path / "submission.csv", questions, np.ones((2, 2)), ["joy", "love"])
    assert check_submission(path, questions, ["joy", "love"]).startswith("submission.csv: 2 rows")


def test_half_labelled_tests_are_refused_with_the_row(folder):
    rows = test_rows()
    rows[0][2:] = [0] * 11
    write_csv(folder / "test.csv", rows)
    with pytest.raises(DataError, match=r"test\.csv, row 3: 'anger' is 'NONE', but must be 0 or 1"):
        load_data(str(folder))


def test_none_among_the_training_labels_is_refused_with_the_row(folder):
    rows = train_rows()
    rows[4][5] = "NONE"
    write_csv(folder / "train.csv", rows)
    with pytest.raises(DataError, match=r"train\.csv, row 6: 'fear' is 'NONE'"):
        load_data(str(folder))


def test_duplicate_ids_are_refused_with_the_row(folder):
    rows = train_rows()
    write_csv(folder / "train.csv", [*rows, rows[3]])
    with pytest.raises(DataError, match=r"train\.csv, row 122: the ID '2017-00003' occurs a second time"):
        load_data(str(folder))
    write_csv(folder / "test.csv", [*test_rows(), test_rows()[1]])
    with pytest.raises(DataError, match=r"test\.csv, row 8: the ID '2018-00007' occurs a second time"):
        read_questions(folder, NAMES)


def test_an_empty_id_is_refused(folder):
    rows = test_rows()
    rows[2][0] = " "
    write_csv(folder / "test.csv", rows)
    with pytest.raises(DataError, match=r"test\.csv, row 4: the ID is empty"):
        read_questions(folder, NAMES)


def test_a_submission_is_complete_and_in_order(folder, tmp_path):
    questions = read_questions(folder, NAMES)
    predictions = np.random.default_rng(1).integers(0, 2, (6, 11))
    path = write_submission(tmp_path / "submission.csv", questions, predictions, NAMES)
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ID", *NAMES]
    assert [row[0] for row in rows[1:]] == questions.ids
    assert (np.array([row[1:] for row in rows[1:]]).astype(int) == predictions).all()
    assert check_submission(path, questions, NAMES) == (
        "submission.csv: 6 rows, IDs in the order of test.csv, 11 labels of 0 or 1."
    )


@pytest.mark.parametrize(
    ("predictions", "message"),
    [(np.zeros((5, 11)), "6 rows and 11 labels"), (np.full((6, 11), 0.3), "apply thresholds")],
)
def test_predictions_that_do_not_fit_are_refused_and_nothing_is_written(folder, tmp_path, predictions, message):
    with pytest.raises(ValueError, match=message):
        write_submission(tmp_path / "submission.csv", read_questions(folder, NAMES), predictions, NAMES)
    assert not list(tmp_path.glob("*submission*"))


def swap(rows):
    rows[1], rows[2] = rows[2], rows[1]


def shorten(rows):
    rows.pop()


def blank(rows):
    rows[3][4] = ""


def rename(rows):
    rows[0][1] = "wrath"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (swap, r"row 2: the ID is '2018-00007', but test\.csv has '2018-00000'"),
        (shorten, r"has 5 rows: test\.csv asks for 6"),
        (blank, r"row 4: 'fear' is '', not 0 or 1"),
        (rename, r"has the columns ID, wrath"),
    ],
)
def test_a_damaged_submission_is_found_out(folder, tmp_path, damage, message):
    questions = read_questions(folder, NAMES)
    path = write_submission(tmp_path / "submission.csv", questions, np.zeros((6, 11)), NAMES)
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    damage(rows)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(DataError, match=message):
        check_submission(path, questions, NAMES)


def test_questions_that_were_written_are_read_back_and_answered(tmp_path):
    texts = ["one, with a comma", 'two "quoted"', "three"]
    questions = write_questions(tmp_path, texts, NAMES)
    assert questions.texts == texts and questions == read_questions(tmp_path, NAMES)
    path = write_submission(tmp_path / "submission.csv", questions, np.ones((3, 11)), NAMES)
    said = check_like_sample(path, tmp_path / "sample_submission.csv")
    assert said == "Like sample_submission.csv: the same columns, the same 3 IDs in the same order."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [["ID", *reversed(NAMES)], *rows[1:]], "has the columns ID, trust, surprise"),
        (lambda rows: rows[:-1], "has 2 rows, the submission 3"),
        (
            lambda rows: [rows[0], rows[2], rows[1], rows[3]],
            "row 2: the ID is 'text-0001', in the submission 'text-0000'",
        ),
        (lambda rows: [*rows[:3], ["2", *rows[3][1:]]], "row 4: the ID is '2', in the submission 'text-0002'"),
    ],
)
def test_a_submission_unlike_the_sample_is_refused(change, message, tmp_path):
    questions = write_questions(tmp_path, ["a", "b", "c"], NAMES)
    path = write_submission(tmp_path / "submission.csv", questions, np.zeros((3, 11)), NAMES)
    sample = tmp_path / "sample_submission.csv"
    with open(sample, newline="", encoding="utf-8") as file:
        header, *rows = change(list(csv.reader(file)))
    write_csv(sample, rows, header)
    with pytest.raises(DataError, match=message):
        check_like_sample(path, sample)
