"""Publishing a run, to a stand-in Hub on this machine."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from standin_hub import TOKEN, USER, StandInHub
from tiny import FP32, LABELS, build_model, make_tokenizer, toy_data

from helpers.deploy.predictor import Predictor
from helpers.deploy.publish import make_model_card
from helpers.evaluation.intervals import bootstrap_intervals
from helpers.evaluation.metrics import probabilities
from helpers.evaluation.multilabel import compute_multilabel_metrics
from helpers.files import ROOT, read_json, write_json
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.models.saving import save
from helpers.runs import metrics_record

REPOSITORY = f"{USER}/tiny-emotions"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished runs: a whole model, and an adapter on a Hub model."""
    folder = tmp_path_factory.mktemp("runs")
    base = build_model("bert", folder / "base")
    _, validation = toy_data(multilabel=True)
    for method in ("full", "lora"):
        classifier = load_classifier(str(base), LABELS, method=method, multilabel=True, device=FP32, rank=2)
        save(classifier, make_tokenizer(), folder / method / "model", thresholds=[0.5, 0.4, 0.3])
        if method == "lora":
            adapter = folder / method / "model" / "adapter_config.json"
            write_json(adapter, read_json(adapter) | {"base_model_name_or_path": "owner/base"})
        probability = probabilities(predict_logits(classifier, validation), multilabel=True)
        calls = (probability > 0.5).astype(int)
        record = metrics_record(
            notebook="05_lora_multilabel",
            model="owner/base" if method == "lora" else str(base),
            method=method,
            dataset="/some/where/tweets",
            sizes={"train": 45, "test": 15},
            metrics=compute_multilabel_metrics(validation.labels, calls, probability, LABELS),
            intervals=bootstrap_intervals(validation.labels, calls, ("f1_macro",), samples=20),
            seed=3,
            device=FP32,
            parameters_trainable=1234,
            epochs=2,
            learning_rate=1e-3,
        )
        write_json(folder / method / "metrics.json", record)
    return folder


def push(hub, run_folder, home, *, repository=REPOSITORY, token=TOKEN):
    code = f"from helpers.deploy.publish import push_to_hub; print(push_to_hub({str(run_folder)!r}, {repository!r}))"
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    environment |= hub.environment(home, token=token) | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)


ELSEWHERE = """
import json, sys
sys.modules["helpers"] = None  # an environment without this course
from transformers import pipeline
classify = pipeline("text-classification", sys.argv[1], top_k=None, device="cpu")
print(json.dumps([{one["label"]: one["score"] for one in row} for row in classify(sys.argv[2:], truncation=True)]))
"""


def test_a_published_model_answers_alike_where_nobody_has_this_course(runs, tmp_path):
    texts = ["calm0 calm1 word3", "glad2 sour1", "glad0 " * 100]
    with StandInHub(filled=False) as hub:
        assert push(hub, runs / "full", tmp_path).returncode == 0
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_HUB_OFFLINE")}
        environment |= hub.environment(tmp_path / "elsewhere", token=TOKEN)  # private at first
        command = [sys.executable, "-W", "ignore", "-c", ELSEWHERE, REPOSITORY, *texts]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout)
    expected = Predictor.load(runs / "full", device=FP32).predict_probabilities(texts)
    np.testing.assert_allclose([[answer[name] for name in LABELS] for answer in answers], expected, atol=1e-5)


@pytest.mark.parametrize("base", ["all-MiniLM-L6-v2", None])
def test_a_published_adapter_names_no_folder_of_this_machine(runs, tmp_path, base):
    shutil.copytree(runs / "lora", tmp_path / "run")
    model = tmp_path / "run" / "model"
    changes = {"adapter_config.json": {"base_model_name_or_path": str(tmp_path)}, "config.json": {"base_model": base}}
    for file, change in changes.items():
        write_json(model / file, read_json(model / file) | change)
    with StandInHub(filled=False) as hub:
        done = push(hub, tmp_path / "run", tmp_path)
        files = hub.repositories[("models", REPOSITORY)].files() if done.returncode == 0 else {}
    if base is None:
        assert "stands on a folder of this machine" in done.stderr
    else:
        told = json.loads(files["adapter_config.json"])["base_model_name_or_path"]
        assert told == "sentence-transformers/all-MiniLM-L6-v2"
        assert not any(str(tmp_path).encode() in content for content in files.values())


@pytest.mark.parametrize("method", ["full", "lora"])
def test_model_or_adapter_and_card_arrive(runs, tmp_path, method):
    with StandInHub(filled=False) as hub:
        done = push(hub, runs / method, tmp_path)
        assert done.returncode == 0, done.stderr
        files = hub.repositories[("models", REPOSITORY)].files()
    folder = runs / method / "model"
    assert {name for name in files if not name.startswith(".git")} == {path.name for path in folder.iterdir()}
    weights = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    assert files[weights] == (folder / weights).read_bytes()
    assert files["README.md"].decode() == make_model_card(runs / method)
    assert done.stdout.strip().startswith("http")


def test_the_card_says_what_metrics_json_says(runs):
    card = make_model_card(runs / "lora")
    record = json.loads((runs / "lora" / "metrics.json").read_text())
    low, high = record["intervals"]["f1_macro"]
    assert f"| macro F1 | {record['f1_macro']:.3f} | {low:.3f} to {high:.3f} |" in card
    assert f"| Jaccard | {record['jaccard']:.3f} |" in card
    assert all(f"| {name} | {found['support']} |" in card for name, found in record["per_class"].items())
    assert "- trained parameters: 1,234" in card and "- seed: 3" in card
    assert "- data: tweets (45 train, 15 test)" in card and "/some/where" not in card
    assert "Fewer than 50 test texts each: calm, glad, sour" in card
    head = yaml.safe_load(card.split("---")[1])
    assert (head["base_model"], head["library_name"]) == ("owner/base", "peft")
    assert "from helpers.models import load" in card


def test_the_head_of_the_card_tells_the_hub_the_numbers(runs):
    record = json.loads((runs / "full" / "metrics.json").read_text())
    (index,) = yaml.safe_load(make_model_card(runs / "full").split("---")[1])["model-index"]
    (result,) = index["results"]
    assert result["dataset"] == {"name": "tweets", "type": "tweets", "split": "test"}
    found = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert found["macro F1"] == record["f1_macro"] and found["every label right"] == record["accuracy"]


def test_the_card_names_no_folder_of_this_machine(runs):
    card = make_model_card(runs / "full")
    assert str(runs) not in card
    assert "base_model" not in yaml.safe_load(card.split("---")[1])


def test_a_run_that_saved_no_model_has_a_card_too(runs, tmp_path):
    shutil.copy(runs / "full" / "metrics.json", tmp_path)
    assert make_model_card(tmp_path) == make_model_card(runs / "full")


def test_without_an_account_nothing_is_sent(runs, tmp_path):
    with StandInHub(filled=False) as hub:
        done = push(hub, runs / "full", tmp_path, token=None)
        assert done.returncode != 0 and "hf auth login" in done.stderr.splitlines()[-1]
        assert hub.requests == []


def test_a_hub_out_of_reach_is_one_sentence(runs, tmp_path):
    with StandInHub(filled=False) as hub:
        hub.fail("503")
        done = push(hub, runs / "full", tmp_path)
    assert done.returncode != 0
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith("helpers.exceptions.AssetError: 'learner/tiny-emotions' could not")
    )


def test_a_name_without_owner_or_a_folder_without_model_is_refused(runs, tmp_path):
    from helpers.deploy.publish import push_to_hub

    with pytest.raises(ValueError, match=r"push_to='emotions': give the owner too"):
        push_to_hub(runs / "full", "emotions")
    with pytest.raises(FileNotFoundError, match=r"has no metrics\.json: finish a run"):
        push_to_hub(tmp_path, REPOSITORY)


def test_the_shared_task_is_read_from_the_hubs_parquet_copy(tmp_path):
    """One folder of several, labels as booleans: what the gpu profile of notebook 04 reads."""
    code = """
from helpers.data import load_data
corpus = load_data("SemEvalWorkshop/sem_eval_2018_task_1")
print(corpus.multilabel, len(corpus.label_names), sorted({value for row in corpus.splits["test"]["labels"] for value in row}))
"""
    with StandInHub() as hub:
        environment = os.environ | hub.environment(tmp_path) | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
        )
        assert "english" in " ".join(hub.downloads()) and "arabic" not in " ".join(hub.downloads())
    assert done.stdout.split("\n")[0] == "True 11 [0.0, 1.0]", done.stderr
