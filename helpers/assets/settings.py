"""What a model's `config.json` says of its answers, checked before anything is computed: people edit it by hand."""

from pathlib import Path

from helpers.exceptions import AssetError, shorten


def require_settings(config: dict, model: str | Path) -> None:
    """Raise `AssetError` for a `config` of `model` whose labels, thresholds or length cannot be right. What it does not say
    at all is no fault: models from elsewhere know neither thresholds nor a length."""
    labels, cuts, length = (config.get(name) for name in ("id2label", "thresholds", "text_max_length"))
    fault = None
    if labels and not _is_numbered(labels):
        fault = "id2label must number the labels from 0 on without a gap"
    elif cuts is not None and not (isinstance(cuts, list) and all(map(_is_share, cuts))):
        fault = "thresholds must be a list of numbers from 0 to 1, one for each label"
    elif cuts is not None and labels and len(cuts) != len(labels):
        fault = f"thresholds are {len(cuts)} for {len(labels)} labels, but must be one for each"
    elif length is not None and (type(length) is not int or length < 1):
        fault = f"text_max_length is {shorten(repr(length), 20)}, but must be a whole number of at least 1"
    if fault:
        raise AssetError(f"config.json of {shorten(model, 90)!r}: {fault}. Mend it, or copy the model's folder again.")


def _is_numbered(labels) -> bool:
    """Return whether `labels` is {"0": …, "1": …, …}, in any order."""
    return isinstance(labels, dict) and {str(key) for key in labels} == {str(i) for i in range(len(labels))}


def _is_share(number) -> bool:
    return type(number) in (int, float) and 0 <= number <= 1  # NaN is not
