"""One `save` and one `load` for writers and classifiers alike. A writer's folder is a language model (or a peft adapter)
like any other, for every library; the prompt and the labels stand in its `config.json`. Taught in notebook 06."""

from pathlib import Path

import numpy as np

from helpers.device import Device
from helpers.files import atomic_folder
from helpers.generation.pretrained import load_decoder
from helpers.generation.prompts import Prompt, read_as_text
from helpers.generation.writer import LabelWriter
from helpers.models import saving
from helpers.models.adapters import is_four_bit, merge_lora
from helpers.models.heads import read_labels
from helpers.models.origins import find_origin, load_tokenizer


def save(
    model, tokenizer, folder: str | Path, *, max_length: int | None = None, thresholds=None, temperature: float = 1.0
) -> Path:  # fmt: skip
    """Write `model` and `tokenizer` to `folder`, which appears whole or not at all; return it. A classifier is written as
    `models.save` does it; of a writer all weights, or its adapter, and in `config.json` the prompt, the labels,
    `max_length` (tokens of a text), the `thresholds` `(labels,)` and the `temperature` of its scores."""
    if not isinstance(model, LabelWriter):
        return saving.save(
            model, tokenizer, folder, max_length=max_length, thresholds=thresholds, temperature=temperature
        )
    saving.require_model_folder(folder, tokenizer)
    config, adapted = model.config, hasattr(model.backbone, "peft_config")
    config.writing = {"before": model.prompt.before, "after": model.prompt.after, "temperature": float(temperature)}
    config.text_max_length = max_length or getattr(config, "text_max_length", None)
    if thresholds is not None:
        config.thresholds = [float(cut) for cut in np.broadcast_to(thresholds, config.num_labels)]
    config.four_bit = adapted and is_four_bit(model)
    with atomic_folder(folder) as work:
        model.backbone.save_pretrained(work, **({"save_embedding_layers": False} if adapted else {}))
        (work / "README.md").unlink(missing_ok=True)
        if adapted:
            config.save_pretrained(work)
        tokenizer.save_pretrained(work)
    return Path(folder)


def load(model: str | Path, *, revision: str | None = None, device: Device | None = None, four_bit: bool | None = None):
    """Return `(writer or classifier, tokenizer, settings)` of what was trained, in evaluation mode: `models.load` for
    everything that has a head. The `settings` are the same for both; of a writer, max_length counts the text alone."""
    origin = find_origin(model, revision=revision)
    if not origin.writes:
        return saving.load(model, revision=revision, device=device, four_bit=four_bit)
    config, names, tokenizer = origin.config, read_labels(origin), load_tokenizer(model, revision=revision)
    quantised = config.get("four_bit", False) if four_bit is None else four_bit
    backbone = load_decoder(
        origin, device=device, adapted=origin.kind == "adapter", four_bit=quantised, trainable=False
    )
    prompt = Prompt(config["writing"]["before"], config["writing"]["after"])
    several = config.get("problem_type") == "multi_label_classification"
    writer = LabelWriter(backbone, tokenizer, names, multilabel=several, prompt=prompt)
    writer.temperature = config["writing"].get("temperature", 1.0)
    for name in ("text_max_length", "thresholds", "base_model", "base_revision"):
        setattr(writer.config, name, config.get(name))
    max_length = config.get("text_max_length") or 512
    settings = {
        "label_names": list(writer.answers.names), "multilabel": several, "pooling": "native",
        "max_length": min(max_length, writer.room or max_length), "thresholds": config.get("thresholds"),
        "four_bit": is_four_bit(writer),
    }  # fmt: skip
    return writer.eval(), read_as_text(tokenizer), settings


def merge(model):
    """Return `model` without an adapter, which is added to its weights: as fast as before training, and as large.
    Raises `SettingError` for one in 4 bits."""
    if not isinstance(model, LabelWriter):
        return merge_lora(model)
    if hasattr(model.backbone, "peft_config"):
        model.backbone = merge_lora(model.backbone)
    return model
