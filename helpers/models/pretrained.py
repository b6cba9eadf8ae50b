"""A classifier ready to train by one of four methods: from a pretrained backbone, or from whatever was trained before.
Taught in notebook 01, section 3, and notebook 05."""

import torch

from helpers.device import Device
from helpers.exceptions import SettingError
from helpers.models.adapters import (
    add_lora,
    merge_lora,
    use_gradient_checkpointing,
    wants_gradient_checkpointing,
)  # fmt: skip
from helpers.models.classifier import POOLINGS, backbone_of
from helpers.models.frozen import freeze_below, last_numbers
from helpers.models.heads import fit_labels
from helpers.models.origins import Origin, find_origin, name_base
from helpers.models.saving import load_adapter
from helpers.models.weights import load_whole, read_config
from helpers.models.zoo import find_pooling

METHODS = ("probe", "lora", "qlora", "full")
HEADS = ("auto", "native", *POOLINGS)


def load_classifier(
    model: str, label_names: list[str], *, method: str = "full", multilabel: bool = False, pooling: str = "auto",
    dropout: float | None = None, device: Device | None = None, rank: int = 16, targets: list[str] | None = None,
    seed: int = 0, revision: str | None = None, gradient_checkpointing: bool | None = None,
    last_layers: int | None = None,
):  # fmt: skip
    """Return a classifier for `label_names` on what `model` holds, ready to train by `method`.

    `model` is a name of the course or of the zoo, a Hub id, or a folder: a pretrained backbone gets a new head, randomly
    initialised; what was trained before, here or elsewhere, keeps its head's rows for the labels that it knows (see
    `plan_labels`), an adapter is merged first, or trained on if `method` is LoRA's. "full" trains all weights, "probe"
    the head alone, "lora" thin matrices of `rank` beside the `targets`, and "qlora" the same beside weights that rest in
    4 bits; with `last_layers` only so many of the upper layers, or matrices beside them (see `frozen`). `pooling` says
    which vector of a text the head reads: "native" as the architecture's own class does it, "cls", "mean" or "last";
    "auto" what the zoo lists for the model, or native. `dropout` is what the model brings, unless given for backbone and
    head. `device` chooses the attention kernel. Without a word about `gradient_checkpointing`, a large
    model with an adapter has it. Called twice, it returns the same weights twice.
    """
    for name, value, allowed in (("method", method, METHODS), ("pooling", pooling, HEADS)):
        if value not in allowed:
            raise SettingError(f"{name}={value!r} is unknown: use one of {', '.join(allowed)}.")
    if last_layers is not None and method == "probe":
        raise SettingError("method='probe' trains no layers: leave last_layers out, or use full, lora or qlora.")
    origin = find_origin(model, revision=revision)
    new = {"multilabel": multilabel, "dropout": dropout, "rank": rank, "targets": targets, "seed": seed}
    new |= {"last_layers": last_layers}
    classifier = _build(origin, model, label_names, method, pooling=pooling, device=device, **new)
    if gradient_checkpointing is None:
        gradient_checkpointing = wants_gradient_checkpointing(classifier)
    if gradient_checkpointing:
        use_gradient_checkpointing(classifier)
    return classifier


def require_layers(model: str, last_layers: int | None, *, revision: str | None = None) -> None:
    """Raise `SettingError` for more last layers than `model` has; its weights are not read."""
    if last_layers is not None:
        last_numbers(read_config(find_origin(model, revision=revision)), last_layers)


def _build(
    origin: Origin, model: str, label_names: list[str], method: str, *, multilabel: bool, pooling: str,
    dropout: float | None, device: Device | None, rank: int, targets: list[str] | None, seed: int, last_layers: int | None,
):  # fmt: skip
    """Return the classifier for `load_classifier`, which checked what it was given and calls it `model`."""
    if pooling == "auto" and origin.kind == "backbone":
        pooling = find_pooling(model)
    torch.manual_seed(seed)  # the head's initial weights
    if origin.kind == "adapter":
        classifier, new = _load_adapted(origin, method, device), []
    else:
        how = {"frozen": "lora" in method, "four_bit": method == "qlora", "dropout": dropout, "device": device}
        classifier, new = load_whole(origin, label_names, multilabel=multilabel, pooling=pooling, **how)
    fit_labels(classifier, label_names, multilabel=multilabel, seed=seed)
    classifier.config.thresholds = None  # those of an earlier training
    if origin.kind == "adapter" and "lora" in method:
        return classifier
    classifier.config.base_model, classifier.config.base_revision = name_base(model, origin), origin.revision
    if "lora" in method:
        return add_lora(classifier, rank=rank, targets=targets, seed=seed, also=new, last_layers=last_layers)
    if method == "probe":  # a linear probe of what the backbone knows already; a new pooling layer stays the identity
        backbone_of(classifier).requires_grad_(False)
    elif last_layers is not None:
        freeze_below(classifier, last_layers)
    return classifier


def _load_adapted(origin: Origin, method: str, device: Device | None):
    """Return a trained adapter on its base, to be trained on as it is; or merged, if all weights are to be trained."""
    if "lora" in method:
        return load_adapter(origin, device=device, trainable=True, four_bit=method == "qlora")
    return merge_lora(load_adapter(origin, device=device, four_bit=False)).requires_grad_(True)
