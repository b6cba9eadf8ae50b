"""One training run, from a loaded dataset to a finished run folder: what notebook 02 and the command line share.
Every step of it is taught in notebook 01."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.assets.find import find_data_version, find_dataset, find_model
from helpers.data.corpus import LoadedData
from helpers.data.tables import SPLITS
from helpers.device import Device
from helpers.evaluation.metrics import probabilities
from helpers.evaluation.scores import Scores, score
from helpers.exceptions import SettingError
from helpers.files import write_json
from helpers.generation.pretrained import METHODS, WRITING, load_writer
from helpers.generation.prompts import read_as_text
from helpers.generation.saving import merge, save
from helpers.models.batches import encode_split, fit_length
from helpers.models.classifier import pooling_of
from helpers.models.origins import load_tokenizer
from helpers.models.pretrained import HEADS, load_classifier
from helpers.models.saving import require_model_folder
from helpers.runs import complete_run, is_main_process, metrics_record
from helpers.training.config import TrainingConfig, TrainingResult, pick_settings
from helpers.training.loop import fit
from helpers.training.processes import count_processes, predict_logits_together

NAMES_OF_METHODS = {
    "full": "full fine-tuning", "lora": "LoRA, merged", "qlora": "QLoRA", "probe": "linear probe",
    "generate": "generation, LoRA, merged", "generate-full": "generation, full fine-tuning",
    "generate-qlora": "generation, QLoRA",
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What to train, and how; the same recipe on the same data is the same experiment."""

    model: str  # a name in data/assets.toml, a Hub id, or a folder
    training: TrainingConfig
    method: str = "full"  # one of METHODS; LoRA's matrices are merged into the weights after training
    pooling: str = "auto"  # one of HEADS
    max_length: int = 128
    dropout: float | None = None  # what the model comes with
    rank: int = 16
    targets: tuple[str, ...] | None = None
    last_layers: int | None = None  # all
    revision: str | None = None
    gradient_checkpointing: bool | None = None  # None: a large model with an adapter has it

    @classmethod
    def of(cls, chosen, training: TrainingConfig, **changes) -> "Recipe":
        """Return the recipe that `chosen` parameters make, with `changes`; what they do not name keeps its default."""
        return cls(**pick_settings(cls, chosen, changes) | {"training": training})

    def __post_init__(self):
        """Refuse what cannot work, before any work is done."""
        for name, allowed in (("method", METHODS), ("pooling", HEADS)):
            if getattr(self, name) not in allowed:
                raise SettingError(f"{name}={getattr(self, name)!r} is unknown: use one of {', '.join(allowed)}.")
        if self.last_layers is not None and self.method in WRITING:
            raise SettingError(f"method={self.method!r} takes no last_layers: leave it out.")
        if not isinstance(self.max_length, int) or self.max_length < 4:
            raise SettingError(f"max_length={self.max_length!r}: it must be a whole number of at least 4 tokens.")


def prepare(chosen, corpus: LoadedData) -> tuple:
    """Return (tokenizer, the encoded splits by name, a fresh classifier on the device) for a notebook's `chosen` parameters:
    what stands before `fit`, step by step in notebook 01."""
    tokenizer = load_tokenizer(chosen.model, revision=chosen.revision)
    encoded = {name: encode_split(split, tokenizer, chosen.max_length) for name, split in corpus.splits.items()}
    classifier = load_classifier(
        chosen.model, corpus.label_names, dropout=chosen.dropout, device=chosen.device, seed=chosen.seed,
        revision=chosen.revision,
    )  # fmt: skip
    return tokenizer, encoded, classifier.to(chosen.device.kind).eval()


@dataclass(frozen=True)
class FinishedRun:
    """A trained model and what it said of the test split."""

    recipe: Recipe
    classifier: object
    tokenizer: object
    encoded: dict  # the three splits, tokenised
    result: TrainingResult
    scores: Scores
    record: dict  # the content of metrics.json

    @property
    def predictions(self) -> np.ndarray:
        """Its answers for the test rows: `(rows,)`, or `(rows, labels)` where several may be true."""
        return self.scores.predictions


def train_run(
    corpus: LoadedData, recipe: Recipe, run_folder: Path, *, dataset: str, notebook: str, device: Device,
    save_model: bool = True, resume: bool = True, tracker: str | None = None, tracker_project: str | None = None,
    **extra,
) -> FinishedRun:  # fmt: skip
    """Train by `recipe`, keep the epoch that validation prefers, score it once on test; fill `run_folder`; return all.

    Of several processes (torchrun) the main one alone writes. `extra` goes into `config.json`: what `evaluate_run`
    needs to find the same rows again (text_column, label_column).
    """
    tokenizer = load_tokenizer(recipe.model, revision=recipe.revision)
    if save_model:  # found out before hours of work
        require_model_folder(run_folder / "model", tokenizer)
    if recipe.method in WRITING:
        read_as_text(tokenizer)
    classifier = _load_fresh(corpus, recipe, device)
    if room := getattr(classifier, "room", None):  # beside prompt and answer
        recipe = dataclasses.replace(recipe, max_length=fit_length(recipe.max_length, room))
    encoded = {name: encode_split(corpus.splits[name], tokenizer, recipe.max_length) for name in SPLITS}
    result = fit(
        classifier, encoded["train"], encoded["validation"], recipe.training, device=device, run_folder=run_folder,
        resume=resume, tracker=tracker, tracker_project=tracker_project,
    )  # fmt: skip
    if recipe.method in ("lora", "generate"):
        classifier = merge(classifier).eval()
    if save_model and is_main_process():  # at once: whatever fails from here on, the model is there
        save(classifier, tokenizer, run_folder / "model", max_length=recipe.max_length)
    with _say_where(run_folder / "model"):
        about = {"dataset": dataset, "notebook": notebook, "device": device}
        run = _score_run(corpus, recipe, classifier, tokenizer, encoded, result, **about)
        if is_main_process():
            run = dataclasses.replace(run, record=_write_run(run, corpus, run_folder, dataset, extra))
    return run


def _load_fresh(corpus: LoadedData, recipe: Recipe, device: Device):
    """Return what is to be trained: a classifier, or a model that writes the labels."""
    own = ["method", "dropout", "rank", "targets", "revision", "gradient_checkpointing"]
    own += [] if recipe.method in WRITING else ["pooling", "last_layers"]
    new = {name: getattr(recipe, name) for name in own} | {"seed": recipe.training.seed, "device": device}
    make = load_writer if recipe.method in WRITING else load_classifier
    return make(recipe.model, corpus.label_names, multilabel=corpus.multilabel, **new)


@contextlib.contextmanager
def _say_where(folder: Path) -> Iterator[None]:
    """Let an error in the block say that the model was saved before."""
    try:
        yield
    except Exception as error:
        if folder.exists():
            error.add_note(f"Nothing that was trained is lost: the model is in {folder}.")
        raise


def _score_run(
    corpus: LoadedData, recipe: Recipe, classifier, tokenizer, encoded: dict, result: TrainingResult, *, device: Device,
    **about,
) -> FinishedRun:  # fmt: skip
    """Return the run with its scores on the test split, and its record."""
    names, seed = corpus.label_names, recipe.training.seed
    logits = predict_logits_together(classifier, encoded["test"], device)
    scores = score(encoded["test"].labels, probabilities(logits, multilabel=corpus.multilabel), names)
    record = metrics_record(
        **about, model=recipe.model, revision=recipe.revision or find_model(recipe.model).revision,
        method=NAMES_OF_METHODS[recipe.method], sizes=corpus.splits.num_rows, metrics=scores.metrics,
        intervals=scores.intervals, seed=seed, device=device, result=result, pooling=pooling_of(classifier),
        max_length=recipe.max_length, truncated=encoded["test"].truncated, processes=count_processes(),
        data=find_data_version(about["dataset"]),
    )  # fmt: skip
    return FinishedRun(recipe, classifier, tokenizer, encoded, result, scores, record)


def _write_run(run: FinishedRun, corpus: LoadedData, folder: Path, dataset: str, extra: dict) -> dict:
    """Fill the run folder and return its record; `metrics.json` comes last, so that a run with one is complete."""
    location = find_dataset(dataset).location
    config = dataclasses.asdict(run.recipe) | {"dataset": dataset, "dataset_location": location} | extra
    config["training"] = dataclasses.asdict(run.result.config)  # with what was left to `fit`
    write_json(folder / "config.json", config)
    return complete_run(folder, run.record, corpus.splits["test"]["text"], run.scores, run.result)
