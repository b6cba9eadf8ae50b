"""A notebook's parameters: what each means, what it may be, and what stands for None. All of it is `data/defaults.toml`.
Every notebook calls `choose` in the cell after its parameters; `python -m helpers train` fills in its options by it."""

import math
import pkgutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

from helpers.assets.defaults import read_notebook, read_parameters
from helpers.assets.find import find_dataset, find_model, fingerprint_data, settle_path
from helpers.course.finish import say_where_on_failure
from helpers.device import find_device, pick_profile
from helpers.exceptions import SettingError
from helpers.runs import check_run_name, library_line, number_name, open_run_folder, shorten_name

MODELS = ("model", "encoder", "decoder")
# kind: whether a value is of it, and what to say if it is not
KINDS = {
    "count": (lambda v: _is_whole(v) and v >= 1, "it must be a whole number of at least 1."),
    "whole": (lambda v: _is_whole(v) and v >= 0, "it must be a whole number of at least 0."),
    "seed": (lambda v: _is_whole(v) and 0 <= v < 2**32, "it must be a whole number, and not negative."),
    "rate": (lambda v: _is_number(v) and 0 < v < 1, "it must lie between 0 and 1; try 2e-5 to 2e-4."),
    "share": (lambda v: _is_number(v) and 0 <= v < 1, "it must be at least 0 and below 1."),
    "size": (lambda v: _is_number(v) and 0 <= v < math.inf, "it must be a number, and not negative."),
    "switch": (lambda v: isinstance(v, bool), "it must be True or False."),
    "columns": (lambda v: bool(v) and isinstance(v, str | list | tuple), "it must be a column's name, or several."),
    "text": (lambda v: isinstance(v, str) and v.strip() != "", "it must be a text, or None for the default."),
}


def machine() -> str:
    """Return in one line what the notebook runs on: device, precision, attention, and the libraries' versions."""
    return f"Running on {find_device()} · {library_line()}"


def choose(notebook: str, given: dict, of_model: Callable[[str], dict] | None = None) -> SimpleNamespace:
    """Return what a notebook works with: the parameters in `given` (its `globals()`), and defaults where these are None.

    Checks them, picks the device, and opens the run's folder, which keeps them as `parameters.json`. `of_model` returns
    what is known of a model by its name (`models.find_defaults`): {} of one that is not listed. The result has an attribute
    per parameter and default, the model's revision and targets, and notebook, device, run_name, run_folder, the
    `settings` that a run is known by, and `tracking` for `training.fit`.
    Raises `SettingError` or `AssetError` for a value that cannot work, before any of the work is done.
    """
    chosen = fill_in(notebook, given, of_model)
    chosen.device = find_device(getattr(chosen, "precision", None) or "auto")
    chosen.tracking = {name: vars(chosen).get(name) for name in ("resume", "tracker", "tracker_project")}
    chosen.settings = list_settings(chosen)
    if not chosen.run_name:
        chosen.run_name, note = number_name(notebook, _default_name(chosen, given), chosen.settings)
        if note:
            print(note)
    chosen.settings["run_name"] = chosen.run_name
    chosen.run_folder = open_run_folder(notebook, chosen.run_name, chosen.settings)
    say_where_on_failure(chosen.run_folder)
    return chosen


def list_settings(chosen: SimpleNamespace) -> dict:
    """Return the parameters that were chosen, paths as absolute ones, and a fingerprint of data of one's own: the same
    settings are the same run."""
    settings = settle_paths({name: vars(chosen)[name] for name in read_notebook(chosen.notebook)["parameters"]})
    if Path(settings["dataset"]).is_absolute():
        settings["data"] = fingerprint_data(Path(settings["dataset"]))
    return settings


def settle_paths(chosen: dict) -> dict:
    """Return `chosen` with every path of a model or dataset absolute: it means the same in another folder."""
    known = read_parameters()
    kinds = {name: known.get(name, {}).get("kind") for name, value in chosen.items() if value is not None}
    return chosen | {n: settle_path(kind, chosen[n]) for n, kind in kinds.items() if kind in ("model", "dataset")}


def _default_name(chosen: SimpleNamespace, given: dict) -> str:
    """Return e.g. "laptop-seed0", for data or a model that are not the profile's own "laptop-tweets-seed0"."""
    table = read_notebook(chosen.notebook)
    plain = table.get("all", {}) | table.get(chosen.profile, {})
    roles = [name for name in ("dataset", *MODELS) if name in table["parameters"] and given.get(name)]
    own = [name for name in roles if plain.get(name) not in (given[name], vars(chosen)[name])]
    return "-".join([chosen.profile, *(shorten_name(vars(chosen)[name]) for name in own), f"seed{chosen.seed}"])


def fill_in(notebook: str, given: dict, of_model: Callable[[str], dict] | None = None) -> SimpleNamespace:
    """Return the checked parameters of `notebook` and its defaults, in the order that `data/defaults.toml` describes.
    What `of_model` knows of a decoder is there as `decoder_pooling`, `decoder_method` and so on; of an encoder likewise."""
    table = read_notebook(notebook)
    typed = {name: given[name] for name in table["parameters"] if given.get(name) is not None}
    own_choices = table.get("choices", {})
    check_parameters({name: value for name, value in typed.items() if name not in MODELS}, own_choices)
    profile = pick_profile(typed.get("profile", "auto"))
    plain, belonging = {}, {}
    for part in (table.get("all", {}), table.get(profile, {})):
        plain |= {name: value for name, value in part.items() if name != "with"}
        belonging |= part.get("with", {})
    base = plain | typed
    known = {role: of_model(base[role]) for role in MODELS if role in base} if of_model else {}
    places = {role: known.get(role, {}).get("model", base[role]) for role in MODELS if role in base}
    check_parameters({name: value for name, value in (base | places).items() if name in (*MODELS, "dataset")})
    row = {}
    for role, found in known.items():
        is_the_notebook_s = found == of_model(plain.get(role))
        row |= _read_row(role, found, but=plain if is_the_notebook_s and role != "model" else {})
    _settle_methods(row, typed, writes="method" in own_choices)
    unlisted = dict.fromkeys(("revision", "targets"))  # None of a model that the zoo does not list
    chosen = dict.fromkeys(table["parameters"]) | unlisted | plain | row
    settled = chosen | typed | places
    for name, cases in belonging.items():
        if name not in row or row[name] != settled.get(
            name
        ):  # else the zoo's row is for just this, and knows it better
            chosen |= cases.get(settled.get(name), {})
    chosen |= typed | places
    return SimpleNamespace(**(chosen | {"profile": profile, "notebook": notebook}))


def _read_row(role: str, found: dict, *, but: dict) -> dict:
    """Return what is `found` of a model, under the names that it has in a notebook, without those in `but`."""
    prefix = "" if role == "model" else f"{role}_"
    return {prefix + name: value for name, value in found.items() if name != "model" and prefix + name not in but}


def _settle_methods(row: dict, typed: dict, *, writes: bool) -> None:
    """Let a model whose row says generation write its labels, trained as it was `typed` or by QLoRA, where that can be had
    (`writes`); elsewhere be trained as a classifier by QLoRA."""
    for role in MODELS:
        name = "method" if role == "model" else f"{role}_method"
        if row.get(name) == "generation":
            wanted = str(typed.get(name, "generate-qlora"))
            row[name] = wanted if writes and wanted.startswith("generate") else "qlora"


def check_parameters(chosen: dict, own_choices: dict | None = None) -> None:
    """Refuse parameters that cannot work, in one sentence that names the parameter. `None` always works; a notebook may
    have `own_choices` for a parameter. Raises `SettingError`, or `AssetError` for a model or dataset that is not there; other names pass unchecked."""
    known = read_parameters()
    for name, value in chosen.items():
        if value is not None and name in known:
            own = {"choices": own_choices[name]} if name in (own_choices or {}) else {}
            _check_value(name, value, **(known[name] | own))


def _check_value(name: str, value, *, meaning: str, kind: str = "choice", choices: str | None = None) -> None:
    if kind == "choice":
        allowed = pkgutil.resolve_name(choices)
        if value not in allowed:
            raise SettingError(f"{name}={value!r} is unknown: use one of {', '.join(allowed)}, or None.")
        if name == "tracker" and find_spec(value) is None:
            raise SettingError(f"tracker={value!r} is not installed: run `pip install {value}`, or use tensorboard.")
        return
    is_right, remedy = KINDS.get(kind, KINDS["text"])
    if not is_right(value):
        raise SettingError(f"{name}={value!r}: {remedy}")
    if kind == "run_name":
        check_run_name(value)
    if kind == "model":
        find_model(value)
    if kind == "dataset":
        find_dataset(value)


def _is_whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
