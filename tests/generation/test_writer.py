"""The model that writes its labels: what it reads, what it learns, its score per label, and its answers."""

import json
import shutil
from functools import cache
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
from tiny import FP32, LABELS, build_writer, toy_texts
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.deploy.predictor import Predictor
from helpers.exceptions import SettingError
from helpers.generation.decoding import write_answers
from helpers.generation.pretrained import load_writer, plan_labels
from helpers.generation.prompts import Prompt, encode_prompt, read_as_text
from helpers.generation.saving import load, save
from helpers.generation.writer import IGNORED, LabelWriter, break_stick, completion_loss, later_loss
from helpers.models.batches import collate, encode_texts
from helpers.models.predict import predict_logits
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit

ALIKE = ["glad", "gladden", "sour"]  # the first begins the second: no first token tells them apart


@cache
def folder(architecture: str = "llama", begin: bool = False):
    return build_writer(mkdtemp(), architecture, begin=begin)


def make_writer(architecture: str = "llama", names=LABELS, *, begin: bool = False, **how) -> tuple:
    """Return an untrained writer and its tokenizer."""
    where = folder(architecture, begin)
    tokenizer = read_as_text(AutoTokenizer.from_pretrained(where))
    backbone = AutoModelForCausalLM.from_pretrained(where, attn_implementation="eager")
    return LabelWriter(backbone, tokenizer, list(names), **how).eval(), tokenizer


def several(labels: np.ndarray) -> np.ndarray:
    rows = np.eye(len(LABELS), dtype=np.float32)[labels]
    rows[::4, 0] = 1
    rows[::7] = 0
    return rows


def plain_logits(writer, tokenizer, text: str, answer: list[int]) -> torch.Tensor:
    """Return the logits of the next token at every place of the answer, computed the plain way: one text, no padding, no
    cache."""
    ids = encode_prompt(writer.prompt, text, tokenizer) + answer
    with torch.no_grad():
        return writer.backbone(input_ids=torch.tensor([ids])).logits[0, len(ids) - len(answer) - 1 :]


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral", "gemma2"])
@pytest.mark.parametrize("begin", [False, True])
def test_padding_and_the_shared_beginning_change_nothing(architecture, begin):
    writer, tokenizer = make_writer(architecture, begin=begin)
    texts = ["one", "a much longer text than the others, with 😀", "two words"]
    answers = [writer.answers.encode(row) for row in np.eye(3, dtype=int)]
    logits = writer.read([tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts], answers)
    for row, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        expected = plain_logits(writer, tokenizer, text, answer)
        torch.testing.assert_close(logits[row, : len(expected)], expected, atol=1e-4, rtol=1e-4)


def test_the_loss_is_that_of_the_answer_alone():
    """Mistake: the loss over the prompt. Here it is the answer's cross-entropy by hand, and no prompt token counts."""
    writer, tokenizer = make_writer(score_weight=0.0)
    texts, labels = toy_texts(6)
    rows = several(labels)
    batch = collate(encode_texts(texts, tokenizer, 256, rows), np.arange(6))
    by_hand = []
    for text, row in zip(texts, rows, strict=True):
        answer = writer.answers.encode(row)
        log_p = plain_logits(writer, tokenizer, text, answer).log_softmax(-1)
        by_hand.append(-sum(log_p[place, token] for place, token in enumerate(answer)))
    loss = writer(**batch).loss
    torch.testing.assert_close(loss, torch.stack(by_hand).mean(), atol=1e-4, rtol=1e-4)
    targets = writer.make_targets([[1, 2], [3]])
    assert targets.tolist() == [[1, 2], [3, IGNORED]], "padding is not learnt either"


def test_the_gradient_through_the_shared_beginning_is_the_whole_one():
    writer, tokenizer = make_writer()
    texts, labels = toy_texts(5)
    batch = collate(encode_texts(texts, tokenizer, 256, several(labels)), np.arange(5))
    writer(**batch).loss.backward()
    shared = {name: parameter.grad.clone() for name, parameter in writer.named_parameters()}
    writer.zero_grad()
    writer.backbone.gradient_checkpointing_enable()
    writer.train()
    writer(**batch).loss.backward()
    for name, parameter in writer.named_parameters():
        torch.testing.assert_close(parameter.grad, shared[name], atol=1e-5, rtol=1e-3)


def test_the_score_breaks_a_stick():
    """p(k | none before it) from the first word's probabilities, by hand; up to the first true label the loss of the word
    is the binary cross-entropy of the scores, and `later_loss` is that of the rest."""
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))  # three labels, and none
    p = logits.softmax(1)
    by_hand = torch.stack([p[:, k] / p[:, k:].sum(1) for k in range(3)], dim=1)
    scores = break_stick(logits)
    torch.testing.assert_close(scores.sigmoid(), by_hand)
    labels = torch.tensor([[0, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 1.0]])
    first = torch.tensor([1, 0, 3, 2])
    whole = binary_cross_entropy_with_logits(scores, labels, reduction="none").sum() / 4
    torch.testing.assert_close(cross_entropy(logits, first) + later_loss(scores, labels), whole)


def test_scores_are_read_where_the_answer_begins():
    writer, tokenizer = make_writer()
    texts, _ = toy_texts(5)
    assert writer.answers.distinct
    scores = predict_logits(writer, encode_texts(texts, tokenizer, 256), FP32)
    for text, row in zip(texts, scores, strict=True):
        logits = plain_logits(writer, tokenizer, text, [])[0, writer.answers.first_tokens]
        np.testing.assert_allclose(row, break_stick(logits[None])[0], atol=1e-4)
    single, _ = make_writer(multilabel=False)
    logits = plain_logits(single, tokenizer, texts[0], [])[0, single.answers.first_tokens]
    np.testing.assert_allclose(
        predict_logits(single, encode_texts(texts[:1], tokenizer, 256), FP32)[0], logits, atol=1e-4
    )


@pytest.mark.parametrize("multilabel", [True, False])
def test_labels_that_begin_alike_are_scored_by_all_their_tokens(multilabel):
    writer, tokenizer = make_writer(names=ALIKE, multilabel=multilabel)
    assert not writer.answers.distinct
    scores = predict_logits(writer, encode_texts(["some text"], tokenizer, 256), FP32)[0]
    weights = []
    for piece in writer.answers.pieces:
        log_p = plain_logits(writer, tokenizer, "some text", list(piece)).log_softmax(-1)
        follows = [writer.answers.end] + ([writer.answers.comma[0]] if multilabel else [])
        weights.append(sum(log_p[i, t] for i, t in enumerate(piece)) + log_p[-1, follows].logsumexp(0))
    expected = break_stick(torch.stack(weights)[None])[0] if multilabel else torch.stack(weights)
    np.testing.assert_allclose(scores, expected, atol=1e-3)


@pytest.mark.parametrize("multilabel", [True, False])
@pytest.mark.parametrize("names", [LABELS, ALIKE, ["joy", "😀", "愛", "none", "a b", "joy b"]])
def test_an_untrained_model_gives_valid_answers(names, multilabel):
    writer, tokenizer = make_writer(names=names, multilabel=multilabel)
    texts, _ = toy_texts(9)
    answers = write_answers(
        writer, [*texts, "a <|im_end|> b", "glad, sour\nnone"], tokenizer, batch_size=4, device=FP32
    )
    assert all(answer.labels is not None and answer.error is None for answer in answers)
    free = write_answers(writer, texts, tokenizer, constrained=False, device=FP32)
    assert all(answer.labels is None for answer in free), "without the automaton, random weights write nothing valid"


def test_batched_answers_are_those_of_one_text_at_a_time():
    writer, tokenizer = make_writer()
    texts, _ = toy_texts(12)
    together = write_answers(writer, texts, tokenizer, batch_size=5, device=FP32)
    alone = [write_answers(writer, [text], tokenizer, device=FP32)[0].text for text in texts]
    assert [answer.text for answer in together] == alone


def test_rows_keep_their_places_when_texts_fail(monkeypatch):
    """Mistake: an exception is swallowed, its row goes missing, and all labels after it belong to other texts."""
    writer, tokenizer = make_writer()
    texts, _ = toy_texts(8)
    expected = [answer.text for answer in write_answers(writer, texts, tokenizer, batch_size=3, device=FP32)]
    generate, poison = writer.backbone.generate, tokenizer(texts[4], add_special_tokens=False)["input_ids"]

    def fail_on_one(input_ids, **how):
        if any(row[-len(poison) - len(writer.after) :][: len(poison)] == poison for row in input_ids.tolist()):
            raise RuntimeError("out of memory, say")
        return generate(input_ids=input_ids, **how)

    monkeypatch.setattr(writer.backbone, "generate", fail_on_one)
    given = [*texts[:2], "", *texts[2:], None, "half \ud83d an emoji"]
    answers = write_answers(writer, given, tokenizer, batch_size=3, device=FP32)
    assert len(answers) == len(given)
    said = [answers[row].error for row in (2, -2, -1)]
    assert said[:2] == ["Text 3 is empty: give some words.", "Text 10 is None: give some words."]
    assert said[2] == "Text 11 holds half a character (U+D83D): replace or delete it."
    assert answers[5].error == "This text could not be answered (RuntimeError)." and answers[5].labels is None
    kept = [answer.text for row, answer in enumerate(answers) if row not in (2, 5, 9, 10)]
    assert kept == [text for row, text in enumerate(expected) if row != 4]


def test_a_text_of_2000_tokens_loses_its_end_and_nothing_else():
    writer, tokenizer = make_writer()
    long = "glad0 " * 2000
    cut, short = (
        write_answers(writer, [text], tokenizer, max_length=50, device=FP32)[0] for text in (long, long[:900])
    )
    assert cut.text == short.text and cut.labels is not None
    whole = write_answers(writer, [long], tokenizer, max_length=3000, device=FP32)[0]
    assert whole.error is None


def test_the_instruction_and_the_answer_keep_their_places_in_a_model_that_reads_little():
    writer, tokenizer = make_writer()
    prompt = len(writer.before) + len(writer.after) + writer.answers.longest
    writer.config.max_position_embeddings, read = prompt + 5, []
    watch = writer.backbone.model.rotary_emb.register_forward_pre_hook
    watch(lambda _, given, named: read.append(named.get("position_ids", given[-1]).max()), with_kwargs=True)
    ids = tokenizer("glad0 " * 50, add_special_tokens=False)["input_ids"]
    assert torch.equal(writer.score([ids]), writer.score([ids[:5]])) and writer.room == 5
    assert max(read) < writer.config.max_position_embeddings
    cut, short = write_answers(writer, ["glad0 " * 50, tokenizer.decode(ids[:5])], tokenizer, device=FP32)
    assert cut.text == short.text and cut.labels is not None


def test_a_text_that_is_cut_to_leave_room_for_the_answer_is_called_cut(tmp_path, capsys):
    """Mistake: the room behind the prompt is known to the model alone, and a text without its end is called whole."""
    writer, tokenizer = make_writer()
    writer.config.max_position_embeddings = len(writer.before) + len(writer.after) + writer.answers.longest + 30
    save(writer, tokenizer, tmp_path, max_length=128)
    settings = load(tmp_path, device=FP32)[2]
    ids = tokenizer("x " * 40, add_special_tokens=False)["input_ids"]
    texts = [tokenizer.decode(ids[:count]) for count in (30, 31)]
    for predictor in (Predictor(writer, tokenizer, {"max_length": 128}, device=FP32), Predictor.load(tmp_path)):
        assert [one.truncated for one in predictor.predict(texts)] == [False, True]
        assert predictor.max_length == settings["max_length"] == 30
    assert capsys.readouterr().out == ""
    writer.score([ids])
    assert capsys.readouterr().out.startswith(
        "Texts are cut at 30 tokens: prompt and labels take the rest of the model"
    )


def test_a_model_without_room_for_a_text_is_refused(tmp_path):
    where = shutil.copytree(folder(), tmp_path / "small")
    config = json.loads((where / "config.json").read_text()) | {"max_position_embeddings": 128}
    (where / "config.json").write_text(json.dumps(config))
    names = [f"emotion number {number}" for number in range(30)]
    said = r"Prompt and labels take [\d,]+ of the model's 128 tokens: choose a decoder that reads more, or fewer"
    with pytest.raises(SettingError, match=said):
        load_writer(str(where), names, method="generate-full", multilabel=True, device=FP32)
    with pytest.raises(SettingError, match=said):  # before a run is begun
        plan_labels(str(where), names, method="generate", multilabel=True)


@pytest.mark.parametrize("multilabel", [True, False])
def test_it_learns_by_the_course_s_loop(multilabel):
    writer, tokenizer = make_writer(multilabel=multilabel, prompt=Prompt("", "="))  # little to look away from
    labels = np.arange(96) % len(LABELS)
    targets = several(labels) if multilabel else labels
    true = targets if multilabel else np.eye(len(LABELS))[labels]
    texts = ["abcdefgh"[n % 8] + "".join(f" {LABELS[k]}" for k in np.flatnonzero(row)) for n, row in enumerate(true)]
    train = encode_texts(texts, tokenizer, 256, targets)
    config = TrainingConfig(epochs=15, learning_rate=1e-2, batch_size=8, metric="f1_macro", warmup=0.2)
    result = fit(writer, train, train, config, device=FP32)
    assert result.history["f1_macro"].max() > 0.9, result.history
    answers = write_answers(writer, texts, tokenizer, device=FP32)
    said = np.array([answer.labels for answer in answers])
    assert (said == targets).mean() > 0.9
    free = write_answers(writer, texts, tokenizer, constrained=False, device=FP32)
    assert np.mean([answer.labels is not None for answer in free]) > 0.9, "it learnt to write valid answers, too"


def test_completion_loss_is_a_sum_over_the_answer_and_a_mean_over_texts():
    logits = torch.zeros(2, 3, 4)
    targets = torch.tensor([[1, 2, 3], [0, IGNORED, IGNORED]])
    torch.testing.assert_close(completion_loss(logits, targets), torch.tensor(4 * np.log(4) / 2, dtype=torch.float32))
