"""Notebook 00: the glossary to which all notebooks link, and the hints for typical wrong answers to its exercises."""

import re

import nbformat
import numpy as np
import pytest

from helpers.course import exercises
from helpers.course.notebooks import find_notebooks

TERMS = [
    "token", "tokenizer", "padding", "attention-mask", "embedding", "transformer", "encoder", "decoder", "attention",
    "pooling", "head", "logits", "softmax", "cross-entropy", "learning-rate", "epoch", "batch", "optimizer", "adamw",
    "warm-up", "gradient", "backpropagation", "dropout", "overfitting", "fine-tuning", "pretraining", "checkpoint",
    "precision-bf16", "accuracy", "precision", "recall", "macro-f1", "confidence-interval", "bootstrap", "seed",
    "baseline", "calibration", "lora", "multilabel", "abstention", "chat-template", "constrained-decoding", "drift",
    "greedy-decoding", "holm", "kv-cache", "latency", "learning-curve", "onnx", "pareto-front", "prompt", "quantisation",
    "rank", "resampled-t-test", "threshold",
]  # fmt: skip
LINK = re.compile(r"00_start_here\.ipynb#([\w-]+)")
OWN = re.compile(r"""(?:\]\(|href=["'])#([\w-]+)""")  # within 00 itself


def read_prose(path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


def test_the_glossary_explains_every_term_and_says_where_it_is_taught():
    glossary = read_prose(find_notebooks("00")[0]).split("## Glossary")[1]
    entries = dict(re.findall(r"^### (.+)\n(.+)$", glossary, re.MULTILINE))
    assert sorted(term.replace(" ", "-") for term in entries) == sorted(TERMS)
    assert list(entries) == sorted(entries)
    for term, text in entries.items():
        assert re.search(r"→ 0\d(, 0\d)*$", text), term


@pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)
def test_every_link_to_a_term_leads_to_its_entry(path):
    prose = read_prose(path)
    linked = {*LINK.findall(prose), *(OWN.findall(prose) if path.stem.startswith("00") else [])}
    assert linked <= set(TERMS)


def as_given(labels, predictions, emotion, generator):
    right, rows = labels == predictions, len(labels)
    return np.quantile([right[generator.integers(0, rows, rows)].mean() for _ in range(500)], [0.025, 0.975])


def of_precision(labels, predictions, emotion, generator):
    draws = [generator.integers(0, len(labels), len(labels)) for _ in range(500)]
    kept = [rows[predictions[rows] == emotion] for rows in draws]
    return np.quantile([(labels[rows] == emotion).mean() for rows in kept], [0.025, 0.975])


def without_replacement(labels, predictions, emotion, generator):
    draws = [generator.permutation(len(labels)) for _ in range(50)]
    kept = [rows[labels[rows] == emotion] for rows in draws]
    return np.quantile([(predictions[rows] == emotion).mean() for rows in kept], [0.025, 0.975])


def of_the_emotion_s_rows(labels, predictions, emotion, generator):
    hit = predictions[labels == emotion] == emotion
    return np.quantile([generator.choice(hit, len(hit)).mean() for _ in range(500)], [0.025, 0.975])


def mean_recall(counts):
    return np.mean([row[k] / max(1, sum(row)) for k, row in enumerate(counts)])


def with_absent_emotions(counts):
    counts = np.array(counts)
    return np.mean(2 * np.diag(counts) / np.maximum(1, counts.sum(0) + counts.sum(1)))


@pytest.mark.parametrize(
    "number, answer, verdict",
    [
        ("00.1", 0.8, "Not yet: 0.8. That is the accuracy"),
        ("00.1", 0.48, "Not yet: 0.48. That is macro F1 before"),
        ("00.2", as_given, "This is the interval of the accuracy, as the function was given"),
        ("00.2", of_precision, "This is the interval of the precision"),
        ("00.2", without_replacement, "It has no width"),
        ("00.2", of_the_emotion_s_rows, "Correct"),
        ("00.2", lambda *_: None, "Not tried yet"),
        ("00.3", lambda text, words: [text.split().count(word) for word in words], "Case counts here, and punctuation"),
        ("00.3", lambda text, words: [text.lower().split().count(word) for word in words], "Punctuation sticks"),
        ("00.3", lambda text, words: [re.findall(r"\w+", text).count(word) for word in words], "Use lower()"),
        ("00.3", lambda text, words: [text.lower().count(word) for word in words], "These are parts of words"),
        ("00.3", lambda text, words: [int(word in text.lower()) for word in words], "How often"),
        ("00.4", mean_recall, "That is the mean recall"),
        ("00.4", with_absent_emotions, "leave it out of the mean"),
        ("00.4", lambda counts: np.trace(counts) / np.sum(counts), "That is the accuracy"),
    ],
)
def test_a_typical_wrong_answer_has_its_own_hint(number, answer, verdict, capsys):
    exercises.check(number, answer)
    assert verdict in capsys.readouterr().out
