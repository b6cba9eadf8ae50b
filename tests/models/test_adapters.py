"""LoRA, QLoRA and the linear probe on tiny models of each architecture."""

import json

import pytest
import torch
from tiny import ARCHITECTURES, BF16, FP32, LABELS, build_model, build_models, make_tokenizer, toy_data

from helpers.exceptions import AssetError
from helpers.models import adapters
from helpers.models.adapters import (
    add_lora,
    list_linear_layers,
    merge_lora,
    use_gradient_checkpointing,
    wants_gradient_checkpointing,
)  # fmt: skip
from helpers.models.batches import collate
from helpers.models.classifier import (
    TextClassifier,
    backbone_of,
    count_parameters,
    is_multilabel,
    label_names,
    pooling_of,
    set_labels,
)  # fmt: skip
from helpers.models.origins import find_origin
from helpers.models.predict import predict_logits
from helpers.models.pretrained import METHODS, load_classifier
from helpers.models.saving import load, save
from helpers.models.weights import load_backbone, prepare, read_config
from helpers.training.checkpoints import trained_weights
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit

each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
each_precision = pytest.mark.parametrize("four_bit", [False, True], ids=["lora", "qlora"])
CONFIG = TrainingConfig(epochs=2, learning_rate=1e-2, batch_size=9, metric="epoch")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return build_models(tmp_path_factory.mktemp("models"))


def new_classifier(folder, **settings):
    return load_classifier(str(folder), LABELS, **({"device": FP32, "multilabel": True} | settings))


def with_lora(folder, four_bit=False, **settings):
    return new_classifier(folder, method="qlora" if four_bit else "lora", **({"rank": 4} | settings))


def in_four_bits(folder):
    """Return a classifier whose backbone rests in 4 bits, without LoRA."""
    config = read_config(find_origin(str(folder)))
    set_labels(config, LABELS, multilabel=True)
    torch.manual_seed(0)  # the head, as load_classifier makes it
    backbone = load_backbone(find_origin(str(folder)), config, device=FP32, four_bit=True)
    return prepare(TextClassifier(backbone, pooling="mean"), FP32)


def trained(folder, four_bit=False):
    classifier = with_lora(folder, four_bit)
    fit(classifier, *toy_data(multilabel=True), CONFIG, device=FP32)
    return classifier


def logits_of(classifier):
    return predict_logits(classifier, toy_data()[1])


@each_architecture
@each_precision
def test_only_adapter_and_head_learn(models, architecture, four_bit):
    classifier = with_lora(models[architecture], four_bit)
    names = [name for name, parameter in classifier.named_parameters() if parameter.requires_grad]
    assert all(".lora_" in name or ".modules_to_save" in name for name in names)
    assert any(".modules_to_save" in name for name in names)
    counts = count_parameters(classifier)
    assert 0 < counts.trainable < counts.total / 2
    frozen = {n: p.detach().clone() for n, p in classifier.named_parameters() if not p.requires_grad}
    before = trained_weights(classifier)
    fit(classifier, *toy_data(multilabel=True), CONFIG, device=FP32)
    assert all(torch.equal(p, frozen[n]) for n, p in classifier.named_parameters() if n in frozen)
    after = trained_weights(classifier)
    assert all(not torch.equal(after[name], before[name]) for name in names)


@each_architecture
def test_a_new_adapter_changes_nothing(models, architecture):
    plain = new_classifier(models[architecture])
    before = logits_of(plain)
    assert (logits_of(add_lora(plain, rank=4)) == before).all()


@each_architecture
@each_precision
def test_save_and_load_give_identical_logits(models, tmp_path, architecture, four_bit):
    classifier = trained(models[architecture], four_bit)
    folder = save(classifier, make_tokenizer(), tmp_path / "adapter", thresholds=[0.2, 0.3, 0.4])
    loaded, tokenizer, settings = load(folder, device=FP32)
    assert (logits_of(loaded) == logits_of(classifier)).all()
    assert (label_names(loaded), is_multilabel(loaded)) == (LABELS, True)
    assert settings["thresholds"] == [0.2, 0.3, 0.4]
    assert (settings["four_bit"], tokenizer.padding_side) == (four_bit, "right")
    assert not any(module.training for module in loaded.modules())
    fresh = with_lora(models[architecture], four_bit)
    assert not (logits_of(fresh) == logits_of(classifier)).all(), "training must have changed the logits"


def test_the_folder_holds_the_adapter_alone_and_no_pickle(models, tmp_path):
    folder = save(trained(models["qwen2"]), make_tokenizer(), tmp_path / "adapter")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    whole = (models["qwen2"] / "model.safetensors").stat().st_size
    assert (folder / "adapter_model.safetensors").stat().st_size < whole / 2
    assert json.loads((folder / "adapter_config.json").read_text())["modules_to_save"].count("score") >= 1


@pytest.mark.parametrize("method", METHODS)
def test_one_save_and_one_load_serve_every_method(models, tmp_path, method):
    """An adapter's folder names the model that it stands on, in its own file and in that of `peft`."""
    base = str(models["bert"])
    classifier = new_classifier(base, method=method, rank=4, pooling="mean")
    fit(classifier, *toy_data(multilabel=True), CONFIG, device=FP32)
    folder = save(classifier, make_tokenizer(), tmp_path / "model", max_length=64)
    loaded, _, settings = load(folder, device=FP32)
    assert (logits_of(loaded) == logits_of(classifier)).all()
    assert (pooling_of(loaded), settings["max_length"]) == ("mean", 64)
    assert (
        (folder / "adapter_config.json").exists() == ("lora" in method) == (not (folder / "model.safetensors").exists())
    )
    if "lora" in method:
        assert settings["four_bit"] == (method == "qlora")
        assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == base
        again, _, _ = load(save(loaded, make_tokenizer(), tmp_path / "again"), device=FP32)  # it knows its base still
        assert (logits_of(again) == logits_of(classifier)).all()


@each_architecture
def test_merging_and_unmerging_keep_the_logits(models, tmp_path, architecture):
    classifier = trained(models[architecture])
    adapted = logits_of(classifier)
    classifier.merge_adapter()
    assert logits_of(classifier) == pytest.approx(adapted, abs=2e-6)
    classifier.unmerge_adapter()
    assert logits_of(classifier) == pytest.approx(adapted, abs=2e-6)
    merged = merge_lora(classifier)
    assert logits_of(merged) == pytest.approx(adapted, abs=2e-6)
    assert type(merged) is type(new_classifier(models[architecture]))
    assert not any("lora" in name or "modules_to_save" in name for name in merged.state_dict())
    folder = save(merged, make_tokenizer(), tmp_path / "model")
    assert (logits_of(load(folder, device=FP32)[0]) == logits_of(merged)).all()


def test_four_bits_refuse_to_merge_but_expand_first(models, tmp_path):
    classifier = trained(models["bert"], four_bit=True)
    with pytest.raises(ValueError, match=r"4 bits.*four_bit=False"):
        merge_lora(classifier)
    folder = save(classifier, make_tokenizer(), tmp_path / "adapter")
    wide, _, _ = load(folder, device=FP32, four_bit=False)
    adapted = logits_of(wide)
    assert logits_of(merge_lora(wide)) == pytest.approx(adapted, abs=2e-6)


def test_four_bits_are_smaller_and_counted_whole(models):
    wide, narrow = new_classifier(models["qwen2"], pooling="mean"), in_four_bits(models["qwen2"])
    assert count_parameters(narrow).total == count_parameters(wide).total
    bytes_of = lambda model: sum(p.numel() * p.element_size() for p in backbone_of(model).layers.parameters())  # noqa: E731
    assert bytes_of(narrow) < bytes_of(wide) / 6
    assert 0 < abs(logits_of(narrow) - logits_of(wide)).max() < 0.5


def test_checkpoints_of_a_4_bit_model_hold_what_is_trained_alone(models):
    classifier = with_lora(models["bert"], four_bit=True)
    buffers = {name for name, _ in classifier.named_buffers()}
    kept = set(trained_weights(classifier)) - buffers
    assert kept == {name for name, parameter in classifier.named_parameters() if parameter.requires_grad}


def test_targets_that_do_not_exist_are_named_with_those_that_do(models):
    with pytest.raises(
        ValueError, match=r"no linear layer 'q_proj', 'v_proj' in BertModel: it has dense, key, query, value\.$"
    ):
        add_lora(new_classifier(models["bert"]), targets=["query", "q_proj", "v_proj"])


@pytest.mark.parametrize("rank", [0, -1, 2.5, "8"])
def test_a_rank_must_be_a_positive_whole_number(models, rank):
    with pytest.raises(ValueError, match="rank"):
        add_lora(new_classifier(models["bert"]), rank=rank)


def test_targets_choose_the_layers(models):
    classifier = add_lora(new_classifier(models["qwen2"]), rank=2, targets=["q_proj", "v_proj"])
    adapted = {name.split(".lora_A")[0].split(".")[-1] for name, _ in classifier.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "v_proj"}


def test_the_seed_decides_the_first_a(models):
    first = [trained_weights(add_lora(new_classifier(models["bert"]), rank=2, seed=seed)) for seed in (0, 0, 1)]
    name = next(name for name in first[0] if "lora_A" in name)
    assert torch.equal(first[0][name], first[1][name])
    assert not torch.equal(first[0][name], first[2][name])


def test_linear_layers_are_listed_once():
    pair = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2)})})
    assert list_linear_layers(pair) == ["a"]


def test_the_linear_probe_trains_the_head_alone(models):
    classifier = load_classifier(str(models["bert"]), LABELS, method="probe")
    names = [name for name, parameter in classifier.named_parameters() if parameter.requires_grad]
    assert names == ["classifier.weight", "classifier.bias"]
    result = fit(classifier, *toy_data(multilabel=True), CONFIG, device=FP32)
    assert result.step_losses[-1] < result.step_losses[0]


@each_architecture
@each_precision
def test_gradient_checkpointing_changes_no_gradient(models, architecture, four_bit):
    gradients = []
    for checkpointing in (False, True):
        classifier = with_lora(models[architecture], four_bit).train()
        with torch.no_grad():  # B is zero at first, and so would be the gradient of A
            for name, parameter in classifier.named_parameters():
                if "lora_B" in name:
                    parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        if checkpointing:
            use_gradient_checkpointing(classifier)
        batch = collate(toy_data()[0], range(6))
        classifier(batch["input_ids"], batch["attention_mask"]).logits.square().sum().backward()
        gradients.append(
            {n: p.grad for n, p in classifier.named_parameters() if p.requires_grad and "original" not in n}
        )
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-5, rtol=1e-4)
        assert gradient.abs().sum() > 0, name


def test_an_interrupted_lora_run_ends_as_an_uninterrupted_one(models, tmp_path):
    whole = trained(models["bert"])

    class StopError(Exception):
        pass

    def stop(logits, labels, calls=[0]):  # noqa: B006
        calls[0] += 1
        if calls[0] == 8:
            raise StopError
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)

    def run(**options):
        classifier = with_lora(models["bert"])
        fit(classifier, *toy_data(multilabel=True), CONFIG, device=FP32, run_folder=tmp_path / "run", **options)
        return classifier

    with pytest.raises(StopError):
        run(loss_function=stop)
    assert (tmp_path / "run" / "checkpoint" / "state.safetensors").exists()
    assert (logits_of(run()) == logits_of(whole)).all()


def test_mixed_precision_trains_4_bits(models):
    classifier = with_lora(models["qwen2"], four_bit=True, device=BF16)
    result = fit(classifier, *toy_data(multilabel=True), CONFIG, device=BF16)
    assert result.step_losses[-1] < result.step_losses[0]


def test_an_adapter_that_save_did_not_write_is_refused(tmp_path):
    """It has no head's labels, no pooling."""
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(AssetError, match="names no model that it stands on"):
        load(tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_a_classifier_by_method_starts_the_same_every_time(models, method):
    first, second = (new_classifier(models["bert"], method=method, rank=2, seed=5) for _ in range(2))
    assert (logits_of(first) == logits_of(second)).all()
    assert is_multilabel(first)
    trainable = count_parameters(first).trainable
    whole = count_parameters(new_classifier(models["bert"])).total
    head = first.config.hidden_size * len(LABELS) + len(LABELS)
    assert {"probe": trainable == head, "full": trainable == whole}.get(method, head < trainable < whole)


@pytest.mark.parametrize(
    ("method", "limit", "asked", "expected"),
    [
        ("lora", 1000, None, True),
        ("qlora", 1000, None, True),
        ("full", 1000, None, False),
        ("probe", 1000, None, False),  # it keeps next to nothing anyway
        ("lora", None, None, False),  # a small model
        ("lora", 1000, False, False),
        ("lora", None, True, True),
        ("full", None, True, True),
    ],
)
def test_a_large_model_with_an_adapter_gets_gradient_checkpointing_unless_asked(
    models, monkeypatch, method, limit, asked, expected
):
    if limit:
        monkeypatch.setattr(adapters, "LARGE", limit)
    classifier = new_classifier(models["qwen2"], method=method, rank=2, gradient_checkpointing=asked)
    assert backbone_of(classifier).is_gradient_checkpointing == expected


def test_a_large_adapter_that_is_trained_on_gets_it_too(models, tmp_path, monkeypatch):
    folder = save(with_lora(models["bert"]), make_tokenizer(), tmp_path / "adapter")
    assert not backbone_of(new_classifier(folder, method="lora")).is_gradient_checkpointing
    monkeypatch.setattr(adapters, "LARGE", 1000)
    assert backbone_of(new_classifier(folder, method="lora")).is_gradient_checkpointing


@pytest.mark.parametrize("size, expected", [(494e6, False), (1.2e9, True)])
def test_the_zoo_s_smallest_decoders_are_not_large(size, expected):
    with torch.device("meta"):
        classifier = torch.nn.Linear(int(size), 1, bias=False).requires_grad_(False)
    classifier.get_base_model = lambda: classifier
    assert wants_gradient_checkpointing(classifier) == expected


def test_gradient_checkpointing_can_be_switched_off_again(models):
    classifier = new_classifier(models["bert"])
    use_gradient_checkpointing(classifier)
    assert backbone_of(classifier).is_gradient_checkpointing
    use_gradient_checkpointing(classifier, on=False)
    assert not backbone_of(classifier).is_gradient_checkpointing


def test_a_base_that_was_moved_is_named_with_the_remedy(tmp_path, monkeypatch):
    """Mistake: the path that is called wrong is not the one that was given."""
    base = build_model("bert", tmp_path / "pre")
    monkeypatch.chdir(tmp_path)
    classifier = load_classifier("./pre", LABELS, method="lora", rank=4)
    save(classifier, make_tokenizer(), tmp_path / "run/model")
    monkeypatch.chdir("/")
    assert load(tmp_path / "run")[2]["label_names"] == LABELS, "a relative path means the same from any folder"
    base.rename(tmp_path / "moved")
    said = (
        r"The adapter '.*run' stands on '.*pre', which is not there: put it back, or change base_model in config.json"
    )
    with pytest.raises(AssetError, match=said):
        load(tmp_path / "run")
    (tmp_path / "run/model/config.json").unlink()
    with pytest.raises(
        AssetError, match=r"pre', which is not there: .* base_model_name_or_path in adapter_config.json"
    ):
        load(tmp_path / "run")
