"""Publish a run on the Hugging Face Hub: its model or adapter, with a model card made from its `metrics.json`.

Nothing is published unless you ask for it by name. Taught in notebook 04, section 11.
"""

from pathlib import Path

from helpers.assets.find import AssetError, explain_hub_errors
from helpers.assets.install import REPOSITORY
from helpers.runs import atomic_path, read_json

CARD = "README.md"


def push_to_hub(run_folder: str | Path, repository: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload `run_folder/model` and its card to the Hub repository "owner/name"; return the address of the commit.

    The token is that of `hf auth login` unless given. The repository is made if need be, private unless told otherwise.
    Raises `FileNotFoundError` for a folder without model or metrics, `AssetError` if the Hub refuses or is out of reach.
    """
    from huggingface_hub import HfApi

    run_folder = Path(run_folder)
    for needed in ("metrics.json", "model/classifier.json"):
        if not (run_folder / needed).exists():
            raise FileNotFoundError(f"{run_folder} has no {needed}: finish a run that saves its model first.")
    if repository.count("/") != 1:
        raise ValueError(f"push_to={repository!r}: give the owner too, as in 'my-name/{Path(repository).name}'.")
    with atomic_path(run_folder / "model" / CARD) as temporary:
        temporary.write_text(make_model_card(run_folder), encoding="utf-8")
    api = HfApi(token=token)
    if not (token or api.token or _is_logged_in()):
        raise AssetError(f"{repository!r} cannot be published without an account: run `hf auth login` first.")
    with explain_hub_errors(repository):
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=run_folder / "model", commit_message="Upload a run of the course"
        )
    return str(commit.commit_url)


def _is_logged_in() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def make_model_card(run_folder: str | Path) -> str:
    """Return the card of a run in Markdown: what it is, what it was trained on, how well it does, where it will fail."""
    run_folder = Path(run_folder)
    record = read_json(run_folder / "metrics.json")
    settings = read_json(run_folder / "model" / "classifier.json")
    adapter = (run_folder / "model" / "adapter_config.json").exists()
    lines = [
        *_front_matter(record, adapter),
        f"# {Path(record['model']).name}, {record['method']}, on {Path(record['dataset']).name}",
        "",
        f"A classifier for {'several labels at once' if settings['multilabel'] else 'one label per text'}: "
        f"{', '.join(settings['label_names'])}. "
        + (f"This is an adapter: it needs {_base(record)} beneath it." if adapter else ""),
        "",
        "## Results on the test split",
        "",
        f"{record['sizes'].get('test', '?')} texts, used once, after every choice had been made on others.",
        "",
        *_metric_lines(record),
        "",
        "## Per label",
        "",
        *_label_lines(record),
        "",
        "## Training",
        "",
        *_training_lines(record),
        "",
        "## Limits",
        "",
        "- The intervals speak of the choice of test texts alone: other seeds and other training data move the scores too.",
        "- Texts of another kind, time or language than the training data will be judged worse, and no score here shows it.",
        *_rare_lines(record),
        "- A label says what a reader thought the writer felt. It is not a diagnosis, and no ground for a decision about a person.",
        "",
        "## Use",
        "",
        "```python",
        "from helpers.models import load_saved_classifier  # github.com/" + REPOSITORY,
        "",
        'classifier, tokenizer, settings = load_saved_classifier("the downloaded folder")',
        "```",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(record: dict, adapter: bool) -> list[str]:
    """Return the card's YAML head. The base is named only if it is a Hub id: a folder of ours means nothing there."""
    lines = [
        "---",
        "language: en",
        "pipeline_tag: text-classification",
        "library_name: " + ("peft" if adapter else "pytorch"),
    ]
    lines += [f"base_model: {record['model']}"] if "/" in _base(record) else []
    return [*lines, "tags:", "- emotion", "---", ""]


def _base(record: dict) -> str:
    """Return the base's Hub id, or the last part of a folder's path: the rest is nobody's business."""
    name = record["model"]
    return name if name.count("/") == 1 and not name.startswith(("/", ".", "~")) else Path(name).name


def _metric_lines(record: dict) -> list[str]:
    names = {
        "f1_macro": "macro F1", "f1_micro": "micro F1", "f1_samples": "F1 by text", "jaccard": "Jaccard",
        "accuracy": "every label right" if "jaccard" in record else "accuracy",
        "average_precision": "average precision",
    }  # fmt: skip
    lines = ["| metric | value | 95 % interval |", "|---|---|---|"]
    for name, words in names.items():
        if record.get(name) is not None:
            bounds = record["intervals"].get(name)
            lines.append(f"| {words} | {record[name]:.3f} | {'{:.3f} to {:.3f}'.format(*bounds) if bounds else ''} |")
    return lines


def _label_lines(record: dict) -> list[str]:
    lines = ["| label | test texts | precision | recall | F1 |", "|---|---|---|---|---|"]
    for name, found in record["per_class"].items():
        scores = " | ".join(f"{found[key]:.3f}" for key in ("precision", "recall", "f1"))
        lines.append(f"| {name} | {found['support']} | {scores} |")
    return lines


def _training_lines(record: dict) -> list[str]:
    sizes = ", ".join(f"{count:,} {name}" for name, count in record["sizes"].items())
    facts = {
        "base": _base(record) + (f" at revision {record['revision']}" if record["revision"] else ""),
        "method": record["method"],
        "data": f"{Path(record['dataset']).name} ({sizes})",
        "epochs": record.get("epochs"),
        "learning rate": record.get("learning_rate"),
        "batch size": record.get("batch_size"),
        "loss": record.get("loss_name"),
        "thresholds": record.get("thresholds_kind"),
        "seed": record["seed"],
        "trained parameters": f"{record['parameters_trainable']:,}" if record["parameters_trainable"] else None,
        "device": f"{record['device']}, {record['precision']}",
        "libraries": ", ".join(f"{name} {version}" for name, version in record["libraries"].items()),
    }
    return [f"- {name}: {value}" for name, value in facts.items() if value is not None]


def _rare_lines(record: dict) -> list[str]:
    """Name the labels whose score rests on few texts, or that are mostly missed."""
    rare = [name for name, found in record["per_class"].items() if found["support"] < 50]
    weak = [name for name, found in record["per_class"].items() if found["recall"] < 0.5]
    lines = [f"- Fewer than 50 test texts each: {', '.join(rare)}. Their scores are rough."] if rare else []
    return lines + ([f"- More than half of these is missed: {', '.join(weak)}."] if weak else [])
