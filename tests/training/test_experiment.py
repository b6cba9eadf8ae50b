import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tiny import FP32, LABELS, build_model, build_writer, toy_texts

from helpers.data.load import load_data
from helpers.deploy.predictor import Predictor
from helpers.evaluation.metrics import compute_metrics
from helpers.exceptions import SettingError
from helpers.files import read_json
from helpers.training import experiment
from helpers.training.config import TrainingConfig
from helpers.training.experiment import Recipe, prepare, train_run

CONFIG = TrainingConfig(epochs=3, learning_rate=5e-3, batch_size=16, seed=1)


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A tiny model, a dataset folder, and the loaded data."""
    folder = tmp_path_factory.mktemp("experiment")
    texts, labels = toy_texts(120)
    rows = pd.DataFrame({"text": texts, "label": [LABELS[i] for i in labels]})
    (folder / "toy").mkdir()
    for name, cut in {"train": slice(0, 80), "validation": slice(80, 100), "test": slice(100, 120)}.items():
        rows[cut].to_csv(folder / "toy" / f"{name}.csv", index=False)
    model = build_model("bert", folder / "tiny", dropout=0.1)
    return str(model), str(folder / "toy"), load_data(str(folder / "toy"))


def run_toy(setting, folder, recipe=None, **options):
    model, dataset, corpus = setting
    recipe = recipe or Recipe(model, CONFIG, max_length=24)
    return train_run(corpus, recipe, folder, dataset=dataset, notebook="test", device=FP32, **options)


@pytest.fixture(scope="module")
def finished(setting, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return run_toy(setting, folder, label_column="label"), folder


def test_a_recipe_of_the_last_layers_trains_less(setting, finished, tmp_path):
    run = run_toy(setting, tmp_path, Recipe(setting[0], CONFIG, max_length=24, last_layers=1))
    assert run.record["parameters_trainable"] < finished[0].record["parameters_trainable"]


@pytest.mark.parametrize("method", ["generate", "probe"])
def test_last_layers_are_refused_where_they_mean_nothing(setting, method, tmp_path):
    with pytest.raises(SettingError, match=r"leave (last_layers|it) out"):
        run_toy(setting, tmp_path, Recipe(setting[0], CONFIG, method=method, max_length=24, last_layers=1))


@pytest.mark.parametrize("asked", [None, True, False])
def test_a_recipe_may_ask_for_gradient_checkpointing(setting, monkeypatch, asked, tmp_path):
    given = {}

    class StopError(Exception):
        pass

    def note(*_, **options):
        given.update(options)
        raise StopError

    monkeypatch.setattr(experiment, "load_classifier", note)
    with pytest.raises(StopError):
        run_toy(setting, tmp_path, Recipe(setting[0], CONFIG, max_length=24, gradient_checkpointing=asked))
    assert given["gradient_checkpointing"] is asked
    chosen = SimpleNamespace(model="x", gradient_checkpointing=asked)
    assert Recipe.of(chosen, CONFIG).gradient_checkpointing is asked


def test_of_a_model_that_writes_texts_are_cut_where_its_room_ends_and_that_is_recorded(setting, tmp_path, capsys):
    where = build_writer(tmp_path / "decoder")
    config = read_json(where / "config.json") | {"max_position_embeddings": 160}
    (where / "config.json").write_text(json.dumps(config))
    recipe = Recipe(str(where), replace(CONFIG, epochs=1), method="generate-full", max_length=128)
    run = run_toy(setting, tmp_path / "run", recipe)
    room = run.classifier.room
    assert f"max_length=128: this model reads at most {room} tokens" in capsys.readouterr().out
    assert run.record["max_length"] == room and run.record["truncated"] == run.encoded["test"].cut.sum() > 0
    assert run.encoded["train"].lengths.max() == room


def test_what_is_returned_is_what_is_written(finished):
    run, folder = finished
    assert read_json(folder / "metrics.json") == json.loads(json.dumps(run.record))
    table = pd.read_csv(folder / "predictions.csv")
    assert [LABELS[i] for i in run.predictions] == table["predicted"].tolist()
    assert len(pd.read_csv(folder / "history.csv")) == CONFIG.epochs


def test_the_record_says_how_good_how_large_and_how_fast(finished, setting):
    run, _ = finished
    scores = compute_metrics(run.encoded["test"].labels, run.predictions, LABELS)
    assert {name: run.record[name] for name in scores} == scores
    assert run.record["parameters_total"] == run.record["parameters_trainable"] > 10_000
    assert run.record["train_seconds"] > 0 and run.record["peak_memory_bytes"] > 50e6
    assert [run.record[name] for name in ("epochs", "learning_rate", "batch_size")] == [3, 5e-3, 16]
    assert run.record["best_epoch"] == run.result.best_epoch
    assert (run.record["seed"], run.record["method"], run.record["model"]) == (1, "full fine-tuning", setting[0])


def test_the_saved_model_says_what_the_run_said(finished):
    run, folder = finished
    texts = pd.read_csv(folder / "predictions.csv")["text"]
    np.testing.assert_allclose(
        Predictor.load(folder, device=FP32).predict_probabilities(texts), run.scores.probability, atol=1e-6
    )


def test_config_keeps_what_is_needed_to_find_the_rows_again(finished, setting):
    config = read_json(finished[1] / "config.json")
    assert (config["dataset_location"], config["label_column"]) == (setting[1], "label")
    assert config["training"]["learning_rate"] == 5e-3


def test_the_same_recipe_gives_the_same_predictions_and_another_seed_does_not(finished, setting, tmp_path):
    again = run_toy(setting, tmp_path / "again", save_model=False)
    other = replace(again.recipe, training=replace(CONFIG, seed=2))
    np.testing.assert_array_equal(again.scores.probability, finished[0].scores.probability)
    differs = (
        run_toy(setting, tmp_path / "other", other, save_model=False).scores.probability != again.scores.probability
    )
    assert differs.any()
    assert not (tmp_path / "again" / "model").exists()


def test_lora_trains_little_and_is_merged(setting, tmp_path):
    recipe = Recipe(setting[0], CONFIG, "lora", max_length=24)
    run = run_toy(setting, tmp_path, recipe)
    assert run.record["parameters_trainable"] < run.record["parameters_total"]
    assert type(run.classifier).__name__ == "BertForSequenceClassification"
    assert not any("lora" in name for name in run.classifier.state_dict())
    found = Predictor.load(tmp_path, device=FP32).predict_probabilities(
        pd.read_csv(tmp_path / "predictions.csv")["text"]
    )
    np.testing.assert_allclose(found, run.scores.probability, atol=1e-5)


def test_a_recipe_of_chosen_parameters_takes_what_it_knows():
    chosen = SimpleNamespace(model="bert", method="lora", rank=None, seed=3, run_name="x", targets=("query",))
    assert Recipe.of(chosen, CONFIG) == Recipe("bert", CONFIG, "lora", targets=("query",))
    assert Recipe.of(chosen, CONFIG, rank=4, method=None) == Recipe("bert", CONFIG, rank=4, targets=("query",))
    with pytest.raises(TypeError, match="ranks"):  # a change that is no setting
        Recipe.of(chosen, CONFIG, ranks=4)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"method": "prompt"}, "method='prompt' is unknown: use one of probe, lora, qlora, full"),
        ({"pooling": "max"}, "pooling='max' is unknown: use one of auto, native, cls, mean, last"),
        ({"max_length": 3}, "max_length=3"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Recipe("any", CONFIG, **wrong)


def test_what_stands_before_training_is_prepared_by_the_chosen_settings(setting):
    model, _, corpus = setting
    chosen = SimpleNamespace(model=model, revision=None, max_length=4, dropout=0.0, device=FP32, seed=3)
    tokenizer, encoded, classifier = prepare(chosen, corpus)
    assert {name: len(found.labels) for name, found in encoded.items()} == corpus.splits.num_rows
    assert (
        tokenizer.decode(encoded["train"].input_ids[0], skip_special_tokens=True) in corpus.splits["train"]["text"][0]
    )
    assert all(encoded["test"].cut) and max(map(len, encoded["test"].input_ids)) == 4
    assert not classifier.training and classifier.config.id2label == dict(enumerate(LABELS))
