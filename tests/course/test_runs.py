"""Run folders, expected bands, exercise checks and progress: what a notebook writes and prints besides its model."""

import csv
import functools
import json
import os
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import files, runs
from helpers.course import exercises, expected, trials
from helpers.course.exercises import check_answer, check_function, check_letters
from helpers.device import Device
from helpers.evaluation.metrics import compute_metrics
from helpers.exceptions import SettingError
from helpers.runs import ProgressBar

CPU = Device("cpu", "a test CPU", "no", "eager")
LABELS = ["sad", "glad"]
EXERCISES = exercises.read_exercises()
SCHEMA = (
    "schema_version notebook model revision method dataset sizes seed device precision accuracy f1_macro f1_micro f1_weighted "
    "per_class intervals train_seconds samples_per_second peak_memory_bytes parameters_total parameters_trainable libraries"
)  # DESIGN, section 4


def make_record(*, accuracy=0.9, f1_macro=0.8, seed=0, **changes) -> dict:
    """A `metrics.json` record as a notebook writes it, read back from JSON."""
    metrics = compute_metrics(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), LABELS)
    settings = {
        "notebook": "01_test",
        "model": "tiny",
        "method": "full",
        "dataset": "moments",
        "seed": seed,
        "device": CPU,
    }
    settings |= {"epochs": 3, "learning_rate": 2e-4, "batch_size": 64, "sizes": {"train": 300, "test": 100}}
    metrics |= {"accuracy": accuracy, "f1_macro": f1_macro}
    record = runs.metrics_record(**(settings | changes), metrics=metrics, intervals={"accuracy": (0.8, 0.95)})
    return json.loads(json.dumps(record, allow_nan=False))


@pytest.fixture
def bands(tmp_path):
    """Bands written from three seeds with accuracies .88, .90, .92 and macro F1s .80, .80, .80 on 100 test rows."""
    path = tmp_path / "expected.json"
    records = [make_record(accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.9, 0.88, 0.92))]
    expected.write_bands(records, ("accuracy", "f1_macro"), path)
    return path


@pytest.mark.parametrize("name", ["first", "2024-01-31_lr2e-4", "v1.0", "A", "тексты", "评论-2"])
def test_run_folder_is_made_where_course_runs_says(name, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    folder = runs.open_run_folder("01_test", name)
    assert folder == tmp_path / "01_test" / name
    assert (folder / "figures").is_dir()
    assert runs.open_run_folder("01_test", name) == folder  # a resumed run opens it again


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "/tmp/x", ".hidden", "-p", "a b", "a\n", "_a", "😀"]
)
def test_run_name_that_could_leave_the_folder_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"run_name=.*use letters"):
        runs.open_run_folder("01_test", name, runs=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, short",
    [
        ("a/train.csv", "train"),
        ("DATA.CSV", "DATA"),
        ("my_texts.jsonl.gz", "my-texts"),
        ("тексты.csv", "тексты"),
        ("评论.csv", "评论"),
        ("😀.csv", "data"),
        ("Qwen3-0.6B", "Qwen3-0.6B"),
        ("Qwen/Qwen3-0.6B-Base", "Qwen3-0.6B-Base"),
        ("owner/name:emotion", "name-emotion"),
        ("runs/cli/base/model", "base"),
        ("out/checkpoint-500/", "checkpoint-500"),
        ("/", "data"),
        ("字" * 80 + ".csv", "字" * 16),  # of three bytes each
    ],
)
def test_a_run_s_name_holds_what_tells_data_and_models_apart(name, short):
    assert runs.shorten_name(name) == short
    runs.check_run_name(short)


SETTINGS = {"model": "tiny", "seed": 0, "epochs": 2, "max_tokens": None, "resume": True}


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """The folder of a finished run called "mine" with SETTINGS."""
    monkeypatch.setenv("COURSE_RUNS", str(tmp_path))
    folder = runs.open_run_folder("01_test", "mine", SETTINGS)
    runs.finish_run(folder, {"accuracy": 0.5})
    return folder


def test_a_finished_run_of_other_settings_is_not_overwritten(finished):
    says = (
        r"mine holds a run with other settings \(seed, epochs\), .*: choose another run_name, or delete the folder\.$"
    )
    with pytest.raises(ValueError, match=says):
        runs.open_run_folder("01_test", "mine", SETTINGS | {"epochs": 3, "seed": 1})
    assert json.loads((finished / "metrics.json").read_text()) == {"accuracy": 0.5}
    assert json.loads((finished / "parameters.json").read_text()) == SETTINGS


def test_a_trained_model_is_a_result_too(finished):
    (finished / "metrics.json").unlink()
    (finished / "model").mkdir()
    (finished / "model" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other settings \(seed\)"):
        runs.open_run_folder("01_test", "mine", SETTINGS | {"seed": 1})


@pytest.mark.parametrize("change", [{}, {"resume": False}, {"max_tokens": 256}, {"run_name": "mine"}], ids=str)
def test_the_same_run_may_be_done_again(finished, change):
    assert runs.open_run_folder("01_test", "mine", SETTINGS | change) == finished
    assert runs.number_name("01_test", "mine", SETTINGS | change) == ("mine", None)
    runs.finish_run(finished, {})


def test_a_folder_in_which_nothing_would_be_lost_is_taken(finished):
    (finished / "metrics.json").unlink()
    other = SETTINGS | {"seed": 1}
    assert runs.number_name("01_test", "mine", other) == ("mine", None)
    assert runs.open_run_folder("01_test", "mine", other) == finished
    assert json.loads((finished / "parameters.json").read_text()) == other
    runs.finish_run(finished, {})


def test_a_default_name_that_is_taken_gets_the_next_number_and_keeps_it(finished):
    other, third = SETTINGS | {"seed": 1}, SETTINGS | {"seed": 2}
    name, said = runs.number_name("01_test", "mine", other)
    assert (name, said) == (
        "mine-2", "mine is a run with other settings (seed), which stays: this one is called mine-2."
    )  # fmt: skip
    runs.finish_run(runs.open_run_folder("01_test", name, other), {})
    assert runs.number_name("01_test", "mine", other)[0] == "mine-2", "the same run again"
    assert runs.number_name("01_test", "mine", third)[0] == "mine-3"


def test_an_unfinished_run_of_other_settings_is_numbered_past_and_left(finished):
    (finished / "metrics.json").unlink()
    (finished / "checkpoint").mkdir()
    (finished / "checkpoint" / "state.safetensors").write_bytes(b"x")
    assert runs.number_name("01_test", "mine", SETTINGS)[0] == "mine", "it goes on"
    assert runs.number_name("01_test", "mine", SETTINGS | {"epochs": 3})[0] == "mine-2"


def test_a_result_of_which_no_settings_are_known_is_not_overwritten(finished):
    (finished / "parameters.json").unlink()
    with pytest.raises(ValueError, match="other settings \\(which are not known\\)"):
        runs.open_run_folder("01_test", "mine", SETTINGS)


def test_atomic_path_replaces_the_content(tmp_path):
    path = tmp_path / "new folder" / "a.txt"
    for text in ("old", "new"):
        with files.atomic_path(path) as temporary:
            assert temporary.parent == path.parent and temporary.suffix == ".txt"
            temporary.write_text(text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("old", ["old", None])
def test_failure_inside_atomic_path_changes_nothing(old, tmp_path):
    path = tmp_path / "a.txt"
    if old:
        path.write_text(old)
    with pytest.raises(KeyboardInterrupt), files.atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert {name: (tmp_path / name).read_text() for name in os.listdir(tmp_path)} == ({"a.txt": "old"} if old else {})


@pytest.mark.parametrize("other", ["notes.txt", "onnx/notes.txt", "sub/model.bin", "onnx/sub/a.onnx", "b/config.json"])
def test_a_folder_that_holds_anything_else_may_not_be_replaced(other, tmp_path):
    names, folder = ("*.json", "onnx/*.onnx"), tmp_path / "out"
    files.require_own(folder, names)
    (folder / "onnx/empty").mkdir(parents=True)
    for name in ("config.json", "onnx/model.onnx", "onnx/.DS_Store"):
        (folder / name).touch()
        files.require_own(folder, names)
    (folder / other).parent.mkdir(exist_ok=True, parents=True)
    (folder / other).touch()
    with pytest.raises(SettingError, match=rf"out holds other things \({other}\), which would be deleted: name a new"):
        files.require_own(folder, names)
    with pytest.raises(SettingError, match="is a file: name a new folder"):
        files.require_own(folder / other, names)


def test_atomically_written_file_is_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain.json").write_text("{}")
    files.write_json(tmp_path / "atomic.json", {})
    assert (tmp_path / "atomic.json").stat().st_mode == (tmp_path / "plain.json").stat().st_mode


def test_json_is_written_as_readable_utf8(tmp_path):
    path = files.write_json(tmp_path / "a.json", {"text": "für 😀", "rows": [1, 2]})
    assert "für 😀" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == {"text": "für 😀", "rows": [1, 2]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("nan")])
def test_json_refuses_what_is_not_json_and_keeps_the_old_file(value, tmp_path):
    path = files.write_json(tmp_path / "a.json", {"loss": 1.5})
    with pytest.raises(ValueError):
        files.write_json(path, {"loss": value})
    assert json.loads(path.read_text()) == {"loss": 1.5}
    assert os.listdir(tmp_path) == ["a.json"]


def test_table_survives_commas_quotes_newlines_and_emoji(tmp_path):
    table = pd.DataFrame({"text": ['he said "no", twice', "two\nlines", "😀 naïve"], "confidence": [0.5, 0.25, 1.0]})
    path = files.write_table(tmp_path / "a.csv", table)
    pd.testing.assert_frame_equal(pd.read_csv(path), table)
    assert path.read_bytes().startswith(b'text,confidence\n"he said ""no"", twice",0.5\n"two\nlines",0.25\n')


def test_a_carriage_return_in_a_text_does_not_cut_its_row(tmp_path):
    table = pd.DataFrame({"text": ["one\rtwo", "\r", "three\r\nfour\r\n", "five"], "label": ["a", "b", "c", "d"]})
    path = files.write_table(tmp_path / "a.csv", table)
    pd.testing.assert_frame_equal(pd.read_csv(path), table)
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["text", "label"], *table.to_numpy().tolist()]


def test_figure_is_saved_as_the_same_png_each_time(tmp_path):
    figure = plt.figure(figsize=(2, 1))
    plt.close(figure)
    first = runs.save_figure(figure, tmp_path, "empty").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert runs.save_figure(figure, tmp_path, "empty").read_bytes() == first
    assert os.listdir(tmp_path / "figures") == ["empty.png"]


def test_metrics_record_has_the_keys_of_the_contract():
    record = make_record(note="my own")
    assert set(SCHEMA.split()) <= set(record)
    assert record["note"] == "my own"
    assert (record["schema_version"], record["device"], record["precision"]) == (
        runs.SCHEMA_VERSION,
        "a test CPU",
        "no",
    )
    assert record["intervals"] == {"accuracy": [0.8, 0.95]}
    assert set(record["per_class"]) == set(LABELS)
    assert all(re.match(r"\d+\.\d+", number) for number in record["libraries"].values())


def test_library_line_is_one_line_with_the_versions():
    assert re.fullmatch(
        r"Python 3\.\d+\.\d+, torch \d\S+, transformers \d\S+, .*scikit-learn \d\S+", runs.library_line()
    )


def test_band_reaches_a_standard_error_beyond_the_seeds(bands):
    found = expected.find_bands(make_record(), bands)
    assert found["accuracy"] == pytest.approx((0.88 - 0.03, 0.92 + 0.03))  # 0.03 = sqrt(0.9 * 0.1 / 100)
    assert found["f1_macro"] == pytest.approx((0.8 - 0.04, 0.8 + 0.04))


def test_band_holds_for_another_seed_and_metric_value(bands):
    assert expected.find_bands(make_record(seed=99, accuracy=0.1), bands) == expected.find_bands(make_record(), bands)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"dataset": "mine.csv"},
        {"sizes": {"train": 299, "test": 100}},
        {"epochs": 4},
        {"learning_rate": 1e-4},
        {"batch_size": 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_have_no_band(change, bands, capsys):
    record = make_record(**change)
    assert expected.find_bands(record, bands) == {}
    assert expected.judge(record, bands).empty
    expected.print_card(record, bands)
    assert "your own experiment" in capsys.readouterr().out


def test_a_notebook_without_bands_is_said_to_have_none(bands, tmp_path, capsys):
    """Nothing is claimed to exist, neither beside other notebooks' bands nor before any were measured."""
    record = make_record(notebook="02_other")
    for path in (bands, tmp_path / "none.json"):
        assert expected.find_bands(record, path) == {}
        expected.print_card(record, path)
        assert capsys.readouterr().out == "No expected results are stored for this notebook yet.\n"


def test_record_without_settings_has_no_band(bands):
    assert expected.find_bands({"notebook": "02_other", "accuracy": 0.9}, bands) == {}


def test_no_bands_at_all_before_any_were_measured(tmp_path):
    assert expected.find_bands(make_record(), tmp_path / "none.json") == {}


@pytest.mark.parametrize("accuracy, inside", [(0.85, True), (0.9, True), (0.95, True), (0.849, False), (0.951, False)])
def test_judgement_and_card_say_whether_the_value_is_inside(accuracy, inside, bands, capsys):
    record = make_record(accuracy=accuracy)
    table = expected.judge(record, bands)
    assert table["inside"].to_dict() == {"accuracy": inside, "f1_macro": True}
    expected.print_card(record, bands)
    first, second = capsys.readouterr().out.splitlines()
    verdict = "inside" if inside else "OUTSIDE"
    assert re.fullmatch(rf"accuracy +≈ {accuracy:.3f} +{verdict} the expected band 0\.850 to 0\.950", first)
    assert "f1_macro" in second and "OUTSIDE" not in second


def test_writing_bands_keeps_other_notebooks_and_replaces_its_own(bands):
    entry = expected.write_bands([make_record(notebook="00_other")], ("accuracy",), bands)
    assert entry["seeds"] == [0]
    expected.write_bands([make_record(accuracy=0.5)], ("accuracy",), bands)
    known = json.loads(bands.read_text(encoding="utf-8"))
    assert list(known) == ["00_other", "01_test"]
    assert known["00_other"] == entry
    assert known["01_test"]["seen"] == {"accuracy": [0.5]}


def check_share(answer):
    return check_answer(answer, 0.881, start="Divide the hits.", hints={88.1: "A share lies between 0 and 1."})


@pytest.mark.parametrize(
    "answer, verdict",
    [
        (None, "Not tried yet. Divide the hits."),
        (0.881, "Correct: 0.881."),
        (0.88, "Correct: 0.88."),
        (np.float32(0.883), "Correct"),
        ("0.881", "Correct"),
        (88.1, "Not yet: 88.1. A share lies between 0 and 1."),
        (0.9, "Not yet: 0.9 is too high. Divide the hits."),
        (0, "Not yet: 0 is too low. Divide the hits."),
        ("many", "Not yet: a number is wanted here, not str."),
        (..., "Not yet: a number is wanted here, not ellipsis."),
        ([0.881], "Not yet: a number is wanted here, not list."),
        (np.array([0.8, 0.9]), "Not yet: a number is wanted here, not ndarray."),
        (float("nan"), "Not yet"),
        pytest.param(
            10**400,
            "Not yet",
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_answer_gets_a_verdict(answer, verdict):
    assert check_share(answer).startswith(verdict)


DOUBLE = [((1,), 2), ((3,), 6)]


def check_double(function):
    return check_function(function, DOUBLE, start="Return twice the number.", hint="Did you add instead?")


def test_right_function_is_called_correct():
    assert check_double(lambda number: 2 * number) == "Correct: all 2 cases agree."


def test_untried_function_is_told_how_to_start():
    assert check_double(lambda number: None) == "Not tried yet. Return twice the number."


def test_wrong_function_gets_the_case_and_the_hint():
    def double(number):
        return number + 1  # right for 1, wrong for 3

    assert check_double(double) == "Not yet: double(3) gives 4, expected 6. Did you add instead?"


def test_raising_function_is_reported_and_does_not_raise():
    def double(number):
        return number / 0

    assert check_double(double) == "Not yet: double(1) raised ZeroDivisionError: division by zero"


def test_long_arguments_are_shortened_in_the_verdict():
    verdict = check_function(len, [(("x" * 500,), 1)], start="", hint="")
    assert len(verdict) < 150 and "…" in verdict


def test_float_results_may_differ_in_their_last_digits():
    assert check_function(lambda: 0.1 + 0.2, [((), 0.3)], start="", hint="").startswith("Correct")


@pytest.mark.parametrize(
    "function, result",
    [
        pytest.param(lambda: "0.5", 0.5, id="text for a number"),
        pytest.param(lambda: [0.5], 0.5, id="list for a number"),
        pytest.param(lambda: np.array([1, 2]), [3, 4], id="array for a list"),
        pytest.param(None, 1, id="no function at all"),
        pytest.param(functools.partial(int, "x"), 1, id="failing partial"),
    ],
)
def test_unexpected_function_or_result_gets_a_verdict_and_does_not_raise(function, result):
    assert check_function(function, [((), result)], start="Start.", hint="Hint.").startswith(
        ("Not yet", "Not tried yet")
    )


@pytest.mark.parametrize("number", [0.5, np.float64(0.5), pytest.param(np.float32(0.5))], ids=type)
def test_every_kind_of_float_is_right(number):
    assert check_function(lambda: number, [((), 0.5)], start="", hint="").startswith("Correct")


@pytest.mark.parametrize("answer", ["ABEFH", "hfeba", ["A", "B", "E", "F", "H"], "A, B, E, F and H".replace("and", "")])
def test_letters_are_right_in_any_order_and_writing(answer):
    assert check_letters(answer, "ABEFH", start="Start.", hints={}) == "Correct: ABEFH."


@pytest.mark.parametrize(
    "answer, verdict",
    [
        ("ABC", "Not yet: C does not belong. Fair."),
        ("A", "Not yet: 1 missing. Look."),
        ("", "Not yet: 2 missing. Start."),
        (7, "Not yet: 2 missing. Start."),
    ],
)
def test_wrong_letters_get_the_hint_of_the_first_that_is_wrong_or_missing(answer, verdict):
    assert check_letters(answer, "AB", start="Start.", hints={"C": "Fair.", "B": "Look."}) == verdict


def untried(*arguments):
    return None


@pytest.mark.parametrize("name, exercise", EXERCISES.items(), ids=list(EXERCISES))
def test_untried_exercise_of_the_course_says_how_to_begin(name, exercise, capsys):
    exercises.check(name, untried if "cases" in exercise else None)
    assert capsys.readouterr().out == f"Not tried yet. {exercise['start']}\n"


@pytest.mark.parametrize("name, exercise", EXERCISES.items(), ids=list(EXERCISES))
def test_typical_mistake_in_an_exercise_of_the_course_gets_its_own_hint(name, exercise, capsys, monkeypatch):
    function = "cases" in exercise
    for typical, hint in exercise.get("hints", []) if function else exercise.get("hints", {}).items():
        if function:  # whatever it is given, it returns the typical result
            monkeypatch.setattr(trials, exercise.get("trial", "none"), lambda answer, *_: answer(), raising=False)
        answer = (lambda *_, typical=typical: typical) if function else typical
        exercises.check(name, "".join(set(exercise["letters"]) ^ {typical}) if "letters" in exercise else answer)
        assert capsys.readouterr().out.endswith(f"{hint}\n")
    exercises.check(name, exercise.get("letters", exercise.get("expected", print)))
    assert capsys.readouterr().out.splitlines()[-1].startswith("Not" if function else "Correct")


@pytest.mark.parametrize("cases", [True, False], ids=["number for a function", "function for a number"])
def test_answer_of_the_wrong_kind_gets_a_verdict_and_does_not_raise(cases, capsys):
    name = next(name for name, exercise in EXERCISES.items() if ("cases" in exercise) == cases)
    exercises.check(name, 0.5 if cases else untried)
    assert capsys.readouterr().out.startswith("Not yet")


def show_progress() -> None:
    with ProgressBar(3, every_seconds=-1) as bar:  # so that every step is due for a line
        bar.advance("loss 0.9")
        bar.show("epoch 1: accuracy 0.8")
        bar.advance("loss 0.5")


def test_progress_off_prints_nothing(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    show_progress()
    assert capsys.readouterr() == ("", "")


def test_progress_lines_are_plain_lines(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROGRESS", "lines")
    show_progress()
    assert capsys.readouterr() == ("step 1/3, loss 0.9\nepoch 1: accuracy 0.8\nstep 2/3, loss 0.5\n", "")


def test_progress_lines_are_rare(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROGRESS", "lines")
    with ProgressBar(1000, every_seconds=3600) as bar:
        for _ in range(1000):
            bar.advance("loss 0.9")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mode", ["bar", None])
def test_progress_bar_is_the_default_and_stays_off_stderr(mode, monkeypatch, capsys):
    monkeypatch.delenv("COURSE_PROGRESS") if mode is None else monkeypatch.setenv("COURSE_PROGRESS", mode)
    show_progress()
    out, err = capsys.readouterr()
    assert "epoch 1: accuracy 0.8\n" in out and "0/3" in out
    assert err == ""


def test_resumed_progress_counts_on(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROGRESS", "lines")
    with ProgressBar(10, start=7, every_seconds=-1) as bar:
        bar.advance("resumed")
    assert capsys.readouterr().out == "step 8/10, resumed\n"
