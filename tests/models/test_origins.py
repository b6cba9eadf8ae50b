"""Models as people have them: folders that lack something, are damaged, or hold another kind of model. One sentence each,
before any training; and what looks odd but is whole is trained."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import FP32, LABELS, VOCABULARY, build_model, make_tokenizer, toy_texts

from helpers.exceptions import AssetError, SettingError
from helpers.models.batches import encode_texts
from helpers.models.heads import plan_labels
from helpers.models.origins import count_positions, find_origin, load_tokenizer
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier
from helpers.models.saving import load, save
from helpers.models.weights import read_config

HEADS = {"num_attention_heads": 2, "num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16}
T5 = {"vocab_size": len(VOCABULARY), "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return build_model("bert", tmp_path_factory.mktemp("bert") / "bert")


def saved(model, folder):
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, content: str):
    return lambda folder: (folder / name).write_text(content)


def cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def rename_weights(folder):
    weights = load_file(folder / "model.safetensors")
    renamed = {f"student.{name}": values for name, values in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


def lose_part(folder):
    remove("model.safetensors")(folder)
    parts = {"embeddings.word_embeddings.weight": "model-00001-of-00002.safetensors"}
    write("model.safetensors.index.json", json.dumps({"metadata": {}, "weight_map": parts}))(folder)


def make_pickle(folder):
    remove("model.safetensors")(folder)
    write("pytorch_model.bin", "no pickle at all")(folder)


DAMAGED = "a file in its folder is missing, damaged, or not of the kind that its config.json names"
FAULTS = {
    "no weights": (remove("model.safetensors"), "lacks its weights"),
    "a part of the weights is missing": (lose_part, "lacks its weights"),
    "weights as a pickle alone": (make_pickle, "only as a pickle"),
    "empty weights": (write("model.safetensors", ""), "no readable safetensors file"),
    "half the weights": (cut, "no readable safetensors file"),
    "a pointer of git-lfs": (write("model.safetensors", "version https://git-lfs"), "no readable safetensors file"),
    "weights under other names": (rename_weights, "lacks 37 of the weights of its transformer"),
    "no config": (remove("config.json"), "holds no saved model"),
    "a config that is no JSON": (write("config.json", "{ no"), "config.json is damaged (no JSON object)"),
    "a config that is a list": (write("config.json", "[]"), "config.json is damaged (no JSON object)"),
    "a config without a type": (write("config.json", "{}"), "no config.json that names a model_type"),
    "an unknown architecture": (write("config.json", '{"model_type": "superbert"}'), "of an architecture that the installed"),
    "a tokenizer that is no JSON": (write("tokenizer.json", "{ no"), DAMAGED),
    "an empty tokenizer": (write("tokenizer.json", "{}"), DAMAGED),
    "an adapter that is no JSON": (write("adapter_config.json", "{"), "adapter_config.json is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_that_lacks_something_is_refused_in_a_sentence(bert, tmp_path, fault):
    change, says = FAULTS[fault]
    folder = shutil.copytree(bert, tmp_path / "m")
    change(folder)
    with pytest.raises(AssetError) as caught:
        load_tokenizer(str(folder))
        load_classifier(str(folder), LABELS)
    assert says in str(caught.value) and len(str(caught.value)) <= 300 and "\n" not in str(caught.value)


def make_t5():
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**T5, decoder_start_token_id=0))


def make_bart():
    sizes = {
        f"{part}_{what}": 1 for part in ("encoder", "decoder") for what in ("layers", "attention_heads", "ffn_dim")
    }
    return transformers.BartModel(transformers.BartConfig(vocab_size=len(VOCABULARY), d_model=16, **sizes))


@pytest.mark.parametrize("make", [make_t5, make_bart])
def test_an_encoder_decoder_is_refused_before_anything_is_loaded(tmp_path, make):
    folder = saved(make(), tmp_path / "m")
    for file in folder.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(
        AssetError, match=r"is an encoder-decoder \((t5|bart)\), which the course does not train: choose"
    ):
        find_origin(folder)


def test_a_model_for_pictures_is_refused(tmp_path):
    folder = saved(transformers.ViTModel(transformers.ViTConfig(**HEADS)), tmp_path / "m")
    with pytest.raises(AssetError, match=r"is no model for texts \(vit\)"):
        read_config(find_origin(folder))


def test_an_adapter_whose_weights_are_missing_is_refused(bert, tmp_path):
    for file in bert.glob("tokenizer*"):
        shutil.copy(file, tmp_path)
    adapter = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "base_model_name_or_path": str(bert)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    with pytest.raises(AssetError, match="lacks its weights"):
        load_classifier(str(tmp_path), LABELS)


def make_gpt2():
    config = transformers.GPT2Config(vocab_size=len(VOCABULARY), n_positions=64, n_embd=16, n_layer=1, n_head=2)
    return transformers.GPT2LMHeadModel(config)


def make_tagger():
    return transformers.BertForTokenClassification(transformers.BertConfig(vocab_size=len(VOCABULARY), **HEADS))


@pytest.mark.parametrize("make", [make_gpt2, make_tagger])
def test_a_backbone_with_a_head_for_another_task_gets_a_new_one(tmp_path, make):
    """GPT-2 takes its arguments in another order; a tagger's head is called as ours, and has another shape."""
    torch.manual_seed(0)
    model = make()
    folder = saved(model, tmp_path / "m")
    classifier = load_classifier(str(folder), LABELS, device=FP32).eval()
    ours, theirs = classifier.base_model.state_dict(), model.base_model.state_dict()
    assert theirs and all(torch.equal(ours[name], values) for name, values in theirs.items())
    encoded = encode_texts(toy_texts(9)[0], load_tokenizer(str(folder)), 32)
    assert predict_logits(classifier, encoded).shape == (9, len(LABELS))


def test_a_pad_token_that_only_the_tokenizer_knows_is_not_used(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "m")
    tokenizer = load_tokenizer(str(folder))
    tokenizer.add_special_tokens({"pad_token": "<pad>", "eos_token": "[SEP]"})
    tokenizer.save_pretrained(folder)
    assert tokenizer.pad_token_id == len(VOCABULARY)
    encoded = encode_texts(toy_texts(9)[0], load_tokenizer(str(folder)), 32)
    assert encoded.pad_id == VOCABULARY.index("[SEP]")
    expected = predict_logits(
        load_classifier(str(bert), LABELS), encode_texts(toy_texts(9)[0], load_tokenizer(str(bert)), 32)
    )
    assert abs(predict_logits(load_classifier(str(folder), LABELS), encoded) - expected).max() < 1e-5


def test_a_word_that_only_the_tokenizer_knows_is_refused_where_it_occurs(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "m")
    tokenizer = load_tokenizer(str(folder))
    tokenizer.add_tokens(["newword"])
    tokenizer.save_pretrained(folder)
    assert len(encode_texts(["glad1 glad2"], load_tokenizer(str(folder)), 32)) == 1
    says = r"The tokenizer knows 'newword', the model does not: it has vectors for 200 tokens, not for 201\. Enlarge it"
    with pytest.raises(SettingError, match=says):
        encode_texts(["glad1", "a newword here"], load_tokenizer(str(folder)), 32)


@pytest.mark.parametrize(
    "config, positions",
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "gpt2", "n_positions": 1024}, 1024),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "longformer", "max_position_embeddings": 4098, "pad_token_id": 1}, 4096),
        ({"model_type": "bloom"}, None),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)
def test_places_are_counted_as_the_architecture_counts_them(config, positions):
    assert count_positions(config) == positions


# What people change in a model's config.json


@pytest.fixture(scope="module")
def trained(bert, tmp_path_factory):
    """A classifier, one with a pooling of the course, and an adapter, each with thresholds."""
    folder = tmp_path_factory.mktemp("trained")
    for name, how in {"native": {}, "pooled": {"pooling": "mean"}, "adapter": {"method": "lora", "rank": 4}}.items():
        classifier = load_classifier(str(bert), LABELS, multilabel=True, **how)
        save(classifier, make_tokenizer(), folder / name, thresholds=[0.1, 0.2, 0.3], max_length=16)
    return folder


@pytest.mark.parametrize("change, says", [
    *[({"thresholds": cuts}, "thresholds must be a list of numbers from 0 to 1, one for each label")
      for cuts in ("x", 0.5, {}, [None] * 3, ["0.5"] * 3, [2, 0.5, 0.5], [-1, 0, 0], [float("nan")] * 3, [True] * 3)],
    ({"thresholds": [0.5]}, "thresholds are 1 for 3 labels, but must be one for each"),
    *[({"id2label": labels}, "id2label must number the labels from 0 on without a gap")
      for labels in (["a", "b", "c"], "abc", {"x": "a", "y": "b"}, {"0": "a", "1": "b", "3": "c"}, {"1": "a", "2": "b"})],
    *[({"text_max_length": length}, "text_max_length is .*, but must be a whole number of at least 1")
      for length in ("16", -1, 0, 1e9, [], True)],
], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", ["native", "pooled", "adapter"])
def test_a_config_that_was_changed_by_hand_is_refused_in_a_sentence(kind, change, says, trained, tmp_path):
    shutil.copytree(trained / kind, tmp_path / "model")
    config = json.loads((trained / kind / "config.json").read_text()) | change
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    for use in (load, lambda model: plan_labels(model, LABELS, multilabel=True)):
        with pytest.raises(AssetError, match=rf"config\.json of '.*model': {says}"):
            use(str(tmp_path / "model"))


def test_a_config_that_says_nothing_of_thresholds_or_whose_labels_are_in_another_order_is_read(trained, tmp_path):
    shutil.copytree(trained / "native", tmp_path / "model")
    config = json.loads((trained / "native/config.json").read_text())
    config |= {"thresholds": None, "text_max_length": None, "id2label": {"2": "c", "0": "a", "1": "b"}}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    settings = load(tmp_path / "model", device=FP32)[2]
    assert (settings["label_names"], settings["thresholds"]) == (["a", "b", "c"], None)
