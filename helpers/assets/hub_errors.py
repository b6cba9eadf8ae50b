"""The Hub out of reach, said in one sentence. The libraries raise a dozen kinds of errors, several screens long, for five
things that a learner can do something about: no network, a misspelt name, a licence to accept, weights that are a pickle,
code that came with a model."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, utils
from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors import SafetensorError

from helpers.exceptions import AssetError

httpx = sys.modules[HTTPError.__module__]  # httpx or httpx2, whichever the Hub's client uses


@contextmanager
def explain_hub_errors(name: str, location: str | None = None) -> Iterator[None]:
    """Turn whatever goes wrong in the block that loads `name` into one sentence with a remedy, an `AssetError`.
    `location` is where it is loaded from, if not from the Hub: then nothing asks whether there is a network."""
    before = constants.HF_HUB_OFFLINE
    try:
        # Offline, the Hub's client uses what it has in its own cache at once; else it tries for 23 s, several times over.
        constants.HF_HUB_OFFLINE = before or (not Path(location or name).exists() and _is_cut_off())
        yield
    except (SafetensorError, ValueError, RuntimeError, OSError, httpx.HTTPError) as error:
        on_hub = location is not None and not Path(location).exists()
        sentence = _find_sentence(name, location if on_hub else name, error)
        if sentence is None:
            raise
        raise AssetError(sentence) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _find_sentence(name: str, hub_id: str, error: Exception) -> str | None:
    """Return what to say instead of `error`; None for an error that is not about the Hub. `name` is what was asked for."""
    if isinstance(error, SafetensorError):
        return f"The weights of {name!r} are no readable safetensors file: fetch or copy them again."
    if isinstance(error, ValueError | RuntimeError):
        if "ignore_mismatched_sizes" in str(error) or "size mismatch" in str(error):
            return f"The weights of {name!r} do not fit its config.json: copy or train it anew."
        if "trust_remote_code" in str(error) or "scripts are no longer supported" in str(error):
            return f"{name!r} would run Python code of its own, which the course does not: choose another."
        return None
    causes = [error]  # from here on OSErrors, as the Hub's own are
    while causes[-1].__cause__ is not None:  # transformers wraps what the Hub said
        causes.append(causes[-1].__cause__)
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
