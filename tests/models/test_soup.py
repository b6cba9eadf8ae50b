"""The mean of several trainings' weights: exactly that, as a model like any other; and what has no mean is refused."""

import numpy as np
import pytest
import torch
from tiny import FP32, LABELS, build_model, toy_data
from transformers import AutoTokenizer

from helpers.exceptions import SettingError
from helpers.models.pretrained import load_classifier
from helpers.models.saving import load, save
from helpers.models.soup import average_models
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return build_model("bert", tmp_path_factory.mktemp("bert"))


def train(base, folder, seed, *, labels=LABELS, **how):
    """Return the folder of a model that was trained with `seed` from the same first weights as all others."""
    classifier, (encoded, _) = load_classifier(str(base), labels, device=FP32, **how), toy_data()
    config = TrainingConfig(epochs=1, batch_size=4, learning_rate=1e-2, metric="epoch", seed=seed)
    fit(classifier, encoded, encoded, config, device=FP32)
    return save(classifier, AutoTokenizer.from_pretrained(base), folder, max_length=32, thresholds=[0.4] * len(labels))


@pytest.mark.parametrize("pooling", ["native", "mean"])
def test_its_weights_are_the_mean(base, pooling, tmp_path):
    runs = [train(base, tmp_path / str(seed), seed, pooling=pooling) for seed in range(3)]
    classifier, _, settings = load(average_models(runs, tmp_path / "mean"), device=FP32)
    weights = [load(run, device=FP32)[0].state_dict() for run in runs]
    for name, value in classifier.state_dict().items():
        expected = np.mean([own[name].numpy() for own in weights], axis=0, dtype=np.float64)
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6, atol=1e-8)
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert settings["label_names"] == LABELS and settings["max_length"] == 32 and settings["thresholds"] is None


def test_the_mean_of_equals_answers_as_they_do(base, tmp_path):
    run = train(base, tmp_path / "run", 0)
    same, tokenizer, _ = load(average_models([run, run], tmp_path / "mean"), device=FP32)
    batch = tokenizer(["so happy", "so sad today"], padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(same(**batch).logits, load(run, device=FP32)[0](**batch).logits)


def test_what_has_no_mean_is_refused(base, tmp_path):
    run = train(base, tmp_path / "run", 0)
    with pytest.raises(SettingError, match="at least two"):
        average_models([run], tmp_path / "mean")
    turned = train(base, tmp_path / "turned", 0, labels=LABELS[::-1])
    with pytest.raises(SettingError, match="no mean"):
        average_models([run, turned], tmp_path / "mean")
    other = train(build_model("roberta", tmp_path / "roberta"), tmp_path / "other", 0)
    with pytest.raises(SettingError, match="no mean"):
        average_models([run, other], tmp_path / "mean")
    adapter = train(base, tmp_path / "adapter", 0, method="lora")
    with pytest.raises(SettingError, match="merge it first"):
        average_models([run, adapter], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
