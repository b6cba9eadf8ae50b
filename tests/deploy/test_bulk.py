"""A file of texts in, a file of predictions out: in pieces, in order, complete or not at all, in flat memory."""

import csv
import gzip
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny import FP32, LABELS, build_model, make_tokenizer, tf32_is_on, toy_texts

from helpers.deploy.bulk import predict_file
from helpers.deploy.predictor import Predictor
from helpers.exceptions import DataError
from helpers.files import ROOT
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.models.saving import save


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two run folders with models that have learnt nothing: one label per text, and several."""
    folder = tmp_path_factory.mktemp("runs")
    backbone = str(build_model("bert", folder / "backbone"))
    for name, thresholds in (("single", {}), ("several", {"thresholds": [0.4, 0.5, 0.5]})):
        classifier = load_classifier(backbone, LABELS, multilabel=name == "several")
        save(classifier, make_tokenizer(), folder / name / "model", max_length=16, **thresholds)
    return folder


@pytest.fixture(params=["single", "several"])
def predictor(runs, request):
    return Predictor.load(runs / request.param, device=FP32)


def write_rows(path, rows, columns=("id", "message", "note")):
    rows = list(rows)
    table = pd.DataFrame(rows, columns=columns)
    if path.suffix.lower() in (".jsonl", ".parquet", ".xlsx"):
        options = {"orient": "records", "lines": True} if path.suffix.lower() == ".jsonl" else {"index": False}
        write = {".jsonl": table.to_json, ".parquet": table.to_parquet, ".xlsx": table.to_excel}[path.suffix.lower()]
        write(path, **options)
        return path
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if ".tsv" in path.name else ",").writerows([columns, *rows])
    return path


def some_rows(rows=25):
    return [
        (f"{i:03}", text, "NA" if i % 2 else 'a "note",\nof two lines') for i, text in enumerate(toy_texts(rows)[0])
    ]


def read_back(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.mark.parametrize("name", ["in.csv", "in.tsv", "in.csv.gz", "IN.CSV", "in.jsonl", "in.parquet", "in.xlsx"])
def test_every_row_comes_back_in_its_place_with_what_predict_says(predictor, tmp_path, name):
    rows = some_rows()
    source, target = write_rows(tmp_path / name, rows), tmp_path / "new" / "out.csv"
    report = predict_file(predictor, source, target, text_column="message", chunk_rows=7)  # 7, 7, 7, 4
    found, expected = read_back(target), predictor.predict([text for _, text, _ in rows])
    assert list(found.columns) == ["id", "message", "note", "predicted", "confidence", *LABELS]
    assert list(zip(found["id"], found["message"], found["note"], strict=True)) == rows  # nothing was reinterpreted
    assert list(found["predicted"]) == [p.label for p in expected]
    np.testing.assert_allclose(found["confidence"].astype(float), [p.confidence for p in expected], atol=2e-6)
    for label in LABELS:
        probability = [p.probabilities[label] for p in expected]
        np.testing.assert_allclose(found[label].astype(float), probability, atol=2e-6)
    assert (report.rows, report.blank_rows, report.truncated) == (25, 0, sum(p.truncated for p in expected))
    assert report.truncated > 0


def test_a_carriage_return_in_a_text_does_not_cut_its_row(predictor, tmp_path):
    rows = [("1", "calm1 one\rtwo", "x"), ("2", "glad1", "y"), ("3", "three\r\nfour", "z")]
    source, target = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.csv"
    predict_file(predictor, source, target, text_column="message", chunk_rows=2)
    with open(target, newline="", encoding="utf-8") as file:
        assert [tuple(row[:3]) for row in csv.reader(file)] == [("id", "message", "note"), *rows]


@pytest.mark.parametrize("chunk_rows", [1, 8, 24, 25, 1000])
def test_where_a_piece_ends_makes_no_difference(predictor, tmp_path, chunk_rows):
    source = write_rows(tmp_path / "in.csv", some_rows())
    targets = [tmp_path / "whole.csv", tmp_path / "pieces.csv"]
    for target, size in zip(targets, (10_000, chunk_rows), strict=True):
        predict_file(predictor, source, target, text_column="message", chunk_rows=size)
    whole, pieces = map(read_back, targets)
    numbers = ["confidence", *LABELS]
    pd.testing.assert_frame_equal(whole.drop(columns=numbers), pieces.drop(columns=numbers))
    np.testing.assert_allclose(whole[numbers].astype(float), pieces[numbers].astype(float), atol=2e-6)


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_a_file_is_predicted_in_tf32_on_a_gpu_its_last_piece_as_well(runs, tmp_path, monkeypatch, kind):
    seen, predict = [], Predictor.predict

    def note(self, texts):
        seen.append((len(texts), tf32_is_on()))
        return predict(self, texts)

    predictor = Predictor.load(runs / "single", device=FP32)
    monkeypatch.setattr(Predictor, "predict", note)
    monkeypatch.setattr(predictor, "device", replace(FP32, kind=kind))  # the model itself stays where it is
    source = write_rows(tmp_path / "in.csv", some_rows())
    predict_file(predictor, source, tmp_path / "out.csv", text_column="message", chunk_rows=20)
    assert seen == [(20, kind == "cuda"), (5, kind == "cuda")]
    assert not tf32_is_on()


def test_a_file_is_predicted_in_the_precision_for_many_texts_and_a_single_text_stays_in_fp32(
    runs, tmp_path, monkeypatch
):
    """Stood in for by bf16 on a CPU: every piece in it, the short one as well, and the predictor afterwards as before."""
    seen = []

    def note(classifier, encoded, device):
        seen.append((len(encoded), device.precision))
        return predict_logits(classifier, encoded, device)

    predictor = Predictor.load(runs / "single", device=FP32)
    monkeypatch.setattr("helpers.deploy.predictor.pick_bulk_device", lambda device: replace(device, precision="bf16"))
    monkeypatch.setattr("helpers.deploy.predictor.predict_logits", note)
    source = write_rows(tmp_path / "in.csv", some_rows())
    predict_file(predictor, source, tmp_path / "out.csv", text_column="message", chunk_rows=20)
    predictor.predict_one("glad1 word3")
    assert seen == [(20, "bf16"), (5, "bf16"), (1, "no")]


def test_a_file_of_one_text_per_line_is_predicted_line_by_line(predictor, tmp_path):
    (tmp_path / "in.txt").write_text('glad1, "sour\nsour1\r\n\nglad2')
    report = predict_file(predictor, tmp_path / "in.txt", tmp_path / "OUT.CSV", chunk_rows=2)
    assert (report.rows, report.blank_rows, report.notes) == (3, 1, ())
    assert list(read_back(tmp_path / "OUT.CSV")["text"]) == ['glad1, "sour', "sour1", "glad2"]


def test_rows_with_open_quotation_marks_all_come_back_and_that_is_said(predictor, tmp_path):
    source = tmp_path / "in.csv"
    source.write_text('label,text\na,glad1\nb,"sour1\na,glad2\nb,"sour2\na,glad1\n')
    report = predict_file(predictor, source, tmp_path / "out.csv", chunk_rows=2)
    assert list(read_back(tmp_path / "out.csv")["text"]) == ["glad1", '"sour1', "glad2", '"sour2', "glad1"]
    assert report.notes == ("in.csv: its quotation marks enclose no cells and are read as part of the texts.",)


def test_blank_lines_are_left_out_and_counted(predictor, tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("text\nglad1\n\n\nsour1\n\nword1\n")
    report = predict_file(predictor, source, tmp_path / "out.csv", chunk_rows=2)
    assert (report.rows, report.blank_rows) == (3, 3)
    assert list(read_back(tmp_path / "out.csv")["text"]) == ["glad1", "sour1", "word1"]


def test_a_column_called_like_a_label_stays(predictor, tmp_path):
    source = write_rows(tmp_path / "in.csv", [("glad1", "NONE")], ("text", "glad"))
    predict_file(predictor, source, tmp_path / "out.csv")
    found = read_back(tmp_path / "out.csv")
    assert list(found.columns) == ["text", "glad", "predicted", "confidence", "calm", "p(glad)", "sour"]
    assert list(found["glad"]) == ["NONE"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


BAD = {
    "bad column": (b"id,message\n1,glad1\n", {"text_column": "tweet"}, "in.csv has no column 'tweet': it has id, mess"),
    "no column given": (b"id,words\n1,glad1\n", {}, "has no column 'text'"),
    "empty file": (b"", {}, "in.csv is empty"),
    "header alone": (b"text\n", {}, "in.csv has no rows"),
    "only blank lines": (b"text\n\n\n", {}, "in.csv has no rows"),
    "empty text at the end": (b"id,text\n1,glad1\n2,sour\n3,sour\n4,\n", {}, "row 5: 'text' is empty (at least 1 such"),
    "not UTF-8 at the end": (b"text\nglad1\nsour\nsour\nsch\xf6n\n", {}, "in.csv is not UTF-8 (row 5, byte 0xf6)"),
    "surplus cells at the end": (b"text\nglad1\nsour\nsour\nglad, sour\n", {}, "in.csv, line 5: rows have more cells"),
    "surplus cells": (b"id,text\n1,glad, sour\n", {}, "rows have more cells than the header"),
    "open quotation mark": (
        b'text,who\n"glad1",a\n"sour",b\n"sour,a\n"sour",b\n"glad1",a\n',
        {},
        "in.csv, row 4: a quotation mark",
    ),
    "taken name": (b"text,predicted\nglad1,joy\n", {}, "in.csv has a column 'predicted' already"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_a_sentence_and_nothing_is_written(runs, tmp_path, case):
    content, options, says = BAD[case]
    predictor = Predictor.load(runs / "single", device=FP32)
    (tmp_path / "in.csv").write_bytes(content)
    (tmp_path / "out.csv").write_text("from before")
    before = contents(tmp_path)
    with pytest.raises(DataError) as caught:
        predict_file(predictor, tmp_path / "in.csv", tmp_path / "out.csv", chunk_rows=2, **options)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def test_a_piece_that_fails_leaves_what_was_there(runs, tmp_path, monkeypatch):
    source = write_rows(tmp_path / "in.csv", some_rows())
    (tmp_path / "out.csv").write_text("from before")
    before = contents(tmp_path)
    predictor, predict = Predictor.load(runs / "single", device=FP32), Predictor.predict
    calls = []

    def fail_at_the_second(self, texts):
        calls.append(len(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return predict(self, texts)

    monkeypatch.setattr(Predictor, "predict", fail_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        predict_file(predictor, source, tmp_path / "out.csv", text_column="message", chunk_rows=10)
    assert calls == [10, 10]
    assert contents(tmp_path) == before


def test_the_command_says_what_it_did(runs, tmp_path, command):
    source, target = write_rows(tmp_path / "in.csv", some_rows()), tmp_path / "out.csv"
    files = ["--file", source, "--text-column", "message", "--output", target]
    status, out, err = command("predict", "--run", runs / "single", *files)
    assert (status, err) == (0, "")
    assert "only the first 16 tokens were read" in out
    assert out.splitlines()[-1].startswith("25 texts predicted") and out.splitlines()[-1].endswith(str(target))
    assert len(read_back(target)) == 25


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--file", "IN/missing.csv", "--output", "IN/out.csv"], "There is no file"),
        (["--file", "IN", "--output", "IN/out.csv"], "There is no file"),
        (["--file", "IN/in.jsonl", "--output", "IN/out.csv"], "in.jsonl could not be read: row 1 is no JSON"),
        (["--file", "IN/in.csv", "--output", "IN/in.csv"], "is the file that is read"),
        (["--file", "IN/in.csv", "--output", "IN/out.parquet"], "predictions are a .csv file"),
        (["--file", "IN/in.csv"], "A file is predicted into a file"),
        (["--output", "IN/out.csv"], "A file is predicted into a file"),
        (["--text-column", "text", "glad1"], "A file is predicted into a file"),
        (["--file", "IN/in.csv", "--output", "IN/out.csv", "glad1"], "A file is predicted into a file"),
    ],
)
def test_the_command_refuses_in_one_sentence(runs, tmp_path, command, options, says):
    for name in ("in.csv", "in.jsonl"):
        (tmp_path / name).write_text("text\nglad1\n")
    before = contents(tmp_path)
    options = [option.replace("IN", str(tmp_path)) for option in options]
    status, out, err = command("predict", "--run", runs / "single", *options)
    assert (status, out) == (2, "")
    assert err.startswith("Error: ") and says in err and err.count("\n") == 1
    assert contents(tmp_path) == before


def test_standard_input_is_answered_before_its_end(runs):
    """A pipe that stays open gets its answers: nothing is collected first."""
    command = [sys.executable, "-m", "helpers", "predict", "--run", str(runs / "single")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        for text in ("glad1 word2", "sour3"):
            process.stdin.write(text + "\n")
            process.stdin.flush()
            assert process.stdout.readline().rstrip("\n").split("\t")[2] == text
        process.stdin.close()
        assert process.wait(timeout=60) == 0


PREDICT = """
import resource, sys
from tiny import FP32
from helpers.deploy.bulk import predict_file
from helpers.deploy.predictor import Predictor
report = predict_file(Predictor.load(sys.argv[1], device=FP32), sys.argv[2], sys.argv[3])
print(report.rows, round(report.seconds, 1), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Windows has no `resource`")
def test_memory_does_not_grow_with_the_file(runs, tmp_path):
    """50,000 and 200,000 rows, each in a process of its own: the same peak within 10 %."""
    peaks = {}
    for rows in (50_000, 200_000):
        source, target = tmp_path / f"{rows}.csv", tmp_path / f"{rows}-predicted.csv"
        texts = toy_texts(1000)[0]
        write_rows(source, ((i, f"word{i % 178} {texts[i % 1000]}") for i in range(rows)), ("id", "text"))
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", PREDICT, *map(str, (runs / "single", source, target))]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        predicted, seconds, peak = done.stdout.split()
        print(f"{rows:,} rows: {seconds} s, peak {int(peak) / 1024:.0f} MiB")
        with open(target, encoding="utf-8") as file:
            assert sum(1 for _ in file) == 1 + rows == 1 + int(predicted)
        peaks[rows] = int(peak)
    assert peaks[200_000] < 1.1 * peaks[50_000], peaks
