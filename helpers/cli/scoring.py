"""Scores of a trained classifier, on its own test split or on other data, and how they are printed."""

from pathlib import Path
from typing import TYPE_CHECKING

from helpers.exceptions import DataError, SettingError, shorten

if TYPE_CHECKING:  # imported where they are used, so that `--help` waits for none of them
    from helpers.data import LoadedData
    from helpers.deploy import Predictor
    from helpers.evaluation import Scores


def evaluate_run(model: str | Path, *, dataset: str | None = None, split: str = "test", **columns):
    """Return the scores and notes of a trained classifier on `split` of its run's own dataset, or of another one.

    `split` may be "all"; `columns` may name text_column and label_column. Of other data all that is there is scored and
    nothing set aside, see `load_scored`. They may have fewer labels than the model, but none that the model does not
    know; labels that are called LABEL_0, LABEL_1, … are taken for the data's.
    Raises `AssetError` for what holds no trained classifier, `DataError` for data that do not fit.
    """
    from helpers.data import SPLITS
    from helpers.deploy import Predictor
    from helpers.evaluation import score
    from helpers.models.batches import describe_cut

    if split not in (*SPLITS, "all"):
        raise SettingError(f"split={split!r} is unknown: use one of {', '.join(SPLITS)}, all.")
    predictor = Predictor.load(model)
    corpus, rows = _load_to_score(predictor, Path(model), dataset, split, columns)
    labels, names = _in_the_models_order(rows, corpus, predictor)
    notes = list(corpus.notes)
    if names != predictor.label_names:
        notes.append(f"The model calls its labels {', '.join(predictor.label_names)}: taken for {', '.join(names)}.")
    probability, cut = predictor.predict_with_cut(rows["text"])
    if note := describe_cut(int(cut.sum()), len(cut), predictor.max_length):
        notes.append(note)
    return score(labels, probability, names, thresholds=predictor.thresholds), notes


def _load_to_score(predictor: "Predictor", run: Path, dataset: str | None, split: str, columns: dict):
    """Return dataset and rows to score: the run's own `split`, the same rows as in training, or what another one holds."""
    from datasets import concatenate_datasets

    from helpers.assets.find import find_dataset
    from helpers.data import SPLITS, load_data, load_scored
    from helpers.files import read_json

    own = run / "config.json"
    config = read_json(own) if own.exists() else {}
    location = config.get("dataset_location")
    if dataset is None and not isinstance(location, str):
        raise SettingError(f"{run} does not say on which data it was trained: name some with --dataset.")
    if dataset is None or find_dataset(dataset).location == location:
        columns = {name: columns.get(name) or config.get(name) for name in ("text_column", "label_column")}
        corpus = load_data(location, seed=_read_seed(own, config), **columns)
        _check_unchanged(run, location, split, corpus)
        rows = (
            concatenate_datasets([corpus.splits[name] for name in SPLITS]) if split == "all" else corpus.splits[split]
        )
    else:
        corpus = load_scored(dataset, predictor.label_names, multilabel=predictor.multilabel, split=split, **columns)
        rows = corpus.splits["test"]
        corpus.notes.extend(_note_learnt_rows(run, dataset, len(rows)))
    return corpus, rows


def _read_seed(own: Path, config: dict) -> int:
    """Return the seed in a run's `config`, the content of the file `own`: it sets the same rows aside as in training."""
    training = config.get("training", {})
    seed = training.get("seed", 0) if isinstance(training, dict) else None
    if not isinstance(seed, int):
        raise SettingError(f"{own} does not say with which seed it was trained: copy the run's folder again.")
    return seed


def _check_unchanged(run: Path, location: str, split: str, corpus: "LoadedData") -> None:
    """Refuse rows that were set aside anew from data that changed after the training: some of them were learnt."""
    from helpers.assets.find import find_data_version

    before, now = _read_record(run).get("data"), find_data_version(location)
    # A revision of the Hub is longer than a fingerprint: the two say nothing of one another.
    if before is None or now is None or len(before) != len(now) or before == now:
        return
    name = shorten(Path(location).name)
    if split in corpus.carved or (split == "train" and corpus.carved):
        raise DataError(
            f"{name} has changed since the run was trained: its {split} rows would be others, some of them learnt; "
            "restore it, or name a file of its own with --dataset."
        )
    corpus.notes.append(f"Warning: {name} has changed since the run was trained.")


def _note_learnt_rows(run: Path, dataset: str, count: int) -> list[str]:
    """Return what to say if the `count` rows of `dataset`, whatever its name, are those that the run was trained with."""
    from helpers.assets.find import find_data_version

    record = _read_record(run)
    tested = record.get("sizes", {}).get("test", count)
    if count <= tested or record.get("data") is None or record["data"] != find_data_version(dataset):
        return []
    return [
        f"Warning: {shorten(Path(dataset).name)} is what the run was trained with: most of these rows were learnt, and "
        f"their scores mean nothing; evaluate without --dataset scores the {tested:,} test rows alone."
    ]


def _read_record(run: Path) -> dict:
    """Return the record of a run, which may be named by its model's folder; {} where there is none."""
    from helpers.files import read_json

    found = next((path for path in (run / "metrics.json", run.parent / "metrics.json") if path.exists()), None)
    return read_json(found) if found else {}


def _in_the_models_order(rows, corpus: "LoadedData", predictor: "Predictor"):
    """Return the labels of `rows` as the model numbers them, and what the data call the model's labels."""
    import numpy as np

    from helpers.models import match_labels

    if corpus.multilabel != predictor.multilabel:
        kinds = ("one label per text", "several labels per text")
        raise DataError(f"The model gives {kinds[predictor.multilabel]}, the data have {kinds[corpus.multilabel]}.")
    places = match_labels(corpus.label_names, predictor.label_names)
    if None in places:
        unknown = corpus.label_names[places.index(None)]
        raise DataError(f"The model knows no label {unknown!r}: it has {', '.join(predictor.label_names)}.")
    names = list(predictor.label_names)
    for place, name in zip(places, corpus.label_names, strict=True):
        names[place] = name
    if not corpus.multilabel:
        return np.array(places)[np.asarray(rows["label"])], names
    labels = np.zeros((len(rows), len(names)), dtype=np.int64)
    labels[:, places] = np.asarray(rows["labels"])
    return labels, names


def score_lines(scores: "Scores") -> list[str]:
    """Return headline scores with intervals, and a table by label, as lines of text."""
    from helpers.evaluation import per_class_table

    lines = []
    for name in ("accuracy", "f1_macro"):
        low, high = scores.intervals[name]
        lines.append(f"{name:<10} {scores.metrics[name]:.3f}   (95 % interval {low:.3f} to {high:.3f})")
    return lines + per_class_table(scores.metrics).to_string(float_format="{:.3f}".format).splitlines()
