"""One `save` and one `load`, for whole models and adapters, in the formats that other libraries read: safetensors,
tokenizer, and a `config.json` with the labels. Taught in notebook 01, section 8, and notebook 05, sections 7 and 12."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from helpers.assets.hub_errors import explain_hub_errors
from helpers.device import Device
from helpers.exceptions import AssetError
from helpers.files import atomic_folder, read_json, require_own, write_json
from helpers.models.adapters import is_four_bit, keep_training_in_fp32, quiet_peft
from helpers.models.classifier import TextClassifier, final_layer, is_multilabel, label_names, pooling_of
from helpers.models.heads import fit_labels, read_labels
from helpers.models.origins import CONFIG_FILE, OWN_HEAD, WORD_FILES, Origin, find_base, find_origin, load_tokenizer
from helpers.models.weights import load_whole

# What is in a tokenizer's and in a model's folder; the card is what `deploy.publish` writes.
TOKENIZER_FILES = (
    *WORD_FILES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.*",
    "additional_chat_templates/*.jinja",
)  # fmt: skip
MODEL_FILES = (
    *TOKENIZER_FILES, CONFIG_FILE, "generation_config.json", "model*.safetensors", "model.safetensors.index.json",
    "adapter_config.json", "adapter_model.safetensors", "README.md",
)  # fmt: skip


def require_model_folder(folder: str | Path, tokenizer) -> None:
    """Raise `SettingError` for a `folder` in which something else lies than a model that was saved before."""
    require_own(folder, (*MODEL_FILES, *tokenizer.vocab_files_names.values()))


def save(
    classifier, tokenizer, folder: str | Path, *, max_length: int | None = None, thresholds=None, temperature: float = 1.0
) -> Path:  # fmt: skip
    """Write `classifier` and `tokenizer` to `folder`, which appears whole or not at all, in the place of an earlier model; return it.

    Of a whole model all weights are written, of an adapter the adapter and the head: its base is named instead. The
    labels stand in `config.json`, and so do `max_length` (as text_max_length; the tokenizer cuts there, too) and the
    `thresholds` `(labels,)`. A `temperature` is built in: the last layer is divided by it, so that whoever opens the
    folder gets calibrated probabilities. An architecture's own class can be opened by
    `pipeline("text-classification", folder)`; a `TextClassifier` is refused there, because no library knows its head.
    """
    require_model_folder(folder, tokenizer)
    config = classifier.config
    if max_length:
        max_length = min(max_length, tokenizer.model_max_length)  # what the model reads
        config.text_max_length = max_length
    if thresholds is not None:
        config.thresholds = [float(cut) for cut in np.broadcast_to(thresholds, config.num_labels)]
    with atomic_folder(folder) as work, _divided(final_layer(classifier), temperature):
        if hasattr(classifier, "peft_config"):
            config.four_bit = is_four_bit(classifier)
            classifier.save_pretrained(work, save_embedding_layers=False)
            (work / "README.md").unlink(missing_ok=True)  # peft's empty form; `deploy.publish` writes a real card
            config.save_pretrained(work)
        elif isinstance(classifier, TextClassifier):
            weights = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
            save_file(weights, work / "model.safetensors", metadata={"format": "pt"})
            config.save_pretrained(work)
        else:
            classifier.save_pretrained(work)
        _finish_config(classifier, work / CONFIG_FILE)
        with _cut_at(tokenizer, max_length):
            tokenizer.save_pretrained(work)
    return Path(folder)


def _finish_config(classifier, file: Path) -> None:
    """Name the class in `config.json`; and let other libraries refuse a head that they would replace by a random one."""
    config = read_json(file)
    if "pooling" in config:  # a `TextClassifier`, or an adapter on one
        config |= {"model_type": f"{OWN_HEAD}{config['model_type']}", "architectures": ["TextClassifier"]}
    if not hasattr(classifier, "peft_config"):
        config.pop("base_model", None), config.pop("base_revision", None)
    write_json(file, config)


@contextlib.contextmanager
def _divided(layer: torch.nn.Linear, temperature: float) -> Iterator[None]:
    """Divide the layer's output by `temperature` inside the block; afterwards it is what it was, bit for bit."""
    before = {name: values.detach().clone() for name, values in layer.named_parameters()}
    try:
        if temperature != 1.0:
            for values in layer.parameters():
                values.data.div_(temperature)
        yield
    finally:
        for name, values in layer.named_parameters():
            values.data.copy_(before[name])


@contextlib.contextmanager
def _cut_at(tokenizer, max_length: int | None) -> Iterator[None]:
    """Let the tokenizer's own limit be `max_length` inside the block: `truncation=True` then cuts as in training."""
    before = tokenizer.model_max_length
    tokenizer.model_max_length = max_length or before
    try:
        yield
    finally:
        tokenizer.model_max_length = before


def load(model: str | Path, *, revision: str | None = None, device: Device | None = None, four_bit: bool | None = None):
    """Return `(classifier, tokenizer, settings)` of a trained classifier, in evaluation mode.

    `model` is a run's folder, the `model` folder inside it, a Hub id, or a folder that `Trainer` or peft wrote.
    `settings` holds label_names, multilabel, pooling, max_length (in tokens), thresholds (None if there are none) and four_bit. An
    adapter's base is loaded again; `four_bit=False` expands that of QLoRA to full precision, as merging wants it.
    Raises `AssetError` for a model that has no trained head, and for one that cannot be had.
    """
    origin = find_origin(model, revision=revision)
    if origin.writes:
        raise AssetError(f"{str(model)!r} writes its labels: load it with generation.load, or with Predictor.load.")
    if origin.kind == "backbone":
        raise AssetError(f"{str(model)!r} is a pretrained model without a trained head: train it first.")
    number = origin.config.get("problem_type") == "regression"
    if number or (origin.kind != "adapter" and len(read_labels(origin)) < 2):
        raise AssetError(f"{str(model)!r} gives a number, not labels: it is no classifier.")
    if origin.kind == "adapter":
        classifier = load_adapter(origin, device=device, four_bit=four_bit)
    else:
        classifier, _ = load_whole(origin, [], multilabel=False, device=device)
    tokenizer = load_tokenizer(model, revision=revision)
    config = classifier.config
    config.problem_type = config.problem_type or "single_label_classification"  # what Trainer leaves unsaid
    settings = {
        "label_names": label_names(classifier),
        "multilabel": is_multilabel(classifier),
        "pooling": pooling_of(classifier),
        "max_length": getattr(config, "text_max_length", None) or min(tokenizer.model_max_length, 512),
        "thresholds": getattr(config, "thresholds", None),
        "four_bit": is_four_bit(classifier),
    }
    return classifier.eval(), tokenizer, settings


def load_adapter(origin: Origin, *, device: Device | None, trainable: bool = False, four_bit: bool | None = None):
    """Return an adapter on its base, as a `PeftModel` with the labels that it was trained for.
    Raises `AssetError` if the base cannot be had, or if the adapter holds no head."""
    from peft import PeftModel

    if origin.writes:
        raise AssetError(f"The adapter {origin.name!r} writes its labels: train it on with method='generate'.")
    base, names = find_base(origin), read_labels(origin)
    if base.kind == "adapter" or len(names) < 2:
        what = (
            f"stands on another adapter, {base.name!r}"
            if base.kind == "adapter"
            else "holds no head for several labels"
        )
        raise AssetError(f"The adapter {origin.name!r} {what}: the course cannot use it.")
    several = origin.config.get("problem_type") == "multi_label_classification"
    quantised = origin.config.get("four_bit", False) if four_bit is None else four_bit
    pooling = origin.config.get("pooling", "auto")
    how = {"multilabel": several, "pooling": pooling, "device": device, "frozen": trainable, "four_bit": quantised}
    classifier, _ = load_whole(base, names, **how)
    fit_labels(classifier, names, multilabel=several)
    config = classifier.config
    config.base_model, config.base_revision = origin.base
    for setting in ("text_max_length", "thresholds"):
        if setting in origin.config:
            setattr(config, setting, origin.config[setting])
    with quiet_peft(), explain_hub_errors(origin.name, origin.location):
        return keep_training_in_fp32(
            PeftModel.from_pretrained(classifier, origin.location, revision=origin.revision, is_trainable=trainable)
        )
