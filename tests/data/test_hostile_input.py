"""Nasty files, names and repositories: each ends in a dataset or in one sentence, soon, and nothing else is touched."""

import contextlib
import gzip
import io
import json
import os
import pickle
import signal
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from standin_hub import StandInHub

from helpers import files, runs
from helpers.assets.find import find_dataset, find_model
from helpers.data.load import load_data
from helpers.evaluation.scores import Scores, predictions_table
from helpers.exceptions import AssetError, DataError
from helpers.models.origins import load_tokenizer
from helpers.models.pretrained import load_classifier

ROWS = [(f"text number {i} about things", "ab"[i % 2]) for i in range(40)]


def as_csv(rows=ROWS, head="text,label", end="\n") -> bytes:
    return (head + end + end.join(f'"{text}",{label}' for text, label in rows) + end).encode()


def as_jsonl(rows) -> bytes:
    return "\n".join(json.dumps({"text": text, "label": label}) for text, label in rows).encode()


def replaced(old: str, new: str | bytes, content: bytes | None = None) -> bytes:
    content = content or as_csv()
    assert old.encode() in content
    return content.replace(old.encode(), new if isinstance(new, bytes) else new.encode(), 1)


@contextlib.contextmanager
def time_limit(seconds: int):
    """Fail what takes longer, where the system can (not on Windows)."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def give_up(*_):
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(path):
    """Return the dataset in `path`, or its error after checking that it is one sentence."""
    before = sorted(path.parent.rglob("*"))
    try:
        with time_limit(60):
            return load_data(str(path))
    except (DataError, AssetError) as error:
        message = str(error)
        assert "\n" not in message and message.endswith((".", "…")) and len(message) <= 300, message
        assert path.name.split(".")[0] in message, message
        return message
    finally:
        assert sorted(path.parent.rglob("*")) == before, "reading wrote something"


def write(folder, name: str, content: bytes):
    path = folder / name
    path.write_bytes(content)
    return path


# name: content. All forty texts arrive.
FINE = {
    "bom.csv": b"\xef\xbb\xbf" + as_csv(),
    "crlf.csv": as_csv(end="\r\n"),
    "old_mac.csv": as_csv(end="\r"),
    "nul_in_a_text.csv": replaced("number 3 ", b"num\0ber 3 "),
    "formulas.csv": replaced("text number 5 ", "=cmd|'/c calc'!A1 5 ", replaced("text number 6 ", "@SUM(1+1)*cmd|6 ")),
    "lonely_quote.csv": replaced('"text number 20 about things"', "text 20\" about things"),
    "doubled_quotes.csv": replaced("number 20", 'number ""20""'),
    "long_line_with_a_break.csv": replaced("number 20", "x, " * 60_000 + "\n" + "y" * 140_000),
    "line_breaks.csv": replaced("number 20", "number,\n20,\n\n"),
    "right_to_left.csv": replaced("number 20", "\u202enumber 20"),
    "zero_width.csv": replaced("text number 20 about things", "\u200b\u200b"),
    "script.csv": replaced("number 20", "<script>alert(1)</script> {{7*7}} ${HOME} $(reboot) '; drop table"),
    "path_as_a_label.csv": as_csv([(text, {"a": "../../a", "b": "/etc/b"}[label]) for text, label in ROWS]),
    "path_as_a_column.csv": as_csv([(text, f"{label},z") for text, label in ROWS], head="text,label,../../../etc"),
    "same_column_twice.csv": as_csv([(text, f"{label},z") for text, label in ROWS], head="text,label,text"),
    "half_an_emoji.jsonl": as_jsonl([(text + "\ud83d", label) for text, label in ROWS]),
    "numbers.jsonl": as_jsonl([(1000 + i, i % 2) for i in range(40)]),
    "long_text.csv": replaced("number 20", "x" * 900_000),
    "open_quote.tsv": as_csv().replace(b",", b"\t").replace(b'things"\t', b"things\t"),  # nothing is quoted here
    "semicolons.csv": as_csv().replace(b",", b";"),
    "lists.jsonl": as_jsonl([(text, [label]) for text, label in ROWS]),
    "huge_number.jsonl": as_jsonl([(text, 10**30 + i % 2) for i, (text, _) in enumerate(ROWS)]),
    "packed_twice.csv.gz": gzip.compress(as_csv(ROWS[:20])) + gzip.compress(as_csv(ROWS[20:]).split(b"\n", 1)[1]),
}  # fmt: skip

# name: (content, words of the sentence)
REFUSED = {
    "empty.csv": (b"", "is empty"),
    "only_nuls.csv": (b"\0" * 10_000, "has no rows"),
    "nul_in_the_header.csv": (b"te\0xt" + as_csv()[4:], "has no column 'text'"),
    "line_break_in_the_header.csv": (replaced("text,", '"te\nxt",'), "has no column 'text'"),
    "mixed_encodings.csv": (replaced("number 30", "naïve".encode("latin-1")), "is not UTF-8 (row 32, byte 0xef)"),
    "utf16.csv": (as_csv().decode().encode("utf-16"), "is not UTF-8"),
    "utf32.csv": (as_csv().decode().encode("utf-32"), "is not UTF-8"),
    "picture.csv": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "is not UTF-8"),
    "workbook.csv": (b"PK\x03\x04" + bytes(range(256)) * 20, "is a zip archive, or a workbook: unpack it"),
    "open_quote.csv": (replaced('number 20 about things"', "number 20 about things"), "row 22: a quotation mark is not"),
    "ten_megabytes.csv": (as_csv([("x" * 10_000_000, "a"), *ROWS]), "row 2: 'text' has 10,000,000 characters"),
    "ten_megabytes_of_words.csv": (as_csv([("x " * 5_000_000, "a"), *ROWS]), "row 2: 'text' has 10,000,000 char"),
    "wide.csv": (as_csv(head=",".join(["text", "label", *(f"c{i}" for i in range(3000))])), "has 3,002 columns"),
    "every_label_twice.csv": (as_csv([(f"t {i}", f"l{i // 2}") for i in range(600)]), "too few texts per label"),
    "every_label_once.csv": (as_csv([(text, f"l{i}") for i, (text, _) in enumerate(ROWS)]), "occurs only here"),
    "not_packed.csv.gz": (as_csv(), "could not be read (Not a gzipped file"),
    "half.csv.gz": (gzip.compress(as_csv())[:-20], "could not be read"),
    "bomb.csv.gz": (gzip.compress(b"text,label\n" + bytes(150_000_000), 1), "unpacks to more than 100 times its size"),
    "bomb.parquet.gz": (gzip.compress(bytes(150_000_000), 1), "unpacks to more than 100 times its size"),
    "deep.jsonl": (b'{"text":' + b"[" * 100_000 + b"]" * 100_000 + b',"label":"a"}\n', "could not be read"),
    "objects.jsonl": (as_jsonl([({"a": text}, label) for text, label in ROWS]), "row 1: 'text' is {'a':"),
    "no_objects.jsonl": (b"[1,2]\n" * 40, "could not be read: line 2 is no JSON"),
    "nulls.jsonl": (b"null\n" * 40, "row 1: 'None' is no object"),
    "no_json.jsonl": (b"hello\n", "could not be read"),
    "junk.parquet": (b"PAR1" + bytes(range(256)) * 4 + b"PAR1", "could not be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_a_strange_file_is_read_whole(name, tmp_path):
    data = read(write(tmp_path, name, FINE[name]))
    assert not isinstance(data, str), data
    assert sum(len(split) for split in data.splits.values()) == 40
    assert len(data.label_names) == 2


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused_in_one_sentence(name, tmp_path):
    """At most 3 s each: the bombs are unpacked to 100 MB before they are recognised."""
    content, words = REFUSED[name]
    message = read(write(tmp_path, name, content))
    assert isinstance(message, str), "it was read"
    assert words in message


def test_a_text_keeps_every_character_but_nul(tmp_path):
    data = read(write(tmp_path, "formulas.csv", FINE["formulas.csv"]))
    texts = {text for split in data.splits.values() for text in split["text"]}
    assert "=cmd|'/c calc'!A1 5 about things" in texts


def test_bytes_and_arrays_in_a_parquet_file_are_refused(tmp_path):
    for value in (b"bytes", [1.0, 2.0], {"a": 1}):
        table = pd.DataFrame({"text": [value] * 40, "label": ["a", "b"] * 20})
        buffer = io.BytesIO()
        table.to_parquet(buffer)
        assert "must be one text or number" in read(write(tmp_path, "odd.parquet", buffer.getvalue()))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_a_file_that_never_ends_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "train.csv")  # reading it would wait forever
    with time_limit(10), pytest.raises(DataError, match="holds no train file"):
        load_data(str(tmp_path))
    (tmp_path / "train.csv").unlink()
    (tmp_path / "train.csv").symlink_to("/dev/zero")
    with time_limit(10), pytest.raises(DataError, match="holds no train file"):
        load_data(str(tmp_path))
    with time_limit(10), pytest.raises(DataError, match="holds no train file"):
        load_data(str(tmp_path / "train.csv"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["csv", "tsv", "jsonl", "parquet", "csv.gz", "jsonl.gz"]), st.binary(max_size=300), st.booleans()
)
@example("csv", b'"\n,"\n', True)
@example("jsonl", b'{"text": NaN}', False)
def test_any_bytes_end_in_a_dataset_or_a_sentence(tmp_path, kind, content, headed):
    """150 files of random bytes, half of them after a good beginning. 10 s."""
    content = as_csv()[:-1] + content if headed else content
    path = write(tmp_path, f"any.{kind}", gzip.compress(content) if kind.endswith("gz") and headed else content)
    read(path)


CELLS = st.text(alphabet=st.sampled_from("ab01 ,\t\"'\n\r=+-@\0;\\/.é😀\u200b\ufeff"), max_size=12)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=12))
def test_any_cells_end_in_a_dataset_or_a_sentence(tmp_path, lines):
    """100 tables of random cells, unquoted, so that separators and quotation marks fall anywhere. 10 s."""
    content = as_csv() + "\n".join(",".join(cells) for cells in lines).encode()
    read(write(tmp_path, "cells.csv", content))


# Names ---------------------------------------------------------------------------------------------------------------

ODD_NAMES = ["../../etc/passwd", "/etc/passwd", "..", "a/../../b", "C:\\Windows\\system.ini", "~root/.ssh", "~no-such-user/x.csv", "a\0b", "a\nb/c", " ", "", "file:///etc/passwd", "http://example.org/x.csv", "-rf", "a" * 5000, "owner/" + "b" * 5000]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:20])
@pytest.mark.parametrize("find", [find_model, find_dataset])
def test_an_odd_name_is_refused_in_a_sentence_or_is_a_place_to_look_at(find, name, tmp_path, monkeypatch):
    """Nothing is read here, and nothing is asked from the Hub; what exists is read by a loader that refuses it."""
    monkeypatch.chdir(tmp_path)
    try:
        asset = find(name)
    except AssetError as error:
        assert "\n" not in str(error) and len(str(error)) < 700
        return
    assert asset.is_local, "taken for a Hub id"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=string.ascii_letters + string.digits + "./\\-_ :~\0\n*", max_size=20))
@example("..")
@example("../x")
@example("a/../../x")
@example("a\n")
def test_no_run_name_leads_out_of_the_runs_folder(tmp_path, name):
    folder = tmp_path / "runs"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(ValueError):
        opened = runs.open_run_folder("01_notebook", name, runs=folder)
        assert opened.resolve().parent == (folder / "01_notebook").resolve()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


# Repositories that carry code ----------------------------------------------------------------------------------------


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.fixture
def trap(tmp_path):
    """A path that nothing may ever write to."""
    path = tmp_path / "executed"
    with contextlib.closing(pickle.loads(pickle.dumps(Bomb(path)))):
        assert path.exists(), "the trap works"
    path.unlink()
    return path


def bert_files() -> dict[str, bytes]:
    with StandInHub() as hub:
        return dict(hub.repositories["models", "google-bert/bert-base-uncased"].files())


PICKLES = ["pytorch_model.bin", "model.safetensors", "training_args.bin", "optimizer.pt", "tokenizer.pkl"]


@pytest.mark.parametrize("name", PICKLES)
def test_a_malicious_pickle_offered_as_a_model_is_never_executed(name, trap, tmp_path):
    files = bert_files()
    if name == "pytorch_model.bin":
        del files["model.safetensors"]
    folder = tmp_path / "model"
    folder.mkdir()
    for path, content in (files | {name: pickle.dumps(Bomb(trap))}).items():
        (folder / path).write_bytes(content)
    with contextlib.suppress(AssetError):
        load_tokenizer(str(folder))
    if name in ("pytorch_model.bin", "model.safetensors"):
        with pytest.raises(AssetError) as caught:
            load_classifier(str(folder), ["a", "b"])
        assert "\n" not in str(caught.value)
    else:
        load_classifier(str(folder), ["a", "b"])
    assert not trap.exists()


def test_code_that_comes_with_a_model_is_never_executed(trap, tmp_path):
    files = bert_files()
    config = json.loads(files["config.json"]) | {
        "model_type": "evil",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"},
    }
    files |= {"config.json": json.dumps(config).encode(), "evil.py": f"open({str(trap)!r}, 'w')".encode()}
    folder = tmp_path / "model"
    folder.mkdir()
    for path, content in files.items():
        (folder / path).write_bytes(content)
    with pytest.raises(AssetError, match="Python code of its own"):
        load_classifier(str(folder), ["a", "b"])
    assert not trap.exists()


def test_predictions_of_hostile_texts_are_written_inside_the_run_folder(tmp_path):
    texts = ["=1+1", "../../x", 'a"b', "line\nbreak", "nul\0"]
    labels = ["../../up", "a/b"]
    probabilities = np.full((5, 2), 0.5)
    table = predictions_table(texts, Scores([0] * 5, probabilities, [1] * 5, labels, {}, {}))
    files.write_table(tmp_path / "run" / "predictions.csv", table)
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "predictions.csv"]
    back = pd.read_csv(tmp_path / "run" / "predictions.csv", dtype=str, keep_default_na=False)
    assert back["text"].tolist()[:4] == texts[:4]
