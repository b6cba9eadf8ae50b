"""What a training step holds: counted, against the allocator's own record, and against what a GPU measured."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from tiny import BF16, FP32, LABELS, build_models, toy_data
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import bench_zoo
from estimate import FourBitLinear, estimate_step

from helpers.models.adapters import add_lora, use_gradient_checkpointing
from helpers.models.batches import collate, select_rows
from helpers.models.classifier import TextClassifier, count_parameters, set_labels
from helpers.models.pretrained import METHODS, load_classifier
from helpers.models.weights import native_class
from helpers.models.zoo import find_row
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import default_loss
from helpers.training.memory import (
    Ledger,
    choose_max_tokens,
    count_memory,
    count_peak,
    count_weight_bytes,
    fits,
    trace_step,
)

GIB = 2**30
each_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return build_models(tmp_path_factory.mktemp("models"))


def new_classifier(folder, **settings):
    return load_classifier(str(folder), LABELS, **({"device": FP32} | settings))


def one_batch(rows=16):
    return collate(toy_data()[0], range(rows))


def medium_classifier(architecture: str, method: str):
    """Return a random classifier of three million parameters, so that every tensor outweighs what else is allocated."""
    from transformers import AutoConfig, AutoModel

    size = {"vocab_size": 2000, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "pad_token_id": 0}
    config = AutoConfig.for_model(architecture, **size, num_attention_heads=4)
    set_labels(config, LABELS, multilabel=False)
    torch.manual_seed(0)
    classifier = TextClassifier(AutoModel.from_config(config, attn_implementation="eager"), pooling="mean")
    return add_lora(classifier, rank=8) if method == "lora" else classifier


# Against the record of PyTorch's allocator ------------------------------------------------------------------------------


def allocator_peak(step) -> int:
    """Return the most bytes that were allocated at once while `step` ran, on top of what was there."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum(changes).max())


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("architecture", ["bert", "llama", "gemma2"])
def test_the_peak_is_that_of_the_allocator(architecture, method, checkpointing):
    classifier = medium_classifier(architecture, method).train()
    if checkpointing:
        use_gradient_checkpointing(classifier)
    draw = torch.Generator().manual_seed(0)
    batch = {"input_ids": torch.randint(1, 2000, (16, 48), generator=draw), "labels": torch.zeros(16, dtype=torch.long)}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])

    def step():
        logits = classifier(batch["input_ids"], batch["attention_mask"]).logits
        default_loss(logits, batch["labels"]).backward()

    step()  # what is made once, at the first step
    classifier.zero_grad()
    assert trace_step(classifier, batch) == pytest.approx(allocator_peak(step), rel=0.02)


def test_the_ledger_by_hand():
    kept = torch.zeros(1000)
    with Ledger() as ledger:
        first = kept + 1
        view = first.view(10, 100).T
        first.add_(1)
        assert (ledger.live, ledger.peak) == (4000, 4000), "a view, and a change in place, cost nothing"
        second = view.double()
        assert ledger.live == 12000
        del first, view
        assert ledger.live == 8000
        del second
    assert (ledger.live, ledger.peak) == (0, 12000)


# What is counted ---------------------------------------------------------------------------------------------------------


@each_method
@pytest.mark.parametrize("architecture", ["bert", "qwen2"])
def test_counting_changes_nothing(models, architecture, method):
    classifier = new_classifier(models[architecture], method=method, rank=2, dropout=0.1).eval()
    before = {name: value.clone() for name, value in classifier.state_dict().items() if value.is_floating_point()}
    random_state = torch.get_rng_state()
    count_peak(classifier, one_batch())
    trace_step(classifier, one_batch(), gradients=False)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module.training for module in classifier.modules())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    after = classifier.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@each_method
def test_the_peak_lies_between_what_is_always_there_and_all_of_it_with_every_temporary_result(models, method):
    classifier = new_classifier(models["qwen2"], method=method, rank=2)
    items, peak = count_memory(classifier, one_batch()), count_peak(classifier, one_batch())
    assert items["weights"] + items["optimizer"] < peak
    if method != "probe":  # of which nearly everything is temporary
        assert items["activations"] < peak < 1.2 * sum(items.values())


@each_method
def test_bf16_keeps_fewer_bytes_than_fp32(models, method):
    """The precision is the run's: `count_memory` must be told the device."""
    classifier = new_classifier(models["bert"], method=method, rank=2)
    plain, half = (count_memory(classifier, one_batch(), device) for device in (FP32, BF16))
    assert count_memory(classifier, one_batch()) == plain
    assert half["activations"] < plain["activations"] * (1 if method == "probe" else 0.9)
    assert {name: half[name] for name in ("weights", "gradients", "optimizer")} == {
        name: plain[name] for name in ("weights", "gradients", "optimizer")
    }
    if method != "probe":
        assert count_peak(classifier, one_batch(), BF16) < count_peak(classifier, one_batch(), FP32)


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_what_grows_with_the_batch_grows_in_proportion(models, method):
    classifier = new_classifier(models["qwen2"], method=method, rank=2)
    ids = one_batch(1)["input_ids"].repeat(48, 1)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.zeros(48, dtype=torch.long)}
    one, two, three = (
        trace_step(classifier, {name: value[:rows] for name, value in batch.items()}, gradients=False)
        for rows in (16, 32, 48)
    )
    assert three - two == pytest.approx(two - one, rel=0.01)
    assert 2 * one == pytest.approx(two, rel=0.1)


# How much fits into a pass ------------------------------------------------------------------------------------------------

GPU, BF16_GPU = (dataclasses.replace(precision, kind="cuda") for precision in (FP32, BF16))


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that sets the free memory of a make-believe GPU, whose tensors are a CPU's."""

    def set_free(free: float, cached: int = 0) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free) - cached, 80 * GIB))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 10_000 + cached)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 10_000)

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    return set_free


def test_without_a_gpu_passes_are_always_the_same(models):
    assert choose_max_tokens(new_classifier(models["bert"]), toy_data()[0], FP32) == 4096


@each_method
@pytest.mark.parametrize("architecture", ["bert", "qwen2"])
def test_what_is_chosen_fits_and_twice_as_much_would_not_by_far(models, gpu, architecture, method):
    """By the count itself: the peak of a pass of the longest texts, with as many tokens as were chosen."""
    classifier, train = new_classifier(models[architecture], method=method, rank=2), toy_data()[0]
    row, longest = int(train.lengths.argmax()), int(train.lengths.max())

    def step(tokens):  # weights are there already
        batch = collate(train, [row] * (tokens // longest))
        return count_peak(classifier, batch) - count_weight_bytes(classifier)

    free = 1.5 * step(1024)
    gpu(free)
    chosen = choose_max_tokens(classifier, train, GPU)
    assert chosen in (512, 1024)
    assert step(chosen) < free < step(4 * chosen)


def test_passes_are_powers_of_two_between_bounds_and_never_shrink_with_more_memory(models, gpu):
    classifier, train, found = new_classifier(models["bert"]), toy_data()[0], []
    for free in (0, *np.geomspace(1e6, 1e11, 20)):
        gpu(free)
        found.append(choose_max_tokens(classifier, train, GPU))
    assert found == sorted(found)
    assert (found[0], found[-1]) == (256, 16384)
    assert set(found) == {2**power for power in range(8, 15)}


def test_what_pytorch_holds_for_its_next_tensors_counts_as_free(models, gpu):
    classifier, train = new_classifier(models["bert"]), toy_data()[0]
    gpu(2e7)
    expected = choose_max_tokens(classifier, train, GPU)
    gpu(2e7, cached=10**7)
    assert choose_max_tokens(classifier, train, GPU) == expected < 16384


def test_a_model_that_takes_less_per_token_gets_more_tokens(models, gpu):
    gpu(1e7)
    classifier, train = new_classifier(models["bert"], method="lora", rank=2), toy_data()[0]
    plain = choose_max_tokens(classifier, train, GPU)
    use_gradient_checkpointing(classifier)
    assert 256 < plain < choose_max_tokens(classifier, train, GPU)


@pytest.mark.parametrize(
    ("method", "device", "gigabytes"),
    [("full", GPU, 16), ("lora", GPU, 4), ("lora", BF16_GPU, 2), ("probe", BF16_GPU, 2), ("qlora", GPU, 1)],
)
def test_what_does_not_fit_is_left_out_in_one_sentence(gpu, capsys, method, device, gigabytes):
    weights = 2**30
    gpu(gigabytes * GIB / 0.79)
    assert fits("a model", weights, method, device) and capsys.readouterr().out == ""
    gpu(gigabytes * GIB / 0.81)
    assert not fits("a model", weights, method, device)
    said = capsys.readouterr().out
    assert said.startswith(f"Left out: a model. It needs {gigabytes}.0 GiB before") and said.count("\n") == 1


def test_on_a_cpu_the_machines_free_memory_counts(monkeypatch, capsys):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    assert fits("a model", 10**7, "full", FP32) and not fits("a model", 10**8, "full", FP32)
    assert "1.5 GiB before the first text; 0.9 GiB are free" in capsys.readouterr().out


def test_choosing_changes_neither_the_model_nor_the_random_numbers(models, gpu):
    gpu(1e8)
    classifier, random_state = new_classifier(models["bert"]), torch.get_rng_state()
    choose_max_tokens(classifier, toy_data()[0], GPU)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_one_text_is_enough_to_choose_by(models, gpu):
    gpu(1e8)
    train = select_rows(toy_data()[0], [3])
    assert choose_max_tokens(new_classifier(models["bert"]), train, GPU) >= 256


CONFIG = TrainingConfig(epochs=2, learning_rate=3e-3, batch_size=23, checkpoint_steps=1)


def fit_on_gpu(folder, run_folder=None, *, stop_at=None, device=GPU, **settings):
    """Train for four steps, or until the loss was asked for `stop_at` times; return result and weights."""
    asked = iter(range(10**6))

    def loss(logits, labels):
        if next(asked) == stop_at:
            raise KeyboardInterrupt
        return default_loss(logits, labels)

    classifier, config = new_classifier(folder), dataclasses.replace(CONFIG, **settings)
    result = fit(classifier, *toy_data(), config, device=device, run_folder=run_folder, loss_function=loss)
    return result, {name: value.clone() for name, value in classifier.state_dict().items()}


def assert_same(first: dict, second: dict):
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_what_was_chosen_is_in_the_result_and_what_was_asked_for_is_kept(models, gpu):
    gpu(1e8)
    expected = choose_max_tokens(new_classifier(models["bert"]), toy_data()[0], GPU)
    assert fit_on_gpu(models["bert"])[0].config.max_tokens == expected
    assert fit_on_gpu(models["bert"], max_tokens=100)[0].config.max_tokens == 100
    assert fit_on_gpu(models["bert"], device=FP32)[0].config.max_tokens == 4096


def test_a_run_that_goes_on_with_more_memory_keeps_its_passes_bit_for_bit(models, gpu, tmp_path):
    gpu(0)
    whole, expected = fit_on_gpu(models["bert"])
    with pytest.raises(KeyboardInterrupt):
        fit_on_gpu(models["bert"], tmp_path, stop_at=5)
    gpu(1e12)
    result, weights = fit_on_gpu(models["bert"], tmp_path)
    assert (whole.config.max_tokens, result.config.max_tokens) == (256, 256)
    assert result.step_losses == whole.step_losses
    assert_same(weights, expected)


def test_a_run_that_goes_on_with_less_memory_takes_smaller_passes(models, gpu, tmp_path):
    gpu(1e12)
    with pytest.raises(KeyboardInterrupt):
        fit_on_gpu(models["bert"], tmp_path, stop_at=3)
    gpu(0)
    result, _ = fit_on_gpu(models["bert"], tmp_path)
    assert result.config.max_tokens == 256 and len(result.step_losses) == 4


def test_what_was_trained_to_its_end_needs_no_choice(models, gpu, tmp_path, monkeypatch):
    gpu(1e12)
    before, _ = fit_on_gpu(models["bert"], tmp_path)
    monkeypatch.setattr("helpers.training.session.choose_max_tokens", None)
    after, _ = fit_on_gpu(models["bert"], tmp_path)
    assert after.config.max_tokens == before.config.max_tokens == 16384


# Against a GPU ------------------------------------------------------------------------------------------------------------

# One H100, PyTorch 2.11, bf16 autocast, frozen weights that are not in 4 bits in fp32, as they were then: GiB at the peak
# of steps of 32 texts with 11 labels, by `torch.cuda.max_memory_allocated`. The longest text of the tweets that were
# trained on had 57 tokens; the worst batch has 96 in every text.
MEASURED = [
    # model, method, tokens of the longest text, gradient checkpointing, GiB
    ("Llama-3.2-1B", "lora", 57, False, 11.2),
    ("Llama-3.2-1B", "lora", 96, True, 6.7),
    ("gemma-2-2b", "qlora", 57, False, 15.0),
    ("gemma-2-2b", "qlora", 96, True, 6.7),
    ("Mistral-7B-v0.1", "qlora", 57, False, 23.7),
    ("Mistral-7B-v0.1", "qlora", 96, False, 34.4),
    ("Mistral-7B-v0.1", "qlora", 96, True, 8.6),
]


@pytest.mark.parametrize(("name", "method", "length", "checkpointing", "measured"), MEASURED)
def test_the_estimate_agrees_with_what_a_gpu_measured(name, method, length, checkpointing, measured):
    settings = {"pooling": "last", "rows": 32, "length": length, "rank": find_row(name)["rank"]}
    settings |= {"checkpointing": checkpointing, "frozen_dtype": torch.float32}
    names = [str(number) for number in range(11)]
    found = estimate_step(bench_zoo.make_config(name), names, method=method, **settings)
    assert found.peak / GIB == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("name", ["distilroberta-base", "Qwen2.5-0.5B", "gemma-2-2b"])
def test_without_numbers_a_step_takes_what_it_takes_with_them(name):
    """On a CPU in bf16, where nothing stands in for a GPU's layers: no dropout, and all weights trained."""
    config = bench_zoo.make_config(name, tiny=True)
    for dropout in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
        setattr(config, dropout, 0.0)
    found = estimate_step(config, LABELS, method="full", pooling="native", rows=8, length=24)
    classifier = native_class(config)._from_config(config, attn_implementation=config._attn_implementation)
    ids = torch.ones(8, 24, dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.zeros(8, len(LABELS))}
    batch["attention_mask"][0, -1] = 0  # without any padding, attention would go without a mask
    assert found.parameters == count_parameters(classifier).total
    assert found.peak == pytest.approx(count_peak(classifier, batch, BF16), rel=0.03)


def test_four_bit_weights_are_as_large_as_those_of_bitsandbytes(models):
    original = torch.nn.Linear(512, 1024, bias=False)
    assert count_weight_bytes(FourBitLinear(original)) == 512 * 1024 * (1 / 2 + 1 / 64 + 4 / (64 * 256))
