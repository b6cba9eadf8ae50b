"""Frozen lower layers are computed once per text: the same logits and gradients, the same training, and less to compute."""

import numpy as np
import pytest
import torch
from tiny import BF16, FP32, LABELS, assert_same_pass, build_model, compute_pass, toy_data
from torch import nn

from helpers.exceptions import SettingError
from helpers.models import frozen
from helpers.models.adapters import merge_lora
from helpers.models.batches import collate
from helpers.models.classifier import backbone_of
from helpers.models.frozen import count_frozen, list_layers, lower_layers_once
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.models.saving import load, save
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit

PLAIN = ("qwen2", "llama", "mistral")
ROWS = np.arange(6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    names = (*PLAIN, "gemma", "bert", "roberta", "distilbert", "modernbert")
    return {name: build_model(name, tmp_path_factory.mktemp(name)) for name in names}


def new_classifier(folder, **settings):
    return load_classifier(str(folder), LABELS, **{"device": FP32, "last_layers": 1} | settings)


def count_calls(module: nn.Module, counts: list) -> None:
    module.register_forward_hook(lambda _module, inputs, _output: counts.append(len(inputs[0])))


@pytest.mark.parametrize("pooling", ["native", "last", "mean"])
@pytest.mark.parametrize("method", ["full", "lora", "probe"])
@pytest.mark.parametrize("architecture", PLAIN)
def test_remembered_layers_give_the_same_logits_and_gradients(folders, architecture, method, pooling):
    last = {} if method == "probe" else {"last_layers": 1}
    own = {"method": method, "pooling": pooling, "dropout": 0.0, "last_layers": None} | last
    classifier, (encoded, _) = new_classifier(folders[architecture], **own).train(), toy_data()
    expected = compute_pass(classifier, encoded, ROWS)
    again = compute_pass(classifier, encoded, ROWS, lambda: lower_layers_once(classifier), passes=2)
    assert_same_pass(again, expected)


@pytest.mark.parametrize("architecture", [*PLAIN, "bert", "roberta", "distilbert", "modernbert"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_only_the_last_layers_and_the_head_are_trained(folders, architecture, method):
    classifier = new_classifier(folders[architecture], method=method)
    first, second = list_layers(backbone_of(classifier))
    assert not frozen.is_trained(first) and frozen.is_trained(second)
    assert not frozen.is_trained(backbone_of(classifier).get_input_embeddings())
    assert any(name.startswith(("classifier", "score")) or "modules_to_save" in name
               for name, p in classifier.named_parameters() if p.requires_grad)  # fmt: skip


def test_lower_layers_see_every_text_once_in_a_whole_training(folders):
    classifier, (encoded, validation) = new_classifier(folders["llama"], method="lora"), toy_data()
    below, above = [], []
    first, second = list_layers(backbone_of(classifier))
    count_calls(first, below), count_calls(second, above)
    config = TrainingConfig(epochs=3, batch_size=8, metric="epoch")
    fit(classifier, encoded, validation, config, device=FP32)
    different = len({tuple(ids) for ids in [*encoded.input_ids, *validation.input_ids]})
    assert sum(below) == different
    assert sum(above) == 3 * (len(encoded) + len(validation))


@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
def test_a_training_ends_where_it_would_without_memory(folders, device, monkeypatch):
    encoded, validation = toy_data()
    config = TrainingConfig(epochs=2, batch_size=8, learning_rate=3e-3, metric="epoch")
    losses = []
    for known in (frozen.PLAIN_DECODERS, ()):
        monkeypatch.setattr(frozen, "PLAIN_DECODERS", known)
        classifier = new_classifier(folders["llama"], device=device, dropout=0.0)
        result = fit(classifier, encoded, validation, config, device=device)
        losses.append((result.step_losses, predict_logits(classifier, validation, device)))
    near = {"atol": 1e-4} if device is FP32 else {"atol": 3e-2}
    np.testing.assert_allclose(losses[0][0], losses[1][0], rtol=0, **near)
    np.testing.assert_allclose(losses[0][1], losses[1][1], rtol=0, **near)
    assert losses[0][0][-1] < losses[0][0][0]


def test_a_text_that_finds_no_room_is_computed_every_time(folders, monkeypatch):
    monkeypatch.setattr(frozen, "ROOM", 0)
    classifier, (encoded, _) = new_classifier(folders["qwen2"], dropout=0.0).train(), toy_data()
    logits, _ = compute_pass(classifier, encoded, ROWS)
    below: list = []
    count_calls(list_layers(backbone_of(classifier))[0], below)
    same, _ = compute_pass(classifier, encoded, ROWS, lambda: lower_layers_once(classifier), passes=2)
    torch.testing.assert_close(same, logits, atol=1e-6, rtol=1e-5)
    assert sum(below) == 2 * len({tuple(encoded.input_ids[row]) for row in ROWS})


def test_texts_padded_on_the_left_are_read_alike(folders):
    classifier, (encoded, _) = new_classifier(folders["llama"], pooling="last").eval(), toy_data()
    batch = collate(encoded, ROWS)
    lengths = batch["attention_mask"].sum(dim=1)
    assert len(set(lengths.tolist())) > 1
    turned = {
        name: torch.stack([row.roll(-int(n)) for row, n in zip(batch[name], lengths, strict=True)])
        for name in ("input_ids", "attention_mask")
    }
    with torch.no_grad(), lower_layers_once(classifier):
        right = classifier(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        left = classifier(**turned).logits
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [("gemma", {}), ("bert", {}), ("modernbert", {}), ("llama", {"last_layers": None}), ("llama", {"last_layers": 2}),
     ("llama", {"method": "lora", "last_layers": None})],
)  # fmt: skip
def test_what_may_change_is_computed_as_always(folders, architecture, settings):
    classifier = new_classifier(folders[architecture], **settings)
    backbone = backbone_of(classifier)
    before = vars(backbone).get("forward")
    assert count_frozen(classifier) == 0
    with lower_layers_once(classifier):
        assert vars(backbone).get("forward") is before


def test_layers_with_dropout_are_not_remembered(folders):
    classifier = new_classifier(folders["llama"])
    assert count_frozen(classifier) == 1
    classifier.config.attention_dropout = 0.1
    assert count_frozen(classifier) == 0


def test_afterwards_the_classifier_is_as_it_was_whatever_happened(folders):
    classifier = new_classifier(folders["mistral"])
    backbone = backbone_of(classifier)
    layers, norm = backbone.layers, backbone.norm
    with pytest.raises(IndexError), lower_layers_once(classifier):
        classifier(input_ids=torch.tensor([[5, 10**6]]), attention_mask=torch.ones(1, 2, dtype=torch.long))
    assert "forward" not in vars(backbone) and backbone.layers is layers and backbone.norm is norm


def test_an_adapter_of_the_last_layers_is_saved_loaded_and_merged(folders, tmp_path):
    from helpers.models.origins import load_tokenizer

    classifier, (encoded, validation) = new_classifier(folders["llama"], method="lora"), toy_data()
    fit(classifier, encoded, validation, TrainingConfig(epochs=1, batch_size=8), device=FP32)
    expected = predict_logits(classifier, validation, FP32)
    save(classifier, load_tokenizer(str(folders["llama"])), tmp_path / "model")
    again, *_ = load(tmp_path / "model", device=FP32)
    np.testing.assert_allclose(predict_logits(again, validation, FP32), expected, atol=1e-5)
    merged = merge_lora(classifier).eval()
    np.testing.assert_allclose(predict_logits(merged, validation, FP32), expected, atol=1e-4)


@pytest.mark.parametrize("last_layers", [0, 3, -1, 1.5, "all"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_number_of_layers_that_there_is_not_is_refused(folders, method, last_layers):
    with pytest.raises(SettingError, match=r"last_layers=.*: this model \(llama\) has 2\."):
        new_classifier(folders["llama"], method=method, last_layers=last_layers)
