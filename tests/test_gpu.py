"""What only a GPU can show: `make test-gpu`, on a machine that has one. Each of these went wrong on the first one tried.
That all other tests do not see it is tested in test_surroundings.py."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import LABELS, build_model, make_tokenizer, toy_data

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import bench_zoo

from helpers.device import find_device
from helpers.exceptions import TrainingError
from helpers.models.batches import EncodedTexts, collate, select_rows
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.models.saving import load, save
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.memory import count_peak

on_a_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
CONFIG = TrainingConfig(epochs=1, batch_size=9)


def on_gpu(marked):
    for mark in on_a_gpu:
        marked = mark(marked)
    return marked


@on_gpu
@pytest.mark.parametrize("family", ["bert", "modernbert", "qwen2", "gemma2"])
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_every_family_trains_saves_and_predicts(family, method, tmp_path):
    device = find_device()
    base = str(build_model(family, tmp_path / "base"))
    classifier = load_classifier(base, LABELS, method=method, rank=2, device=device)
    fit(classifier, *toy_data(), CONFIG, device=device)
    assert {parameter.device.type for parameter in classifier.parameters()} == {"cuda"}
    folder = save(classifier, make_tokenizer(), tmp_path / "model")
    again = load(folder, device=device)[0].to("cuda")
    np.testing.assert_allclose(
        predict_logits(again, toy_data()[1], device), predict_logits(classifier, toy_data()[1], device), atol=0.02
    )


@on_gpu
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_an_interrupted_run_resumes_bit_for_bit(method, tmp_path):
    base, device = str(build_model("qwen2", tmp_path / "base")), find_device()
    config = TrainingConfig(epochs=3, batch_size=9, checkpoint_steps=2)

    def run(folder, stop_after=None):
        calls = iter(range(10**6))

        def loss(logits, labels):
            if next(calls) == stop_after:
                raise KeyboardInterrupt
            return torch.nn.functional.cross_entropy(logits, labels)

        classifier = load_classifier(base, LABELS, method=method, rank=2, device=device)
        fit(classifier, *toy_data(), config, device=device, run_folder=folder, loss_function=loss)
        return predict_logits(classifier, toy_data()[1], device)

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop_after=7)
    assert (run(tmp_path / "parts") == whole).all()


@on_gpu
def test_after_a_lack_of_memory_the_memory_is_there_again(tmp_path):
    """The exception is held, as a notebook holds it; its frames must not hold the batch."""
    classifier = load_classifier(str(build_model("bert", tmp_path)), LABELS, device=find_device()).to("cuda")
    before = torch.cuda.memory_allocated()

    def greedy(logits, labels):
        held = torch.empty(torch.cuda.mem_get_info()[0] // 2, dtype=torch.uint8, device="cuda")
        return torch.empty(10**15, device="cuda").sum() + held.sum()

    with pytest.raises(TrainingError, match="Out of memory") as kept:
        fit(classifier, *toy_data(), CONFIG, device=find_device(), loss_function=greedy)
    assert kept.value.__cause__ is not None
    assert torch.cuda.memory_allocated() - before < 64 * 2**20
    fit(classifier, *toy_data(), CONFIG, device=find_device())


@on_gpu
@pytest.mark.parametrize(("name", "method"), [("distilroberta-base", "full"), ("Qwen2.5-0.5B", "lora")])
def test_a_step_takes_what_was_counted_and_a_chosen_pass_fits(name, method, tmp_path):
    """At true size: what the libraries allocate for themselves is nothing beside it."""
    device, draw = find_device(), np.random.default_rng(0)
    base = str(bench_zoo.build_backbone(name, tmp_path))
    classifier = load_classifier(base, LABELS, method=method, device=device).to("cuda")
    ids = [draw.integers(4, 1000, 96).tolist() for _ in range(64)]
    train = EncodedTexts(ids, 0, draw.integers(0, 3, 64))
    config = TrainingConfig(epochs=1, batch_size=32, max_tokens=4096, metric="epoch")
    counted = count_peak(classifier, collate(train, range(32), "cuda"), device)
    measured = fit(classifier, train, select_rows(train, range(8)), config, device=device).peak_memory_bytes
    assert counted == pytest.approx(measured, rel=0.15)
    torch.cuda.empty_cache()
    others = torch.empty(torch.cuda.mem_get_info()[0] - measured, dtype=torch.uint8, device="cuda")
    chosen = fit(classifier, train, select_rows(train, range(8)), CONFIG, device=device).config.max_tokens
    assert 512 <= chosen <= 4096 and others.is_cuda


@on_gpu
def test_a_label_out_of_range_is_a_sentence(tmp_path):
    train, validation = toy_data()
    classifier = load_classifier(str(build_model("bert", tmp_path)), LABELS, device=find_device())
    wrong = EncodedTexts(train.input_ids, train.pad_id, train.labels + 3)
    with pytest.raises(ValueError, match="There is a label 5"):
        fit(classifier, wrong, validation, CONFIG, device=find_device())
