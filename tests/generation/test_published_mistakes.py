"""The mistakes that published label generators made, each run once as it was made: what it costs, and that the course's
way does not have it. (Two begin tokens, an answer in the prompt: `test_answers`; shifted rows: `test_writer`.)"""

import numpy as np
import pytest
import torch
from tiny import FP32, LABELS, build_writer
from transformers import AutoModelForCausalLM

from helpers.generation import LabelWriter, Prompt, encode_prompt, parse_answer, read_as_text, write_answers
from helpers.generation.prompts import make_prompt
from helpers.models import encode_texts, load_tokenizer
from helpers.training import TrainingConfig, fit

INSTRUCTION = Prompt("calm, glad, sour:", "=")  # a prompt that lists the labels, as every instruction does


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A writer that learnt to list the labels that stand in a text, its tokenizer, texts and their 0/1 rows."""
    folder = build_writer(tmp_path_factory.mktemp("decoder"))
    tokenizer = read_as_text(load_tokenizer(folder))
    backbone = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    writer = LabelWriter(backbone, tokenizer, LABELS, prompt=INSTRUCTION)
    rows = np.array([[n >> k & 1 for k in range(3)] for n in range(8)] * 12)
    texts = ["abcdefgh"[n % 7] + "".join(f" {LABELS[k]}" for k in np.flatnonzero(row)) for n, row in enumerate(rows)]
    encoded = encode_texts(texts, tokenizer, 64, rows.astype(np.float32))
    config = TrainingConfig(epochs=20, learning_rate=1e-2, batch_size=8, warmup=0.2)
    result = fit(writer, encoded, encoded, config, device=FP32)
    assert result.history["f1_macro"].max() > 0.9, result.history
    return writer.eval(), tokenizer, texts[:16], rows[:16]


def plain_generate(writer, tokenizer, text: str, **how) -> str:
    """Return what transformers' `generate` writes of one text, with the settings `how`."""
    ids = torch.tensor([encode_prompt(writer.prompt, text, tokenizer)])
    how = {"max_new_tokens": writer.answers.longest, "do_sample": False, "pad_token_id": writer.pad_id} | how
    written = writer.backbone.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **how)
    return tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()


def share_right(said: list, rows: np.ndarray) -> float:
    return float(np.mean([row is not None and (row == true).all() for row, true in zip(said, rows, strict=True)]))


def test_no_repeat_ngram_size_forbids_the_answer(trained):
    """It covers the prompt, too: a bigram of the labels that the instruction lists can never be written."""
    writer, tokenizer, texts, rows = trained
    good = share_right([parse_answer(plain_generate(writer, tokenizer, text), LABELS) for text in texts], rows)
    how = {"no_repeat_ngram_size": 2}
    bad = share_right([parse_answer(plain_generate(writer, tokenizer, text, **how), LABELS) for text in texts], rows)
    ours = share_right([answer.labels for answer in write_answers(writer, texts, tokenizer, device=FP32)], rows)
    assert good > 0.9 and ours >= good
    several = rows.sum(1) > 1
    assert bad < good - 0.3
    cut = [parse_answer(plain_generate(writer, tokenizer, texts[i], **how), LABELS) for i in np.flatnonzero(several)]
    assert share_right(cut, rows[several]) < 0.5, "lists suffer"


def test_too_few_new_tokens_cut_lists_off(trained):
    writer, tokenizer, texts, rows = trained
    few = write_answers(writer, texts, tokenizer, constrained=False, max_new_tokens=2, device=FP32)
    whole = write_answers(writer, texts, tokenizer, constrained=False, device=FP32)
    assert share_right([answer.labels for answer in whole], rows) > 0.9
    assert share_right([answer.labels for answer in few], rows) < 0.6
    assert writer.answers.longest == max(len(writer.answers.encode(row)) for row in rows), (
        "the limit is the longest answer"
    )
    cut = write_answers(writer, texts, tokenizer, max_new_tokens=2, device=FP32)
    assert all(answer.labels is None for answer, row in zip(cut, rows, strict=True) if row.sum() > 1), (
        "said, not guessed"
    )


def test_the_loss_over_the_prompt_is_mostly_the_prompt_s(trained):
    """Learning the prompt, too, spends the gradient on words that are given anyway."""
    writer, tokenizer, texts, rows = trained
    answer = writer.answers.encode(rows[1])
    prompt = encode_prompt(make_prompt(tokenizer, LABELS), texts[1], tokenizer)
    ids = torch.tensor([prompt + answer])
    whole = writer.backbone(input_ids=ids, labels=ids).loss
    only = writer.backbone(input_ids=ids, labels=torch.tensor([[-100] * len(prompt) + answer])).loss
    assert len(answer) < 0.1 * ids.shape[1] and not torch.isclose(whole, only)
    labels = torch.tensor(rows[1:2], dtype=torch.float32)
    writer.score_weight, before = 0.0, writer.score_weight
    batch = encode_texts(texts[1:2], tokenizer, 64)
    mine = writer(torch.tensor(batch.input_ids), torch.ones(1, len(batch.input_ids[0])), labels=labels).loss
    writer.score_weight = before
    own = encode_prompt(writer.prompt, texts[1], tokenizer)
    ids = torch.tensor([own + answer])
    expected = writer.backbone(input_ids=ids, labels=torch.tensor([[-100] * len(own) + answer])).loss * len(answer)
    torch.testing.assert_close(mine, expected, atol=1e-3, rtol=1e-3)


def test_substring_matching_finds_labels_that_were_not_said():
    names = ["joy", "fear", "love", "trust"]
    for text in ("enjoyable", "no fear at all", "I would love to help", "distrust"):
        assert any(name in text for name in names), "what a search for substrings finds"
        assert parse_answer(text, names) is None
