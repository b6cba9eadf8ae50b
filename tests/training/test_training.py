import copy
import dataclasses
import gc
import io
import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from accelerate import PartialState
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import ARCHITECTURES, BF16, FP32, LABELS, build_models, toy_data
from torch import nn

from helpers.device import autocast
from helpers.evaluation.metrics import compute_metrics, decide, mean_loss, probabilities
from helpers.exceptions import TrainingError
from helpers.models.batches import collate
from helpers.models.classifier import TextClassifier, backbone_of, count_parameters, final_layer, head_parts
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.runs import finish_run
from helpers.training import checkpoints, processes, session
from helpers.training.config import TrainingConfig, best_epoch, learning_rate_at, make_optimizer, plan_steps
from helpers.training.loop import fit
from helpers.training.losses import default_loss

each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
CONFIG = TrainingConfig(epochs=3, learning_rate=3e-3, batch_size=9, metric="loss")  # 45 rows: 5 steps per epoch
SAVING = dataclasses.replace(CONFIG, checkpoint_steps=2)  # after steps 2, 4, 5 (end of epoch 1), 6, 8, 10, ...


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return build_models(tmp_path_factory.mktemp("models"))


def new_classifier(folder, **settings):
    settings = {"device": FP32, "dropout": 0.3, "pooling": "mean"} | settings  # random weights learn fastest so
    return load_classifier(str(folder), LABELS, **settings)


def toy_fit(classifier, config=None, *, data=None, device=FP32, **options):
    train, validation = data or toy_data()
    config = config or (SAVING if "run_folder" in options else CONFIG)
    return fit(classifier, train, validation, config, device=device, **options)


def weights(classifier):
    return {name: tensor.clone() for name, tensor in classifier.state_dict().items()}


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


def with_labels(encoded, labels):
    return dataclasses.replace(encoded, labels=labels)


def loss_that(act, *, at_call):
    """Return the default loss, which calls `act` instead of returning at its `at_call`th call; `calls` counts them."""

    def loss(logits, labels):
        loss.calls += 1
        return act() if loss.calls == at_call else default_loss(logits, labels)

    loss.calls = 0
    return loss


class InterruptionError(Exception):
    pass


def interrupt():
    raise InterruptionError


@pytest.fixture
def unfinished(models, tmp_path):
    """A run folder whose run was interrupted in epoch 2: 7 steps done, 6 of them in the checkpoint."""
    with pytest.raises(InterruptionError):
        toy_fit(
            new_classifier(models["bert"]), run_folder=tmp_path / "run", loss_function=loss_that(interrupt, at_call=8)
        )
    return tmp_path / "run"


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None])
@pytest.mark.parametrize("name", ["epochs", "batch_size", "max_tokens"])
def test_counts_must_be_whole_and_positive(name, value):
    if name == "max_tokens" and value is None:  # by memory
        return
    with pytest.raises(ValueError, match=rf"^{name}="):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patience", 0),
        ("patience", 2.0),
        ("checkpoint_steps", 0),
        ("checkpoint_steps", -5),
        ("learning_rate", 0),
        ("learning_rate", -1e-4),
        ("learning_rate", 1),
        ("learning_rate", float("nan")),
        ("warmup", -0.1),
        ("warmup", 1),
        ("warmup", float("nan")),
        ("metric", "f1"),
        ("schedule", "linear"),
        ("weight_decay", -0.01),
        ("clip_norm", 0),
        ("seed", -1),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"^{name}="):
        TrainingConfig(**{name: value})


def test_patience_and_checkpoint_steps_may_be_left_out():
    config = TrainingConfig(patience=None, checkpoint_steps=None)
    assert (config.patience, config.checkpoint_steps) == (None, None)


def test_a_configuration_of_chosen_parameters_takes_what_it_knows_and_leaves_defaults():
    chosen = SimpleNamespace(model="bert", epochs=7, learning_rate=None, batch_size=16, seed=3)
    assert TrainingConfig.of(chosen) == TrainingConfig(epochs=7, batch_size=16, seed=3)
    changed = TrainingConfig.of(chosen, epochs=2, batch_size=None, patience=1)
    assert changed == TrainingConfig(epochs=2, patience=1, seed=3)  # a change wins; None means the default there, too


def test_a_configuration_of_chosen_parameters_is_checked():
    with pytest.raises(ValueError, match=r"^epochs="):
        TrainingConfig.of(SimpleNamespace(epochs=0))
    with pytest.raises(TypeError, match="warm_up"):  # a change that is no setting
        TrainingConfig.of(SimpleNamespace(epochs=1), warm_up=0.2)


# Learning rate, optimizer, best epoch --------------------------------------------------------------------------------


def test_the_learning_rate_warms_up_and_falls_along_a_half_cosine():
    config = TrainingConfig(learning_rate=0.1, warmup=0.1)
    rates = [learning_rate_at(step, 100, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[9] == rates[10] == pytest.approx(0.1)
    assert rates[55] == pytest.approx(0.05)
    assert 0 < rates[99] < 1e-4
    assert rates[100] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_learning_rate_without_warm_up_starts_at_its_peak():
    config = TrainingConfig(learning_rate=0.1, warmup=0)
    assert learning_rate_at(0, 100, config) == pytest.approx(0.1)
    assert learning_rate_at(0, 1, config) == pytest.approx(0.1)


def test_the_step_schedule_multiplies_the_rate_by_09_after_each_epoch():
    config = TrainingConfig(epochs=3, learning_rate=0.1, warmup=0, schedule="step")
    rates = [learning_rate_at(step, 30, config) for step in range(30)]
    assert rates == pytest.approx([0.1] * 10 + [0.09] * 10 + [0.081] * 10)
    warmed_up = dataclasses.replace(config, warmup=0.1)
    assert [learning_rate_at(step, 30, warmed_up) for step in range(5)] == pytest.approx(
        [0.1 / 3, 0.2 / 3, 0.1, 0.1, 0.1]
    )


@each_architecture
def test_only_matrices_decay_and_every_trainable_parameter_is_updated(models, architecture):
    classifier = new_classifier(models[architecture])
    groups = make_optimizer(classifier, TrainingConfig(weight_decay=0.05)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]
    assert all(p.ndim >= 2 for p in groups[0]["params"])
    assert all(p.ndim < 2 for p in groups[1]["params"])
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in classifier.parameters()}


def test_frozen_parameters_are_not_in_the_optimizer(models):
    classifier = new_classifier(models["bert"])
    backbone_of(classifier).requires_grad_(False)
    groups = make_optimizer(classifier, TrainingConfig()).param_groups
    assert [p for group in groups for p in group["params"]] == list(final_layer(classifier).parameters())


def test_of_equally_good_epochs_the_earliest_is_best():
    history = [{"loss": loss, "accuracy": accuracy} for loss, accuracy in [(3, 0.5), (1, 0.9), (1, 0.9), (2, 0.7)]]
    assert best_epoch(history, "loss") == 2
    assert best_epoch(history, "accuracy") == 2


def test_f1_then_loss_takes_the_lowest_loss_among_the_good_epochs():
    history = [{"f1_macro": f1, "loss": loss} for f1, loss in ((0.50, 0.1), (0.595, 0.4), (0.60, 0.8), (0.591, 0.5))]
    assert best_epoch(history, "f1_then_loss") == 2
    assert best_epoch(history, "f1_macro") == 3
    assert best_epoch(history, "loss") == 1


# Training ------------------------------------------------------------------------------------------------------------


@each_architecture
def test_fit_learns_the_toy_data(models, architecture):
    classifier = new_classifier(models[architecture])
    config = TrainingConfig(epochs=6, learning_rate=5e-3, batch_size=9)
    result = toy_fit(classifier, config)
    losses = result.history["train_loss"].tolist()
    assert losses[-1] < 0.5 * losses[0]
    assert result.history["loss"].iloc[-1] < 0.5 * np.log(len(LABELS))
    assert result.history["accuracy"].max() > 0.9
    assert result.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert len(result.step_losses) == 30
    np.testing.assert_allclose(np.reshape(result.step_losses, (6, 5)).mean(axis=1), losses)
    assert not any(module.training for module in classifier.modules())


@each_architecture
def test_fit_leaves_the_weights_of_the_best_epoch(models, architecture):
    train, validation = toy_data()
    wrong = with_labels(validation, (validation.labels + 1) % 3)  # so that validation gets worse while training
    classifier = new_classifier(models[architecture])
    result = toy_fit(classifier, data=(train, wrong))
    best, last = result.history.iloc[result.best_epoch - 1], result.history.iloc[-1]
    logits = predict_logits(classifier, wrong)
    metrics = compute_metrics(wrong.labels, decide(probabilities(logits, multilabel=False), multilabel=False), LABELS)
    assert result.best_epoch == result.history["loss"].idxmin() + 1 < 3
    assert mean_loss(logits, wrong.labels) == best["loss"] < last["loss"] - 0.01
    assert (metrics["accuracy"], metrics["f1_macro"]) == (best["accuracy"], best["f1_macro"])


def test_the_same_seed_gives_the_same_training_and_another_seed_another(models):
    runs = []
    for seed in (5, 5, 6):
        classifier = new_classifier(models["bert"])
        runs.append((toy_fit(classifier, dataclasses.replace(CONFIG, seed=seed)), weights(classifier)))
    (first, first_weights), (again, again_weights), (other, other_weights) = runs
    assert first.step_losses == again.step_losses
    assert first.history.equals(again.history)
    assert_same_weights(first_weights, again_weights)
    assert first.step_losses != other.step_losses
    assert not torch.equal(first_weights["classifier.weight"], other_weights["classifier.weight"])


def plain_loop(classifier, train, config, device):
    """Train the way notebook 01 writes it out; return the loss of every step."""
    torch.manual_seed(config.seed)
    plan = plan_steps(train.lengths, config)
    steps = [rows for epoch in plan for rows in epoch]
    optimizer = make_optimizer(classifier, config)
    classifier.train()
    losses = []
    for step, rows in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, len(steps), config)
        batch = collate(train, rows)
        with autocast(device):
            logits = classifier(batch["input_ids"], batch["attention_mask"]).logits
        loss = nn.functional.cross_entropy(logits.float(), batch["labels"])
        loss.backward()
        nn.utils.clip_grad_norm_(classifier.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
@each_architecture
def test_fit_equals_the_loop_of_notebook_01_step_by_step(models, architecture, device):
    by_hand, by_fit = new_classifier(models[architecture]), new_classifier(models[architecture])
    train, validation = toy_data()
    result = fit(by_fit, train, validation, CONFIG, device=device)
    assert result.step_losses == plain_loop(by_hand, train, CONFIG, device)
    assert result.best_epoch == 3  # else the weights below would be of different epochs
    assert_same_weights(weights(by_fit), weights(by_hand))


@each_architecture
def test_several_passes_per_step_give_the_losses_of_one(models, architecture):
    runs = []
    for max_tokens in (4096, 40):
        loss = loss_that(interrupt, at_call=None)
        config = dataclasses.replace(CONFIG, max_tokens=max_tokens)
        runs.append(
            (toy_fit(new_classifier(models[architecture], dropout=0.0), config, loss_function=loss), loss.calls)
        )
    (one, one_calls), (several, several_calls) = runs
    assert one_calls == 15 < 2 * 15 < several_calls
    np.testing.assert_allclose(one.step_losses, several.step_losses, atol=1e-4)


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_patience_stops_early(models, metric):
    train, validation = toy_data()
    if metric == "loss":
        validation = with_labels(validation, (validation.labels + 1) % 3)  # gets worse from the first epoch on
    rate = 3e-3 if metric == "loss" else 1e-9  # too small to change any prediction: every epoch ties with the first
    config = TrainingConfig(epochs=8, learning_rate=rate, batch_size=9, metric=metric, patience=2)
    result = toy_fit(new_classifier(models["bert"]), config, data=(train, validation))
    assert result.stopped_early
    assert (result.best_epoch, len(result.history)) == (1, 3)
    assert len(result.step_losses) == 15


def test_patience_waits_while_epochs_get_better(models):
    result = toy_fit(new_classifier(models["bert"]), dataclasses.replace(CONFIG, patience=1))
    assert result.history["loss"].is_monotonic_decreasing
    assert (result.stopped_early, len(result.history), result.best_epoch) == (False, 3, 3)


@each_architecture
def test_several_labels_per_text_train(models, architecture):
    train, validation = toy_data(multilabel=True)
    classifier = new_classifier(models[architecture], multilabel=True)
    config = TrainingConfig(epochs=8, learning_rate=5e-3, batch_size=9)
    result = fit(classifier, train, validation, config, device=FP32)
    logits = predict_logits(classifier, validation)
    expected = nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(validation.labels))
    assert result.history["f1_macro"].max() > 0.7
    assert result.history["train_loss"].iloc[-1] < 0.6 * result.history["train_loss"].iloc[0]
    assert result.history["loss"].iloc[result.best_epoch - 1] == pytest.approx(expected.item())


def test_the_result_reports_its_speed(models):
    result = toy_fit(new_classifier(models["bert"]))
    assert result.train_seconds > 0
    assert result.samples_per_second == pytest.approx(3 * 45 / result.train_seconds)


def test_the_result_says_what_was_trained_and_how(models):
    classifier = new_classifier(models["bert"], method="probe")
    result = toy_fit(classifier)
    assert result.config == dataclasses.replace(CONFIG, max_tokens=4096)
    assert result.parameters == count_parameters(classifier)
    assert result.parameters.trainable < result.parameters.total / 10


def test_peak_memory_is_of_fit_alone(models, monkeypatch):
    seen = []
    loss = loss_that(interrupt, at_call=None)
    monkeypatch.setattr(session, "reset_peak_memory", lambda device: seen.append(("reset", loss.calls)))
    monkeypatch.setattr(session, "peak_memory_bytes", lambda device: seen.append(("read", loss.calls)) or 123)
    assert toy_fit(new_classifier(models["bert"]), loss_function=loss).peak_memory_bytes == 123
    assert seen == [("reset", 0), ("read", 15)]


@each_architecture
def test_frozen_parameters_stay_as_they_were_and_out_of_the_checkpoint(models, tmp_path, architecture):
    classifier = new_classifier(models[architecture])
    backbone_of(classifier).requires_grad_(False)
    before = weights(classifier)
    with pytest.raises(InterruptionError):
        toy_fit(classifier, run_folder=tmp_path, loss_function=loss_that(interrupt, at_call=8))
    for file in ("state", "best"):
        names = load_file(tmp_path / "checkpoint" / f"{file}.safetensors")
        assert not any("backbone" in name for name in names)
        assert any("classifier.weight" in name for name in names)
    toy_fit(classifier, run_folder=tmp_path)
    after = weights(classifier)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert {name.split(".")[0] for name in changed} == set(head_parts(classifier))


def computed_dtypes(classifier, action):
    """Return in which dtypes the backbone's first linear layer computes while `action` runs."""
    dtypes = set()
    linear = next(module for module in backbone_of(classifier).modules() if isinstance(module, nn.Linear))
    hook = linear.register_forward_hook(lambda module, inputs, output: dtypes.add((module.training, output.dtype)))
    action()
    hook.remove()
    return dtypes


@each_architecture
def test_a_second_fit_still_computes_in_bf16(models, architecture):
    classifier = new_classifier(models[architecture])
    config = dataclasses.replace(CONFIG, epochs=1)
    both = {(True, torch.bfloat16), (False, torch.bfloat16)}
    for _ in range(2):
        assert computed_dtypes(classifier, lambda: toy_fit(classifier, config, device=BF16)) == both
    assert {p.dtype for p in classifier.parameters()} == {torch.float32}


def test_the_precision_may_change_from_fit_to_fit(models):
    classifier = new_classifier(models["bert"])
    config = dataclasses.replace(CONFIG, epochs=1)
    for device, dtype in ((FP32, torch.float32), (BF16, torch.bfloat16), (FP32, torch.float32)):
        expected = {(True, dtype), (False, dtype)}
        assert computed_dtypes(classifier, lambda device=device: toy_fit(classifier, config, device=device)) == expected


def assert_own_forward(classifier):
    assert classifier.forward.__func__ is TextClassifier.forward
    train, _ = toy_data()
    assert computed_dtypes(classifier.eval(), lambda: predict_logits(classifier, train)) == {(False, torch.float32)}


def test_after_fit_the_forward_is_the_classifiers_own_again(models):
    classifier = new_classifier(models["bert"])
    toy_fit(classifier, dataclasses.replace(CONFIG, epochs=1), device=BF16)
    assert_own_forward(classifier)
    copy.deepcopy(classifier)  # a wrapped forward would tie the copy to the original


def test_after_a_failed_fit_the_forward_is_the_classifiers_own_again(models):
    classifier = new_classifier(models["bert"])
    with pytest.raises(InterruptionError):
        toy_fit(classifier, device=BF16, loss_function=loss_that(interrupt, at_call=2))
    assert_own_forward(classifier)


def test_after_a_refused_checkpoint_the_forward_is_the_classifiers_own_again(models, unfinished):
    classifier = new_classifier(models["bert"])
    with pytest.raises(ValueError, match="other settings"):
        toy_fit(classifier, dataclasses.replace(SAVING, seed=1), device=BF16, run_folder=unfinished)
    assert_own_forward(classifier)


def test_fit_after_a_refused_checkpoint_computes_in_the_new_precision(models, unfinished):
    classifier, config = new_classifier(models["bert"]), dataclasses.replace(SAVING, seed=1)
    with pytest.raises(ValueError, match="other settings"):
        toy_fit(classifier, config, device=FP32, run_folder=unfinished)
    again = lambda: toy_fit(classifier, config, device=BF16, run_folder=unfinished, resume=False)  # noqa: E731
    assert computed_dtypes(classifier, again) == {(True, torch.bfloat16), (False, torch.bfloat16)}


def test_fit_after_an_interrupted_fit_computes_in_bf16(models):
    classifier = new_classifier(models["bert"])
    with pytest.raises(InterruptionError):
        toy_fit(classifier, device=BF16, loss_function=loss_that(interrupt, at_call=2))
    config = dataclasses.replace(CONFIG, epochs=1)
    dtypes = computed_dtypes(classifier, lambda: toy_fit(classifier, config, device=BF16))
    assert dtypes == {(True, torch.bfloat16), (False, torch.bfloat16)}


# Failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_training_and_names_the_step(models, value):
    classifier = new_classifier(models["bert"])
    loss = loss_that(lambda: next(final_layer(classifier).parameters()).sum() * value, at_call=3)
    with pytest.raises(TrainingError, match=r"at step 3 \(epoch 1\).*learning_rate.*precision='no'"):
        toy_fit(classifier, loss_function=loss)
    assert all(torch.isfinite(tensor).all() for tensor in classifier.state_dict().values())


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    MemoryError(),
    torch.OutOfMemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "cpu", "python", "without text"])
def test_lack_of_memory_names_the_setting_that_helps(models, error):
    def fail():
        raise error

    config = dataclasses.replace(CONFIG, max_tokens=777)
    with pytest.raises(
        TrainingError, match=r"Lower max_tokens \(now 777 .*lower batch_size \(now \d+ .*lower max_length"
    ) as caught:
        toy_fit(new_classifier(models["bert"]), config, loss_function=loss_that(fail, at_call=2))
    assert caught.value.__cause__ is error


def test_lack_of_memory_on_the_way_to_the_device_is_explained_too(models, monkeypatch):
    def prepare(accelerator, model, optimizer):
        model.forward = None  # Accelerate puts a wrapper there
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("accelerate.Accelerator.prepare", prepare)
    classifier = new_classifier(models["bert"])
    with pytest.raises(TrainingError, match="Lower max_tokens"):
        toy_fit(classifier)
    monkeypatch.undo()
    assert_own_forward(classifier)


def test_other_errors_come_through_as_they_are(models):
    def fail():
        raise RuntimeError("expected scalar type Long but found Float")

    with pytest.raises(RuntimeError, match="expected scalar type Long") as caught:
        toy_fit(new_classifier(models["bert"]), loss_function=loss_that(fail, at_call=2))
    assert not isinstance(caught.value, TrainingError)


# Interrupt and resume ------------------------------------------------------------------------------------------------


# What kills the run, at which call, and the step and epoch of the checkpoint it leaves behind. Files in the order they are
# written: steps 2, 4, best of epoch 1, epoch 1, steps 6, 8, 10, best of epoch 2, epoch 2.
KILLS = {
    "right after a checkpoint": ("loss", 7, 6, 1),
    "between two checkpoints": ("loss", 8, 6, 1),
    "while a checkpoint is written": ("write", 6, 6, 1),
    "between an epoch's best weights and its checkpoint": ("write", 9, 10, 1),
}


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(model, run_folder, kind, at_call):
    """Train, and be killed while computing a step's loss or halfway through writing a file."""
    calls = []

    def write_half(tensors, path, metadata=None):
        save_file(tensors, path, metadata)
        calls.append(path)
        if len(calls) == at_call:
            os.truncate(path, os.path.getsize(path) // 2)
            kill_myself()

    if kind == "write":
        checkpoints.save_file = write_half
    loss = loss_that(kill_myself, at_call=at_call if kind == "loss" else None)
    toy_fit(new_classifier(model), run_folder=run_folder, loss_function=loss)


def train_and_die_each(model, folder):
    """Run every kind of death in a process of its own, forked so that the libraries are imported only once."""
    for name, (kind, at_call, *_) in KILLS.items():
        process = os.fork()
        if process == 0:
            try:
                train_and_die(model, Path(folder) / name, kind, at_call)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL, name


@pytest.fixture(scope="module")
def killed_runs(models, tmp_path_factory):
    folder, here = tmp_path_factory.mktemp("killed"), Path(__file__).resolve().parent
    paths = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    command = "import sys, test_training; test_training.train_and_die_each(*sys.argv[1:])"
    arguments = [sys.executable, "-c", command, str(models["bert"]), str(folder)]
    child = subprocess.run(
        arguments, env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert child.returncode == 0, child.stderr
    return folder


@pytest.fixture(scope="module")
def uninterrupted(models, tmp_path_factory):
    classifier = new_classifier(models["bert"])
    result = toy_fit(classifier, run_folder=tmp_path_factory.mktemp("uninterrupted"))
    assert result.history["loss"].is_monotonic_decreasing  # each epoch is the best so far, and writes its weights
    return result, weights(classifier)


def saved_state(run_folder):
    with safe_open(run_folder / "checkpoint" / "state.safetensors", "pt") as file:
        return json.loads(file.metadata()["state"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("name", KILLS)
def test_a_killed_run_resumes_bit_for_bit(models, killed_runs, uninterrupted, name):
    kind, _, saved_step, saved_epoch = KILLS[name]
    run_folder = killed_runs / name
    state = saved_state(run_folder)
    assert (state["step"], state["epoch"]) == (saved_step, saved_epoch)
    assert len(list((run_folder / "checkpoint").glob(".*"))) == (kind == "write"), "half a file stays behind"

    classifier, loss = new_classifier(models["bert"], seed=99), loss_that(interrupt, at_call=None)
    torch.manual_seed(12345)
    result = toy_fit(classifier, run_folder=run_folder, loss_function=loss)
    expected, expected_weights = uninterrupted
    assert loss.calls == 15 - saved_step, "it started over instead of going on"
    assert_same_weights(weights(classifier), expected_weights)
    assert result.step_losses == expected.step_losses
    assert result.history.equals(expected.history)
    assert result.best_epoch == expected.best_epoch
    assert sorted(path.name for path in (run_folder / "checkpoint").iterdir()) == [
        "best.safetensors",
        "state.safetensors",
    ]


@each_architecture
def test_an_interrupted_run_resumes_bit_for_bit(models, tmp_path, architecture):
    whole, parts = new_classifier(models[architecture]), new_classifier(models[architecture])
    expected = toy_fit(whole)
    with pytest.raises(InterruptionError):
        toy_fit(parts, run_folder=tmp_path, loss_function=loss_that(interrupt, at_call=8))
    result = toy_fit(parts, run_folder=tmp_path)
    assert_same_weights(weights(parts), weights(whole))
    assert result.step_losses == expected.step_losses
    assert result.history.equals(expected.history)


def test_a_run_interrupted_in_its_first_epoch_resumes(models, tmp_path, uninterrupted):
    with pytest.raises(InterruptionError):
        toy_fit(new_classifier(models["bert"]), run_folder=tmp_path, loss_function=loss_that(interrupt, at_call=4))
    classifier, loss = new_classifier(models["bert"]), loss_that(interrupt, at_call=None)
    result = toy_fit(classifier, run_folder=tmp_path, loss_function=loss)
    assert loss.calls == 13
    assert result.step_losses == uninterrupted[0].step_losses
    assert_same_weights(weights(classifier), uninterrupted[1])


def test_without_checkpoint_steps_a_run_resumes_at_the_epoch(models, tmp_path, uninterrupted):
    with pytest.raises(InterruptionError):
        toy_fit(
            new_classifier(models["bert"]), CONFIG, run_folder=tmp_path, loss_function=loss_that(interrupt, at_call=9)
        )
    classifier, loss = new_classifier(models["bert"]), loss_that(interrupt, at_call=None)
    toy_fit(classifier, CONFIG, run_folder=tmp_path, loss_function=loss)
    assert loss.calls == 10
    assert_same_weights(weights(classifier), uninterrupted[1])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"learning_rate": 1e-3}, "learning_rate"),
        ({"seed": 1}, "seed"),
        ({"schedule": "step"}, "schedule"),
        ({"epochs": 4}, "epochs"),
        ({"batch_size": 8, "warmup": 0.2}, "batch_size, warmup"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_of_another_configuration_is_refused(models, unfinished, change, expected):
    with pytest.raises(ValueError, match=rf"other settings \({expected}\).*resume=False"):
        toy_fit(new_classifier(models["bert"]), dataclasses.replace(SAVING, **change), run_folder=unfinished)


@pytest.mark.parametrize("max_tokens", [40, 100])
def test_a_run_goes_on_with_smaller_passes(models, tmp_path, max_tokens):
    """Whoever ran out of memory is told to lower `max_tokens`, and need not begin anew. Only dropout's dice would differ."""
    whole = toy_fit(new_classifier(models["bert"], dropout=0.0))
    with pytest.raises(InterruptionError):
        stopped = new_classifier(models["bert"], dropout=0.0)
        toy_fit(stopped, run_folder=tmp_path, loss_function=loss_that(interrupt, at_call=8))
    config, rest = dataclasses.replace(SAVING, max_tokens=max_tokens), loss_that(interrupt, at_call=None)
    result = toy_fit(new_classifier(models["bert"], dropout=0.0), config, run_folder=tmp_path, loss_function=rest)
    assert result.config == config and rest.calls > 9 and len(result.step_losses) == 15
    np.testing.assert_allclose(result.step_losses, whole.step_losses, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda first, second: [second, first], id="other texts"),
        pytest.param(lambda first, second: [first + second[:1], second[1:]], id="the same tokens, cut elsewhere"),
    ],
)
def test_a_checkpoint_of_other_texts_is_refused(models, unfinished, change):
    train, validation = toy_data()
    first, second, *others = train.input_ids
    ids = [*change(first, second), *others]
    with pytest.raises(ValueError, match=r"other settings \(train data\)"):
        toy_fit(
            new_classifier(models["bert"]),
            data=(dataclasses.replace(train, input_ids=ids), validation),
            run_folder=unfinished,
        )


def test_a_checkpoint_of_other_labels_is_refused(models, unfinished):
    train, validation = toy_data()
    with pytest.raises(ValueError, match=r"other settings \(train data\)"):
        toy_fit(
            new_classifier(models["bert"]),
            data=(with_labels(train, train.labels[::-1].copy()), validation),
            run_folder=unfinished,
        )


def test_a_checkpoint_of_other_label_names_is_refused(models, unfinished):
    classifier = load_classifier(str(models["bert"]), ["x", "y", "z"], pooling="mean", device=FP32)
    with pytest.raises(ValueError, match=r"other settings \(labels\)"):
        toy_fit(classifier, run_folder=unfinished)


def test_a_checkpoint_of_another_pooling_is_refused(models, unfinished):
    with pytest.raises(ValueError, match=r"other settings"):
        toy_fit(new_classifier(models["bert"], pooling="cls"), run_folder=unfinished)


def test_a_checkpoint_of_another_model_is_refused(models, unfinished):
    with pytest.raises(ValueError, match=r"other settings"):
        toy_fit(new_classifier(models["qwen2"]), run_folder=unfinished)


def test_a_checkpoint_of_another_validation_split_is_refused(models, unfinished):
    train, validation = toy_data()
    with pytest.raises(ValueError, match=r"other settings"):
        toy_fit(
            new_classifier(models["bert"]),
            data=(train, with_labels(validation, validation.labels[::-1].copy())),
            run_folder=unfinished,
        )


def test_resume_false_starts_over(models, unfinished, tmp_path):
    config = dataclasses.replace(SAVING, seed=1)
    classifier, fresh = new_classifier(models["bert"]), new_classifier(models["bert"])
    result = toy_fit(classifier, config, run_folder=unfinished, resume=False)
    expected = toy_fit(fresh, config, run_folder=tmp_path / "another")
    assert result.step_losses == expected.step_losses
    assert_same_weights(weights(classifier), weights(fresh))


def test_resume_false_throws_the_unfinished_run_away_at_once(models, unfinished):
    config = dataclasses.replace(SAVING, seed=1)
    with pytest.raises(InterruptionError):
        toy_fit(
            new_classifier(models["bert"]),
            config,
            run_folder=unfinished,
            resume=False,
            loss_function=loss_that(interrupt, at_call=1),
        )
    assert len(toy_fit(new_classifier(models["bert"]), config, run_folder=unfinished).step_losses) == 15


def cut_in_half(file):
    os.truncate(file, file.stat().st_size // 2)


def empty(file):
    file.write_bytes(b"")


def fill_with_text(file):
    file.write_text("these are no weights " * 50)


def drop_metadata(file):
    save_file(load_file(file), file)


def spoil_metadata(file):
    save_file(load_file(file), file, {"state": '{"step": 6,'})


@pytest.mark.parametrize("spoil", [cut_in_half, empty, fill_with_text, drop_metadata, spoil_metadata])
def test_an_unreadable_checkpoint_is_refused_in_a_sentence(models, unfinished, spoil):
    file = unfinished / "checkpoint" / "state.safetensors"
    spoil(file)
    with pytest.raises(
        ValueError, match=r"^\S+state\.safetensors is not a readable checkpoint: pass resume=False to start over\.$"
    ):
        toy_fit(new_classifier(models["bert"]), run_folder=unfinished)
    assert len(toy_fit(new_classifier(models["bert"]), run_folder=unfinished, resume=False).step_losses) == 15


@pytest.mark.parametrize("spoil", [cut_in_half, Path.unlink])
def test_unreadable_best_weights_are_refused_in_a_sentence(models, unfinished, spoil):
    spoil(unfinished / "checkpoint" / "best.safetensors")
    with pytest.raises(ValueError, match=r"best\.safetensors .*resume=False"):
        toy_fit(new_classifier(models["bert"]), run_folder=unfinished)


def test_nothing_in_a_checkpoint_is_a_pickle(unfinished):
    files = sorted((unfinished / "checkpoint").iterdir())
    assert [file.name for file in files] == ["best.safetensors", "state.safetensors"]
    for file in files:
        assert load_file(file)
        assert not file.read_bytes().startswith((b"PK", b"\x80"))  # what torch.save writes, or a bare pickle


def test_checkpoint_steps_without_a_run_folder_save_nothing(models):
    assert (
        toy_fit(new_classifier(models["bert"]), SAVING).step_losses
        == toy_fit(new_classifier(models["bert"])).step_losses
    )


def test_what_was_trained_to_its_end_is_not_trained_again_until_the_run_is_complete(models, tmp_path):
    classifier, again = new_classifier(models["bert"]), new_classifier(models["bert"])
    first = toy_fit(classifier, run_folder=tmp_path)
    state = tmp_path / "checkpoint" / "state.safetensors"
    assert load_file(state) == {}, "the optimizer's state is large, and done"
    assert load_file(tmp_path / "checkpoint" / "best.safetensors").keys() == classifier.state_dict().keys()
    second = toy_fit(again, run_folder=tmp_path)
    assert_same_weights(weights(again), weights(classifier))
    assert (second.step_losses, second.best_epoch) == (first.step_losses, first.best_epoch)
    assert second.history.equals(first.history)
    finish_run(tmp_path, {})
    assert not (tmp_path / "checkpoint").exists()


def test_other_settings_or_another_loss_begin_anew_after_a_run_that_was_trained_to_its_end(models, tmp_path):
    """And other first weights: another model of the same shape, or one that is trained on."""
    first = toy_fit(new_classifier(models["bert"]), run_folder=tmp_path)
    other = toy_fit(new_classifier(models["bert"], seed=7), run_folder=tmp_path)
    assert other.step_losses != first.step_losses
    assert toy_fit(new_classifier(models["bert"], seed=7), run_folder=tmp_path).step_losses == other.step_losses
    loss = loss_that(interrupt, at_call=None)
    toy_fit(new_classifier(models["bert"]), run_folder=tmp_path, loss_function=loss)
    assert loss.calls == 15
    shorter = dataclasses.replace(CONFIG, epochs=1)
    assert len(toy_fit(new_classifier(models["bert"]), shorter, run_folder=tmp_path).history) == 1


# Tracking ------------------------------------------------------------------------------------------------------------


def read_events(place):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(place)).Reload()


def values(events, name):
    return [event.value for event in events.Scalars(name)]


def test_tensorboard_writes_curves_below_the_run_folder(models, tmp_path):
    result = toy_fit(new_classifier(models["bert"]), run_folder=tmp_path, tracker="tensorboard")
    curves = read_events(tmp_path / "transformers-for-emotion")
    assert values(curves, "step_loss") == pytest.approx(result.step_losses)
    assert [event.step for event in curves.Scalars("f1_macro")] == [5, 10, 15]
    for name in ("train_loss", "loss", "f1_macro", "accuracy"):
        assert values(curves, name) == pytest.approx(result.history[name].tolist()), name
    steps = [learning_rate_at(step, 15, CONFIG) for step in range(15)]
    assert values(curves, "learning_rate") == pytest.approx(steps)


def test_tensorboard_gets_the_settings_below_the_name_of_the_project(models, tmp_path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    tracking = {"tracker": "tensorboard", "tracker_project": "moods"}
    toy_fit(new_classifier(models["bert"]), run_folder=tmp_path, **tracking)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "moods"]
    (file,) = (tmp_path / "moods").glob("*/events.out.tfevents.*")
    content = read_events(file).PluginTagToContent("hparams")["_hparams_/session_start_info"]
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["learning_rate"].number_value == SAVING.learning_rate
    assert settings["metric"].string_value == "loss"
    assert settings["labels"].string_value == str(LABELS)
    assert {field.name for field in dataclasses.fields(SAVING)} < set(settings)


@pytest.mark.parametrize("multilabel", [False, True])
def test_tensorboard_gets_figures_at_the_end(models, tmp_path, multilabel):
    """The curves; and, where one label excludes the others, the confusion matrix of validation."""
    classifier = new_classifier(models["bert"], multilabel=multilabel)
    toy_fit(classifier, data=toy_data(multilabel=multilabel), run_folder=tmp_path, tracker="tensorboard")
    events = read_events(tmp_path / "transformers-for-emotion")
    assert set(events.Tags()["images"]) == ({"history"} if multilabel else {"history", "confusion"})
    (picture,) = events.Images("history")
    assert picture.step == 15 and picture.width > picture.height > 200
    pixels = plt.imread(io.BytesIO(picture.encoded_image_string))
    assert pixels.min() < 0.2 and pixels.mean() > 0.8  # ink on white paper
    assert plt.get_fignums() == [], "a notebook would show a figure that is left open"


def test_a_run_that_was_stopped_after_its_last_epoch_is_tracked_to_its_end(models, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "finish_trackers", lambda *parts: interrupt())
    with pytest.raises(InterruptionError):
        toy_fit(new_classifier(models["bert"]), run_folder=tmp_path, tracker="tensorboard", tracker_project="first")
    monkeypatch.undo()
    loss, tracking = loss_that(interrupt, at_call=1), {"tracker": "tensorboard", "tracker_project": "second"}
    result = toy_fit(new_classifier(models["bert"]), run_folder=tmp_path, loss_function=loss, **tracking)
    assert len(result.history) == 3
    assert read_events(tmp_path / "second").Tags()["images"] == ["history"]  # no epoch ran: no confusion to draw


def test_a_tracker_needs_a_run_folder(models):
    with pytest.raises(ValueError, match="tracker='tensorboard' needs a run_folder"):
        toy_fit(new_classifier(models["bert"]), tracker="tensorboard")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.array([0, 1, 3] * 15), "There is a label 3: this classifier's labels are numbered from 0 to 2."),
        (np.array([0, -1, 2] * 15), "There is a label -1"),
        (np.zeros((45, 4), dtype=np.float32), "The labels have 4 columns, the classifier 3"),
        (None, "There is nothing to learn from"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_a_gpu_would_fail_an_assertion(models, labels, says):
    train, validation = toy_data()
    with pytest.raises(ValueError, match=says):
        toy_fit(new_classifier(models["bert"]), data=(with_labels(train, labels), validation))


def test_after_a_lack_of_memory_nothing_holds_the_step_though_the_error_is_held(models):
    """As a notebook holds it: on Python 3.12 and later its frames kept 4.8 of 5 GiB, and the next try failed, too."""
    watched = []

    def greedy(logits, labels):
        held = torch.ones(1000)
        watched.extend(weakref.ref(tensor) for tensor in (held, logits))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    classifier = new_classifier(models["bert"])
    with pytest.raises(TrainingError, match="Out of memory") as kept:
        toy_fit(classifier, loss_function=greedy)
    gc.collect()
    assert kept.value.__cause__ is not None
    assert [reference() for reference in watched] == [None, None]
    assert all(parameter.grad is None for parameter in classifier.parameters())
    toy_fit(classifier, dataclasses.replace(CONFIG, epochs=1))  # the retry


@pytest.mark.parametrize(
    ("words", "is_lack"),
    [
        ("CUDA error: an illegal memory access was encountered", False),
        ("CUDA error: device-side assert triggered", False),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True),
        (
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes",
            True,
        ),
        ("[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory", True),
    ],
)
def test_only_a_lack_of_memory_is_called_one(models, words, is_lack):
    def fail(logits, labels):
        raise RuntimeError(words)

    with pytest.raises(
        TrainingError if is_lack else RuntimeError, match="Out of memory" if is_lack else words[:20]
    ) as kept:
        toy_fit(new_classifier(models["bert"]), loss_function=fail)
    assert isinstance(kept.value, TrainingError) == is_lack


@pytest.mark.parametrize(("first", "then"), [(BF16, FP32), (FP32, BF16)], ids=["bf16 to fp32", "fp32 to bf16"])
def test_a_run_goes_on_in_another_precision(models, tmp_path, first, then):
    with pytest.raises(InterruptionError):
        loss = loss_that(interrupt, at_call=8)
        toy_fit(new_classifier(models["bert"]), SAVING, device=first, run_folder=tmp_path, loss_function=loss)
    rest = loss_that(interrupt, at_call=None)
    result = toy_fit(new_classifier(models["bert"]), SAVING, device=then, run_folder=tmp_path, loss_function=rest)
    assert 0 < rest.calls < 15 and len(result.step_losses) == 15
    whole = toy_fit(new_classifier(models["bert"]), SAVING, device=first)
    np.testing.assert_allclose(result.step_losses, whole.step_losses, atol=0.1)


@pytest.mark.parametrize(("saved", "has_scaler"), [({"scale": 1024.0}, False), ({}, True), ({"scale": 1024.0}, True)])
def test_a_loss_scale_is_taken_over_where_there_is_one_on_both_sides(models, tmp_path, saved, has_scaler):
    """fp16 scales the loss, bf16 and fp32 do not: neither an unknown scale nor a missing one stops a run."""
    classifier = new_classifier(models["bert"])
    optimizer = make_optimizer(classifier, CONFIG)
    accelerator = processes.make_accelerator(FP32, None, None)
    settings = {"seed": 0}
    state = checkpoints.TrainingState(settings)
    checkpoints.save_checkpoint(tmp_path, state, accelerator, classifier, optimizer)
    state.scaler = saved
    tensors = load_file(tmp_path / checkpoints.STATE)
    checkpoints.write_weights(tmp_path / checkpoints.STATE, tensors, {"state": json.dumps(vars(state))})
    taken = []
    accelerator.scaler = SimpleNamespace(load_state_dict=taken.append) if has_scaler else None
    checkpoints.load_checkpoint(tmp_path, settings, accelerator, classifier, optimizer)
    assert taken == ([saved] if saved and has_scaler else [])


def test_a_kernel_may_train_on_one_device_and_then_on_another(monkeypatch):
    """Accelerate keeps the first. A device on which nothing is computed stands in for a GPU."""
    monkeypatch.setattr(PartialState, "default_device", property(lambda self: torch.device("meta")))
    for kind in ("cpu", "meta", "meta", "cpu"):
        accelerator = processes.make_accelerator(dataclasses.replace(FP32, kind=kind), None, None)
        assert accelerator.device.type == kind


def use_gpu(monkeypatch, *, on: bool) -> list[torch.Tensor]:
    """Pretend that there is a GPU, or none; return the list of the random numbers' states that the GPU will be given."""
    given = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: on)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.zeros(16, dtype=torch.uint8))  # a CPU's is longer
    monkeypatch.setattr(torch.cuda, "set_rng_state", given.append)
    return given


@pytest.mark.parametrize("wrote", [(1, True), (2, True), (4, False)], ids=["1 with", "2 with", "4 without"])
@pytest.mark.parametrize("reads", [(1, True), (2, True), (2, False)], ids=["1 with", "2 with", "2 without"])
def test_a_checkpoint_of_another_number_of_processes_with_or_without_gpus_is_taken(tmp_path, monkeypatch, wrote, reads):
    """A process takes its own random numbers, where it had some, and never a GPU's for a CPU's."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    alone = {"is_main_process": True, "unwrap_model": lambda model: model, "scaler": None, "device": "cpu"}
    use_gpu(monkeypatch, on=wrote[1])
    monkeypatch.setattr(checkpoints, "gather_object", lambda own: [own[0].clone() for _ in range(wrote[0])])
    torch.manual_seed(3)
    saved = torch.get_rng_state()
    checkpoints.save_checkpoint(tmp_path, checkpoints.TrainingState({}), SimpleNamespace(**alone), model, optimizer)
    given = use_gpu(monkeypatch, on=reads[1])
    for own in range(reads[0]):
        torch.manual_seed(4)
        several = {"process_index": own, "num_processes": reads[0], "reduce": lambda seen, _: seen * reads[0]}
        checkpoints.load_checkpoint(tmp_path, {}, SimpleNamespace(**alone, **several), model, optimizer)
        assert torch.equal(torch.get_rng_state(), saved) == (own < wrote[0])
    assert [len(state) for state in given] == [16] * (min(wrote[0], reads[0]) if wrote[1] and reads[1] else 0)
