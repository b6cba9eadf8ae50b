"""The line on another program that uses the cores: when it comes, and when not. Clocks are faked."""

import random
from types import SimpleNamespace

import pytest
from tiny import FP32, LABELS, build_model, toy_data

from helpers.models.pretrained import load_classifier
from helpers.training import checkpoints
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.pace import WARM_UP, WINDOW, Pace


def say(steps: list[tuple[float, int]]) -> list[tuple[int, str]]:
    """Return what a run of such steps (seconds, padded tokens) says, with the step at which it does."""
    pace = Pace()
    said = [(number, pace.note(*step)) for number, step in enumerate(steps)]
    return [(number, line) for number, line in said if line]


def vary_lengths(count: int, *, seed: int = 0) -> list[int]:
    """Return the padded tokens of steps as they come: batches of 32 texts, of 6 to 128 tokens."""
    lengths = random.Random(seed)
    return [32 * lengths.randint(6, 128) for _ in range(count)]


def test_a_busy_neighbour_is_said_once_with_the_factor():
    steps = [(0.1, 800)] * 30 + [(0.4, 800)] * 30
    ((number, line),) = say(steps)
    assert 30 + WINDOW // 2 <= number < 30 + WINDOW
    assert line.startswith("Another program is using the cores: steps take ")
    assert "expect about 4 times longer" in say([(0.1, 800)] * 10 + [(0.4, 800)] * 10)[0][1]


@pytest.mark.parametrize("seed", range(5))
def test_lengths_alone_are_no_reason(seed):
    tokens = vary_lengths(400, seed=seed)
    assert say([(0.001 * n, n) for n in tokens]) == []  # all of a step's time goes by the token
    assert say([(0.1, n) for n in tokens]) == []  # or none of it
    assert say([(0.05 + 0.0001 * n, n) for n in tokens]) == []


def test_batches_that_grow_longer_and_longer_are_no_reason():
    assert say([(0.0001 * n, n) for n in range(200, 4000, 20)]) == []
    assert say([(0.02 + 0.0001 * n, n) for n in range(4000, 200, -20)]) == []


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(5.0, 800)] * WARM_UP + [(0.1, 800)] * 60, id="a slow start"),
        pytest.param([(0.1, 800)] * 20 + [(60.0, 800)] + [(0.1, 800)] * 20, id="one slow step"),
        pytest.param([(0.1, 800)] * 20 + [(60.0, 800)] * 3 + [(0.1, 800)] * 20, id="three slow steps"),
        pytest.param([(0.1, 800)] * 20 + [(0.25, 800)] * 20, id="two and a half times"),
        pytest.param([(0.4, 800)] * 40, id="slow from the beginning"),
        pytest.param([(0.0, 800)] * 40, id="a clock that stands still"),
        pytest.param([(0.1, 800)] * 10 + [(9.0, 800)] * 7, id="a run too short to tell"),
    ],
)
def test_what_is_no_reason(steps):
    assert say(steps) == []


def test_lengths_do_not_hide_a_neighbour():
    tokens = vary_lengths(120)
    steps = [(0.0001 * n, n) for n in tokens[:60]] + [(0.0005 * n, n) for n in tokens[60:]]
    assert len(say(steps)) == 1


@pytest.mark.parametrize("mode, lines", [("lines", 1), ("off", 0)])
@pytest.mark.parametrize("slow_from, wanted", [(20, True), (1000, False)], ids=["busy", "quiet"])
def test_fit_says_it_by_its_bar_alone(mode, lines, slow_from, wanted, tmp_path, monkeypatch, capsys):
    """With the bar off, as when a notebook's outputs are stored and compared, nothing is printed, on no stream."""
    clock = SimpleNamespace(now=0.0, calls=0)

    def perf_counter() -> float:  # called at the beginning and at the end of each step
        clock.calls += 1
        clock.now += 0.1 if clock.calls < 2 * slow_from else 0.7
        return clock.now

    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(perf_counter=perf_counter))
    monkeypatch.setenv("COURSE_PROGRESS", mode)
    classifier = load_classifier(str(build_model("bert", tmp_path / "bert")), LABELS, device=FP32)
    fit(classifier, *toy_data(), TrainingConfig(epochs=3, batch_size=3), device=FP32)
    printed = capsys.readouterr()
    assert clock.calls == 2 * 45
    assert (printed.out + printed.err).count("Another program is using the cores") == lines * wanted
