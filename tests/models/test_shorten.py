"""A model of fewer layers: its vectors are those of the lower layers, and the folder is a model like any other."""

import pytest
import torch
from tiny import FP32, LABELS, build_model
from transformers import AutoModel, AutoTokenizer

from helpers.exceptions import SettingError
from helpers.models.classifier import backbone_of
from helpers.models.frozen import list_layers
from helpers.models.pretrained import load_classifier
from helpers.models.saving import load, save
from helpers.models.shorten import keep_first_layers

NAMES = ("qwen2", "llama", "mistral", "gemma", "bert", "roberta", "distilbert", "modernbert")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: build_model(name, tmp_path_factory.mktemp(name)) for name in NAMES}


def read(folder, text="I am so happy today"):
    """Return the vectors of all layers of a text, `(layers + 1, length, hidden)`."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        found = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    return model, [states[0] for states in found.hidden_states], found.last_hidden_state[0]


@pytest.mark.parametrize("architecture", NAMES)
def test_its_vectors_are_those_of_the_lower_layers(folders, architecture, tmp_path):
    short = keep_first_layers(str(folders[architecture]), 1, tmp_path / "short")
    (whole, layers, _), (cut, _, last) = read(folders[architecture]), read(short)
    assert len(list_layers(whole)) == 2 and len(list_layers(cut)) == 1
    norm = next((getattr(whole, name) for name in ("norm", "final_norm") if hasattr(whole, name)), torch.nn.Identity())
    with torch.no_grad():
        torch.testing.assert_close(last, norm(layers[1]))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_is_trained_on_it_is_saved_and_loaded(folders, method, tmp_path):
    short = keep_first_layers(str(folders["llama"]), 1, tmp_path / "short")
    classifier = load_classifier(str(short), LABELS, method=method, device=FP32).eval()
    assert len(list_layers(backbone_of(classifier))) == 1
    tokenizer = AutoTokenizer.from_pretrained(short)
    again, *_ = load(save(classifier, tokenizer, tmp_path / "saved"), device=FP32)
    batch = tokenizer("I am so happy today", return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, classifier(**batch).logits)


def test_a_pooling_layer_that_the_model_does_not_hold_is_not_made_up(folders, tmp_path):
    bert = AutoModel.from_pretrained(folders["bert"], add_pooling_layer=False)
    bert.save_pretrained(tmp_path / "bare")
    AutoTokenizer.from_pretrained(folders["bert"]).save_pretrained(tmp_path / "bare")
    short = keep_first_layers(str(tmp_path / "bare"), 1, tmp_path / "short")
    _, found = AutoModel.from_pretrained(short, output_loading_info=True)
    assert {name.split(".")[0] for name in found["missing_keys"]} == {"pooler"}


@pytest.mark.parametrize("layers", [0, 3, -1, 1.5, None])
def test_layers_that_a_model_does_not_have_are_refused(folders, layers, tmp_path):
    with pytest.raises(SettingError, match="has 2"):
        keep_first_layers(str(folders["llama"]), layers, tmp_path / "short")
    assert not (tmp_path / "short").exists()


def test_a_trained_head_and_a_folder_of_other_things_are_refused(folders, tmp_path):
    classifier = load_classifier(str(folders["llama"]), LABELS, device=FP32)
    saved = save(classifier, AutoTokenizer.from_pretrained(folders["llama"]), tmp_path / "saved")
    with pytest.raises(SettingError, match="is trained"):
        keep_first_layers(str(saved), 1, tmp_path / "short")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingError, match=r"thesis\.txt"):
        keep_first_layers(str(folders["llama"]), 1, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
