"""Which rows were scored, and what was answered: short fingerprints, by which results of other times, folders and machines
are told to belong together, or not. They are of the content, whatever file holds it. Taught in notebook 07, section 1."""

import hashlib
import json
from collections.abc import Iterable, Sequence


def make_keys(texts: Iterable[str]) -> list[str]:
    """Return 12 hex digits per text, the same wherever blanks and line ends differ only."""
    return [_digest(" ".join(str(text).split()), 12) for text in texts]


def fingerprint_rows(keys: Sequence[str], true: Sequence[str]) -> str:
    """Return 16 hex digits of the scored rows, texts by their `keys` and their labels, in whatever order they come."""
    return _digest("\n".join(sorted(map("\t".join, zip(keys, true, strict=True)))))


def fingerprint_answers(keys: Sequence[str], true: Sequence[str], predicted: Sequence[str]) -> str:
    """Return 16 hex digits of the scored rows and of what was predicted for each, in their order."""
    return _digest("\n".join(map("\t".join, zip(keys, true, predicted, strict=True))))


def seal_record(record: dict) -> dict:
    """Return `record` with a `seal`, 16 hex digits of all else in it: whoever changes a number by hand breaks it.
    It shows slips and small improvements; against somebody who computes a new seal, nothing helps but running again."""
    return record | {"seal": _digest(json.dumps(_unsealed(record), sort_keys=True, ensure_ascii=False))}


def is_sealed(record: dict) -> bool | None:
    """Return whether the seal of `record` fits; None where there is none."""
    return seal_record(record)["seal"] == record["seal"] if "seal" in record else None


def _unsealed(record: dict) -> dict:
    return {name: value for name, value in record.items() if name != "seal"}


def _digest(text: str, length: int = 16) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
