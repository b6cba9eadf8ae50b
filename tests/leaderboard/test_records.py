"""Run folders: read, checked, and refused where anything was changed by hand."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from made_runs import LABELS, make_grid, make_run

from helpers.evaluation.fingerprints import seal_record
from helpers.exceptions import DataError, SettingError
from helpers.files import read_json, write_json
from helpers.leaderboard.records import find_run_folders, pack_runs, read_runs


@pytest.mark.parametrize("several", [False, True])
def test_what_is_read_is_what_was_written(several, tmp_path):
    folder = make_run(tmp_path / "a" / "b", several=several, seed=3)
    (tmp_path / "unfinished").mkdir()
    runs, record = read_runs([tmp_path]), read_json(folder / "metrics.json")
    (row,) = runs.table.to_dict("records")
    assert row["folder"] == str(folder) and row["seed"] == 3 and row["sealed"] and row["rows"] == 60
    assert [row[name] for name in ("f1_macro", "accuracy")] == [record["f1_macro"], record["accuracy"]]
    assert [row[f"f1 {name}"] for name in LABELS] == [record["per_class"][name]["f1"] for name in LABELS]
    truth, answers = runs.truths[record["test_set"]], runs.answers[0]
    assert truth.shape == answers.shape == ((60, 3) if several else (60,))
    right = (truth == answers).reshape(60, -1).all(axis=1).mean()
    assert right == pytest.approx(record["accuracy"])


def test_answers_of_one_test_set_are_in_one_order(tmp_path):
    first = make_run(tmp_path / "a")
    second = shutil.copytree(first, tmp_path / "b")
    table = pd.read_csv(second / "predictions.csv").iloc[::-1]
    table.to_csv(second / "predictions.csv", index=False)
    record = read_json(second / "metrics.json")
    del record["seal"], record["answers"]  # the order is part of the answers' fingerprint
    write_json(second / "metrics.json", record)
    runs = read_runs([tmp_path])
    assert runs.table["test_set"].nunique() == 1
    assert np.array_equal(*runs.answers)


def test_folders_are_found_at_any_depth_and_each_once(tmp_path):
    folder = make_run(tmp_path / "a" / "b" / "c")
    assert find_run_folders([tmp_path, tmp_path / "a"]) == [folder]


@pytest.mark.parametrize("make, says", [(False, "There is no folder"), (True, "No finished run is in")])
def test_where_no_run_is_it_is_said(make, says, tmp_path):
    if make:
        (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match=says):
        find_run_folders([tmp_path / "x"])


def change(name, value):
    def edit(record):
        record[name] = value

    return edit


def change_label(record):
    record["per_class"]["glad"]["f1"] += 0.01


@pytest.mark.parametrize(
    "edit, resealed, says",
    [
        (change("f1_macro", 0.99), False, "its seal does not fit"),
        (change("train_seconds", 0.1), False, "its seal does not fit"),
        (change("f1_macro", 0.99), True, "says f1_macro 0.9900, its predictions give"),
        (change("accuracy", 0.99), True, "says accuracy 0.9900, its predictions give"),
        (change_label, True, "of 'glad', its predictions give"),
        (change("answers", "0" * 16), True, "holds other answers than"),
        (change("test_set", "0" * 16), True, "holds other rows than"),
    ],
)
def test_a_record_changed_by_hand_is_noticed(edit, resealed, says, tmp_path):
    folder = make_run(tmp_path / "a")
    record = read_json(folder / "metrics.json")
    edit(record)
    write_json(folder / "metrics.json", seal_record(record) if resealed else record)
    with pytest.raises(DataError, match=says) as caught:
        read_runs([tmp_path])
    assert str(folder) in str(caught.value) or "…" in str(caught.value)


def test_one_answer_changed_by_hand_is_noticed(tmp_path):
    folder = make_run(tmp_path / "a")
    table = pd.read_csv(folder / "predictions.csv")
    table.loc[7, "predicted"] = next(name for name in LABELS if name != table.loc[7, "predicted"])
    table.to_csv(folder / "predictions.csv", index=False)
    with pytest.raises(DataError, match="holds other answers"):
        read_runs([tmp_path])


def test_a_record_of_the_first_schema_is_read_and_still_computed_again(tmp_path):
    folder = make_run(tmp_path / "a")
    record = read_json(folder / "metrics.json")
    for name in ("seal", "answers", "test_set", "data"):
        del record[name]
    write_json(folder / "metrics.json", record | {"schema_version": 1})
    assert not read_runs([tmp_path]).table["sealed"].any()
    write_json(folder / "metrics.json", record | {"f1_micro": 0.99})
    with pytest.raises(DataError, match="says f1_micro"):
        read_runs([tmp_path])


@pytest.mark.parametrize(
    "name, content, says",
    [
        ("metrics.json", "{", "cannot be read: run that cell again"),
        ("metrics.json", "[]", "lacks all of it"),
        ("metrics.json", '{"accuracy": 1}', "lacks notebook, model"),
        ("predictions.csv", None, "nothing proves the run's scores"),
        ("predictions.csv", "", "nothing proves the run's scores"),
        ("predictions.csv", "text,true,predicted\n", "at least one row"),
        ("predictions.csv", "text,true\na,sad\n", "needs the columns"),
        ("predictions.csv", "text,true,predicted\na,sad\n", "nothing proves"),
        ("predictions.csv", "text,true,predicted\na,sad,odd\n", "has a label 'odd' that"),
    ],
)
def test_a_damaged_file_is_one_sentence(name, content, says, tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(DataError, match=says):
        read_runs([tmp_path])


def test_packed_runs_hold_no_text_and_can_still_be_checked(tmp_path):
    make_grid(tmp_path / "runs", {"tiny": 0.8}, folds=2, several=True, texts=[f"a secret {i}" for i in range(60)])
    packed = list(pack_runs([tmp_path / "runs"], tmp_path / "packed"))
    assert len(packed) == 4
    for path in (tmp_path / "packed").rglob("*"):
        assert path.is_dir() or b"secret" not in path.read_bytes()
    before, after = read_runs([tmp_path / "runs"]), read_runs([tmp_path / "packed"])
    pd.testing.assert_frame_equal(before.table.drop(columns="folder"), after.table.drop(columns="folder"))
    path = packed[0] / "predictions.csv"
    path.write_text(path.read_text().replace(",glad", ",calm", 1))
    with pytest.raises(DataError, match="holds other"):
        read_runs([tmp_path / "packed"])


def test_what_was_changed_is_not_packed(tmp_path):
    folder = make_run(tmp_path / "a")
    record = json.loads((folder / "metrics.json").read_text()) | {"seed": 5}
    write_json(folder / "metrics.json", record)
    with pytest.raises(DataError, match="seal"):
        list(pack_runs([tmp_path], tmp_path / "packed"))
    assert not (tmp_path / "packed").exists()


def test_packing_loses_nothing_of_two_machines_and_nothing_of_the_runs(tmp_path):
    runs = [make_run(tmp_path / machine / "fold1-seed0", model=machine) for machine in ("one", "two")]
    (runs[0] / "model.safetensors").write_text("weights")
    sources, target = [tmp_path / "one", tmp_path / "two"], tmp_path / "packed"
    for _ in range(2):  # packing again finds its own folders
        assert [path.name for path in pack_runs(sources, target)] == ["fold1-seed0", "fold1-seed0-2"]
    assert sorted(read_runs([target]).table["model"]) == ["one", "two"]
    for wrong in (tmp_path, tmp_path / "one"):
        with pytest.raises(SettingError, match="holds the runs themselves"):
            list(pack_runs(sources, wrong))
    assert (runs[0] / "model.safetensors").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": None}, {"accuracy": None}, {"f1_macro": "x"}, {"f1_macro": float("nan")}, {"per_class": None}, {"per_class": {}},
        {"per_class": {"sad": 1}}, {"model": 3}, {"seed": []}, {"folds": "x"}, {"folds": 1, "fold": 1}, {"fold": 6, "folds": 5},
        {"train_seconds": "x"}, {"learning_rate": {}},
    ],
)  # fmt: skip
def test_a_record_changed_by_hand_is_one_sentence_even_without_its_seal(changes, tmp_path):
    folder = make_run(tmp_path / "a", fast=True)
    record = json.loads((folder / "metrics.json").read_text()) | changes
    record.pop("seal")
    (folder / "metrics.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="changed"):
        read_runs([tmp_path])
