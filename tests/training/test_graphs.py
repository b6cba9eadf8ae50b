"""Recorded training steps, without a GPU: `Recording` stands in for a CUDA graph and keeps to what one does. While it
records, nothing is computed (whatever is written to is put back) and no number may be read; a replay runs the same
function on the same tensors. What only a GPU can show is in tests/test_gpu.py."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny import ARCHITECTURES, FP32, LABELS, build_models, tf32_is_on, toy_data
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.exceptions import TrainingError
from helpers.models.adapters import use_gradient_checkpointing
from helpers.models.batches import collate, select_rows
from helpers.models.pretrained import load_classifier
from helpers.training import graphs
from helpers.training.config import TrainingConfig, plan_steps
from helpers.training.loop import fit
from helpers.training.losses import LOSSES, default_loss, make_loss
from helpers.training.session import Session

GPU = dataclasses.replace(FP32, kind="cuda", attention="sdpa")  # make-believe: its tensors are a CPU's
# 45 rows: five steps an epoch, of texts of 9 to 22 tokens; with 7 per batch a sixth, short one.
CONFIG = TrainingConfig(epochs=5, learning_rate=3e-3, batch_size=9, max_tokens=4096, metric="epoch")
SAVING = dataclasses.replace(CONFIG, checkpoint_steps=2)


LENGTHS = toy_data()[0].lengths


def steps_of(config):
    return [rows for epoch in plan_steps(LENGTHS, config) for rows in epoch]


class Recording(TorchDispatchMode):
    """Inside the block, as in a capture: what is written to is put back at its end, and no number can be read."""

    def __enter__(self):
        self.before = {}
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        for tensor, values in self.before.values():
            tensor.copy_(values)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default):
            raise RuntimeError("operation not permitted when stream is capturing")
        for place, argument in enumerate(function._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                written = args[place] if place < len(args) else kwargs.get(argument.name)
                for tensor in written if isinstance(written, list | tuple) else [written]:
                    if isinstance(tensor, torch.Tensor) and id(tensor) not in self.before:
                        self.before[id(tensor)] = tensor, tensor.clone()
        return function(*args, **kwargs)


class Recorder:
    """In the place of `CudaRecorder`. Counts, and calls `at_replay(number)` before each replay."""

    def __init__(self):
        self.recorded, self.replayed, self.at_replay = 0, 0, lambda number: None

    def record(self, work, *, warm_up):
        warm_up()
        with pytest.MonkeyPatch.context() as patched, torch.random.fork_rng([]), torch.no_grad(), Recording():
            patched.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)  # transformers asks
            with torch.enable_grad():
                work()
        self.recorded += 1
        return lambda: self.replay(work)

    def replay(self, work):
        self.replayed += 1
        self.at_replay(self.replayed)
        work()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return build_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def recorder(monkeypatch):
    """A make-believe GPU whose steps are recorded; the recorder of all runs of a test."""
    own = Recorder()
    monkeypatch.setattr(graphs, "CudaRecorder", lambda: own)
    monkeypatch.setattr(graphs, "FEWEST", 2)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    graphs.say_given_up.cache_clear()
    return own


def new_classifier(folder, *, dropout=0.0, **settings):
    return load_classifier(str(folder), LABELS, dropout=dropout, pooling="mean", device=GPU, **settings)


def weights(classifier):
    return {name: tensor.clone() for name, tensor in classifier.state_dict().items()}


def train(classifier, config=CONFIG, *, data=None, device=GPU, **options):
    result = fit(classifier, *(data or toy_data()), config, device=device, **options)
    return result.step_losses, weights(classifier)


def train_eagerly(*arguments, **options):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(graphs, "can_record", lambda run: False)
        return train(*arguments, **options)


def assert_close(found, expected, tolerance=2e-4):
    np.testing.assert_allclose(found[0], expected[0], atol=tolerance)
    for name, tensor in expected[1].items():
        torch.testing.assert_close(found[1][name], tensor, atol=tolerance, rtol=0, msg=lambda text: f"{name}: {text}")  # noqa: B023


def assert_equal(found, expected):
    assert found[0] == expected[0]
    assert [name for name, tensor in expected[1].items() if not torch.equal(found[1][name], tensor)] == []


# Which steps -------------------------------------------------------------------------------------------------------------


def test_lengths_are_padded_to_multiples_of_eight_but_not_beyond_the_longest_text():
    lengths = np.array([3, 8, 9, 17, 21])
    assert [graphs.pad_length(np.array([row]), lengths) for row in range(5)] == [8, 8, 16, 21, 21]
    assert graphs.pad_length(np.array([0, 2]), lengths) == 16


def test_only_full_batches_of_lengths_that_recur_and_leave_room_are_recorded():
    lengths = np.array([8] * 4 + [16] * 4 + [24] * 4 + [8] * 4 + [32])
    short, medium, long, other = (np.arange(i, i + 4) for i in (0, 4, 8, 12))
    config = TrainingConfig(batch_size=4, max_tokens=4 * 4 * 16)
    plan = [[short, medium, long], [other, medium, long], *[[short, medium, long]] * 6]
    assert graphs.pick_lengths(plan, lengths, config) == {8, 16}  # 24: more than its share of a pass
    assert graphs.pick_lengths(plan[:7], lengths, config) == set()  # seven times each
    assert graphs.pick_lengths([*plan[:7], [short[:3], medium]], lengths, config) == {16}  # not a full batch of 8
    assert graphs.pick_lengths(plan, lengths, dataclasses.replace(config, max_tokens=4 * 4 * 24)) == {8, 16, 24}


def is_recorded(classifier, *, data=None, device=GPU, **settings):
    with Session(classifier, *(data or toy_data()), CONFIG, device, **settings) as run:
        run.begin()
        return bool(run.recorded.lengths), [type(group["lr"]) for group in run.optimizer.param_groups]


def test_what_is_recorded(models, recorder):
    for loss in (default_loss, make_loss("pos_weight", toy_data(multilabel=True)[0].labels)):
        assert is_recorded(new_classifier(models["bert"]), loss_function=loss) == (True, [torch.Tensor] * 2)
    assert is_recorded(new_classifier(models["bert"], method="probe"))[0]


@pytest.mark.parametrize("why", ["cpu", "fp16", "lora", "checkpointing", "own loss", "bf16 weights", "two processes"])
def test_what_is_not_recorded(models, recorder, why, monkeypatch):
    classifier = new_classifier(models["qwen2"], **({"method": "lora", "rank": 2} if why == "lora" else {}))
    settings = {"cpu": {"device": FP32}, "own loss": {"loss_function": lambda logits, labels: logits.sum()}}.get(
        why, {}
    )
    with Session(classifier, *toy_data(), CONFIG, settings.pop("device", GPU), **settings) as run:
        if why == "fp16":
            run.device = dataclasses.replace(GPU, precision="fp16")
        elif why == "checkpointing":
            use_gradient_checkpointing(classifier)
        elif why == "bf16 weights":
            classifier.classifier.bfloat16()
        elif why == "two processes":
            monkeypatch.setattr(type(run.accelerator), "num_processes", 2)
        assert not graphs.can_record(run)
    if settings:
        assert is_recorded(classifier, **settings) == (False, [float] * 2)


# The same training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_recorded_steps_train_as_the_lines_of_the_loop(models, recorder, architecture):
    expected = train_eagerly(new_classifier(models[architecture]))
    assert recorder.replayed == 0
    found = train(new_classifier(models[architecture]))
    assert recorder.recorded == len({graphs.pad_length(rows, LENGTHS) for rows in steps_of(CONFIG)}) > 1
    assert recorder.replayed == len(found[0]) - 1 == 24  # all but the first
    assert_close(found, expected)
    assert expected[0][-1] < expected[0][0] / 2  # else equal losses would say little


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_the_course_can_be_recorded(models, recorder, name):
    data = toy_data(multilabel=True)
    loss = make_loss(name, data[0].labels)
    runs = [
        way(new_classifier(models["bert"], multilabel=True), data=data, loss_function=loss)
        for way in (train_eagerly, train)
    ]
    assert recorder.replayed == 24
    assert_close(*runs)


def test_short_batches_and_rare_lengths_are_trained_by_the_lines_of_the_loop(models, recorder, monkeypatch):
    config, (texts, validation) = dataclasses.replace(CONFIG, batch_size=6), toy_data()
    data = (
        select_rows(texts, np.flatnonzero(texts.lengths > 8)),
        validation,
    )  # the short batch has a recorded length, too
    steps = [rows for epoch in plan_steps(data[0].lengths, config) for rows in epoch]
    assert {len(rows) for rows in steps} == {6, len(data[0]) % 6}
    found = train(new_classifier(models["bert"]), config, data=data)
    assert recorder.replayed == sum(len(rows) == 6 for rows in steps[1:]) < len(steps) - 1
    assert_close(found, train_eagerly(new_classifier(models["bert"]), config, data=data))
    recorder.replayed = 0
    monkeypatch.setattr(graphs, "FEWEST", 100)
    train(new_classifier(models["bert"]), config, data=data)
    assert recorder.replayed == 0


def test_a_recording_begins_without_gradients(models, recorder, monkeypatch):
    """Those of the warm-up would be added to by every replay, wherever they were."""
    classifier, seen, record = new_classifier(models["bert"]), [], recorder.record

    def look(work, *, warm_up):
        def warm_up_and_look():
            warm_up()
            seen.extend(parameter.grad for parameter in classifier.parameters())

        return record(work, warm_up=warm_up_and_look)

    monkeypatch.setattr(recorder, "record", look)
    train(classifier)
    assert seen and not any(gradient is not None for gradient in seen)


def test_with_dropout_replays_draw_anew(models, recorder):
    """One batch over and over, and a learning rate that changes nothing: only dropout can tell the losses apart."""
    config = dataclasses.replace(CONFIG, batch_size=45, learning_rate=1e-12)
    losses, _ = train(new_classifier(models["bert"], dropout=0.3), config)
    assert recorder.replayed == 4 and len(set(losses)) == 5


# Going on ----------------------------------------------------------------------------------------------------------------


def stop_at_replay(number):
    def act(now):
        if now == number:
            raise KeyboardInterrupt

    return act


def test_a_recorded_run_that_was_interrupted_goes_on_bit_for_bit(models, recorder, tmp_path):
    whole = train(new_classifier(models["bert"], dropout=0.3), SAVING, run_folder=tmp_path / "whole")
    recorder.replayed, recorder.at_replay = 0, stop_at_replay(9)  # the tenth step; eight are in the checkpoint
    with pytest.raises(KeyboardInterrupt):
        train(new_classifier(models["bert"], dropout=0.3), SAVING, run_folder=tmp_path / "run")
    recorder.replayed, recorder.at_replay = 0, lambda number: None
    assert_equal(train(new_classifier(models["bert"], dropout=0.3), SAVING, run_folder=tmp_path / "run"), whole)
    assert recorder.replayed == 25 - 8  # with the optimizer's state of the checkpoint, its first step as well


@pytest.mark.parametrize("first, then", [(train, train_eagerly), (train_eagerly, train)], ids=["recorded", "eager"])
def test_either_way_of_training_reads_the_checkpoint_of_the_other(models, recorder, tmp_path, first, then, monkeypatch):
    expected = train_eagerly(new_classifier(models["bert"]), SAVING)
    steps = iter(range(100))
    finish = Session.save_if_due

    def save_or_stop(run, state):
        finish(run, state)
        if next(steps) == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Session, "save_if_due", save_or_stop)
        first(new_classifier(models["bert"]), SAVING, run_folder=tmp_path)
    with safe_open(tmp_path / "checkpoint" / "state.safetensors", "pt") as file:
        assert not any("lr" in name.split(".") for name in file.keys())  # noqa: SIM118
        assert file.get_tensor("optimizer.0.step") == 8
    assert_close(then(new_classifier(models["bert"]), SAVING, run_folder=tmp_path), expected)
    assert recorder.replayed == (8 if first is train else 17)


# What goes wrong ---------------------------------------------------------------------------------------------------------


def looks(logits, labels):
    """A loss that reads a number on the host."""
    loss = default_loss(logits, labels)
    return loss * 2 if loss.item() > 1e6 else loss


looks.name = "looks"


def state_of(run):
    slots = [value.clone() for slots in run.optimizer.state.values() for value in slots.values()]
    return [*weights(run.classifier).values(), *slots, torch.get_rng_state()]


@pytest.mark.parametrize("at", ["loss", "clipping", "step"])
def test_a_step_that_cannot_be_recorded_changes_nothing(models, recorder, capsys, at, monkeypatch):
    def refuse(*arguments, **options):
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError("operation not permitted when stream is capturing")

    loss = looks if at == "loss" else default_loss
    with Session(new_classifier(models["bert"], dropout=0.3), *toy_data(), CONFIG, GPU, loss_function=loss) as run:
        state = run.begin()
        run.model.train()
        rows = run.plan[0][0]
        run.accelerator.backward(run.recorded._compute_loss(collate(run.train, rows)))
        run.optimizer.step()
        run.optimizer.zero_grad()
        before = state_of(run)
        if at != "loss":
            part, name = (run.accelerator, "clip_grad_norm_") if at == "clipping" else (run.optimizer, "step")
            monkeypatch.setattr(part, name, refuse)
        assert run.recorded.lengths and run.recorded.take_step(rows) is None
        assert all(torch.equal(*pair) for pair in zip(before, state_of(run), strict=True))
        assert {parameter.grad for parameter in run.classifier.parameters()} == {None}
        assert not hasattr(run.optimizer.optimizer, "found_inf") and not run.recorded.lengths and state.step == 0
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("error", [None, torch.OutOfMemoryError("CUDA out of memory")], ids=["host", "memory"])
def test_where_recording_fails_the_lines_of_the_loop_go_on(models, recorder, capsys, monkeypatch, error):
    expected = train_eagerly(new_classifier(models["bert"]), loss_function=looks)
    if error:

        def run_out(work, *, warm_up):
            warm_up()
            raise error

        monkeypatch.setattr(recorder, "record", run_out)
    for _ in range(2):
        assert_close(train(new_classifier(models["bert"]), loss_function=looks), expected)
    assert recorder.replayed == recorder.recorded == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 and ("no memory" in said[0]) == bool(error) and len(said[0]) < 120


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_replayed_loss_that_is_not_finite_stops_training_and_spoils_nothing(models, recorder, value):
    factor, kept = torch.ones(()), []

    def loss(logits, labels):
        return default_loss(logits, labels) * factor

    loss.name = "with a factor that is read at every replay"
    classifier = new_classifier(models["bert"])

    def spoil(number):
        if number == 11:
            kept.append(weights(classifier))
            factor.fill_(value)

    recorder.at_replay = spoil
    with pytest.raises(TrainingError, match=rf"^The loss is {value} at step 12 \(epoch 3\)"):
        train(classifier, loss_function=loss)
    assert recorder.replayed == 11
    assert_equal(([], weights(classifier)), ([], kept[0]))


@pytest.mark.parametrize("device", [GPU, FP32], ids=["gpu", "cpu"])
def test_training_in_fp32_on_a_gpu_takes_tf32_and_leaves_it_as_it_was(models, recorder, device):
    seen = []

    def loss(logits, labels):
        seen.append(tf32_is_on())
        return default_loss(logits, labels)

    train(new_classifier(models["bert"]), device=device, loss_function=loss)
    assert seen == [device is GPU] * 25
    assert not tf32_is_on()


def test_after_fit_nothing_holds_the_recordings(models, recorder):
    with Session(new_classifier(models["bert"]), *toy_data(), CONFIG, GPU) as run:
        state = run.begin()
        for rows in run.rows_left(state):
            if run.recorded.take_step(rows) is None:
                run.accelerator.backward(run.recorded._compute_loss(collate(run.train, rows)))
                run.optimizer.step()
                run.optimizer.zero_grad()
            state.finish_step(1.0)
        assert run.recorded._steps
    assert not run.recorded._steps and not run.recorded.lengths
