"""One model from several trainings: the mean of their weights answers as fast as one of them, and often better than each.

It works where all began at the same weights, the head's included: `load_classifier` with one seed, trained with several
(`TrainingConfig.seed`: the order of the texts, dropout). From different heads the mean is worthless. After Wortsman et
al., *Model Soups* (2022). Measured by `tests/benchmarks/bench_accuracy.py --soup`. Told in notebook 02, section 6.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from helpers.exceptions import SettingError
from helpers.models.saving import load, save


def average_models(models: Sequence[str | Path], folder: str | Path) -> Path:
    """Write a classifier whose weights are the mean of those of trained `models` to `folder`; return the folder.

    `models` are run folders or model folders, two at least, of one architecture, with the same labels in the same order.
    Thresholds are not taken over: they were chosen for other probabilities, so tune them anew. Raises `SettingError` for
    models that have no mean, and for adapters: merge them first.
    """
    if len(models) < 2:
        raise SettingError(f"A mean needs at least two models, and here are {len(models)}: name more folders.")
    first, tokenizer, settings = load(models[0])
    sums = {name: value.double() for name, value in _weights(models[0], first).items()}
    for model in models[1:]:  # one at a time: all of them may not fit into memory
        other, _, own = load(model)
        weights = _weights(model, other)
        alike = own["label_names"] == settings["label_names"] and own["pooling"] == settings["pooling"]
        if not alike or {n: v.shape for n, v in weights.items()} != {n: v.shape for n, v in sums.items()}:
            raise SettingError(
                f"{str(model)!r} and {str(models[0])!r} have no mean: their labels or their layers differ."
            )
        for name, value in weights.items():
            sums[name] += value
    first.load_state_dict({name: value / len(models) for name, value in sums.items()})
    first.config.thresholds = None
    return save(first, tokenizer, folder, max_length=settings["max_length"])


def _weights(model: str | Path, classifier) -> dict[str, torch.Tensor]:
    """Return the weights of `classifier` by name. Raises `SettingError` for an adapter: the mean of products is no product."""
    if hasattr(classifier, "peft_config"):
        raise SettingError(f"{str(model)!r} is an adapter, whose matrices are no mean of matrices: merge it first.")
    return classifier.state_dict()
