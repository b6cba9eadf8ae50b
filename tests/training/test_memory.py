"""What a training step holds: counted, against the allocator's own record, and against what a GPU measured."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import BF16, FP32, LABELS, build_models, toy_data
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import bench_zoo
from estimate import FourBitLinear, estimate_step

from helpers.models.adapters import add_lora, use_gradient_checkpointing
from helpers.models.batches import collate
from helpers.models.classifier import TextClassifier, count_parameters, set_labels
from helpers.models.pretrained import METHODS, load_classifier
from helpers.models.weights import native_class
from helpers.models.zoo import find_row
from helpers.training.losses import default_loss
from helpers.training.memory import Ledger, count_memory, count_peak, count_weight_bytes, trace_step

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
    assert items["weights"] + items["optimiser"] < peak
    if method != "probe":  # of which nearly everything is temporary
        assert items["activations"] < peak < 1.2 * sum(items.values())


@each_method
def test_bf16_keeps_fewer_bytes_than_fp32(models, method):
    """The precision is the run's: `count_memory` must be told the device."""
    classifier = new_classifier(models["bert"], method=method, rank=2)
    plain, half = (count_memory(classifier, one_batch(), device) for device in (FP32, BF16))
    assert count_memory(classifier, one_batch()) == plain
    assert half["activations"] < plain["activations"] * (1 if method == "probe" else 0.9)
    assert {name: half[name] for name in ("weights", "gradients", "optimiser")} == {
        name: plain[name] for name in ("weights", "gradients", "optimiser")
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
