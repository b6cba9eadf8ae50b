"""Notebook 05: its own LoRA against peft's, merging, the saved head, NF4, its recorded sweep, and the notebook as a batch job."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from bitsandbytes import functional
from headless import OFFLINE, Headless, reduced_parameters, run_beside_hub, run_notebook
from peft import LoraConfig, PeftModel, get_peft_model
from standin_hub import TOKEN, USER, StandInHub
from test_kaggle import write_competition
from tiny import FP32, LABELS, build_model, toy_data
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import bench_lora

from helpers import models
from helpers.data import ELEVEN_EMOTIONS, check_submission, read_questions
from helpers.files import ROOT
from helpers.training import make_folds

NOTEBOOK = ROOT / "notebooks" / "05_lora_multilabel.ipynb"
NAMES = list(ELEVEN_EMOTIONS)
DECODER, ENCODER = "Qwen/Qwen2.5-0.5B", "distilbert/distilroberta-base"  # tiny ones, from the stand-in Hub


def define(*names, **namespace) -> dict:
    """Return `namespace` with the functions and classes of these `names` as the notebook's cells define them."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    found = {
        node.name: node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    space = {"nn": nn, "torch": torch, "models": models, "np": np, **namespace}
    exec(compile(ast.Module([found[name] for name in names], []), NOTEBOOK.name, "exec"), space)
    return space


@pytest.fixture(scope="module", params=["bert", "qwen2"])
def base(request, tmp_path_factory):
    return build_model(request.param, tmp_path_factory.mktemp("base") / request.param)


def new(base, seed=0):
    how = {"multilabel": True, "pooling": "mean", "device": FP32, "seed": seed}
    return models.load_classifier(str(base), LABELS, **how).eval()


def list_layers(net) -> list[str]:
    backbone = models.backbone_of(net)
    return [name for name, layer in backbone.named_modules() if isinstance(layer, nn.Linear)]


def aim(net, **more) -> LoraConfig:
    paths = {module: name for name, module in net.named_modules()}
    prefix = paths[models.backbone_of(net)]
    return LoraConfig(r=4, lora_alpha=8, target_modules=[f"{prefix}.{name}" for name in list_layers(net)], **more)


def batches(count=10):
    return [models.collate(toy_data(multilabel=True)[0], range(3 * i, 3 * i + 3)) for i in range(count)]


def answer(net) -> torch.Tensor:
    return torch.as_tensor(models.predict_logits(net, toy_data(multilabel=True)[1]))


@pytest.fixture
def pair(base):
    """The notebook's LoRA and peft's on the same model, with the same first A; and the notebook's functions."""
    net = new(base)
    space = define("LoRALinear", "add_lora_by_hand", "take_steps", layers=list_layers(net))
    mine = space["add_lora_by_hand"](new(base), rank=4, alpha=8)
    theirs = get_peft_model(net, aim(net, modules_to_save=models.head_parts(net))).eval()
    own = [module for module in mine.modules() if isinstance(module, space["LoRALinear"])]
    other = [module for module in theirs.modules() if hasattr(module, "lora_A")]
    with torch.no_grad():
        for ours, its in zip(own, other, strict=True):
            ours.A.copy_(its.lora_A["default"].weight)
    return mine, theirs, space


def test_lora_by_hand_changes_nothing_at_first_and_trains_as_many_numbers_as_peft_s(base, pair):
    mine, theirs, _ = pair
    assert torch.equal(answer(mine), answer(new(base)))
    trained = [models.count_parameters(net).trainable for net in (mine, theirs)]
    assert trained[0] == trained[1] < models.count_parameters(mine).total


def test_lora_by_hand_is_peft_s_after_ten_steps(base, pair):
    mine, theirs, space = pair
    losses = [space["take_steps"](net, batches(), 1e-2) for net in (mine, theirs)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert (answer(mine) - answer(theirs)).abs().max() < 1e-6
    assert (answer(mine) - answer(new(base))).abs().max() > 0.01, "both learnt"


def test_merged_is_unmerged_by_hand_and_by_peft(base, pair):
    mine, theirs, space = pair
    space["take_steps"](mine, batches(), 1e-2)
    before, backbone = answer(mine), models.backbone_of(mine)
    for name, layer in list(backbone.named_modules()):
        if isinstance(layer, space["LoRALinear"]):
            layer.frozen.weight.data += layer.scale * layer.B.data @ layer.A.data
            backbone.set_submodule(name, layer.frozen)
    assert torch.allclose(answer(mine), before, atol=1e-5)
    space["take_steps"](theirs, batches(), 1e-2)
    assert torch.allclose(answer(theirs.merge_and_unload()), before, atol=1e-5)


@pytest.mark.parametrize("named", [True, False])
def test_an_adapter_answers_the_same_the_next_day_only_with_its_head(base, tmp_path, named):
    space, net = define("take_steps"), new(base)
    head = models.head_parts(net)
    adapted = get_peft_model(net, aim(net, **({"modules_to_save": head} if named else {}))).eval()
    if not named:
        adapted.get_base_model().get_submodule(head[0]).requires_grad_(True)
    space["take_steps"](adapted, batches(), 1e-2)
    adapted.save_pretrained(tmp_path, save_embedding_layers=False)
    back = PeftModel.from_pretrained(new(base, seed=1), tmp_path)
    assert torch.equal(answer(back), answer(adapted)) == named


def test_nf4_by_hand_is_that_of_bitsandbytes():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    source = next(cell.source for cell in cells if "edge = 0.9677083" in cell.source)
    levels = {"torch": torch}
    exec(source[: source.index("weight =")], levels)
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    packed = functional.quantize_4bit(weight, quant_type="nf4")
    theirs = functional.dequantize_4bit(*packed)
    mine = define("quantize")["quantize"](weight, levels["nf4"])
    assert len(levels["nf4"]) == 16
    assert (mine - theirs).abs().max() < 1e-3 * weight.abs().max()
    even = define("quantize")["quantize"](weight, torch.linspace(-1, 1, 16))
    assert (mine - weight).norm() < (even - weight).norm()


def test_no_member_of_the_ensemble_sees_the_rows_that_it_is_tuned_and_scored_on():
    seen, part = [], list(range(90))
    rows_of = type("Models", (), {"select_rows": staticmethod(lambda _, rows: set(rows.tolist()))})
    rows_of.predict_logits = staticmethod(lambda net, rows, _: net & rows)
    space = define(
        "train_fold", models=rows_of, part=part, members=[], hardware=None, small={"validation": set()},
        train_briefly=lambda method, rows, faster: seen.append(rows) or rows, predict=lambda net, rows: None,
    )  # fmt: skip
    labels = (np.random.default_rng(0).random((90, 3)) < 0.4).astype(int)
    folds = make_folds([f"text {i}" for i in part], labels, LABELS, folds=3)
    for fold in folds:
        assert space["train_fold"](fold) == [set(), set()], "no row to tune or score among those it learnt from"
    assert len(space["members"]) == len(seen) == 3 and all(seen)


# The recorded sweep ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep() -> pd.DataFrame:
    return bench_lora.read_table()


def test_every_setting_was_recorded_with_the_same_seeds(sweep):
    assert bench_lora.list_trainings(sweep) == []
    assert len(sweep) == len(bench_lora.SETTINGS) * len(bench_lora.SEEDS)
    assert sweep[["f1_macro", "average_precision"]].apply(lambda column: column.between(0, 1).all()).all()
    lora = sweep[(sweep["method"] == "lora") & (sweep["targets"] == "all")]
    numbers = lora.groupby("rank")["trained"].first()
    head = 384 * 11 + 11
    assert ((numbers - head) / numbers.index).nunique() == 1, "the thin matrices grow with the rank, the head does not"


def test_no_best_rate_lies_at_the_edge_of_what_was_tried(sweep):
    sweep = sweep[sweep["epochs"] == 3]
    usual = (sweep["rank"] == 16) & (sweep["alpha"] == 32) & (sweep["targets"] == "all")
    best = {}
    for way, runs in {"full": sweep[sweep["method"] == "full"], "lora": sweep[usual]}.items():
        means = runs.groupby("learning_rate")["average_precision"].mean()
        best[way] = means.idxmax()
        assert means.index.min() < best[way] < means.index.max()
    assert best["lora"] > best["full"], "which is what the notebook says of them"


def test_longer_training_narrows_the_gap_and_does_not_close_it(sweep):
    """The figures of section 9: three points after 3 epochs, two after 12."""
    usual = sweep[sweep["alpha"].isin([0, 32]) & (sweep["targets"] != "query value")]
    means = usual.groupby(["epochs", "method", "learning_rate"])["average_precision"].mean()
    best = means.groupby(["epochs", "method"]).max().unstack()
    assert (best["full"] - best["lora"]).round(2).to_dict() == {3: 0.03, 12: 0.02}


# The notebook as a batch job ---------------------------------------------------------------------------------------------


def run_05(hub, folder, **parameters) -> tuple[Headless, dict]:
    """Run it with tiny models: the run, and metrics.json if there is one."""
    small = reduced_parameters(NOTEBOOK, model=DECODER, encoder=ENCODER, **parameters)
    return run_beside_hub(NOTEBOOK, hub, folder, small)


@pytest.fixture
def competition(tmp_path):
    return write_competition(tmp_path / "competition")


def test_an_adapter_a_submission_and_thresholds_that_know_validation_alone(competition, tmp_path):
    """papermill notebooks/05_lora_multilabel.ipynb … -p dataset <Kaggle folder>, with a push to the stand-in Hub."""
    repository = f"{USER}/tweets"
    with StandInHub() as hub:
        done, record = run_05(hub, tmp_path, dataset=str(competition), rank=4, push_to=repository)
        assert done.returncode == 0, done.terminal[-3000:]
        published = hub.repositories[("models", repository)].files()
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "README.md"} <= set(published)
    assert b"base_model: Qwen/Qwen2.5-0.5B" in published["README.md"]
    assert record["method"] == "lora" and 0 < record["parameters_trainable"] < record["parameters_total"]
    (folder,) = (tmp_path / "runs" / NOTEBOOK.stem).iterdir()
    questions = read_questions(competition, NAMES)
    assert "9 rows, IDs in the order of test.csv" in check_submission(folder / "submission.csv", questions, NAMES)
    executed = done.executed.read_text(encoding="utf-8")
    assert "the same answers: True" in executed
    assert "head saved: the same answers the next day: True" in executed
    assert "head forgotten: the same answers the next day: False" in executed
    thresholds = json.loads((folder / "model" / "config.json").read_text())["thresholds"]
    assert len(thresholds) == 11 and len(set(thresholds)) == 1, "one for all labels"


def test_comparisons_that_do_not_fit_leave_themselves_out_and_the_model_stays(competition, tmp_path):
    """With as much free memory as the tiny model's 4-bit weights take, and no more."""
    told = tmp_path / "told" / "sitecustomize.py"
    told.parent.mkdir()
    told.write_text(
        f"exec(open({str(OFFLINE / 'sitecustomize.py')!r}).read())\n"
        "import psutil, types\n"
        "psutil.virtual_memory = lambda: types.SimpleNamespace(available=1000)\n"
    )
    path = os.pathsep.join([str(told.parent), str(ROOT)])
    small = reduced_parameters(NOTEBOOK, dataset=str(competition), model=DECODER, encoder=ENCODER)
    with StandInHub() as hub:
        variables = hub.environment(tmp_path / "hf", token=TOKEN) | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = run_notebook(NOTEBOOK, tmp_path, small, **variables)
    assert done.returncode == 0, done.terminal[-3000:]
    left_out = re.findall(r"Left out: (.+?)\. It needs", done.terminal)
    assert left_out == [f"{DECODER}, not in 4 bits", f"{ENCODER}, all weights"]
    (record,) = done.records()
    assert np.isfinite(record["f1_macro"])
    assert next((tmp_path / "runs").rglob("model/adapter_model.safetensors")).stat().st_size


def test_one_label_per_text_is_refused_in_one_sentence(tmp_path):
    with StandInHub(filled=True) as hub:
        done, _ = run_05(hub, tmp_path, dataset="moments", label_column="emotion")
    assert done.returncode != 0 and "has one label per text: take notebook 01" in done.terminal


def test_the_threshold_is_the_one_that_validation_asks_for(competition, tmp_path):
    """Recomputed from the saved model: the test rows, which it scores, had no say."""
    with StandInHub() as hub:
        done, _ = run_05(hub, tmp_path, dataset=str(competition), comparison_examples=0, threshold="per_label")
        assert done.returncode == 0, done.terminal[-3000:]
        (folder,) = (tmp_path / "runs" / NOTEBOOK.stem).iterdir()
        found = compute_thresholds(hub, folder / "model", competition, tmp_path)
    stored = json.loads((folder / "model" / "config.json").read_text())["thresholds"]
    assert found == pytest.approx(stored, abs=1e-3)


def compute_thresholds(hub, folder, competition, home) -> list[float]:
    """Return the thresholds of the model in `folder` from the validation rows, in a process that knows the Hub."""
    program = (
        "import json, sys; import numpy as np; from helpers import data, evaluation, models; from helpers.device import find_device\n"
        f"corpus = data.take_examples(data.load_data({str(competition)!r}, seed=0), 96, 0); device = find_device()\n"
        f"net, tokenizer, settings = models.load({str(folder)!r}, device=device)\n"
        "part = models.encode_split(corpus.splits['validation'], tokenizer, settings['max_length'])\n"
        "logits = models.predict_logits(net, part, device)\n"
        "found = evaluation.probabilities(logits, multilabel=True)\n"
        "print(json.dumps(evaluation.tune_thresholds('per_label', part.labels.astype(int), found).tolist()))\n"
    )
    environment = (
        os.environ | hub.environment(home / "hf", token=TOKEN) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
