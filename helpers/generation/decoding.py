"""Let the model write: many texts at once, and only what is a valid answer. Taught in notebook 06, sections 4 and 5."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from helpers.device import Device, autocast
from helpers.exceptions import find_text_fault
from helpers.generation.parsing import parse_answer
from helpers.generation.prompts import AS_TEXT
from helpers.generation.writer import LabelWriter
from helpers.models.predict import evaluation_mode


@dataclass(frozen=True)
class Answer:
    """What the model wrote of one text. `labels` is a 0/1 row, or the number of one label; None if it is no valid answer.
    `error` says why a text has no answer at all; its row stays, so that nothing after it moves up."""

    text: str
    labels: np.ndarray | int | None
    error: str | None = None


def write_answers(
    writer: LabelWriter, texts: Sequence[str], tokenizer, *, constrained: bool = True, batch_size: int = 16,
    max_length: int = 128, max_new_tokens: int | None = None, device: Device | None = None,
) -> list[Answer]:  # fmt: skip
    """Return an answer per text, in their order: greedily decoded, texts of like length together, padded on the left.

    `constrained` allows valid answers only; free ones are read by `parse_answer`. `max_new_tokens` is the longest answer's
    length unless given. A text that is none, or that cannot be computed, gets an `error`, and the others their answers.
    """
    answers: list[Answer | None] = [None] * len(texts)
    ids: dict[int, list[int]] = {}
    for row, text in enumerate(texts):
        if fault := find_text_fault(text):
            answers[row] = Answer("", None, f"Text {row + 1} {fault}.")
        else:
            ids[row] = tokenizer(text, **AS_TEXT, verbose=False)["input_ids"][:max_length]
    order = sorted(ids, key=lambda row: -len(ids[row]))
    how = {"constrained": constrained, "max_new_tokens": max_new_tokens or writer.answers.longest, "device": device}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        for row, answer in zip(rows, _write_safely(writer, tokenizer, [ids[row] for row in rows], how), strict=True):
            answers[row] = answer
    return answers


def _write_safely(writer: LabelWriter, tokenizer, texts: list[list[int]], how: dict) -> list[Answer]:
    """Return the answers of a batch; of one that fails, each text's by itself, so that only the guilty one has none."""
    try:
        return _write_batch(writer, tokenizer, texts, **how)
    except (RuntimeError, ValueError, IndexError) as error:  # memory, a number that is none, an id without a vector
        if len(texts) > 1:
            return [answer for ids in texts for answer in _write_safely(writer, tokenizer, [ids], how)]
        return [Answer("", None, f"This text could not be answered ({type(error).__name__}).")]


def _write_batch(
    writer: LabelWriter, tokenizer, texts: list[list[int]], *, constrained: bool, max_new_tokens: int,
    device: Device | None,
) -> list[Answer]:  # fmt: skip
    input_ids, mask, _ = writer.lay_out(texts, [[] for _ in texts], before=writer.before)
    start, answers = input_ids.shape[1], writer.answers
    texts_in = {"input_ids": input_ids, "attention_mask": mask}

    def allow(_row: int, ids: torch.Tensor) -> list[int]:
        return answers.allowed(ids[start:].tolist())

    with evaluation_mode(writer), autocast(device):
        written = writer.backbone.generate(
            **texts_in, do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=answers.end,
            pad_token_id=answers.end, prefix_allowed_tokens_fn=allow if constrained else None, use_cache=True,
            temperature=None, top_p=None, top_k=None,
        )[:, start:].tolist()  # fmt: skip
    return [_read_answer(writer, tokenizer, ids, constrained=constrained) for ids in written]


def _read_answer(writer: LabelWriter, tokenizer, ids: list[int], *, constrained: bool) -> Answer:
    """Return what the written token ids say."""
    answers, names = writer.answers, list(writer.answers.names)
    if constrained and (labels := answers.read(ids)) is not None:
        return Answer(answers.write(labels), labels)
    ids = ids[: ids.index(answers.end)] if answers.end in ids else ids
    text = tokenizer.decode(ids, skip_special_tokens=False).strip()
    return Answer(text, None if constrained else parse_answer(text, names, multilabel=answers.multilabel))
