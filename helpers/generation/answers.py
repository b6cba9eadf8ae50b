"""How labels are written as an answer, token by token, and what may come next: an automaton that allows valid answers only.
Taught in notebook 06, sections 3 and 4."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from helpers.exceptions import SettingError
from helpers.generation.prompts import AS_TEXT, name_none


@dataclass(frozen=True)
class Answers:
    """The answers that a model may give: a subset of the labels in the corpus's order, each at most once, or "none";
    with one label per text, exactly one of them. The end token ends every answer."""

    names: tuple[str, ...]
    multilabel: bool
    pieces: tuple[tuple[int, ...], ...]  # the token ids of each label, and of "none" where several labels may be true
    comma: tuple[int, ...]  # what stands between two labels
    end: int

    @property
    def none(self) -> str:
        """What is written where no label is true."""
        return name_none(self.names)

    @property
    def first_tokens(self) -> list[int]:
        """The first token of each label, and of "none"."""
        return [piece[0] for piece in self.pieces]

    @property
    def distinct(self) -> bool:
        """Whether the first token alone says which label is written."""
        return len(set(self.first_tokens)) == len(self.pieces)

    @property
    def longest(self) -> int:
        """The number of tokens of the longest answer, its end token included."""
        lengths = [len(piece) for piece in self.pieces]
        every = sum(lengths[: len(self.names)]) + (len(self.names) - 1) * len(self.comma)
        return 1 + max(max(lengths), every if self.multilabel else 0)

    def write(self, row) -> str:
        """Return the answer for a 0/1 row, or for the number of one label, as it is read: "joy, love", or "none"."""
        return ", ".join(self.names[place] for place in self.places(row)) or self.none

    def places(self, row) -> list[int]:
        """Return the numbers of the labels that are true, in their order."""
        return np.flatnonzero(np.asarray(row) > 0.5).tolist() if self.multilabel else [int(row)]

    def encode(self, row) -> list[int]:
        """Return the token ids of the answer for `row`, with the end token."""
        words = [self.pieces[place] for place in self.places(row)] or [self.pieces[-1]]
        ids = list(words[0])
        for word in words[1:]:
            ids += [*self.comma, *word]
        return [*ids, self.end]

    def allowed(self, ids) -> list[int]:
        """Return the tokens that may follow the answer tokens `ids`; after the end, and after what no answer begins
        with, the end token."""
        return sorted({rest[0] for rest, _ in self._follow(tuple(ids)) if rest}) or [self.end]

    def read(self, ids):
        """Return what the answer tokens `ids` say, up to the end token: a 0/1 row `(labels,)`, or the number of one
        label; None if they are no whole valid answer."""
        ids = list(ids)
        whole = ids[: ids.index(self.end) + 1] if self.end in ids else ids
        said = [chosen for rest, chosen in self._follow(tuple(whole)) if not rest]
        if not said:
            return None
        if not self.multilabel:
            return said[0][0]
        row = np.zeros(len(self.names), dtype=np.int64)
        row[list(said[0])] = 1
        return row

    @cache  # noqa: B019, an answer's beginnings are few, and asked for at every token
    def _follow(self, ids: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return every state that `ids` lead to: the tokens that are left to write, and the labels chosen so far.
        Several, where one label's tokens begin with another's; without tokens left, the answer is at its end."""
        if not ids:
            return [(piece, (place,) if place < len(self.names) else ()) for place, piece in enumerate(self.pieces)]
        states = []
        for rest, chosen in self._follow(ids[:-1]):
            if rest and rest[0] == ids[-1]:
                states += [(rest[1:], chosen)] if rest[1:] or rest == (self.end,) else self._after_word(chosen)
        return states

    def _after_word(self, chosen: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return what may follow a finished word: the end, or a comma and one of the labels that come later."""
        later = range(chosen[-1] + 1, len(self.names)) if self.multilabel and chosen else []
        return [((self.end,), chosen), *((self.comma + self.pieces[place], (*chosen, place)) for place in later)]


def make_answers(tokenizer, label_names: list[str], *, multilabel: bool = True) -> Answers:
    """Return the answers in the tokens of `tokenizer`: each label as it is written behind a comma and a blank.
    Raises `SettingError` for a label that cannot be written: with a comma or line break, or of unknown characters."""
    names = tuple(str(name).strip() for name in label_names)
    for name in names:
        if not name or "," in name or "\n" in name or [other.casefold() for other in names].count(name.casefold()) > 1:
            raise SettingError(
                f"The label {name!r} cannot be written in a list: it needs a name of its own, in one line and without commas."
            )
    words = [*names, name_none(names)] if multilabel else list(names)
    before, comma = _encode(tokenizer, "x"), _encode(tokenizer, "x,")
    after = comma[len(before) :] if comma[: len(before)] == before else _encode(tokenizer, ",")
    pieces = []
    for word in words:
        whole = _encode(tokenizer, f"x, {word}")
        fits = whole[: len(comma)] == comma and len(whole) > len(comma)
        pieces.append(tuple(whole[len(comma) :] if fits else _encode(tokenizer, f" {word}")))
    for word, piece in zip(words, pieces, strict=True):
        if not piece or tokenizer.unk_token_id in piece or pieces.count(piece) > 1:
            raise SettingError(
                f"The model's tokenizer cannot write the label {word!r}: rename it, or choose another model."
            )
    if tokenizer.unk_token_id in after or tokenizer.eos_token_id is None:
        raise SettingError("The model's tokenizer has no comma or no end token: choose a decoder that writes text.")
    return Answers(names, multilabel, tuple(pieces), tuple(after), tokenizer.eos_token_id)


def _encode(tokenizer, text: str) -> list[int]:
    return tokenizer(text, **AS_TEXT, verbose=False)["input_ids"]
