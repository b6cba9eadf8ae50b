"""`data/defaults.toml`: complete, in itself right, and read in the order that it describes."""

import pkgutil
import re

import pytest

from helpers.assets import defaults
from helpers.assets.defaults import list_parameters, read_notebook, read_parameters
from helpers.course.parameters import KINDS, MODELS, check_parameters, fill_in
from helpers.files import read_toml
from helpers.models import find_defaults
from helpers.training import losses

TABLES = read_toml(defaults.DEFAULTS)["notebooks"]
INTERNAL = {
    "encoder_batch_size", "encoder_learning_rate", "encoder_pooling", "decoder_batch_size", "decoder_method",
    "decoder_pooling", "head_batch_size", "head_learning_rate",
    "head_method", "method", "pooling", "rank",
}  # fmt: skip
PARTS = ("all", "laptop", "gpu")
each_table = pytest.mark.parametrize("notebook", TABLES)


def cases_of(table: dict):
    """Yield (part, setting, value, defaults) for every block of defaults; setting and value are None for a plain one."""
    for part in PARTS:
        block = table.get(part, {})
        yield part, None, None, {name: value for name, value in block.items() if name != "with"}
        for setting, cases in block.get("with", {}).items():
            for value, case in cases.items():
                yield part, setting, value, case


def test_every_parameter_has_a_meaning_and_what_it_may_be():
    for name, found in read_parameters().items():
        assert set(found) in ({"meaning", "kind"}, {"meaning", "choices"}), name
        assert found.get("kind", "count") in {*KINDS, "model", "dataset", "run_name"}, name
    used = {name for table in TABLES.values() for name in table["parameters"]}
    assert used == set(read_parameters())


@each_table
def test_the_table_holds_parameters_and_little_else(notebook):
    table = TABLES[notebook]
    assert set(table) <= {"parameters", "meaning", "choices", *PARTS}
    assert len(set(table["parameters"])) == len(table["parameters"])
    assert set(table.get("meaning", {})) <= set(table["parameters"])
    for part, setting, _, case in cases_of(table):
        assert set(case) - set(table["parameters"]) <= INTERNAL, (part, setting)


@each_table
def test_every_default_works(notebook):
    for part, setting, value, case in cases_of(TABLES[notebook]):
        known = case | ({setting: value} if setting else {})
        known |= {name: find_defaults(known[name]).get("model", known[name]) for name in MODELS if name in known}
        check_parameters(known, TABLES[notebook].get("choices"))
        # A case is looked up by what was typed: "5" would never be found for 5, nor a column that nobody chose.
        assert setting is None or read_parameters()[setting].get("kind", "choice") in ("choice", "model", "dataset"), (
            part
        )


@each_table
def test_no_default_stands_twice(notebook):
    table = TABLES[notebook]
    plain = [name for part in PARTS for name in table.get(part, {}) if name != "with"]
    assert not [name for name in table.get("all", {}) if name != "with" and plain.count(name) > 1]


@pytest.mark.parametrize("name", [name for name, found in read_parameters().items() if "choices" in found])
def test_choices_are_a_constant_of_the_course_and_all_of_them_work(name, monkeypatch):
    allowed = pkgutil.resolve_name(read_parameters()[name]["choices"])
    assert isinstance(allowed, tuple) and allowed and all(isinstance(choice, str) for choice in allowed)
    monkeypatch.setattr("helpers.course.parameters.find_spec", lambda package: True)  # as if wandb were installed
    for choice in allowed:
        check_parameters({name: choice})
    for named in re.findall(r"[\"'](\w+)[\"']", read_parameters()[name]["meaning"]):
        assert named in allowed, "its meaning promises a choice that is none"


def test_a_new_loss_is_accepted_at_once(monkeypatch):
    with pytest.raises(ValueError, match=r"loss='mine' is unknown: use one of bce, .*asymmetric, or None\."):
        check_parameters({"loss": "mine"})
    monkeypatch.setattr(losses, "LOSSES", (*losses.LOSSES, "mine"))
    check_parameters({"loss": "mine"})


def test_the_default_is_told_in_words():
    found = list_parameters("02_bert_vs_qwen")
    assert found["seeds"] == {"meaning": "live runs per model", "kind": "count", "default": "1"}
    assert found["profile"]["default"] == "auto" and found["profile"]["kind"] == "choice"
    assert found["text_column"]["default"] == "None"
    assert found["label_column"]["default"] == "emotion (dataset moments)"
    assert found["decoder_learning_rate"]["default"] == (
        "0.001 (laptop), 0.0003 (decoder_method full), 1e-05 (gpu), 0.0002 (decoder_method lora)"
    )


# --- fill_in, on a table of the tests' own

OWN = """
[parameters.profile]
meaning = "."
choices = "helpers.device:PROFILES"
[parameters.model]
meaning = "."
kind = "model"
[parameters.dataset]
meaning = "."
kind = "dataset"
[parameters.label_column]
meaning = "."
kind = "columns"
[parameters.method]
meaning = "."
choices = "helpers.models.pretrained:METHODS"
[parameters.epochs]
meaning = "."
kind = "count"
[parameters.learning_rate]
meaning = "."
kind = "rate"
[parameters.warmup]
meaning = "."
kind = "share"
[parameters.seed]
meaning = "."
kind = "seed"
[parameters.resume]
meaning = "."
kind = "switch"

[notebooks.09_own]
parameters = [
    "profile", "model", "dataset", "label_column", "method", "epochs", "learning_rate", "warmup", "seed", "resume",
]
[notebooks.09_own.all]
method = "full"
learning_rate = 1e-2
warmup = 0.5
seed = 5
resume = true
internal = "as it is"
[notebooks.09_own.all.with.method.lora]
learning_rate = 0.3
[notebooks.09_own.laptop]
dataset = "moments"
model = "SmolLM2-135M-Instruct"
epochs = 9
[notebooks.09_own.laptop.with.dataset.moments]
label_column = "emotion"
[notebooks.09_own.gpu]
dataset = "dair-ai/emotion"
model = "answerdotai/ModernBERT-base"
[notebooks.09_own.gpu.with.model."answerdotai/ModernBERT-base"]
epochs = 1
"""
BERT = find_defaults("bert")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """`fill_in` for the table above: what is typed, as keywords."""
    (tmp_path / "defaults.toml").write_text(OWN, encoding="utf-8")
    (tmp_path / "my.csv").write_text("text,label\na,b\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(defaults, "DEFAULTS", tmp_path / "defaults.toml")
    return lambda of_model=find_defaults, **given: fill_in("09_own", {"profile": "laptop"} | given, of_model)


def test_nothing_typed_gives_the_profile_s_defaults(own):
    laptop, gpu = own(of_model=None), own(of_model=None, profile="gpu")
    assert (laptop.profile, laptop.dataset, laptop.label_column, laptop.epochs) == ("laptop", "moments", "emotion", 9)
    assert (gpu.profile, gpu.dataset, gpu.label_column, gpu.epochs) == ("gpu", "dair-ai/emotion", None, 1)
    assert laptop.notebook == "09_own" and laptop.internal == gpu.internal == "as it is"
    assert (laptop.method, laptop.learning_rate, laptop.warmup, laptop.seed, laptop.resume) == (
        "full",
        0.01,
        0.5,
        5,
        True,
    )


def test_without_cuda_auto_is_the_laptop(own, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert own(profile=None).profile == own(profile="auto").profile == "laptop"


def test_the_zoo_beats_the_notebook(own):
    zoo = find_defaults("SmolLM2-135M-Instruct")
    chosen = own()
    assert (chosen.epochs, chosen.learning_rate, chosen.method) == (zoo["epochs"], zoo["learning_rate"], zoo["method"])
    assert (chosen.epochs, chosen.learning_rate, chosen.method) != (9, 1e-2, "full")


def test_a_short_name_becomes_the_hub_id_with_its_row(own):
    chosen = own(model="bert")
    assert chosen.model == "google-bert/bert-base-uncased"
    assert (chosen.learning_rate, chosen.revision, chosen.epochs) == (
        BERT["learning_rate"],
        BERT["revision"],
        BERT["epochs"],
    )
    assert re.fullmatch("[0-9a-f]{40}", chosen.revision)


def test_what_belongs_to_another_setting_beats_the_zoo(own):
    assert own(model="bert", method="lora").learning_rate == 0.3
    assert own(profile="gpu").epochs == 1 != find_defaults("modernbert")["epochs"]
    assert own(profile="gpu", model="modernbert").epochs == 1, "the same model by its short name"


def test_typing_what_the_zoo_says_anyway_changes_nothing(own):
    # SmolLM2's row is for LoRA: its learning rate is the better known one, whether or not the method is typed.
    assert own(method="lora").learning_rate == own().learning_rate == find_defaults("smollm2")["learning_rate"]


def test_what_is_typed_beats_everything(own):
    chosen = own(model="bert", method="lora", learning_rate=1e-5, epochs=2, label_column="valence")
    assert (chosen.method, chosen.learning_rate, chosen.epochs, chosen.label_column) == ("lora", 1e-5, 2, "valence")
    assert own(profile="gpu", epochs=7).epochs == 7


def test_another_dataset_drops_what_belongs_to_the_default_one(own):
    chosen = own(dataset="my.csv")
    assert (chosen.dataset, chosen.label_column) == ("my.csv", None)
    assert own(dataset="moments").label_column == "emotion"


def test_a_model_that_the_zoo_does_not_list_gets_the_notebook_s_defaults(own, tmp_path):
    chosen = own(model=str(tmp_path))
    assert (chosen.model, chosen.epochs, chosen.learning_rate) == (str(tmp_path), 9, 1e-2)
    assert chosen.revision is chosen.targets is None


@pytest.mark.parametrize("name, value", [("seed", 0), ("resume", False), ("warmup", 0), ("warmup", 0.0)])
def test_zero_and_false_count_as_typed(own, name, value):
    assert getattr(own(**{name: value}), name) == value


def test_only_the_notebook_s_own_parameters_are_read_from_what_is_given(own):
    chosen = own(patience=4, internal="typed", __name__="__main__")
    assert not hasattr(chosen, "patience") and chosen.internal == "as it is"


def choose_02(profile="laptop", **given):
    return fill_in("02_bert_vs_qwen", {"profile": profile} | given, find_defaults)


def settings_of(role: str, chosen) -> dict:
    names = ("method", "pooling", "learning_rate", "batch_size", "rank", "targets", "revision")
    return {name: vars(chosen).get(f"{role}_{name}") for name in names}


@pytest.mark.parametrize("profile", ["laptop", "gpu"])
@pytest.mark.parametrize("name", ["gemma", "Llama-3.2-1B", "mistralai/Mistral-7B-v0.1", "bert"])
def test_a_decoder_of_the_zoo_comes_with_its_method_and_pooling(profile, name):
    zoo, chosen = find_defaults(name), choose_02(profile, decoder=name)
    assert chosen.decoder == zoo["model"]
    assert settings_of("decoder", chosen) == {"rank": None} | {
        n: zoo[n] for n in settings_of("decoder", chosen) if n in zoo
    }


def test_an_encoder_of_the_zoo_does_so_too():
    zoo, chosen = find_defaults("modernbert"), choose_02("gpu", encoder="modernbert")
    assert (chosen.encoder_pooling, chosen.encoder_learning_rate) == (zoo["pooling"], zoo["learning_rate"])
    assert choose_02("gpu").decoder_learning_rate == chosen.decoder_learning_rate, "the other one's stays"


@pytest.mark.parametrize("profile, decoder", [("laptop", "smollm2"), ("gpu", "qwen"), ("gpu", "Qwen/Qwen2.5-0.5B")])
def test_the_notebook_s_own_decoder_keeps_the_notebook_s_settings_by_any_name(profile, decoder):
    table, chosen = read_notebook("02_bert_vs_qwen")[profile], choose_02(profile, decoder=decoder)
    assert vars(chosen) == vars(choose_02(profile))
    own = {name: value for name, value in table.items() if name.startswith(("encoder", "decoder_"))}
    assert len(own) == 8
    assert {name: getattr(chosen, name) for name in own} == own | {"encoder": chosen.encoder}


def test_what_is_typed_of_a_decoder_beats_the_zoo():
    chosen = choose_02(decoder="gemma", decoder_method="lora", decoder_learning_rate=1e-3)
    assert (chosen.decoder_method, chosen.decoder_learning_rate, chosen.decoder_pooling) == ("lora", 1e-3, "last")
    full = choose_02(decoder="gemma", decoder_method="full")
    assert full.decoder_learning_rate == 3e-4, "the notebook's for the method that was typed, not QLoRA's"
    assert choose_02("gpu", decoder_method="lora").decoder_learning_rate == 2e-4


def test_a_decoder_that_the_zoo_does_not_list_gets_the_notebook_s_settings(tmp_path):
    chosen = choose_02(decoder=str(tmp_path))
    assert (chosen.decoder_method, chosen.decoder_pooling, chosen.decoder_batch_size) == ("lora", "mean", 16)


@pytest.mark.parametrize("name", ["Qwen2.5-1.5B", "Llama-3.2-3B-Instruct", "Qwen2.5-Coder-14B-Instruct"])
def test_a_model_that_is_listed_with_generation_is_trained_as_a_classifier_in_4_bits(name):
    assert find_defaults(name)["method"] == "generation"
    assert choose_02(decoder=name).decoder_method == "qlora" and choose_02(decoder=name).decoder_pooling == "last"
    assert choose_02(decoder=name, decoder_method="lora").decoder_method == "lora", "what is typed wins"
    given = {"model": name, "dataset": "moments"}
    assert fill_in("05_lora_multilabel", given, find_defaults).method == "qlora"


@pytest.mark.parametrize("method, settled", [(None, "generate-qlora"), ("generate", "generate"), ("qlora", "qlora")])
def test_on_the_command_line_a_model_listed_with_generation_writes_its_labels(method, settled):
    given = {"model": "Qwen2.5-1.5B", "dataset": "moments", "method": method}
    chosen = fill_in("cli", given, find_defaults)
    assert chosen.method == settled
    assert (chosen.learning_rate, chosen.rank, chosen.batch_size) == (5e-5, 128, 32), "the zoo's, for all of them"
    assert fill_in("cli", given | {"model": "smollm2", "method": "generate"}, find_defaults).learning_rate == 1e-3


def test_the_zoo_s_length_is_filled_in_and_leaves_the_laptop_profile_as_it_is():
    for notebook in ("01_modernbert_tutorial", "03_sst2_error_analysis", "04_multilabel_emotions"):
        length = read_notebook(notebook)["all"]["max_length"]
        for profile in ("laptop", "gpu"):
            assert fill_in(notebook, {"profile": profile}, find_defaults).max_length == length
    cli = {"dataset": "moments", "model": "distilroberta-base"}
    assert fill_in("cli", cli, find_defaults).max_length == find_defaults("distilroberta-base")["max_length"] == 96
    assert fill_in("cli", cli | {"max_length": 200}, find_defaults).max_length == 200
    assert fill_in("cli", cli | {"model": "smollm2"}, find_defaults).max_length == 128


@each_table
def test_the_course_s_own_tables_can_be_filled_in(notebook):
    for profile in ("laptop", "gpu"):
        given = {"model": "minilm", "dataset": "moments"} if notebook == "cli" else {}
        chosen = fill_in(notebook, {"profile": profile} | given, find_defaults)
        check_parameters(vars(chosen), TABLES[notebook].get("choices"))
        assert set(vars(chosen)) >= set(read_notebook(notebook)["parameters"])
        assert chosen.dataset and chosen.seed == 0
