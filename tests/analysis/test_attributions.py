import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, FP32, LABELS, build_models, make_tokenizer, toy_texts

from helpers.analysis.attributions import attribute_tokens
from helpers.models.pretrained import load_classifier


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return build_models(tmp_path_factory.mktemp("models"), dropout=0.3)


def attribute(folder, text, **options):
    classifier = load_classifier(str(folder), LABELS, device=FP32, dropout=0.3)
    classifier.train()
    result = attribute_tokens(classifier, make_tokenizer(), text, label=1, max_length=64, **options)
    assert all(module.training for module in classifier.modules())
    return classifier.eval(), result


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attributions_add_up_to_the_change_of_the_score(models, architecture):
    text = toy_texts(3)[0][1]
    classifier, result = attribute(models[architecture], text, steps=200)
    assert result.tokens == ["[CLS]", *text.split(), "[SEP]"]
    assert result.values.shape == (len(result.tokens),)
    moved = result.score - result.baseline_score
    assert result.gap == pytest.approx(result.values.sum() - moved)
    assert abs(result.gap) < 0.02 * max(1, abs(moved))
    with torch.inference_mode():
        ids = torch.tensor([make_tokenizer()(text)["input_ids"]])
        logits = classifier(ids, torch.ones_like(ids)).logits[0].numpy()
    assert result.score == pytest.approx(logits[1] - (logits[0] + logits[2]) / 2, abs=1e-5)


def test_a_head_that_counts_one_word_is_explained_by_that_word(models):
    """With the mean of the token vectors as the only feature, the true attribution is known."""
    classifier = load_classifier(str(models["bert"]), LABELS, pooling="mean", device=FP32, dropout=0.0)

    class JustEmbeddings(torch.nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.embeddings, self.config = backbone.get_input_embeddings(), backbone.config

        def get_input_embeddings(self):
            return self.embeddings

        def forward(self, input_ids, attention_mask):
            return type("Output", (), {"last_hidden_state": self.embeddings(input_ids)})

    classifier.backbone = JustEmbeddings(classifier.backbone)
    tokenizer = make_tokenizer()
    text = "glad0 word1 word2"
    result = attribute_tokens(classifier, tokenizer, text, label=1, max_length=64, steps=8)
    weight = (
        classifier.classifier.weight[1] - (classifier.classifier.weight[0] + classifier.classifier.weight[2]) / 2
    ).detach()
    table = classifier.backbone.embeddings.weight.detach()
    ids = tokenizer(text)["input_ids"]
    expected = [((table[i] - table[0 if i > 3 else i]) @ weight).item() / len(ids) for i in ids]
    np.testing.assert_allclose(result.values, expected, atol=1e-5)
    assert abs(result.gap) < 1e-5


def test_a_long_text_is_cut(models):
    _, result = attribute(models["bert"], "word1 " * 200, steps=4)
    assert len(result.tokens) == 64
