"""One `save` and one `load`, for whole models and adapters: safetensors, tokenizer, and what the course adds as JSON.
Taught in notebook 01, step 10, and notebook 04, sections 7 and 11."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from helpers.device import Device
from helpers.files import atomic_folder, read_json, write_json
from helpers.models.adapters import is_four_bit
from helpers.models.classifier import TextClassifier, build_classifier
from helpers.models.pretrained import load_backbone

ADAPTER_FILE, OWN_FILE = "adapter_config.json", "classifier.json"


def save(classifier, tokenizer, folder: str | Path, **settings) -> Path:
    """Write `classifier` and `tokenizer` to `folder`, which appears whole or not at all; return it.

    Of a whole model all weights are written, of an adapter the adapter and the head: its backbone is named instead. The
    file `classifier.json` holds labels, pooling, dropout, whether labels exclude each other, and `settings`
    (thresholds, temperature, max_length).
    """
    own = {name: getattr(classifier, name) for name in ("label_names", "multilabel", "pooling")}
    own["dropout"] = classifier.dropout.p
    with atomic_folder(folder) as work:
        if not isinstance(classifier, TextClassifier):  # a PeftModel around one
            own |= {"base": classifier.base, "revision": classifier.revision, "four_bit": is_four_bit(classifier)}
            _write_adapter(classifier, work)
        else:
            _write_model(classifier, work)
        tokenizer.save_pretrained(work)
        write_json(work / OWN_FILE, own | settings)
    return Path(folder)


def _write_adapter(classifier, folder: Path) -> None:
    classifier.peft_config["default"].base_model_name_or_path = classifier.base
    classifier.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty form; `deploy.publish` writes a real card


def _write_model(classifier: TextClassifier, folder: Path) -> None:
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = classifier.backbone.config
    config.id2label = dict(enumerate(classifier.label_names))
    config.label2id = {name: i for i, name in enumerate(classifier.label_names)}
    config.save_pretrained(folder)


def load(folder: str | Path, *, device: Device | None = None, four_bit: bool | None = None):
    """Return `(classifier, tokenizer, settings)` as `save` wrote them; the classifier is in evaluation mode.

    `settings` is the content of `classifier.json`. An adapter's base is loaded again; `four_bit=False` expands that of
    QLoRA to full precision, as merging wants it. Raises `FileNotFoundError` for a folder without a saved model, and
    `AssetError` if an adapter's base cannot be had.
    """
    from transformers import AutoTokenizer

    folder = Path(folder)
    if not (folder / OWN_FILE).exists():
        raise FileNotFoundError(f"{folder} holds no saved classifier (no {OWN_FILE}): train and save one first.")
    settings = read_json(folder / OWN_FILE)
    is_adapter = (folder / ADAPTER_FILE).exists()
    quantised = settings.get("four_bit", False) if four_bit is None else four_bit
    base = {name: settings.get(name) for name in ("base", "revision")}
    if is_adapter:
        backbone = load_backbone(base["base"], revision=base["revision"], device=device, four_bit=quantised)
    else:
        backbone = _empty_backbone(folder, device)
    own = {name: settings[name] for name in ("label_names", "multilabel", "pooling", "dropout")}
    classifier = build_classifier(backbone, device=device, **own, **base)
    if is_adapter:
        from peft import PeftModel

        classifier = PeftModel.from_pretrained(classifier, str(folder))
    else:
        classifier.load_state_dict(load_file(folder / "model.safetensors"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = "right"
    return classifier.eval(), tokenizer, settings


def _empty_backbone(folder: Path, device: Device | None):
    """Return the transformer that `config.json` describes, its weights still to be filled in."""
    from transformers import AutoConfig, AutoModel

    attention = device.attention if device else "sdpa"
    return AutoModel.from_config(AutoConfig.from_pretrained(folder), attn_implementation=attention, dtype=torch.float32)
