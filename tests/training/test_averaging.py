"""The average of the weights: what it is, that validation and the kept weights are its, and that a run goes on with it."""

import numpy as np
import pytest
import torch
from tiny import LABELS, build_model, toy_data

from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.training import session
from helpers.training.averaging import AveragedWeights
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit

CONFIG = TrainingConfig(epochs=3, batch_size=9, learning_rate=2e-3, average=0.9, metric="epoch", checkpoint_steps=2)


@pytest.fixture
def base(tmp_path):
    return str(build_model("bert", tmp_path / "base"))


def test_the_average_is_that_of_the_formula_and_the_block_puts_it_in_place():
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    averaged, expected = AveragedWeights(layer, 0.6), layer.weight.detach().clone()
    for step in range(20):
        with torch.no_grad():
            layer.weight.add_(torch.randn(2, 3))
        averaged.update(step)
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    trained = layer.weight.detach().clone()
    with averaged.in_place():
        torch.testing.assert_close(layer.weight.detach(), expected)
    assert torch.equal(layer.weight, trained)


def test_steps_are_those_of_a_run_without_and_the_kept_weights_are_the_average(base, tmp_path):
    def train(average):
        classifier = load_classifier(base, LABELS)
        config = CONFIG if average else TrainingConfig(**{**vars(CONFIG), "average": None})
        return fit(classifier, *toy_data(), config), classifier

    (with_average, average), (without, last) = train(True), train(False)
    assert with_average.step_losses == without.step_losses
    assert with_average.history["loss"].iloc[-1] != without.history["loss"].iloc[-1]
    logits = predict_logits(average, toy_data()[1])
    assert np.abs(logits - predict_logits(last, toy_data()[1])).max() > 1e-4
    right = (logits.argmax(axis=1) == toy_data()[1].labels).mean()
    assert right == pytest.approx(with_average.history["accuracy"].iloc[-1])


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("stop_after", [2, 7, 11])
def test_a_run_that_was_interrupted_ends_with_the_same_average(base, method, stop_after, tmp_path, monkeypatch):
    def run(folder, stop=None):
        calls = iter(range(10**6))

        def loss(logits, labels):
            if next(calls) == stop:
                raise KeyboardInterrupt
            return torch.nn.functional.cross_entropy(logits, labels)

        classifier = load_classifier(base, LABELS, method=method, rank=2)
        fit(classifier, *toy_data(), CONFIG, run_folder=folder, loss_function=loss)
        return predict_logits(classifier, toy_data()[1])

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop_after)
    assert (run(tmp_path / "parts") == whole).all()


def test_what_holds_the_error_of_a_run_that_failed_does_not_hold_its_average(base, monkeypatch):
    opened = []
    monkeypatch.setattr(session.Session, "begin", lambda run: opened.append(run) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(load_classifier(base, LABELS), *toy_data(), CONFIG, resume=False)
    assert opened[0].averaged is None


@pytest.mark.parametrize("average", [0.0, 1.0, 1.5, -0.1])
def test_a_decay_that_is_none_is_refused(average):
    with pytest.raises(ValueError, match=rf"average={average}: it must lie between 0 and 1"):
        TrainingConfig(average=average)
