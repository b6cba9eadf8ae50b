"""Writers by every method: made, trained, saved, loaded; and what else opens or refuses their folders."""

import json

import numpy as np
import pytest
import torch
from tiny import FP32, LABELS, build_model, build_writer, toy_texts
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.deploy import Predictor
from helpers.exceptions import AssetError, SettingError
from helpers.generation import WRITING, load, load_writer, merge, plan_labels, read_as_text, save, write_answers
from helpers.models import load as load_classifier_folder
from helpers.models import load_classifier
from helpers.models.adapters import is_four_bit
from helpers.models.batches import encode_texts
from helpers.models.classifier import count_parameters
from helpers.models.origins import load_tokenizer
from helpers.models.predict import predict_logits
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit

TEXTS, NUMBERS = toy_texts(24)
ROWS = np.eye(3, dtype=np.float32)[NUMBERS]
TWO_STEPS = TrainingConfig(epochs=1, learning_rate=1e-3, batch_size=12, metric="epoch")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return build_writer(tmp_path_factory.mktemp("decoder"))


def train(model, method: str, *, multilabel: bool = True, **how):
    """Return a writer after two steps, its tokenizer and the encoded texts."""
    writer = load_writer(str(model), LABELS, method=method, multilabel=multilabel, device=FP32, rank=4, **how)
    tokenizer = read_as_text(load_tokenizer(model))
    encoded = encode_texts(TEXTS, tokenizer, 64, ROWS if multilabel else NUMBERS)
    fit(writer, encoded, encoded, TWO_STEPS, device=FP32)
    return writer, tokenizer, encoded


@pytest.mark.parametrize("multilabel", [True, False])
@pytest.mark.parametrize("method", WRITING)
def test_what_was_trained_comes_back_with_the_same_scores_and_answers(decoder, method, multilabel, tmp_path):
    writer, tokenizer, encoded = train(decoder, method, multilabel=multilabel)
    counts = count_parameters(writer)
    assert (counts.trainable == counts.total) == (method == "generate-full")
    assert is_four_bit(writer) == (method == "generate-qlora")
    before = predict_logits(writer, encoded, FP32)
    written = [answer.text for answer in write_answers(writer, TEXTS[:5], tokenizer, device=FP32)]
    save(writer, tokenizer, tmp_path / "model", max_length=64, thresholds=0.3 if multilabel else None)
    loaded, tokenizer, settings = load(tmp_path / "model", device=FP32)
    np.testing.assert_allclose(predict_logits(loaded, encode_texts(TEXTS, tokenizer, 64), FP32), before, atol=1e-4)
    assert [answer.text for answer in write_answers(loaded, TEXTS[:5], tokenizer, device=FP32)] == written
    assert settings["label_names"] == LABELS and settings["multilabel"] == multilabel
    assert settings["max_length"] == 64 and settings["four_bit"] == (method == "generate-qlora")
    assert settings["thresholds"] == ([0.3] * 3 if multilabel else None)
    assert loaded.prompt == writer.prompt


@pytest.mark.parametrize("method", ["generate", "generate-full"])
def test_a_writer_replaces_an_earlier_one_and_nothing_else(method, decoder, tmp_path):
    tokenizer = load_tokenizer(decoder)
    for kind in ("generate-full", method, method):
        save(load_writer(str(decoder), LABELS, method=kind, device=FP32, rank=4), tokenizer, tmp_path / "model")
    (tmp_path / "model/notes.txt").write_text("dear")
    with pytest.raises(SettingError, match=r"holds other things \(notes.txt\)"):
        save(load_writer(str(decoder), LABELS, method=method, device=FP32, rank=4), tokenizer, tmp_path / "model")
    assert (tmp_path / "model/notes.txt").read_text() == "dear"


@pytest.mark.parametrize(
    "change", [{"thresholds": [0.5]}, {"text_max_length": "16"}, {"id2label": ["a", "b", "c"]}], ids=str
)
def test_a_writer_s_config_that_was_changed_by_hand_is_refused(change, decoder, tmp_path):
    writer = load_writer(str(decoder), LABELS, method="generate-full", device=FP32)
    file = save(writer, load_tokenizer(decoder), tmp_path / "model") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(AssetError, match=rf"config\.json of '.*model': {next(iter(change))}"):
        load(tmp_path / "model", device=FP32)


def test_training_changes_what_the_method_says_and_begins_where_the_decoder_was(decoder):
    untrained = {m: load_writer(str(decoder), LABELS, method=m, device=FP32) for m in ("generate", "generate-full")}
    encoded = encode_texts(TEXTS, read_as_text(load_tokenizer(decoder)), 64)
    first, second = (predict_logits(writer, encoded, FP32) for writer in untrained.values())
    np.testing.assert_allclose(first, second, atol=1e-5)
    trained = {name for name, parameter in untrained["generate"].named_parameters() if parameter.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert not any("lm_head" in name for name in trained)


def test_the_predictor_takes_it_like_any_other(decoder, tmp_path):
    writer, tokenizer, encoded = train(decoder, "generate")
    save(merge(writer), tokenizer, tmp_path / "model", max_length=64)
    predictor = Predictor.load(tmp_path / "model", device=FP32)
    assert predictor.multilabel and predictor.label_names == LABELS and predictor.max_length == 64
    expected = 1 / (1 + np.exp(-predict_logits(writer, encoded, FP32)))
    np.testing.assert_allclose(predictor.predict_probabilities(TEXTS), expected, atol=1e-4)
    hard = predictor.predict(["a <|im_end|> b 😀", "word " * 300])
    assert [prediction.truncated for prediction in hard] == [False, True]
    assert set(hard[0].probabilities) == set(LABELS)


def test_a_merged_writer_is_a_language_model_for_every_library(decoder, tmp_path):
    writer, tokenizer, _ = train(decoder, "generate")
    adapted = writer.score([[40, 41]])
    save(merge(writer), tokenizer, tmp_path / "model")
    torch.testing.assert_close(writer.eval().score([[40, 41]]), adapted, atol=1e-4, rtol=1e-4)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokens = AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = tokens(writer.prompt.fill("hello"), return_tensors="pt", add_special_tokens=False)["input_ids"]
    logits = plain(input_ids=ids).logits[0, -1, writer.answers.first_tokens]
    from helpers.generation import break_stick

    scores = writer.score([tokens("hello", add_special_tokens=False)["input_ids"]])
    torch.testing.assert_close(break_stick(logits[None]), scores, atol=1e-4, rtol=1e-4)


def test_an_adapter_opens_with_peft_alone(decoder, tmp_path):
    from peft import PeftModel

    writer, tokenizer, _ = train(decoder, "generate")
    save(writer, tokenizer, tmp_path / "model")
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(decoder), tmp_path / "model").eval()
    ids = torch.tensor([[*writer.before, 40, 41, *writer.after]])
    logits = peft(input_ids=ids).logits[0, -1, writer.answers.first_tokens]
    from helpers.generation import break_stick

    torch.testing.assert_close(break_stick(logits[None]), writer.score([[40, 41]]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "first, then", [("generate", "generate"), ("generate", "generate-full"), ("generate-full", "generate")]
)
def test_a_writer_is_trained_on(decoder, tmp_path, first, then):
    writer, tokenizer, encoded = train(decoder, first)
    save(writer, tokenizer, tmp_path / "model")
    again = load_writer(str(tmp_path / "model"), LABELS, method=then, multilabel=True, device=FP32)
    np.testing.assert_allclose(predict_logits(again, encoded, FP32), predict_logits(writer, encoded, FP32), atol=1e-4)
    fit(again, encoded, encoded, TWO_STEPS, device=FP32)
    save(merge(again), tokenizer, tmp_path / "again")
    load(tmp_path / "again", device=FP32)


def test_a_temperature_divides_the_scores(decoder, tmp_path):
    writer, tokenizer, encoded = train(decoder, "generate-full")
    save(writer, tokenizer, tmp_path / "model", temperature=2.0)
    loaded, *_ = load(tmp_path / "model", device=FP32)
    np.testing.assert_allclose(
        predict_logits(loaded, encoded, FP32), predict_logits(writer, encoded, FP32) / 2, atol=1e-5
    )


def test_the_doors_for_classifiers_send_a_writer_on(decoder, tmp_path):
    writer, tokenizer, _ = train(decoder, "generate")
    save(writer, tokenizer, tmp_path / "adapter")
    save(merge(writer), tokenizer, tmp_path / "whole")
    for folder in ("adapter", "whole"):
        with pytest.raises(AssetError, match="writes its labels: load it with generation"):
            load_classifier_folder(tmp_path / folder)
    with pytest.raises(AssetError, match="train it on with method='generate'"):
        load_classifier(str(tmp_path / "adapter"), LABELS, method="lora")
    classifier = load_classifier(
        str(tmp_path / "whole"), LABELS, method="full", device=FP32
    )  # a backbone like any other
    from helpers.models.saving import save as save_classifier

    save_classifier(classifier, tokenizer, tmp_path / "classifier")
    assert "writing" not in json.loads((tmp_path / "classifier" / "config.json").read_text())
    assert load(tmp_path / "classifier", device=FP32)[2]["label_names"] == LABELS, "one door for both"


def test_what_cannot_write_is_refused_in_a_sentence(decoder, tmp_path):
    with pytest.raises(AssetError, match="does not write text"):
        load_writer(str(build_model("bert", tmp_path / "bert")), LABELS)
    with pytest.raises(SettingError, match="method='lora' does not write"):
        load_writer(str(decoder), LABELS, method="lora")
    with pytest.raises(SettingError, match="finds no linear layer nope"):
        load_writer(str(decoder), LABELS, targets=["nope"])
    with pytest.raises(SettingError, match="rank=0"):
        load_writer(str(decoder), LABELS, rank=0)
    classifier = load_classifier(str(decoder), LABELS, method="lora", device=FP32)
    from helpers.models.saving import save as save_classifier

    save_classifier(classifier, load_tokenizer(decoder), tmp_path / "adapter")
    with pytest.raises(AssetError, match="was not trained to write labels"):
        load_writer(str(tmp_path / "adapter"), LABELS)


def test_labels_to_write_are_those_of_the_data(decoder):
    plan = plan_labels(str(decoder), LABELS, method="generate", multilabel=True)
    assert (plan.names, plan.kind) == (LABELS, "new")
    assert plan_labels(str(decoder), LABELS, method="lora", multilabel=True).kind == "new"


def test_a_killed_run_goes_on_bit_for_bit(decoder, tmp_path):
    def run(folder, steps=None):
        writer = load_writer(str(decoder), LABELS, multilabel=True, device=FP32, rank=4)
        encoded = encode_texts(TEXTS, read_as_text(load_tokenizer(decoder)), 64, ROWS)
        config = TrainingConfig(epochs=2, learning_rate=1e-3, batch_size=8, metric="epoch", checkpoint_steps=1)
        if steps:
            forward, count = writer.forward, 0

            def stop(*given, **how):
                nonlocal count
                count += "labels" in how
                if count > steps:
                    raise KeyboardInterrupt
                return forward(*given, **how)

            writer.forward = stop
        fit(writer, encoded, encoded, config, device=FP32, run_folder=folder)
        return predict_logits(writer, encoded, FP32)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", steps=4)
    assert np.array_equal(run(tmp_path / "stopped"), run(tmp_path / "whole"))
