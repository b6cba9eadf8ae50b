"""From texts to batches: tokenise once, group texts of like length, pad each batch to its own longest text.
Taught in notebook 01, section 2."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch

from helpers.exceptions import SettingError
from helpers.runs import is_main_process

PIECE = 10_000  # texts that are tokenised at once


@dataclass(frozen=True)
class EncodedTexts:
    """Token ids of every text, unpadded, with the labels that belong to them.

    `labels` has shape `(rows,)` and int64 for one label per text, `(rows, labels)` and float32 for several, or is None.
    `cut` is a mask `(rows,)`: which texts were longer than `max_length` tokens and lost their end.
    """

    input_ids: list[list[int]]
    pad_id: int
    labels: np.ndarray | None = None
    cut: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    @cached_property  # at half a million rows, counting anew at every step would cost as much as the step
    def lengths(self) -> np.ndarray:
        """Tokens per text, special tokens included, shape `(rows,)`."""
        return np.array([len(ids) for ids in self.input_ids], dtype=np.int64)

    @property
    def truncated(self) -> int:
        """How many texts lost their end."""
        return 0 if self.cut is None else int(self.cut.sum())


def encode_texts(texts, tokenizer, max_length: int, labels=None) -> EncodedTexts:
    """Tokenise `texts` once; nothing is padded yet. `max_length` counts special tokens too; of a model that reads fewer,
    its own limit is taken, and that is said. Raises `SettingError` for a word that the model has no vector for."""
    max_length = fit_length(max_length, tokenizer.model_max_length)
    texts = list(texts)
    how = getattr(tokenizer, "as_text", {})  # a model that writes reads texts without special tokens
    full = []  # filled piece by piece: the tokenizer's own record of a text takes several times its ids' memory
    for start in range(0, len(texts), PIECE):
        full += tokenizer(texts[start : start + PIECE], truncation=False, verbose=False, **how)["input_ids"]
    cut = np.array([len(ids) > max_length for ids in full], dtype=bool)
    too_long = np.flatnonzero(cut)
    if len(too_long):  # let the tokenizer cut: it knows which special tokens must stay at the end
        long = [texts[row] for row in too_long]
        shortened = tokenizer(long, truncation=True, max_length=max_length, **how)["input_ids"]
        for row, ids in zip(too_long, shortened, strict=True):
            full[row] = ids
    require_vectors(full, tokenizer)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if labels is not None:
        labels = np.asarray(labels)
        labels = labels.astype(np.int64 if labels.ndim == 1 else np.float32)
    return EncodedTexts(full, pad_id, labels, cut)


@cache  # so that it is said once
def fit_length(max_length: int, limit: int) -> int:
    """Return `max_length`, or the `limit` of the model, its number of places, if that is less; print that it is."""
    if max_length > limit and is_main_process():
        print(f"max_length={max_length}: this model reads at most {limit} tokens, so texts are cut there.")
    return min(max_length, limit)


def require_vectors(encoded_ids: list[list[int]], tokenizer) -> None:
    """Raise `SettingError` for a token beyond the model's vectors, of which `load_tokenizer` notes the number: one that was
    added to the tokenizer alone."""
    rows = getattr(tokenizer, "embedding_rows", None)
    highest = max((max(ids) for ids in encoded_ids if ids), default=0)
    if rows and highest >= rows:
        raise SettingError(
            f"The tokenizer knows {tokenizer.convert_ids_to_tokens(highest)!r}, the model does not: it has vectors for "
            f"{rows:,} tokens, not for {len(tokenizer):,}. Enlarge it (resize_token_embeddings) and save it with its tokenizer."
        )


def encode_split(split, tokenizer, max_length: int) -> EncodedTexts:
    """Tokenise one split of a dataset that `load_data` returned, and bring its labels along.
    Raises `ValueError` if the tokenizer knows no word of it: nothing could be learnt from [UNK] alone."""
    labels = split["labels" if "labels" in split.column_names else "label"]
    encoded = encode_texts(split["text"], tokenizer, max_length, list(labels))
    says_nothing = {*tokenizer.all_special_ids, tokenizer.unk_token_id}
    if len(encoded) and all(says_nothing.issuperset(ids) for ids in encoded.input_ids):
        raise SettingError(
            "The model's tokenizer knows no word of these texts: it is not the one the model was made with."
        )
    return encoded


def describe_cut(count: int, rows: int, max_length: int) -> str | None:
    """Return a sentence on the texts that lose their end, `count` of `rows`, if they are more than 1 %."""
    if count <= 0.01 * rows:
        return None
    return f"{count:,} of {rows:,} texts ({count / rows:.0%}) lose what is beyond {max_length} tokens."


def select_rows(encoded: EncodedTexts, rows) -> EncodedTexts:
    """Return only the given rows, in that order."""
    labels, cut = (None if of_all is None else of_all[rows] for of_all in (encoded.labels, encoded.cut))
    return EncodedTexts([encoded.input_ids[row] for row in rows], encoded.pad_id, labels, cut)


def make_batches(lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int = 0) -> list[np.ndarray]:
    """Return row numbers, batch by batch: every row exactly once, each batch of texts of like length.

    Rows are shuffled, sorted by length within pools of 50 batches, cut, and the batches shuffled: a compromise
    between no padding (sort everything) and full randomness (sort nothing). The order depends on `(seed, epoch)` alone.
    """
    lengths = np.asarray(lengths)
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), 50 * batch_size):
        pool = order[start : start + 50 * batch_size]
        pool = pool[np.argsort(-lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def cut_by_tokens(rows: np.ndarray, lengths: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """Cut `rows` into parts that, padded to their longest text, hold at most `max_tokens` tokens each.

    The rows are sorted first, longest text first, so that a lack of memory shows at once and padding is rare. A text
    longer than `max_tokens` gets a part of its own. This budget, unlike a number of rows, is what memory depends on.
    """
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    parts, start = [], 0
    while start < len(rows):
        fits = max(1, max_tokens // max(1, int(lengths[rows[start]])))
        parts.append(rows[start : start + fits])
        start += fits
    return parts


def collate(
    encoded: EncodedTexts, rows: np.ndarray, device: str | torch.device = "cpu", *, length: int | None = None
) -> dict[str, torch.Tensor]:
    """Return `input_ids` and `attention_mask`, both `(batch, length)`, and `labels` if there are any.
    `length` is that of the longest of these rows, unless more is asked for: padding on the right, no more than needed."""
    length = length or max(len(encoded.input_ids[row]) for row in rows)
    input_ids = np.full((len(rows), length), encoded.pad_id, dtype=np.int64)  # (batch, length)
    attention_mask = np.zeros((len(rows), length), dtype=np.int64)
    for i, row in enumerate(rows):
        ids = encoded.input_ids[row]
        input_ids[i, : len(ids)] = ids
        attention_mask[i, : len(ids)] = 1
    batch = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
    if encoded.labels is not None:
        batch["labels"] = torch.from_numpy(encoded.labels[rows])
    if torch.device(device).type == "cuda":  # only from pinned memory does a GPU copy while the host goes on
        batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def padding_share(lengths: np.ndarray, batches: list[np.ndarray], pad_to: int | None = None) -> float:
    """Return which share of all token places is padding, between 0 and 1, when each batch is padded to its longest
    text, or to `pad_to` tokens."""
    places = sum(len(rows) * (pad_to or int(lengths[rows].max())) for rows in batches)
    tokens = sum(int(np.minimum(lengths[rows], pad_to or lengths[rows]).sum()) for rows in batches)
    return 1 - tokens / places
