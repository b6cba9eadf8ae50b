import copy
import json
import math
import os
import stat
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, DECODERS, FAMILIES, FP32, LABELS, build_model, build_models, make_tokenizer, toy_data
from torch import nn
from transformers import AutoModel

from helpers.exceptions import AssetError, SettingError
from helpers.models.batches import collate
from helpers.models.classifier import (
    POOLINGS,
    ByteDropout,
    TextClassifier,
    backbone_of,
    count_parameters,
    final_layer,
    is_multilabel,
    label_names,
    pool,
    pooling_of,
    set_labels,
    use_byte_dropout,
)  # fmt: skip
from helpers.models.origins import load_tokenizer
from helpers.models.pretrained import HEADS, load_classifier
from helpers.models.saving import load, save

each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return build_models(tmp_path_factory.mktemp("models"), dropout=0.1)


def logits_of(classifier, batch):
    with torch.inference_mode():
        return classifier.eval()(batch["input_ids"], batch["attention_mask"]).logits


@each_architecture
def test_load_classifier_puts_a_head_on_the_pretrained_backbone(models, architecture):
    classifier = load_classifier(str(models[architecture]), LABELS)
    batch = collate(toy_data()[0], [0, 1, 2])
    assert logits_of(classifier, batch).shape == (3, len(LABELS))
    assert type(classifier).__name__.endswith("ForSequenceClassification")
    assert classifier.config.model_type == architecture
    assert {p.dtype for p in classifier.parameters()} == {torch.float32}
    assert (label_names(classifier), is_multilabel(classifier)) == (LABELS, False)
    assert pooling_of(classifier) == {"bert": "native", "modernbert": "cls", "qwen2": "last"}[architecture]


@each_architecture
def test_load_classifier_keeps_the_pretrained_weights(models, architecture):
    pretrained = AutoModel.from_pretrained(models[architecture]).state_dict()
    for pooling in ("native", "mean"):
        loaded = backbone_of(load_classifier(str(models[architecture]), LABELS, pooling=pooling)).state_dict()
        assert loaded.keys() >= {name for name in pretrained if not name.startswith("pooler.")}
        assert all(torch.equal(pretrained[name], loaded[name]) for name in loaded)


@each_architecture
def test_attention_dropout_is_off(models, architecture):
    config = load_classifier(str(models[architecture]), LABELS).config
    found = [getattr(config, name, None) for name in ("attention_dropout", "attention_probs_dropout_prob")]
    assert [value for value in found if value is not None] == [0.0]


def test_bfloat16_weights_are_loaded_as_fp32(models, tmp_path):
    AutoModel.from_pretrained(models["bert"], dtype=torch.bfloat16).save_pretrained(tmp_path)
    classifier = load_classifier(str(tmp_path), LABELS)
    assert {p.dtype for p in classifier.parameters()} == {torch.float32}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("pooling", ["native", *POOLINGS])
@each_architecture
def test_a_padded_batch_equals_single_rows(models, architecture, pooling, attention):
    classifier = load_classifier(
        str(models[architecture]), LABELS, pooling=pooling, device=replace(FP32, attention=attention)
    )
    train, _ = toy_data()
    rows = [int(train.lengths.argmax()), int(train.lengths.argmin()), 0, 1]
    assert len(set(train.lengths[rows])) > 2
    together = logits_of(classifier, collate(train, rows))
    alone = torch.cat([logits_of(classifier, collate(train, [row])) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    if (architecture, pooling) != ("qwen2", "cls"):  # a decoder's first token sees nothing but itself
        assert not torch.allclose(alone[0], alone[1], atol=1e-4), "rows that look alike would hide a mistake"


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    return {name: build_model(name, folder / name) for name in FAMILIES}


@pytest.mark.parametrize("pooling", ["native", *POOLINGS])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_a_padded_batch_what_it_gives_single_rows(families, family, pooling):
    classifier = load_classifier(str(families[family]), LABELS, pooling=pooling)
    train, _ = toy_data()
    rows = [int(i) for i in np.argsort(train.lengths)[[0, 1, 20, 21, -1]]]
    assert train.lengths[rows].max() > 16, "longer than the windows of ModernBERT and Mistral"
    together = logits_of(classifier, collate(train, rows))
    alone = torch.cat([logits_of(classifier, collate(train, [row])) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    spread = (alone - alone[0]).abs().max()
    assert spread < 1e-6 if (family in DECODERS and pooling == "cls") else spread > 1e-5


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("family", DECODERS)
def test_a_decoder_does_not_mind_the_side_of_the_padding(families, family, pooling):
    classifier = load_classifier(str(families[family]), LABELS, pooling=pooling)
    train, _ = toy_data()
    batch = collate(train, range(4))
    left = {name: batch[name].clone() for name in ("input_ids", "attention_mask")}
    for row, length in enumerate(train.lengths[:4]):
        for tensor in left.values():
            tensor[row] = tensor[row].roll(tensor.shape[1] - int(length))
    assert left["attention_mask"][:, -1].all() and not left["attention_mask"].all()
    torch.testing.assert_close(logits_of(classifier, left), logits_of(classifier, batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", HEADS)
@each_architecture
def test_save_and_load_give_identical_logits(models, tmp_path, architecture, pooling):
    classifier = load_classifier(str(models[architecture]), LABELS, pooling=pooling, device=FP32, seed=3)
    with torch.no_grad():  # as if trained: nothing is as it was in the folder that the backbone came from
        for parameter in classifier.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save(classifier, make_tokenizer(), tmp_path / "model")
    loaded, _, settings = load(tmp_path / "model", device=FP32)
    batch = collate(toy_data()[0], range(8))
    assert torch.equal(logits_of(classifier, batch), logits_of(loaded, batch))
    assert torch.equal(final_layer(classifier).weight, final_layer(loaded).weight)
    assert type(loaded) is type(classifier)
    assert label_names(loaded) == settings["label_names"] == LABELS
    assert pooling_of(loaded) == settings["pooling"] == pooling_of(classifier)


def test_a_loaded_classifier_brings_its_settings_and_is_in_evaluation_mode(models, tmp_path):
    classifier = load_classifier(str(models["bert"]), LABELS, multilabel=True, pooling="mean", dropout=0.25)
    save(classifier, make_tokenizer(), tmp_path / "model", thresholds=[0.3, 0.5, 0.7], max_length=64)
    loaded, _, settings = load(tmp_path / "model")
    assert (is_multilabel(loaded), pooling_of(loaded), loaded.dropout.p) == (True, "mean", 0.25)
    assert settings["thresholds"] == [0.3, 0.5, 0.7]
    assert settings["max_length"] == 64
    assert not any(module.training for module in loaded.modules())


def test_the_saved_tokenizer_gives_the_same_ids(models, tmp_path):
    save(load_classifier(str(models["bert"]), LABELS), make_tokenizer(), tmp_path / "model")
    _, tokenizer, _ = load(tmp_path / "model")
    text = "glad1 word2 nowhere word3"
    assert tokenizer(text)["input_ids"] == make_tokenizer()(text)["input_ids"]
    assert (tokenizer.pad_token_id, tokenizer.padding_side) == (0, "right")


def test_label_names_are_in_the_configuration_for_other_tools(models, tmp_path):
    folder = save(load_classifier(str(models["bert"]), LABELS), make_tokenizer(), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "calm", "1": "glad", "2": "sour"}


def test_nothing_saved_is_a_pickle(models, tmp_path):
    folder = save(load_classifier(str(models["qwen2"]), LABELS), make_tokenizer(), tmp_path / "model")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors"}
    assert [path.name for path in files if path.suffix == ".safetensors"] == ["model.safetensors"]


def test_saving_again_replaces_the_whole_folder(models, tmp_path):
    first, second = (load_classifier(str(models["bert"]), LABELS, seed=seed) for seed in (1, 2))
    save(first, make_tokenizer(), tmp_path / "model", temperature=2.0)
    (tmp_path / "model" / "merges.txt").write_text("from the first time")
    save(second, make_tokenizer(), tmp_path / "model")
    loaded, _, settings = load(tmp_path / "model")
    assert torch.equal(final_layer(loaded).weight, final_layer(second).weight)
    assert settings["thresholds"] is None
    assert not (tmp_path / "model" / "merges.txt").exists()
    assert os.listdir(tmp_path) == ["model"], "temporary folders must not stay behind"


@pytest.mark.parametrize("other", ["notes.txt", "runs/config.json"])
def test_a_folder_with_other_things_is_not_replaced(other, models, tmp_path):
    classifier, tokenizer = load_classifier(str(models["bert"]), LABELS), make_tokenizer()
    save(classifier, tokenizer, tmp_path / "model")
    (tmp_path / "model" / other).parent.mkdir(exist_ok=True)
    (tmp_path / "model" / other).write_text("dear")
    with pytest.raises(SettingError, match=rf"holds other things \({other}\), which would be deleted"):
        save(classifier, tokenizer, tmp_path / "model")
    assert (tmp_path / "model" / other).read_text() == "dear"


def test_a_failing_save_leaves_the_old_folder_alone(models, tmp_path):
    classifier = load_classifier(str(models["bert"]), LABELS)
    save(classifier, make_tokenizer(), tmp_path / "model")
    with pytest.raises(TypeError):
        save(classifier, make_tokenizer(), tmp_path / "model", thresholds=object())
    assert load(tmp_path / "model")[2]["label_names"] == LABELS
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_saved_folder_is_as_readable_as_any_other(models, tmp_path):
    (tmp_path / "plain").mkdir()
    folder = save(load_classifier(str(models["bert"]), LABELS), make_tokenizer(), tmp_path / "model")
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_folder_without_a_saved_classifier_is_refused_in_a_sentence(models):
    with pytest.raises(AssetError, match=r"bert' is a pretrained model without a trained head: train it first\."):
        load(models["bert"])


def test_the_head_depends_on_the_seed_alone(models):
    torch.manual_seed(123)
    first = load_classifier(str(models["bert"]), LABELS, seed=1)
    torch.manual_seed(456)
    again, other = (load_classifier(str(models["bert"]), LABELS, seed=seed) for seed in (1, 2))
    assert torch.equal(final_layer(first).weight, final_layer(again).weight)
    assert torch.equal(final_layer(first).bias, final_layer(again).bias)
    assert not torch.equal(final_layer(first).weight, final_layer(other).weight)


def test_an_unknown_pooling_is_refused_by_name(models):
    with pytest.raises(ValueError, match=r"pooling='max' is unknown: use one of auto, native, cls, mean, last"):
        load_classifier(str(models["bert"]), LABELS, pooling="max")


def test_a_tokenizer_without_pad_token_pads_on_the_right_with_its_end_token(tmp_path):
    tokenizer = make_tokenizer()
    tokenizer.pad_token, tokenizer.eos_token, tokenizer.padding_side = None, "[SEP]", "left"
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert (loaded.pad_token, loaded.padding_side) == ("[SEP]", "right")


# Two texts of 3 and 2 tokens; the padding holds numbers that would show in any result they touch.
RIGHT = (torch.tensor([[[1.0], [2.0], [6.0], [1e6]], [[3.0], [5.0], [1e6], [1e6]]]), [[1, 1, 1, 0], [1, 1, 0, 0]])
LEFT = (torch.tensor([[[1e6], [1.0], [2.0], [6.0]], [[1e6], [1e6], [3.0], [5.0]]]), [[0, 1, 1, 1], [0, 0, 1, 1]])
FULL = (torch.tensor([[[1.0], [2.0], [6.0]], [[3.0], [4.0], [5.0]]]), [[1, 1, 1], [1, 1, 1]])


@pytest.mark.parametrize(("hidden", "mask"), [RIGHT, LEFT, FULL], ids=["right", "left", "none"])
@pytest.mark.parametrize(("pooling", "expected"), [("cls", [1, 3]), ("mean", [3, 4]), ("last", [6, 5])])
def test_padding_on_either_side_has_no_say_in_pooling(hidden, mask, pooling, expected):
    assert pool(hidden, torch.tensor(mask), pooling).squeeze(-1).tolist() == expected


def test_mean_pooling_keeps_the_dtype_of_the_hidden_states():
    hidden, mask = RIGHT
    assert pool(hidden.bfloat16(), torch.tensor(mask), "mean").dtype == torch.bfloat16


def test_byte_dropout_changes_nothing_in_evaluation_or_without_probability():
    values = torch.randn(7, 5)
    assert torch.equal(ByteDropout(0.5).eval()(values), values)
    assert torch.equal(ByteDropout(0.0).train()(values), values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_byte_dropout_drops_its_share_and_keeps_the_mean(p, dtype):
    torch.manual_seed(0)
    dropped = ByteDropout(p)(torch.ones(200_003, dtype=dtype))  # not divisible by 8
    assert dropped.dtype == dtype
    share = (dropped == 0).float().mean().item()
    assert share == pytest.approx(p, abs=1 / 512 + 4 * math.sqrt(p * (1 - p) / 200_003))
    assert dropped.double().mean().item() == pytest.approx(1, abs=0.015)
    assert len(dropped.unique()) == 2, "what is kept is scaled by one factor"


@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (9,), (3, 5), (2, 3, 11)])
def test_byte_dropout_works_for_any_shape(shape):
    torch.manual_seed(0)
    dropout = ByteDropout(0.5)
    outcomes = torch.stack([dropout(torch.ones(shape)) for _ in range(64)])
    assert outcomes.shape == (64, *shape)
    assert torch.all((outcomes == 0).any(0) & (outcomes == 2).any(0)), (
        "every place is dropped now and then, none always"
    )


def test_byte_dropout_follows_the_seed():
    values, dropout = torch.ones(1000), ByteDropout(0.5)
    torch.manual_seed(7)
    first, second = dropout(values), dropout(values)
    torch.manual_seed(7)
    assert torch.equal(dropout(values), first)
    assert not torch.equal(first, second)


def test_byte_dropout_passes_gradients_where_it_passes_values():
    torch.manual_seed(0)
    values = torch.rand(1001, dtype=torch.float64).add(1).requires_grad_()
    dropped = ByteDropout(0.3)(values)
    dropped.sum().backward()
    mask, scale = (dropped.detach() != 0).double(), 256 / (256 - round(0.3 * 256))
    torch.testing.assert_close(values.grad, mask * scale, rtol=1e-12, atol=0)
    torch.testing.assert_close(dropped.detach(), values.detach() * mask * scale, rtol=1e-12, atol=0)


@each_architecture
def test_use_byte_dropout_leaves_no_other_dropout(models, architecture):
    backbone = AutoModel.from_pretrained(models[architecture])
    set_labels(backbone.config, LABELS, multilabel=False)
    classifier = TextClassifier(backbone, pooling="mean", dropout=0.3)
    before = sorted(module.p for module in classifier.modules() if isinstance(module, nn.Dropout))
    use_byte_dropout(classifier)
    after = sorted(module.p for module in classifier.modules() if isinstance(module, ByteDropout))
    assert not any(type(module) is nn.Dropout for module in classifier.modules())
    assert before == after
    assert 0.3 in after


def test_use_byte_dropout_finds_nested_modules():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.2), nn.ModuleList([nn.Dropout(0.4)])))
    use_byte_dropout(model)
    assert (model[1][0].p, model[1][1][0].p) == (0.2, 0.4)
    assert isinstance(model[1][0], ByteDropout)
    assert isinstance(model[1][1][0], ByteDropout)


def dropouts(module):
    return [child for child in module.modules() if isinstance(child, nn.Dropout)]


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps", None])
def test_byte_dropout_comes_with_a_cpu_alone(models, tmp_path, kind):
    """A GPU draws random numbers fast; without a device nobody knows. `load` follows the same rule."""
    device = kind and replace(FP32, kind=kind)
    classifier = load_classifier(str(models["bert"]), LABELS, device=device)
    loaded, _, _ = load(save(classifier, make_tokenizer(), tmp_path / "model"), device=device)
    for model in (classifier, loaded):
        assert {type(module) for module in dropouts(model)} == {ByteDropout if kind == "cpu" else nn.Dropout}


@pytest.mark.parametrize(
    ("device", "attention"), [(FP32, "eager"), (replace(FP32, attention="sdpa"), "sdpa"), (None, "sdpa")]
)
def test_the_device_chooses_the_attention(models, tmp_path, device, attention):
    classifier = load_classifier(str(models["qwen2"]), LABELS, device=device)
    loaded, _, _ = load(save(classifier, make_tokenizer(), tmp_path / "model"), device=device)
    assert [model.config._attn_implementation for model in (classifier, loaded)] == [attention] * 2


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "modernbert"])
def test_a_dropout_that_is_given_reaches_head_and_backbone(families, tmp_path, architecture):
    """Attention alone stays without; the folder of a saved model keeps both."""
    classifier = load_classifier(str(families[architecture]), LABELS, dropout=0.3)
    loaded, _, _ = load(save(classifier, make_tokenizer(), tmp_path / "model"))
    for model in (classifier, loaded):
        assert sum(module.p == 0.3 for module in dropouts(backbone_of(model))) >= 3
        assert sum(module.p == 0.3 for module in dropouts(model)) > sum(
            module.p == 0.3 for module in dropouts(backbone_of(model))
        )
        assert {module.p for module in dropouts(model)} <= {0.3, 0.0}


def test_without_a_dropout_the_backbone_keeps_its_own_and_a_pooled_head_has_a_tenth(tmp_path):
    folder = str(build_model("bert", tmp_path / "bert", dropout=0.2))
    for pooling, own in (("native", 0.2), ("mean", 0.1)):
        classifier = load_classifier(folder, LABELS, pooling=pooling)
        assert classifier.dropout.p == own
        assert {module.p for module in dropouts(backbone_of(classifier))} == {0.2, 0.0}


def test_an_unknown_method_is_refused_by_name(models):
    with pytest.raises(ValueError, match="method='dora' is unknown: use one of probe, lora, qlora, full"):
        load_classifier(str(models["bert"]), LABELS, method="dora")


def test_count_parameters_tells_frozen_from_trainable(models):
    classifier = load_classifier(str(models["bert"]), LABELS)
    everything = count_parameters(classifier)
    backbone_of(classifier).requires_grad_(False)
    frozen = count_parameters(classifier)
    head = 32 * len(LABELS) + len(LABELS)
    assert everything.total == everything.trainable == sum(p.numel() for p in classifier.parameters())
    assert (frozen.total, frozen.trainable) == (everything.total, head)


def test_loading_twice_gives_classifiers_that_share_nothing(models):
    first, second = (load_classifier(str(models["bert"]), LABELS) for _ in range(2))
    before = copy.deepcopy(second.state_dict())
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], value) for name, value in second.state_dict().items())
