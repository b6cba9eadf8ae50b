"""The labels of a trained head against those of the data: kept, extended, or replaced, and always said.
A row of the last layer belongs to a label; training on keeps the rows of the labels that stay."""

import re
from dataclasses import dataclass

import torch
from torch import nn

from helpers.assets.hub_errors import explain_hub_errors
from helpers.assets.settings import require_settings
from helpers.exceptions import DataError, shorten
from helpers.models.classifier import (
    final_layer,
    final_layer_name,
    is_multilabel,
    label_names,
    plain_model,
    set_labels,
)  # fmt: skip
from helpers.models.origins import Origin, find_origin
from helpers.models.weights import keeps_head


@dataclass(frozen=True)
class LabelPlan:
    """With which labels training begins. `kind` is "new" (no head yet), "kept", "extended" or "replaced"."""

    names: list[str]
    kind: str
    sentence: str  # what a reader should know of it


def plan_labels(
    model: str, names: list[str], *, multilabel: bool, pooling: str = "auto", revision: str | None = None
) -> LabelPlan:
    """Return the labels that `model` will have when it is trained on data with the labels `names`.

    A head that knows all of them is kept, with what else it knows; one that knows some is extended; one that knows
    none, or that answers another kind of question, is replaced. Blanks and case at a name's ends do not count.
    """
    origin = find_origin(model, revision=revision)
    if origin.kind == "backbone":
        return LabelPlan(names, "new", f"{model} has no head of its own: a new one for {len(names)} labels is trained.")
    old = read_labels(origin)
    places = match_labels(names, old)
    question = origin.config.get("problem_type") or "single_label_classification"
    same = question == ("multi_label_classification" if multilabel else "single_label_classification")
    new = [name for name, place in zip(names, places, strict=True) if place is None]
    why = "knows none of these labels" if len(new) == len(names) or len(old) < 2 else ""
    why = why if same else "answers another kind of question"
    if origin.kind != "adapter" and not keeps_head(origin, pooling):
        why = f"reads texts another way than pooling={pooling!r}"
    if why:
        known = ", ".join(old[:6])
        return LabelPlan(names, "replaced", f"{model} ({known}) {why}: its head is replaced by a new one.")
    spelt = dict(zip(places, names, strict=True))  # the data's spelling
    kept = [spelt.get(place, name) for place, name in enumerate(old)]
    if new:
        sentence = f"{model} is trained on: its head learns {', '.join(new)} besides {', '.join(kept)}."
        return LabelPlan(kept + new, "extended", sentence)
    said = f"{model} is trained on: its head knows all these labels and is kept."
    if kept != old:
        said += f" It calls them {', '.join(old)}: taken for {', '.join(kept)}, in this order."
    return LabelPlan(kept, "kept", said)


def read_labels(origin: Origin) -> list[str]:
    """Return the labels of a trained model in the order of its logits, LABEL_0, LABEL_1 where it names none.
    Raises `AssetError` for a `config.json` whose labels, thresholds or length cannot be right."""
    require_settings(origin.config, origin.name)
    names = origin.config.get("id2label")
    if not names:
        return [f"LABEL_{i}" for i in range(_count_rows(origin) if origin.kind == "adapter" else 2)]
    return [name for _, name in sorted((int(number), str(name)) for number, name in names.items())]


def _count_rows(origin: Origin) -> int:
    """Return how many rows the head has that an adapter of any origin holds; 0 if it holds none."""
    from safetensors import safe_open
    from transformers.utils import cached_file

    with explain_hub_errors(origin.name, origin.location):
        place = cached_file(origin.location, "adapter_model.safetensors", revision=origin.revision)
        with safe_open(place, "pt") as file:
            names = file.keys()
            heads = [name for name in names if re.search(r"(score|classifier|out_proj)(\.\w+)?\.weight$", name)]
            return file.get_slice(heads[-1]).get_shape()[0] if heads else 0


def match_labels(names: list[str], old: list[str]) -> list[int | None]:
    """Return for each of `names` its place among the `old` ones, None for a new one. Raises `DataError` if two have one.
    Placeholders (LABEL_0, LABEL_1, …), if they are as many, are taken for the names in their order."""
    if len(old) == len(names) and all(re.fullmatch(r"LABEL_\d+", name) for name in old):
        return list(range(len(names)))
    folded = {name.strip().casefold(): place for place, name in enumerate(old)}
    places = [old.index(name) if name in old else folded.get(name.strip().casefold()) for name in names]
    for place, name in zip(places, names, strict=True):
        twin = names[places.index(place)]
        if place is not None and twin != name:
            both = f"{shorten(twin)!r} and {shorten(name)!r}"
            raise DataError(f"{both} are one label of the model, {shorten(old[place])!r}: make them one in the data.")
    return places


def fit_labels(classifier: nn.Module, names: list[str], *, multilabel: bool, seed: int = 0) -> None:
    """Give `classifier` the labels `names`, in place: it keeps the rows of those that it knows, the others are new."""
    old, layer = label_names(classifier), final_layer(classifier)
    places = match_labels(names, old)
    if is_multilabel(classifier) != multilabel:
        places = [None] * len(names)  # a row that was trained against others says little by itself
    if places != list(range(len(old))):
        torch.manual_seed(seed)
        new = nn.Linear(layer.in_features, len(names), bias=layer.bias is not None)
        nn.init.normal_(new.weight, std=getattr(classifier.config, "initializer_range", 0.02))
        rows = [row for row, place in enumerate(places) if place is not None]
        known = [place for place in places if place is not None]
        with torch.no_grad():
            for name, values in new.named_parameters():
                values[rows] = getattr(layer, name)[known].to(values)
        if new.bias is not None:
            new.bias.data[[row for row, place in enumerate(places) if place is None]] = 0.0
        plain_model(classifier).set_submodule(final_layer_name(classifier), new.to(layer.weight.device))
    set_labels(classifier.config, names, multilabel=multilabel)
    if hasattr(plain_model(classifier), "num_labels"):
        plain_model(classifier).num_labels = len(names)  # native classes keep a copy
