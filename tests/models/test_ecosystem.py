"""What the course saves, opened by the libraries that learners will work with; and what these libraries save, opened here."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import BF16, FP32, LABELS, build_model, make_tokenizer, toy_data, toy_texts

from helpers.deploy.predictor import Predictor
from helpers.exceptions import AssetError, DataError
from helpers.models.adapters import merge_lora
from helpers.models.batches import encode_texts
from helpers.models.classifier import backbone_of, final_layer, label_names, plain_model
from helpers.models.heads import match_labels, plan_labels
from helpers.models.origins import find_origin, load_tokenizer
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.models.saving import load, save
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit

NATIVE = ("bert", "roberta", "distilbert", "modernbert", "qwen2")
TEXTS = [*toy_texts(9)[0], "glad0 " * 200]  # the last one is longer than the model reads
CONFIG = TrainingConfig(epochs=2, learning_rate=2e-2, batch_size=9, metric="epoch")


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    return {name: build_model(name, folder / name) for name in (*NATIVE, "gemma2")}


def train(folder, *, multilabel=False, **settings):
    settings = {"device": FP32, "rank": 4} | settings
    classifier = load_classifier(str(folder), LABELS, multilabel=multilabel, **settings)
    return shake(classifier)


def shake(classifier):
    """Return `classifier` as if it had been trained far: all that training changes is elsewhere, and answers differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in classifier.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return classifier.eval()


def tokenizer_of(family):
    """Return a tokenizer of the class that the libraries open for `family`."""
    if family != "qwen2":
        return make_tokenizer()
    from transformers import Qwen2Tokenizer

    characters = ["[PAD]", "<|endoftext|>", "Ġ", *"abcdefghijklmnopqrstuvwxyz0123456789"]
    return Qwen2Tokenizer(vocab={c: i for i, c in enumerate(characters)}, merges=[], pad_token="[PAD]")


def ask_pipeline(folder, texts=TEXTS, names=LABELS) -> np.ndarray:
    """Return what `pipeline` says, `(texts, labels)`, as somebody uses it who never heard of this course."""
    from transformers import pipeline

    classify = pipeline("text-classification", str(folder), top_k=None, device="cpu")
    answers = [{one["label"]: one["score"] for one in row} for row in classify(texts, truncation=True)]
    return np.array([[answer[name] for name in names] for answer in answers])


def assert_telling(probability: np.ndarray) -> None:
    assert probability.std(axis=0).max() > 0.01, "answers that are all alike would hide a mistake"


# What the course saves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multilabel"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("family", NATIVE)
def test_pipeline_gives_the_predictors_probabilities(families, tmp_path, family, method, multilabel):
    classifier = train(families[family], method=method, multilabel=multilabel)
    if method == "lora":
        classifier = merge_lora(classifier).eval()
    cuts = [0.2, 0.5, 0.7] if multilabel else None
    folder = save(classifier, tokenizer_of(family), tmp_path / "model", max_length=16, thresholds=cuts)
    expected = Predictor.load(folder, device=FP32).predict_probabilities(TEXTS)
    assert_telling(expected)
    np.testing.assert_allclose(ask_pipeline(folder), expected, atol=1e-5)
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {str(i): name for i, name in enumerate(LABELS)}
    assert config["problem_type"] == ("multi_label_classification" if multilabel else "single_label_classification")
    assert (config["text_max_length"], config.get("thresholds")) == (16, cuts)
    assert config["architectures"] == [type(classifier).__name__]


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multilabel"])
def test_a_temperature_is_built_in_for_everybody(families, tmp_path, multilabel):
    classifier = train(families["bert"], multilabel=multilabel)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    warm = save(classifier, make_tokenizer(), tmp_path / "warm", max_length=16, temperature=2.5)
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
    expected = Predictor(classifier, make_tokenizer(), {"max_length": 16, "temperature": 2.5}, device=FP32)
    np.testing.assert_allclose(ask_pipeline(warm), expected.predict_probabilities(TEXTS), atol=1e-5)
    np.testing.assert_allclose(
        Predictor.load(warm, device=FP32).predict_probabilities(TEXTS), expected.predict_probabilities(TEXTS), atol=1e-6
    )


@pytest.mark.parametrize("multilabel", [False, True], ids=["single", "multilabel"])
@pytest.mark.parametrize("family", NATIVE)
def test_peft_opens_an_adapter_with_its_head(families, tmp_path, family, multilabel):
    from peft import AutoPeftModelForSequenceClassification

    classifier = train(families[family], method="lora", multilabel=multilabel)
    folder = save(classifier, make_tokenizer(), tmp_path / "adapter", max_length=16)
    opened = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=len(LABELS)).eval()
    _, validation = toy_data()
    expected = predict_logits(classifier, validation)
    assert_telling(expected)
    np.testing.assert_allclose(predict_logits(opened, validation), expected, atol=1e-5)
    with pytest.raises((ValueError, OSError)):  # without the base there is nothing to answer with
        ask_pipeline(folder)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(("family", "pooling"), [("bert", "mean"), ("roberta", "cls"), ("qwen2", "mean")])
def test_a_pooling_that_no_library_knows_is_refused_never_answered_at_random(
    families, tmp_path, family, pooling, method
):
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoModel, AutoModelForSequenceClassification

    classifier = train(families[family], pooling=pooling, method=method)
    folder = save(classifier, make_tokenizer(), tmp_path / "model", max_length=16)
    for opener in (AutoModelForSequenceClassification, AutoModel):
        with pytest.raises((ValueError, OSError)):
            opener.from_pretrained(folder)
    with pytest.raises((ValueError, OSError)):
        ask_pipeline(folder)
    if method == "lora":
        with pytest.raises(ValueError, match="auto mapping"):
            AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=len(LABELS))
    loaded, _, settings = load(folder, device=FP32)
    _, validation = toy_data()
    assert (predict_logits(loaded, validation) == predict_logits(classifier, validation)).all()
    assert settings["pooling"] == pooling


def test_trainer_goes_on_from_a_saved_model(families, tmp_path):
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    folder = save(train(families["bert"]), make_tokenizer(), tmp_path / "model", max_length=16)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts, labels = toy_texts(12)
    rows = Dataset.from_dict({"text": texts, "label": labels}).map(lambda row: tokenizer(row["text"], truncation=True))
    arguments = TrainingArguments(tmp_path / "trainer", max_steps=2, report_to=[], use_cpu=True, disable_tqdm=True)
    trainer = Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
    first = trainer.predict(rows).predictions
    expected = predict_logits(load(folder, device=FP32)[0], encode_texts(texts, tokenizer, 16))
    np.testing.assert_allclose(first, expected, atol=1e-5)
    trainer.train()
    trainer.save_model(tmp_path / "again")
    assert load(tmp_path / "again", device=FP32)[2]["label_names"] == LABELS


# What other libraries save -------------------------------------------------------------------------------------------

TEN_LINES = """
import sys, pandas, datasets
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments
base, table, folder = sys.argv[1:]
rows = datasets.Dataset.from_pandas(pandas.read_csv(table))
tokenizer = AutoTokenizer.from_pretrained(base)
model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
rows = rows.map(lambda row: {**tokenizer(row["text"]), "labels": ["sad", "happy"].index(row["label"])}, remove_columns=["label"])
settings = TrainingArguments(folder, num_train_epochs=4, learning_rate=5e-3, use_cpu=True, report_to=[], disable_tqdm=True)
Trainer(model, settings, train_dataset=rows, processing_class=tokenizer).train()
"""


@pytest.fixture(scope="module")
def of_trainer(families, tmp_path_factory):
    """A folder that plain `Trainer` wrote, with nothing in it about the labels' names; and the table it was trained on."""
    folder = tmp_path_factory.mktemp("trainer")
    texts, labels = toy_texts(60)
    rows = [
        f'"{text}",{"happy" if label == 1 else "sad"}' for text, label in zip(texts, labels, strict=True) if label < 2
    ]
    (folder / "table.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        TEN_LINES,
        str(families["bert"]),
        folder / "table.csv",
        folder / "out",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def last_checkpoint(of_trainer) -> Path:
    return max((of_trainer / "out").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


def test_a_folder_of_checkpoints_is_refused_by_their_names(of_trainer):
    with pytest.raises(AssetError, match=r"name one of the folders in it \(checkpoint-\d+"):
        load(of_trainer / "out")


def test_what_trainer_trained_is_loaded_with_its_head(of_trainer):
    from transformers import AutoModelForSequenceClassification

    checkpoint = last_checkpoint(of_trainer)
    classifier, tokenizer, settings = load(checkpoint, device=FP32)
    theirs = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    encoded = tokenizer("calm0 calm1 glad3", return_tensors="pt")
    with torch.inference_mode():
        ours = classifier(encoded["input_ids"], encoded["attention_mask"]).logits
        torch.testing.assert_close(ours, theirs(**encoded).logits, atol=1e-5, rtol=0)
    assert settings["label_names"] == ["LABEL_0", "LABEL_1"]
    assert (settings["multilabel"], settings["thresholds"], settings["max_length"]) == (False, None, 128)


def test_training_goes_on_with_trainers_head(of_trainer):
    checkpoint = last_checkpoint(of_trainer)
    plan = plan_labels(str(checkpoint), ["sad", "happy"], multilabel=False)
    assert (plan.names, plan.kind) == (["sad", "happy"], "kept")
    assert "It calls them LABEL_0, LABEL_1: taken for sad, happy, in this order." in plan.sentence
    theirs, ours = load(checkpoint)[0], load_classifier(str(checkpoint), plan.names)
    assert all(torch.equal(a, b) for a, b in zip(theirs.parameters(), ours.parameters(), strict=True))
    assert label_names(ours) == ["sad", "happy"]


def test_an_adapter_that_peft_wrote_is_loaded_without_any_file_of_the_course(families, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    folder = save(train(families["bert"]), make_tokenizer(), tmp_path / "base")
    base = AutoModelForSequenceClassification.from_pretrained(folder)
    theirs = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"]))
    shake(theirs).save_pretrained(tmp_path / "adapter")
    ours, tokenizer, settings = load(tmp_path / "adapter", device=FP32)
    _, validation = toy_data()
    assert_telling(predict_logits(theirs, validation))
    np.testing.assert_allclose(predict_logits(ours, validation), predict_logits(theirs, validation), atol=1e-5)
    assert settings["label_names"] == ["LABEL_0", "LABEL_1", "LABEL_2"], "an adapter does not say them"
    assert tokenizer("glad1")["input_ids"] == make_tokenizer()("glad1")["input_ids"], "that of its base"


# Never a random backbone, never a random head ------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert", "qwen2"])
def test_a_folder_without_a_tokenizer_is_refused(families, tmp_path, family):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((families[family] / name).read_bytes())
    with pytest.raises(
        AssetError, match=r"has no tokenizer: copy the tokenizer files of the model that it was made from"
    ):
        load_tokenizer(str(tmp_path))


def test_weights_of_another_architecture_are_refused(families, tmp_path):
    (tmp_path / "config.json").write_bytes((families["bert"] / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((families["qwen2"] / "model.safetensors").read_bytes())
    for pooling in ("native", "mean"):
        with pytest.raises(AssetError, match=r"lacks \d+ of the weights of its transformer"):
            load_classifier(str(tmp_path), LABELS, pooling=pooling)


def test_a_classifier_whose_head_is_not_in_the_file_is_refused(families, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save(train(families["bert"]), make_tokenizer(), tmp_path / "model")
    weights = {
        name: value for name, value in load_file(folder / "model.safetensors").items() if "classifier" not in name
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AssetError, match=r"lacks weights of its head \(classifier\.bias\)"):
        load(folder)


def test_weights_that_do_not_fit_the_configuration_are_refused_in_a_sentence(families, tmp_path):
    folder = save(train(families["bert"]), make_tokenizer(), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "a", "1": "b"}, {"a": 0, "b": 1}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(AssetError, match=r"The weights of .* do not fit its config.json"):
        load(folder)


def test_what_an_older_version_saved_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "classifier.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(AssetError, match="saved by an older version of this course: train it again"):
        load(tmp_path)


@pytest.mark.parametrize("labels", [{"num_labels": 1}, {"problem_type": "regression", "num_labels": 3}])
def test_a_model_that_gives_a_number_is_no_classifier(families, tmp_path, labels):
    from transformers import AutoModelForSequenceClassification

    AutoModelForSequenceClassification.from_pretrained(families["bert"], **labels).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(AssetError, match="gives a number, not labels"):
        load(tmp_path)
    assert plan_labels(str(tmp_path), LABELS, multilabel=False).kind == "replaced"


# Training on -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_run(families, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    save(train(families["bert"]), make_tokenizer(), folder / "model", max_length=16)
    return folder


def rows_of(classifier) -> dict[str, torch.Tensor]:
    return dict(zip(label_names(classifier), final_layer(classifier).weight.detach(), strict=True))


@pytest.mark.parametrize("pooling", ["auto", "native"])
def test_training_on_from_a_run_begins_with_its_backbone_and_head(own_run, pooling):
    first, again = load(own_run)[0], load_classifier(str(own_run), LABELS, pooling=pooling)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_new_labels_extend_the_head_and_old_rows_stay(own_run):
    plan = plan_labels(str(own_run), ["glad", "proud"], multilabel=False)
    assert (plan.names, plan.kind) == ([*LABELS, "proud"], "extended")
    assert "its head learns proud besides calm, glad, sour" in plan.sentence
    old, new = load(own_run)[0], load_classifier(str(own_run), plan.names)
    assert all(torch.equal(rows_of(old)[name], rows_of(new)[name]) for name in LABELS)
    assert not torch.equal(rows_of(new)["proud"], torch.zeros(32))
    assert torch.equal(rows_of(new)["proud"], rows_of(load_classifier(str(own_run), plan.names))["proud"])
    assert new.config.id2label[3] == "proud" and new.num_labels == 4


def test_labels_are_found_by_name_whatever_their_order_and_case(own_run):
    plan = plan_labels(str(own_run), [" Sour", "CALM"], multilabel=False)
    assert (plan.names, plan.kind) == (["CALM", "glad", " Sour"], "kept")
    turned = load_classifier(str(own_run), ["sour", "glad", "calm"])
    old = load(own_run)[0]
    assert all(torch.equal(rows_of(old)[name], rows_of(turned)[name]) for name in LABELS)


@pytest.mark.parametrize(
    ("names", "multilabel", "why"),
    [
        (["anger", "fear"], False, "knows none of these labels"),
        (LABELS, True, "answers another kind of question"),
    ],
)
def test_a_head_that_does_not_fit_is_replaced_and_that_is_said(own_run, names, multilabel, why):
    plan = plan_labels(str(own_run), names, multilabel=multilabel)
    assert (plan.names, plan.kind) == (names, "replaced")
    assert why in plan.sentence and "its head is replaced by a new one" in plan.sentence
    old, new = load(own_run)[0], load_classifier(str(own_run), names, multilabel=multilabel)
    backbones = (model.base_model.parameters() for model in (old, new))
    assert all(torch.equal(a, b) for a, b in zip(*backbones, strict=True))
    assert not any(torch.equal(row, other) for row in rows_of(new).values() for other in rows_of(old).values())


def test_thresholds_of_an_earlier_training_do_not_come_along(families, tmp_path):
    classifier = train(families["bert"], multilabel=True)
    folder = save(classifier, make_tokenizer(), tmp_path / "first", thresholds=[0.1, 0.2, 0.3])
    again = load_classifier(str(folder), [*LABELS, "proud"], multilabel=True)
    assert load(save(again, make_tokenizer(), tmp_path / "second"))[2]["thresholds"] is None


@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_goes_on_from_an_adapter(families, tmp_path, method):
    first = train(families["qwen2"], method="lora")
    folder = save(first, make_tokenizer(), tmp_path / "adapter", max_length=16)
    again = load_classifier(str(folder), LABELS, method=method, device=FP32)
    _, validation = toy_data()
    np.testing.assert_allclose(predict_logits(again, validation), predict_logits(first, validation), atol=1e-5)
    wider = load_classifier(str(folder), [*LABELS, "proud"], method=method, device=FP32)
    assert predict_logits(wider, validation)[:, :3] == pytest.approx(predict_logits(first, validation), abs=1e-5)
    before = [p.detach().clone() for p in again.parameters() if p.requires_grad]
    fit(again, *toy_data(), CONFIG, device=FP32)
    after = [p for p in again.parameters() if p.requires_grad]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    saved = save(again, make_tokenizer(), tmp_path / "again", max_length=16)
    assert (predict_logits(load(saved, device=FP32)[0], validation) == predict_logits(again, validation)).all()


def test_placeholders_are_taken_in_order_only_if_they_are_as_many():
    assert match_labels(["neg", "pos"], ["LABEL_0", "LABEL_1"]) == [0, 1]
    assert match_labels(["neg", "pos"], ["LABEL_0", "LABEL_1", "LABEL_2"]) == [None, None]
    assert match_labels(["pos", "new", "neg"], ["neg", "pos"]) == [1, None, 0]
    assert match_labels(["Joy", "joy "], ["joy ", "sad", "Joy"]) == [2, 0], "a model that has both"
    assert match_labels(["Joy", "joy"], ["sad", "glad"]) == [None, None]
    with pytest.raises(DataError, match="'Joy' and 'joy' are one label of the model, 'joy': make them one in the data"):
        match_labels(["Joy", "joy", "sad"], ["joy", "sad"])


# Attention and precision, chosen by architecture and device ------------------------------------------------------------


def test_an_architecture_without_fused_attention_gets_eager(families):
    """Gemma 2 caps its scores: asked for "sdpa", as every GPU is, it would refuse to load."""
    for pooling in ("native", "mean"):
        on_gpu = replace(FP32, kind="cuda", attention="sdpa")
        assert (
            load_classifier(str(families["gemma2"]), LABELS, device=on_gpu, pooling=pooling).config._attn_implementation
            == "eager"
        )
        assert (
            load_classifier(str(families["qwen2"]), LABELS, device=on_gpu, pooling=pooling).config._attn_implementation
            == "sdpa"
        )


def test_frozen_weights_rest_in_bf16_on_a_gpu_and_what_is_trained_in_fp32(families, tmp_path):
    on_gpu = replace(BF16, kind="cuda", attention="sdpa")
    for pooling in ("native", "mean"):
        adapted = load_classifier(str(families["qwen2"]), LABELS, method="lora", pooling=pooling, device=on_gpu)
        assert {p.dtype for p in adapted.parameters() if p.requires_grad} == {torch.float32}
        frozen = {p.dtype for n, p in adapted.named_parameters() if not p.requires_grad and "original_module" not in n}
        assert frozen == {torch.bfloat16}
    full = load_classifier(str(families["qwen2"]), LABELS, device=on_gpu)
    assert {p.dtype for p in full.parameters()} == {torch.float32}
    on_cpu = load_classifier(str(families["qwen2"]), LABELS, method="lora", device=BF16)
    assert {p.dtype for p in on_cpu.parameters()} == {torch.float32}


@pytest.mark.parametrize("pooling", ["native", "mean"])
def test_four_bit_weights_go_where_the_device_is(families, monkeypatch, pooling):
    """bitsandbytes would put them on a GPU wherever there is one, and leave the head behind."""
    import transformers

    asked = []
    for opener in (transformers.AutoModel, transformers.AutoModelForSequenceClassification):
        original = opener.from_pretrained.__func__

        def note(cls, *arguments, original=original, **options):
            asked.append(options.get("device_map"))
            return original(cls, *arguments, **options)

        monkeypatch.setattr(opener, "from_pretrained", classmethod(note))
    classifier = load_classifier(str(families["qwen2"]), LABELS, method="qlora", pooling=pooling, device=FP32)
    assert asked == [{"": "cpu"}]
    assert {p.device.type for p in classifier.parameters()} == {"cpu"}


def test_find_origin_tells_kinds_apart(families, own_run, tmp_path):
    assert find_origin(families["bert"]).kind == "backbone"
    assert find_origin(own_run).kind == find_origin(own_run / "model").kind == "classifier"
    assert find_origin(save(train(families["bert"], pooling="mean"), make_tokenizer(), tmp_path / "p")).kind == "pooled"
    assert find_origin(save(train(families["bert"], method="lora"), make_tokenizer(), tmp_path / "a")).kind == "adapter"


def test_the_first_token_of_bert_is_read_by_its_own_class(families, tmp_path):
    """Its pooling layer begins as the identity: as good as mean pooling for an encoder that was trained without it."""
    for method in ("full", "lora", "qlora", "probe"):
        classifier = load_classifier(str(families["bert"]), LABELS, pooling="cls", method=method, device=FP32, rank=2)
        pooler = backbone_of(classifier).pooler
        pooler = pooler.modules_to_save["default"] if method in ("lora", "qlora") else pooler
        assert torch.equal(pooler.dense.weight, torch.eye(32)) and not pooler.dense.bias.any()
        assert pooler.dense.weight.requires_grad == (method != "probe"), "a probe is linear"
        assert type(plain_model(classifier)).__name__ == "BertForSequenceClassification"
    native = load_classifier(str(families["bert"]), LABELS, pooling="native")
    assert not torch.equal(backbone_of(native).pooler.dense.weight, torch.eye(32)), "the model's own stays"


def test_a_pooling_layer_that_is_not_in_the_file_begins_as_the_identity(families, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(families["bert"] / "model.safetensors")
    for file in families["bert"].glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    kept = {name: value for name, value in weights.items() if "pooler" not in name}
    assert len(kept) == len(weights) - 2
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    classifier = load_classifier(str(tmp_path), LABELS)
    assert torch.equal(backbone_of(classifier).pooler.dense.weight, torch.eye(32))


@pytest.mark.parametrize("in_config", [None, 7, [3, 5]], ids=["none", "another", "ends only"])
@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_decoder_s_head_never_reads_what_the_tokenizer_pads_with(tmp_path, family, in_config):
    """Most decoders' configurations name no pad token, or not the tokenizer's; the class looks for it by number."""
    folder = build_model(family, tmp_path / family)
    config = json.loads((folder / "config.json").read_text())
    config |= (
        {"pad_token_id": None, "eos_token_id": in_config}
        if isinstance(in_config, list)
        else {"pad_token_id": in_config}
    )
    (folder / "config.json").write_text(json.dumps(config))
    classifier = train(folder)
    tokenizer = load_tokenizer(str(folder))
    assert classifier.config.pad_token_id == tokenizer.pad_token_id
    _, validation = toy_data()
    assert len(set(validation.lengths)) > 3
    validation = replace(validation, pad_id=tokenizer.pad_token_id)
    together = predict_logits(classifier, validation, max_tokens=10**6)
    alone = predict_logits(classifier, validation, max_tokens=1)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert_telling(alone)
    saved = save(classifier, tokenizer, tmp_path / "saved", max_length=64)
    assert json.loads((saved / "config.json").read_text())["pad_token_id"] == tokenizer.pad_token_id
