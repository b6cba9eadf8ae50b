"""The Hub out of reach, said in one sentence. The libraries raise a dozen kinds of errors, several screens long, for five
things that a learner can do something about: no network, a misspelt name, a licence to accept, weights that are a pickle,
code that came with a model."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, utils
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError

from helpers.exceptions import AssetError, PlainError
from helpers.files import find_disk_sentence

httpx = sys.modules[HTTPError.__module__]  # httpx or httpx2, whichever the Hub's client uses
OF_HUB = (httpx.HTTPError, HfHubHTTPError, LocalEntryNotFoundError, ConnectionError)


@contextmanager
def explain_hub_errors(name: str, location: str | None = None) -> Iterator[None]:
    """Turn whatever goes wrong in the block that loads `name` into one sentence with a remedy, an `AssetError`.
    `location` is where it is loaded from, if not from the Hub: then nothing asks whether there is a network."""
    before = constants.HF_HUB_OFFLINE
    try:
        # Offline, the Hub's client uses what it has in its own cache at once; else it tries for 23 s, several times over.
        constants.HF_HUB_OFFLINE = before or (not Path(location or name).exists() and _is_cut_off())
        yield
    except PlainError:
        raise
    except Exception as error:
        is_local = location is not None and Path(location).exists()
        if is_local and not any(isinstance(cause, OF_HUB) for cause in _list_causes(error)):
            sentence = _find_known(name, error) or _find_local_sentence(name, Path(location), error)
        else:  # a local adapter's base may be on the Hub
            hub_id = name if is_local else location or name
            sentence = _find_known(name, error) or _find_hub_sentence(name, hub_id, error)
        if sentence is None:
            raise
        raise AssetError(sentence) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _find_known(name: str, error: Exception) -> str | None:
    """Return what to say of an `error` about the content of the model or dataset `name`, wherever it is; else None."""
    if isinstance(error, SafetensorError):
        return f"The weights of {name!r} are no readable safetensors file: fetch or copy them again."
    if "ignore_mismatched_sizes" in str(error) or "size mismatch" in str(error):
        return f"The weights of {name!r} do not fit its config.json: copy or train it anew."
    if "trust_remote_code" in str(error) or "scripts are no longer supported" in str(error):
        return f"{name!r} would run Python code of its own, which the course does not: choose another."
    if "does not recognize this architecture" in str(error):
        return f"{name!r} is of an architecture that the installed transformers does not know: upgrade it, or choose another."
    return None


def _find_local_sentence(name: str, folder: Path, error: Exception) -> str | None:
    """Return what to say of an `error` of the libraries that read the model in `folder`; None if it is not about its files."""
    if isinstance(error, OSError) and "safetensors" in str(error):
        pickles = [path for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".h5")]
        if pickles:
            return f"{name!r} has no weights as safetensors, only as a pickle, which can run any code: choose another."
        return f"{name!r} lacks its weights (a .safetensors file, or a part of them): copy the whole folder again."
    if isinstance(error, OSError) and (sentence := find_disk_sentence(error, error.filename or folder)):
        return sentence
    about_files = isinstance(error, OSError | ValueError | KeyError | TypeError | AttributeError)
    if about_files or type(error) is Exception:  # which the tokenizers raise
        return (
            f"{name!r} could not be loaded: a file in its folder is missing, damaged, or not of the kind that its "
            "config.json names. Copy the whole folder again."
        )
    return None


def _find_hub_sentence(name: str, hub_id: str, error: Exception) -> str | None:
    """Return what to say instead of `error`; None for an error that is not about the Hub. `name` is what was asked for."""
    if not isinstance(error, OSError | httpx.HTTPError):
        return None
    causes = _list_causes(error)
    if any(isinstance(cause, GatedRepoError) for cause in causes):  # first: it is a kind of RepositoryNotFoundError
        licence = "its licence" if name == hub_id else f"the licence of {hub_id}"
        return f"{name!r} is gated: accept {licence} at its page on the Hub, then run `hf auth login`."
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return f"The Hub knows no {name!r}: check the spelling, or log in if it is private."
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return f"The Hub has {name!r}, but not the revision that is asked for: check the one in data/zoo.csv or typed."
    if "safetensors" in str(error):
        return f"{name!r} has no weights as safetensors, only as a pickle, which can run any code: choose another."
    remedy = f"Without a network use profile='laptop', or run `python -m helpers fetch {name}` once while online."
    return f"{name!r} could not be loaded from the Hugging Face Hub ({type(error).__name__}). {remedy}"


def _list_causes(error: BaseException) -> list[BaseException]:
    """Return `error` and what it was raised from: transformers wraps what the Hub said."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return causes


def _is_cut_off() -> bool:
    """Return whether no connection to the Hub can be made at all, twice in a row; one that is only slow is a connection."""
    for pause in (1, 0):
        try:
            utils.get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            return False
        except httpx.ConnectError:  # no such host, no route, refused
            time.sleep(pause)
        except (httpx.HTTPError, OSError):  # too slow, or offline mode: the Hub's client knows what to do
            return False
    return True
