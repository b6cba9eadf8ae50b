"""Publish a run on the Hugging Face Hub: its model or adapter, with a model card made from its `metrics.json`.

Nothing is published unless you ask for it by name. Taught in notebook 04, section 11.
"""

from pathlib import Path

from helpers.assets.hub_errors import explain_hub_errors
from helpers.assets.install import REPOSITORY
from helpers.exceptions import AssetError
from helpers.files import atomic_path, read_json

CARD = "README.md"
TEMPLATE = Path(__file__).with_name("card.md")
# Metrics of the card: the key in metrics.json, the words for a reader, and the Hub's name for that kind of metric.
METRICS = {
    "f1_macro": ("macro F1", "f1"),
    "f1_micro": ("micro F1", "f1"),
    "f1_samples": ("F1 by text", "f1"),
    "jaccard": ("Jaccard", "jaccard"),
    "accuracy": ("accuracy", "accuracy"),
    "average_precision": ("average precision", "average_precision"),
}


def push_to_hub(run_folder: str | Path, repository: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload `run_folder/model` and its card to the Hub repository "owner/name"; return the address of the commit.

    The token is that of `hf auth login` unless given. The repository is made if need be, private unless told otherwise.
    Raises `FileNotFoundError` for a folder without model or metrics, `AssetError` if the Hub refuses or is out of reach.
    """
    from huggingface_hub import HfApi, get_token

    run_folder = Path(run_folder)
    for needed in ("metrics.json", "model/classifier.json"):
        if not (run_folder / needed).exists():
            raise FileNotFoundError(f"{run_folder} has no {needed}: finish a run that saves its model first.")
    if repository.count("/") != 1:
        raise ValueError(f"push_to={repository!r}: give the owner too, as in 'my-name/{Path(repository).name}'.")
    with atomic_path(run_folder / "model" / CARD) as temporary:
        temporary.write_text(make_model_card(run_folder), encoding="utf-8")
    if not (token or get_token()):
        raise AssetError(f"{repository!r} cannot be published without an account: run `hf auth login` first.")
    api = HfApi(token=token)
    with explain_hub_errors(repository):
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=run_folder / "model", commit_message="Upload a run of the course"
        )
    return str(commit.commit_url)


def make_model_card(run_folder: str | Path) -> str:
    """Return the card of a run in Markdown: what it is, what it was trained on, how well it does, where it will fail.

    The text stands in `card.md`. The head holds the metrics once more, as a model index: the Hub shows them beside it.
    """
    from huggingface_hub import ModelCard

    run_folder = Path(run_folder)
    record = read_json(run_folder / "metrics.json")
    adapter = (run_folder / "model" / "adapter_config.json").exists()
    measured = {name: words for name, (words, _) in METRICS.items() if record.get(name) is not None}
    if "jaccard" in measured:  # several labels per text
        measured["accuracy"] = "every label right"
    title = f"{Path(record['model']).name}, {record['method']}, on {Path(record['dataset']).name}"
    labels = record["per_class"].items()
    card = ModelCard.from_template(
        _make_head(record, title, measured, library="peft" if adapter else "pytorch"),
        template_path=str(TEMPLATE),
        title=title,
        record=record,
        settings=read_json(run_folder / "model" / "classifier.json"),
        adapter=adapter,
        base=_public_name(record["model"]),
        data=Path(record["dataset"]).name,
        measured=measured,
        rare=[name for name, found in labels if found["support"] < 50],
        weak=[name for name, found in labels if found["recall"] < 0.5],
        repository=REPOSITORY,
    )
    return f"{card}\n"


def _make_head(record: dict, title: str, measured: dict[str, str], *, library: str):
    """Return the card's front matter. The base is named only if it is a Hub id: a folder of ours means nothing there."""
    from huggingface_hub import EvalResult, ModelCardData

    task, base = "text-classification", _public_name(record["model"])
    where = {"dataset_type": _public_name(record["dataset"]), "dataset_name": Path(record["dataset"]).name}
    results = [
        EvalResult(
            task,
            **where,
            dataset_split="test",
            metric_type=METRICS[name][1],
            metric_name=words,
            metric_value=record[name],
        )
        for name, words in measured.items()
    ]
    return ModelCardData(
        language="en",
        pipeline_tag=task,
        library_name=library,
        base_model=base if "/" in base else None,
        tags=["emotion"],
        model_name=title,
        eval_results=results,
    )


def _public_name(name: str) -> str:
    """Return a Hub id as it is, and of a folder's path the last part: the rest is nobody's business."""
    return name if name.count("/") == 1 and not name.startswith(("/", ".", "~")) else Path(name).name
