"""How long the notebooks will take: what a cell costs, in which parts, what follows for another machine, and the progress."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from helpers.course import probe, timing
from helpers.course.notebooks import find_notebooks
from helpers.course.timing import Meter, Progress, foretell, say_duration, say_estimate, split_seconds, store_work
from helpers.exceptions import TrainingError
from helpers.files import read_json

PROBE = {"machine": "here", "profile": "laptop", "training": 0.2, "python": 0.01, "cores": 2.0}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Two notebooks' stored work: one cell each of training, of plain Python, and of both."""
    path = tmp_path / "work.json"
    store_work("01_training", PROBE, {"a": (10.0, 20.0), "b": (4.0, 4.0)}, path)
    store_work("02_both", PROBE, {"c": (8.0, 12.0)}, path)
    monkeypatch.setattr(timing, "ask_probe", lambda: dict(PROBE))
    return path


@pytest.mark.parametrize(
    "seconds, busy, cores, parts",
    [
        (10.0, 20.0, 2.0, (10.0, 0.0)),
        (10.0, 10.0, 2.0, (0.0, 10.0)),
        (10.0, 15.0, 2.0, (5.0, 5.0)),
        (10.0, 14.5, 1.9, (5.0, 5.0)),
        pytest.param(10.0, 2.0, 2.0, (0.0, 10.0), id="waits for the disk"),
        pytest.param(10.0, 40.0, 2.0, (10.0, 0.0), id="more busy than the probe"),
        pytest.param(10.0, 10.0, 1.0, (0.0, 10.0), id="one core tells nothing"),
        pytest.param(0.0, 0.0, 2.0, (0.0, 0.0), id="no time"),
    ],
)
def test_a_cell_s_time_is_split_by_how_many_cores_it_kept_busy(seconds, busy, cores, parts):
    assert split_seconds(seconds, busy, cores) == pytest.approx(parts)


@pytest.mark.parametrize(
    "training, python, expected",
    [
        (0.2, 0.01, {"a": 10, "b": 4, "c": 8}),  # the same machine
        (0.4, 0.01, {"a": 20, "b": 4, "c": 12}),  # one core: training takes twice as long
        (0.2, 0.02, {"a": 10, "b": 8, "c": 12}),
        (0.1, 0.005, {"a": 5, "b": 2, "c": 4}),
    ],
)
def test_each_part_takes_longer_as_its_probe_does(work, monkeypatch, training, python, expected):
    monkeypatch.setattr(timing, "ask_probe", lambda: PROBE | {"training": training, "python": python})
    found = foretell(["01_training", "02_both"], {}, work)
    assert found["01_training"] | found["02_both"] == pytest.approx(expected)


def test_storing_one_notebook_or_profile_keeps_the_others(work):
    store_work("01_training", PROBE | {"profile": "gpu"}, {"a": (1.0, 1.0)}, work)
    store_work("01_training", PROBE, {"a": (3.0, 3.0)}, work)
    known = read_json(work)
    assert list(known) == ["01_training", "02_both"] and list(known["01_training"]) == ["laptop", "gpu"]
    assert known["01_training"]["laptop"]["cells"] == {"a": [0.0, 3.0]}


@pytest.mark.parametrize(
    "notebooks, given",
    [(["01_training", "03_unknown"], {}), (["01_training"], {"profile": "gpu"})],
    ids=["a notebook", "a profile"],
)
def test_what_was_not_measured_is_not_foretold(work, notebooks, given):
    assert foretell(notebooks, given, work) == {}
    assert foretell(["01_training"], {}, work.with_name("absent.json")) == {}


def test_the_sentence_names_the_sum_and_each_notebook(work, tmp_path):
    found = foretell(["01_training", "02_both"], {}, work)
    assert say_estimate(found, {"seed": 3}, tmp_path) == "This takes about 22 s on this machine (01: 14 s, 02: 8 s)."
    assert say_estimate(foretell(["02_both"], {}, work), {}, tmp_path) == "This takes about 8 s on this machine."


def test_other_parameters_may_change_it(work, tmp_path):
    found = foretell(["02_both"], {}, work)
    said = say_estimate(found, {"seed": 3, "epochs": 9, "run_name": "x"}, tmp_path)
    assert said == "With the defaults this takes about 8 s on this machine; epochs may change that."


def test_an_unfinished_run_makes_it_a_limit(work, tmp_path):
    checkpoint = tmp_path / "02_both" / "laptop-seed0" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.safetensors").write_bytes(b"")
    found = foretell(["02_both"], {}, work)
    assert say_estimate(found, {}, tmp_path) == "This takes at most 8 s on this machine."


@pytest.mark.parametrize("seconds, words", [(7.4, "7 s"), (99, "99 s"), (130, "2.2 min"), (809, "13 min")])
def test_durations_have_two_digits(seconds, words):
    assert say_duration(seconds) == words


def test_the_meter_sees_seconds_and_the_work_of_other_processes():
    meter = Meter()
    code = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as kernel:
        kernel.stdout.readline()
        meter.note(SimpleNamespace(id="busy"))
        time.sleep(0.3)
        meter.note(SimpleNamespace(id="idle"))
        kernel.communicate("\n")
    assert meter.cells["busy"][1] >= 0.4
    assert meter.cells["idle"][0] >= 0.3 and meter.cells["idle"][1] < 0.1


FORETOLD = {"01": {"a": 60.0, "b": 40.0}, "02": {"c": 100.0}}


@pytest.fixture
def clock(monkeypatch):
    """The time of `Progress`, which the test sets."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setenv("COURSE_PROGRESS", "lines")
    return clock


def follow(progress: Progress, clock, *events: tuple[float, str]) -> None:
    for clock.now, name in events:
        progress.begin(name) if name in FORETOLD else progress.note(SimpleNamespace(id=name))


def test_progress_says_now_and_then_how_far_it_is_and_what_is_left(clock, capsys):
    with Progress(FORETOLD) as progress:
        follow(progress, clock, (0, "01"), (60, "a"), (70, "new cell"), (100, "b"), (100, "02"), (300, "c"))
    assert capsys.readouterr().out.splitlines() == [
        "--- 30% of all, about 2.3 min left",
        "--- 50% of all, about 1.7 min left",
        "--- 100% of all, about 0 s left",
    ]


def test_time_left_follows_the_machine_s_true_pace(clock):
    with Progress(FORETOLD) as progress:
        assert progress.find_seconds_left() == 200
        follow(progress, clock, (0, "01"), (120, "a"))
        assert progress.find_seconds_left() == 280  # twice as slow as was foretold
        follow(progress, clock, (200, "b"))
        assert progress.find_seconds_left() == 200


def test_what_a_failed_notebook_did_not_reach_is_not_waited_for(clock):
    with Progress(FORETOLD) as progress:
        follow(progress, clock, (0, "01"), (60, "a"), (60, "02"))
        assert progress.find_seconds_left() == 100
        follow(progress, clock, (160, "c"))
        assert progress.find_seconds_left() == 0


def test_progress_is_silent_when_it_is_off_and_where_nothing_is_known(clock, monkeypatch, capsys):
    with Progress({}) as progress:
        assert progress.output is sys.stdout
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    with Progress(FORETOLD) as progress:
        follow(progress, clock, (0, "01"), (60, "a"), (100, "b"))
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_terminal_has_one_bar_and_the_output_above_it(clock, monkeypatch, capsys):
    monkeypatch.delenv("COURSE_PROGRESS")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(FORETOLD) as progress:
        follow(progress, clock, (0, "01"), (60, "a"))
        progress.output.write("a cell's line\n")
        progress.bar.refresh()
    printed = capsys.readouterr()
    assert printed.out == "a cell's line\n"
    assert " 30 %|" in printed.err and "2.3 min left" in printed.err


def test_the_probe_measures_a_step_and_plain_python(monkeypatch):
    monkeypatch.setattr(probe, "prepare_step", lambda device: lambda: time.sleep(0.01))
    monkeypatch.setattr(probe, "_work_in_python", lambda: time.sleep(0.002))
    monkeypatch.setattr(probe, "SECONDS", 0.05)
    found = probe.probe()
    assert 0.01 <= found["training"] < 1 and 0.002 <= found["python"] < found["training"]
    assert found["profile"] == "laptop" and found["cores"] < 1


def test_a_probe_that_fails_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setattr(probe.sys, "executable", "false")
    with pytest.raises(TrainingError, match="could not be measured"):
        probe.ask_probe()


@pytest.mark.parametrize("notebook", find_notebooks(), ids=lambda path: path.stem)
def test_the_stored_work_is_that_of_the_committed_notebooks(notebook):
    """If this fails after many cells were rewritten: `python -m helpers measure NN`, on a quiet machine."""
    import nbformat

    ids = [cell.id for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    entry = read_json(timing.WORK)[notebook.stem]["laptop"]
    assert sum(name in entry["cells"] for name in ids) >= 0.8 * len(ids)
    assert entry["probe"]["cores"] > 1.5, "one core cannot tell training from plain Python"
