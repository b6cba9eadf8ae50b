"""What a model's name leads to, found out before any weights are read: a pretrained backbone, a trained classifier of
any origin (the Hub, a `Trainer` checkpoint, a run of the course), or an adapter. Taught in notebook 01, section 8."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.assets.find import find_artefact, find_model, settle_path
from helpers.assets.hub_errors import explain_hub_errors
from helpers.exceptions import AssetError, shorten
from helpers.files import read_json

# A folder whose head no other library knows says so by its `model_type`, which every library reads first and refuses.
OWN_HEAD = "pooled-"
ADAPTER_FILE, CONFIG_FILE = "adapter_config.json", "config.json"
WORD_FILES = ("tokenizer.json", "vocab.*", "*.model", "merges.txt", "*.gguf")  # one of them holds a tokenizer's words

COUNT_FROM_PADDING = ("roberta", "mpnet", "camembert", "longformer", "luke", "ibert", "xmod", "data2vec-text")


@dataclass(frozen=True)
class Origin:
    """Where a model comes from. `kind` is "backbone" (no trained head), "classifier" (the architecture's own class),
    "pooled" (the course's `TextClassifier`) or "adapter"; `config` is what its `config.json` says, {} without one, and
    `adapter` is its `adapter_config.json`."""

    name: str
    location: str
    revision: str | None
    kind: str
    config: dict
    adapter: dict

    @property
    def base(self) -> tuple[str, str | None]:
        """Name and revision of the model that an adapter stands on."""
        known = self.config.get("base_model") or self.adapter.get("base_model_name_or_path")
        return known, self.config.get("base_revision") or self.adapter.get("revision")

    @property
    def writes(self) -> bool:
        """Whether it was trained to write its labels: a language model with a prompt, see `generation`."""
        return "writing" in self.config

    @property
    def pooling(self) -> str:
        """How its head reads a text, if it has one."""
        return self.config.get("pooling") or self.config.get("classifier_pooling") or "native"


def find_origin(model: str | Path, *, revision: str | None = None, weights: bool = True) -> Origin:
    """Return what `model` is: a name of the course or of the zoo, a Hub id, a run folder, or a folder of any origin.
    Raises `AssetError` for what is no model; without `weights`, a folder may hold a tokenizer alone."""
    from transformers.utils import find_adapter_config_file

    asset = find_model(str(model), revision=revision)
    location = asset.location
    if Path(location).exists():
        location = _find_folder(str(model), Path(location), weights=weights)
    with explain_hub_errors(str(model), location):
        file = find_adapter_config_file(location, revision=asset.revision)
        config = _read_config(location, asset.revision, required=file is None)
    if file is not None:
        kind = "adapter"
    elif str(config.get("model_type")).startswith(OWN_HEAD):
        kind = "pooled"
    else:
        classes = config.get("architectures") or [""]
        kind = "classifier" if str(classes[0]).endswith("ForSequenceClassification") else "backbone"
    if config.get("is_encoder_decoder"):
        raise AssetError(
            f"{str(model)!r} is an encoder-decoder ({config.get('model_type')}), which the course does not train: choose an "
            "encoder or a decoder that `python -m helpers zoo` lists."
        )
    return Origin(str(model), location, asset.revision, kind, config, _read_part(Path(file)) if file else {})


def name_base(model: str | Path, origin: Origin) -> str:
    """Return how an adapter that is trained on `model`, found at `origin`, names it: a path as an absolute one."""
    return settle_path("model", str(model)) if Path(origin.location).exists() else origin.location


def find_base(adapter: Origin) -> Origin:
    """Return the model that `adapter` stands on. Raises `AssetError` where it names none, or one that is not there."""
    (name, revision), ours = adapter.base, "base_model" in adapter.config
    if not name:
        raise AssetError(f"The adapter {adapter.name!r} names no model that it stands on (base_model_name_or_path).")
    try:
        find_model(str(name), revision=revision)
    except AssetError as error:
        if find_artefact(str(name)):  # only not fetched yet
            raise
        setting = f"base_model in {CONFIG_FILE}" if ours else f"base_model_name_or_path in {ADAPTER_FILE}"
        raise AssetError(
            f"The adapter {shorten(adapter.name)!r} stands on {shorten(name, 80)!r}, which is not there: put it back, or "
            f"change {setting} beside the adapter."
        ) from error
    return find_origin(str(name), revision=revision)


def _find_folder(name: str, folder: Path, *, weights: bool) -> str:
    """Return the folder that holds the model: `folder`, or in a run's folder its `model`."""
    if not folder.is_dir():
        raise AssetError(f"{name!r} is a file: name the folder that it is in, with the model's config.json.")
    if _holds_model(folder / "model") and not _holds_model(folder):
        folder = folder / "model"
    if (folder / "classifier.json").exists():
        raise AssetError(f"{name!r} was saved by an older version of this course: train it again.")
    if not _holds_model(folder) and (weights or not _holds_words(folder)):
        inside = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
        remedy = f"name one of the folders in it ({', '.join(inside)})" if inside else "train and save one first"
        raise AssetError(f"{name!r} holds no saved model (no {CONFIG_FILE} that names a model_type): {remedy}.")
    return str(folder)


def _holds_model(folder: Path) -> bool:
    """Return whether a model lies here; the `config.json` of a run, which names no model_type, is none."""
    file = folder / CONFIG_FILE
    return (folder / ADAPTER_FILE).exists() or (file.exists() and "model_type" in _read_part(file))


def _read_part(file: Path) -> dict:
    """Return the content of a model's JSON file. Raises `AssetError` for one that is damaged."""
    try:
        content = read_json(file)
    except ValueError:  # no JSON, or no UTF-8
        content = None
    if not isinstance(content, dict):
        raise AssetError(f"{file} is damaged (no JSON object): copy the model's folder again.")
    return content


def _holds_words(folder: Path) -> bool:
    return any(file for pattern in WORD_FILES for file in folder.glob(pattern))


def _read_config(location: str, revision: str | None, *, required: bool) -> dict:
    """Return the content of `config.json`; {} for an adapter without one."""
    from transformers import PreTrainedConfig

    if Path(location).is_dir():
        file = Path(location) / CONFIG_FILE
        return _read_part(file) if file.exists() else {}
    try:
        return PreTrainedConfig.get_config_dict(location, revision=revision)[0]
    except OSError:
        if required:
            raise
        return {}


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep the library's own reports off the page: of missing weights, which whoever loads checks, and of a
    `TextClassifier`, whose model_type is the course's own."""
    from transformers import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # for a fifth of a second
    try:
        yield
    finally:
        logging.set_verbosity(before)


def load_tokenizer(model: str | Path, *, revision: str | None = None):
    """Return the tokenizer of `model`, ready to pad on the right; without a pad token that the model has a vector for,
    it pads with its end token.

    Its `model_max_length` is what the model can read, in tokens. Raises `AssetError` for a folder without a tokenizer,
    of which the libraries would make one that knows no word.
    """
    from transformers import AutoTokenizer

    origin = find_origin(model, revision=revision, weights=False)
    folder = Path(origin.location)
    if folder.is_dir() and not _holds_words(folder):
        if origin.kind == "adapter":
            return load_tokenizer(find_base(origin).name, revision=origin.base[1])
        raise AssetError(
            f"{str(model)!r} has no tokenizer: copy the tokenizer files of the model that it was made from (tokenizer.json "
            "and tokenizer_config.json) into it."
        )
    with explain_hub_errors(str(model), origin.location), quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(origin.location, revision=origin.revision)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise AssetError(
            f"The tokenizer of {str(model)!r} knows no word: copy that of the model that it was made from."
        )
    tokenizer.padding_side = "right"
    tokenizer.embedding_rows = rows = origin.config.get("vocab_size")
    if tokenizer.pad_token_id is None or (rows and tokenizer.pad_token_id >= rows):  # added to the tokenizer alone
        tokenizer.pad_token = tokenizer.eos_token
    limit = count_positions(origin.config)
    if limit:
        tokenizer.model_max_length = limit
    return tokenizer


def count_positions(config: dict) -> int | None:
    """Return how many tokens a model with this `config.json` can read; None if it does not say."""
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if positions and any(kind in str(config.get("model_type")) for kind in COUNT_FROM_PADDING):
        positions -= (config.get("pad_token_id") or 0) + 1  # they count from behind the pad token's number
    return positions
