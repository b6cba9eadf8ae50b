"""What only a GPU can show: `make test-gpu`, on a machine that has one. Each of these went wrong on the first one tried.
That all other tests do not see it is tested in test_surroundings.py."""

import dataclasses
import gc
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
from helpers.training import graphs
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.memory import count_peak
from helpers.training.session import Session

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


# Steps recorded as CUDA graphs: what `training/test_graphs.py` shows of a stand-in, shown of the real thing ----------------

# 45 rows: 5 steps an epoch, of two or three padded lengths.
RECORDED = TrainingConfig(epochs=10, batch_size=9, learning_rate=2e-3, metric="epoch", checkpoint_steps=3)


@pytest.fixture
def replays(monkeypatch):
    """Return a function that trains a tiny model, and how many of its steps were replayed; `at` may stop or spoil it."""
    monkeypatch.setattr(graphs, "FEWEST", 3)
    graphs.say_given_up.cache_clear()

    def train(
        folder,
        *,
        architecture="bert",
        dropout=0.0,
        precision="auto",
        at=lambda number: None,
        config=RECORDED,
        **options,
    ):
        counted, record = [], graphs.CudaRecorder.record

        def count(self, work, *, warm_up):
            replay = record(self, work, warm_up=warm_up)

            def counted_replay():
                counted.append(1)
                at(len(counted))
                replay()

            return counted_replay

        device = find_device(precision)
        base = folder / architecture
        base = base if base.exists() else build_model(architecture, base, dropout=dropout)
        classifier = options.pop("classifier", None) or load_classifier(
            str(base), LABELS, dropout=dropout, device=device
        )
        with monkeypatch.context() as patched:
            patched.setattr(graphs.CudaRecorder, "record", count)
            result = fit(classifier, *toy_data(), config, device=device, **options)
        return result.step_losses, {n: t.cpu().clone() for n, t in classifier.state_dict().items()}, len(counted)

    return train


def eagerly(replays, *arguments, **options):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(graphs, "can_record", lambda run: False)
        return replays(*arguments, **options)


@on_gpu
@pytest.mark.parametrize("precision, tolerance", [("no", 2e-3), ("bf16", 3e-2)])  # TF32; bf16 rounds to three digits
@pytest.mark.parametrize("architecture", ["bert", "modernbert", "qwen2"])
def test_recorded_losses_are_those_of_the_lines_of_the_loop(
    replays, architecture, precision, tolerance, tmp_path, capsys
):
    losses, _, replayed = replays(tmp_path, architecture=architecture, precision=precision)
    expected, _, none = eagerly(replays, tmp_path, architecture=architecture, precision=precision)
    assert none == 0 and replayed == len(losses) - 1 == 49, capsys.readouterr().out
    np.testing.assert_allclose(losses, expected, atol=tolerance)
    assert expected[-1] < expected[0] - 5 * tolerance


@on_gpu
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_recorded_run_with_dropout_resumes_bit_for_bit(replays, precision, tmp_path):
    def stop(number):
        if number == 20:
            raise KeyboardInterrupt

    options = {"dropout": 0.2, "precision": precision}
    losses, weights, _ = replays(tmp_path, run_folder=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        replays(tmp_path, run_folder=tmp_path / "parts", at=stop, **options)
    again, resumed, replayed = replays(tmp_path, run_folder=tmp_path / "parts", **options)
    assert 25 < replayed < 49
    assert again == losses and all(torch.equal(resumed[name], weights[name]) for name in weights)
    assert len(set(losses)) == len(losses)


@on_gpu
@pytest.mark.parametrize("recorded_first", [True, False])
def test_recorded_and_eager_runs_go_on_from_each_others_checkpoints(replays, recorded_first, tmp_path, monkeypatch):
    ways = [replays, lambda *a, **k: eagerly(replays, *a, **k)]
    first, then = ways if recorded_first else reversed(ways)
    expected, _, _ = eagerly(replays, tmp_path, precision="no")
    finish = Session.save_if_due

    def save_or_stop(run, state):
        finish(run, state)
        if state.step == 24:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Session, "save_if_due", save_or_stop)
        first(tmp_path, precision="no", run_folder=tmp_path / "run")
    losses, _, _ = then(tmp_path, precision="no", run_folder=tmp_path / "run")
    np.testing.assert_allclose(losses, expected, atol=2e-3)


@on_gpu
def test_short_batches_are_trained_by_the_lines_of_the_loop(replays, tmp_path):
    config = dataclasses.replace(RECORDED, batch_size=7)  # 45 = 6 * 7 + 3
    losses, _, replayed = replays(tmp_path, precision="no", config=config)
    assert 50 <= replayed <= 60 < len(losses)
    np.testing.assert_allclose(losses, eagerly(replays, tmp_path, precision="no", config=config)[0], atol=2e-3)


@on_gpu
@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("way", ["reads a number", "no memory"])
def test_a_step_that_cannot_be_recorded_is_trained_by_the_lines_of_the_loop(replays, way, dropout, tmp_path, capsys):
    """With dropout as well: a capture that fails may leave the random numbers, or the stream, in the state of capturing."""

    def loss(logits, labels):
        if torch.cuda.is_current_stream_capturing() and way == "no memory":
            torch.empty(10**15, device="cuda")
        found = torch.nn.functional.cross_entropy(logits, labels)
        return found * 2 if way == "reads a number" and found.item() > 1e6 else found

    loss.name = "test"
    losses, _, replayed = replays(tmp_path, precision="no", dropout=dropout, loss_function=loss)
    assert replayed == 0 and capsys.readouterr().out.count("not recorded as a CUDA graph") == 1
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    if not dropout:
        expected, _, _ = eagerly(replays, tmp_path, precision="no", loss_function=loss)
        np.testing.assert_allclose(losses, expected, atol=1e-3)
    assert losses[-1] < losses[0]
    assert (
        replays(tmp_path, precision="no", dropout=dropout)[2] == 49
    )  # the next run is recorded as if nothing had been


@on_gpu
def test_a_replayed_loss_that_is_not_finite_leaves_the_weights_whole(replays, tmp_path):
    factor, kept = torch.ones((), device="cuda"), {}
    classifier = load_classifier(str(build_model("bert", tmp_path / "bert")), LABELS, dropout=0.0, device=find_device())

    def loss(logits, labels):
        return torch.nn.functional.cross_entropy(logits, labels) * factor

    def spoil(number):
        if number == 20:
            kept.update({name: value.clone() for name, value in classifier.state_dict().items()})
            factor.fill_(torch.nan)

    loss.name = "test"
    with pytest.raises(TrainingError, match="The loss is nan at step 21"):
        replays(tmp_path, at=spoil, classifier=classifier, loss_function=loss)
    assert kept and all(torch.equal(value, kept[name]) for name, value in classifier.state_dict().items())


@on_gpu
def test_after_a_recorded_run_its_memory_is_free(replays, tmp_path):
    replays(tmp_path)
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    for _ in range(3):
        replays(tmp_path)
    gc.collect()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() - before < 64 * 2**20


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
