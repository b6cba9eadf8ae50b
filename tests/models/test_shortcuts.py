"""Shortcuts compute the same: logits, gradients, checkpoints; and the classifier is afterwards as it was."""

import numpy as np
import pytest
import torch
from tiny import FAMILIES, FP32, LABELS, assert_same_pass, build_model, compute_pass, toy_data
from torch import nn

from helpers.models.adapters import add_lora
from helpers.models.batches import collate
from helpers.models.classifier import backbone_of
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.models.shortcuts import OccurringWords, first_token_only, occurring_words_only
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit

FIRST = ("bert", "roberta", "distilbert")  # their own classes read the first token
ROWS = np.arange(6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: build_model(name, tmp_path_factory.mktemp(name)) for name in FAMILIES}


def new_classifier(folder, **settings):
    return load_classifier(str(folder), LABELS, **{"device": FP32, "dropout": 0.0} | settings)


def words_of(encoded, rows=ROWS) -> np.ndarray:
    return np.concatenate([encoded.input_ids[row] for row in rows] + [[encoded.pad_id]])


@pytest.mark.parametrize("architecture", FIRST)
def test_the_first_token_alone_gives_the_same_logits_and_gradients(folders, architecture):
    classifier, (encoded, _) = new_classifier(folders[architecture]).train(), toy_data()
    expected = compute_pass(classifier, encoded, ROWS)
    assert_same_pass(compute_pass(classifier, encoded, ROWS, lambda: first_token_only(classifier)), expected)


@pytest.mark.parametrize("architecture", FIRST)
def test_the_last_feed_forward_half_sees_one_token_and_sees_all_again_afterwards(folders, architecture):
    classifier, (encoded, _) = new_classifier(folders[architecture]).eval(), toy_data()
    batch = collate(encoded, ROWS)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with first_token_only(classifier):
        assert backbone_of(classifier)(**inputs).last_hidden_state.shape[1] == 1
    assert backbone_of(classifier)(**inputs).last_hidden_state.shape[1] == batch["input_ids"].shape[1] > 1


@pytest.mark.parametrize(("architecture", "pooling"), [("bert", "mean"), ("modernbert", "cls"), ("qwen2", "auto")])
def test_a_classifier_that_reads_more_is_left_as_it_is(folders, architecture, pooling):
    classifier, (encoded, _) = new_classifier(folders[architecture], pooling=pooling).eval(), toy_data()
    batch = collate(encoded, ROWS)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with first_token_only(classifier):
        assert backbone_of(classifier)(**inputs).last_hidden_state.shape[1] == batch["input_ids"].shape[1]


def test_an_adapter_reads_the_first_token_alone_too(folders):
    classifier, (encoded, _) = add_lora(new_classifier(folders["bert"])), toy_data()
    logits, _ = compute_pass(classifier, encoded, ROWS)
    with first_token_only(classifier):
        batch = collate(encoded, ROWS)
        hidden = backbone_of(classifier)(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    assert hidden.shape[1] == 1
    torch.testing.assert_close(compute_pass(classifier, encoded, ROWS, lambda: first_token_only(classifier))[0], logits)


def test_predictions_are_those_of_all_tokens(folders):
    classifier, (encoded, _) = new_classifier(folders["bert"]).eval(), toy_data()
    batch = collate(encoded, np.arange(len(encoded)))
    with torch.no_grad():
        whole = classifier(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    np.testing.assert_allclose(predict_logits(classifier, encoded), whole.numpy(), atol=1e-6)


@pytest.mark.parametrize("architecture", [name for name in FAMILIES if name != "gemma"])
def test_the_occurring_words_alone_give_the_same_logits_and_gradients(folders, architecture):
    classifier, (encoded, _) = new_classifier(folders[architecture]).train(), toy_data()
    words = words_of(encoded)
    logits, gradients = compute_pass(classifier, encoded, ROWS)
    name = next(name for name, p in classifier.named_parameters() if p is table_of(classifier).weight)
    with occurring_words_only(classifier, words):
        reduced = table_of(classifier)
        same_logits, same_gradients = compute_pass(classifier, encoded, ROWS)
        assert len(reduced.weight) == len(np.unique(words)) < len(gradients[name])
    torch.testing.assert_close(same_logits, logits)
    torch.testing.assert_close(same_gradients.pop(name), gradients[name][reduced.ids])
    left_out = torch.ones(len(gradients[name]), dtype=torch.bool)
    left_out[reduced.ids] = False
    assert gradients.pop(name)[left_out].abs().max() == 0
    for other, gradient in gradients.items():
        torch.testing.assert_close(same_gradients[other], gradient, msg=other)


def table_of(classifier) -> nn.Module:
    return backbone_of(classifier).get_input_embeddings()


def test_the_table_is_whole_again_afterwards_with_what_was_trained(folders):
    classifier, (encoded, _) = new_classifier(folders["bert"]), toy_data()
    table, before = table_of(classifier), table_of(classifier).weight.detach().clone()
    with pytest.raises(RuntimeError, match="in the middle"), occurring_words_only(classifier, words_of(encoded)):
        reduced = table_of(classifier)
        reduced.weight.data += 1
        raise RuntimeError("in the middle")
    assert table_of(classifier) is table
    expected = before.clone()
    expected[reduced.ids] += 1
    torch.testing.assert_close(table.weight.detach(), expected)


def test_a_state_dict_is_that_of_the_whole_table_and_loads_into_the_reduced_one(folders):
    classifier, (encoded, _) = new_classifier(folders["bert"]), toy_data()
    outside = {name: value.clone() for name, value in classifier.state_dict().items()}
    other = {name: value + 1 if value.is_floating_point() else value for name, value in outside.items()}
    with occurring_words_only(classifier, words_of(encoded)):
        inside = classifier.state_dict()
        assert inside.keys() == outside.keys()
        assert all(torch.equal(inside[name], value) for name, value in outside.items())
        classifier.load_state_dict(other)
        assert all(torch.equal(value, other[name]) for name, value in classifier.state_dict().items())
    assert all(torch.equal(value, other[name]) for name, value in classifier.state_dict().items())


def test_a_frozen_a_shared_and_an_almost_complete_table_stay_whole(folders):
    (encoded, _), classifier = toy_data(), new_classifier(folders["bert"])
    with occurring_words_only(classifier, np.arange(table_of(classifier).num_embeddings)):
        assert type(table_of(classifier)) is nn.Embedding
    classifier.output = nn.Linear(32, 202, bias=False)
    classifier.output.weight = table_of(classifier).weight
    with occurring_words_only(classifier, words_of(encoded)):
        assert type(table_of(classifier)) is nn.Embedding
    scaled = new_classifier(folders["gemma"])  # its lookup multiplies, too
    with occurring_words_only(scaled, words_of(encoded)):
        assert not isinstance(table_of(scaled), OccurringWords)
    adapted = add_lora(new_classifier(folders["llama"]))
    with occurring_words_only(adapted, words_of(encoded)):
        assert type(table_of(adapted)) is nn.Embedding


def test_fit_trains_the_occurring_words_alone(folders, monkeypatch):
    """With no weight decay both ways are the same training; afterwards the words of no text are as they were."""
    train, validation = toy_data()
    few = [type(part)(part.input_ids[:8], part.pad_id, part.labels[:8]) for part in (train, validation)]
    weights, held = {}, []
    seen = OccurringWords.forward
    monkeypatch.setattr(OccurringWords, "forward", lambda self, ids: held.append(len(self.weight)) or seen(self, ids))
    for share in (0.0, 1.0):
        monkeypatch.setattr("helpers.models.shortcuts.WORTH_IT", share)
        classifier = new_classifier(folders["bert"])
        before = table_of(classifier).weight.detach().clone()
        result = fit(classifier, *few, TrainingConfig(epochs=2, batch_size=4, weight_decay=0.0), device=FP32)
        weights[share] = {name: value.clone() for name, value in classifier.state_dict().items()}
        assert result.parameters.total == sum(p.numel() for p in classifier.parameters())
    words = np.unique(np.concatenate([words_of(part, np.arange(8)) for part in few]))
    assert set(held) == {len(words)}
    for name, value in weights[0.0].items():
        torch.testing.assert_close(weights[1.0][name], value, atol=1e-6, rtol=1e-5, msg=name)
    others = np.setdiff1d(np.arange(len(before)), words)
    assert len(others) and torch.equal(table_of(classifier).weight[others], before[others])
