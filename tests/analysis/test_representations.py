import numpy as np
import pytest
import torch
from tiny import DECODERS, FAMILIES, FP32, LABELS, build_model, toy_data

from helpers.analysis.representations import measure_forward, measure_influence, padding_effects, pooled_features
from helpers.models.batches import collate
from helpers.models.classifier import POOLINGS
from helpers.models.pretrained import load_classifier

IDS = [2, 7, 30, 31, 9, 40, 12, 3]


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    return {
        name: load_classifier(str(build_model(name, folder / name)), LABELS, pooling="mean", device=FP32).eval()
        for name in FAMILIES
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_decoders_see_the_past_alone_and_encoders_everything(classifiers, family):
    influence = measure_influence(classifiers[family].base_model, IDS)
    assert influence.shape == (len(IDS), len(IDS))
    np.testing.assert_allclose(influence.sum(axis=1), 1)
    future = influence[np.triu_indices(len(IDS), k=1)]
    if family in DECODERS:
        assert (future == 0).all()
        assert influence[0, 0] == 1
        assert (influence[np.tril_indices(len(IDS))] > 0).all()
    else:
        assert (influence > 0).all()


def test_measuring_influence_leaves_no_gradients_and_the_mode_as_it_was(classifiers):
    backbone = classifiers["bert"].base_model.train()
    backbone.embeddings.eval()  # a frozen part
    before = [module.training for module in backbone.modules()]
    measure_influence(backbone, IDS)
    padding_effects(backbone, IDS, pad_id=0, other_pad_id=50)
    assert backbone.training and [module.training for module in backbone.modules()] == before
    assert all(parameter.grad is None for parameter in backbone.parameters())
    backbone.eval()


@pytest.mark.parametrize("family", ["bert", "qwen2"])
def test_pooled_features_are_what_the_head_gets(classifiers, family):
    train, _ = toy_data()
    classifier = classifiers[family]
    features = pooled_features(classifier, train, max_tokens=64)
    assert set(features) == set(POOLINGS)
    batch = collate(train, range(len(train)))
    for pooling in POOLINGS:
        classifier.config.pooling = pooling
        with torch.inference_mode():
            logits = classifier(batch["input_ids"], batch["attention_mask"]).logits
            again = classifier.classifier(torch.from_numpy(features[pooling]))
        torch.testing.assert_close(again, logits, atol=1e-5, rtol=0)


def test_the_padding_is_on_the_side_that_the_name_says(classifiers):
    seen = []
    backbone = classifiers["bert"].base_model
    hook = backbone.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    effects = padding_effects(backbone, IDS, pad_id=0, other_pad_id=50, places=2)
    hook.remove()
    for way, given in zip(effects, seen[1:], strict=True):  # the first is the text alone
        pad = 50 if "another" in way else 0
        padded, mask = ([pad] * 2 + IDS, [0] * 2 + [1] * 8) if "left" in way else (IDS + [pad] * 2, [1] * 8 + [0] * 2)
        assert given["input_ids"].tolist() == [padded]
        assert given.get("attention_mask").tolist() == [mask if "masked" in way else [1] * 10]


@pytest.mark.parametrize("family", FAMILIES)
def test_right_padding_with_a_mask_is_harmless_whatever_the_pad_token(classifiers, family):
    effects = padding_effects(classifiers[family].base_model, IDS, pad_id=0, other_pad_id=50)
    for way in ("right, masked: mean", "right, masked: last real token"):
        assert effects[way] < 1e-5
    assert effects["right, masked, another pad token: mean"] < 1e-5
    assert effects["right, mask forgotten: mean"] > 0.01
    assert effects["right, masked, but hidden[:, -1]"] > 0.01
    assert (effects["right, mask forgotten: last real token"] < 1e-5) == (family in DECODERS)


@pytest.mark.parametrize(
    ("family", "harmless"), [("bert", False), ("distilbert", False), ("llama", True), ("qwen2", True)]
)
def test_left_padding_moves_models_with_absolute_positions(classifiers, family, harmless):
    effects = padding_effects(classifiers[family].base_model, IDS, pad_id=0, other_pad_id=50)
    assert (effects["left, masked: mean"] < 1e-5) == harmless


def test_the_cost_of_a_pass_grows_with_what_it_holds_and_leaves_the_mode(classifiers):
    held = []

    class Holder(torch.nn.Module):
        def forward(self, rows):
            held.append((self.training, torch.is_inference_mode_enabled()))
            return torch.ones(rows, 1_000_000).sum()

    net = Holder()
    (small_s, small_mb), (large_s, large_mb) = measure_forward(net, 1), measure_forward(net, rows=64)
    assert small_s > 0 and large_s > 0
    assert np.isnan(large_mb) or (200 < large_mb < 600 and large_mb > small_mb)
    assert set(held) == {(False, True)} and net.training
