"""Publish a run on the Hugging Face Hub: its model or adapter, with a model card made from its `metrics.json`.
Nothing is published unless you ask for it by name. Taught in notebook 05, section 12."""

from pathlib import Path

from helpers.assets.hub_errors import explain_hub_errors
from helpers.assets.install import REPOSITORY
from helpers.assets.zoo import find_row
from helpers.exceptions import AssetError
from helpers.files import atomic_path, read_json, write_json

TEMPLATE = Path(__file__).with_name("card.md")


def push_to_hub(run_folder: str | Path, repository: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload `run_folder/model` and its card to the Hub repository "owner/name"; return the address of the commit.

    The token is that of `hf auth login` unless given. The repository is made if need be, private unless told otherwise.
    Raises `FileNotFoundError` for a folder without model or metrics, `AssetError` if the Hub refuses or is out of reach.
    """
    from huggingface_hub import HfApi, get_token

    folder = Path(run_folder) / "model"
    for needed in ("metrics.json", "model/config.json"):
        if not (folder.parent / needed).exists():
            raise FileNotFoundError(f"{folder.parent} has no {needed}: finish a run that saves its model first.")
    if repository.count("/") != 1:
        raise ValueError(f"push_to={repository!r}: give the owner too, as in 'my-name/{Path(repository).name}'.")
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(make_model_card(run_folder), encoding="utf-8")
    if (folder / "adapter_config.json").exists():
        _name_base(folder)
    if not (token or get_token()):
        raise AssetError(f"{repository!r} cannot be published without an account: run `hf auth login` first.")
    api = HfApi(token=token)
    with explain_hub_errors(repository):
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a run of the course")
    return str(commit.commit_url)


def _name_base(folder: Path) -> None:
    """Let an adapter name the Hub's copy of the model that it stands on, instead of a folder of this machine.
    Raises `AssetError` if the Hub has none that the course knows."""
    adapter, config = read_json(folder / "adapter_config.json"), read_json(folder / "config.json")
    if not Path(adapter["base_model_name_or_path"]).exists():
        return
    row = find_row(config.get("base_model") or "")
    if row is None:
        raise AssetError(
            f"The adapter stands on a folder of this machine ({_public_name(adapter['base_model_name_or_path'])}), which "
            "nobody else has: publish a run of method='full' instead."
        )
    write_json(folder / "adapter_config.json", adapter | {"base_model_name_or_path": row["hub_id"]})
    write_json(folder / "config.json", config | {"base_model": row["hub_id"], "base_revision": row["revision"]})


def make_model_card(run_folder: str | Path) -> str:
    """Return the card of a run in Markdown: what it is, what it was trained on, how well it does, where it will fail.

    The text stands in `card.md`. The head holds the metrics once more, as a model index: the Hub shows them beside it.
    """
    from huggingface_hub import ModelCard, ModelCardData

    record, model = read_json(Path(run_folder) / "metrics.json"), Path(run_folder) / "model"
    adapter, config = (model / "adapter_config.json").exists(), model / "config.json"
    own = config.exists() and read_json(config).get("architectures") == ["TextClassifier"]
    names = {"base": _public_name(record["model"]), "data": _public_name(record["dataset"]), "repository": REPOSITORY}
    card = ModelCard.from_template(
        ModelCardData(), str(TEMPLATE), record=record, adapter=adapter, known=not own, **names
    )
    return f"{card}\n"


def _public_name(name: str) -> str:
    """Return a Hub id as it is, and of a folder's path the last part: the rest is nobody's business."""
    return name if name.count("/") == 1 and not name.startswith(("/", ".", "~")) else Path(name).name
