"""Wrong predictions: which texts, of what linguistic type, and near to what.

Taught in notebook 03, sections 1, 3 and 4. A linguistic type is a stated rule, not an opinion: anyone can check why a text has it.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from helpers.device import Device
from helpers.models.batches import EncodedTexts
from helpers.models.classifier import final_layer, pool
from helpers.models.predict import compute_rows

# Each rule leaves out what looks alike but means something else: "not only", "can't help", "nothing but", "as well as".
RULES = {
    "negation": r"""\b(?i:not(?!\s+(?:only|just|merely|simply)\b) | never | nor | neither | nobody | nowhere | none
        | no(?!\s+(?:doubt|wonder|matter)\b) | nothing(?!\s+(?:but|less|short)\b) | cannot(?!\s+help\b)
        | without(?!\s+(?:a\s+)?doubt\b) | hardly | barely | scarcely | lack(?:s|ing)? | fail(?:s|ed)?\s+to
        | (?<!ca\s)(?!ca\s?n['’]t\s+help\b)(?:\w+\s?)?n['’]t)\b""",
    "contrast": r"""\b(?i:(?<!nothing\s)(?<!anything\s)(?<!all\s)(?<!none\s)but | although | though | however | despite
        | in\s+spite\s+of | nevertheless | nonetheless | whereas | even\s+if
        | (?<!not\s)(?<!as\s)(?<!best\s)yet(?!\s+(?:another|again|to)\b))\b""",
    "comparison": r"""\b(?i:(?<!rather\s)(?<!other\s)than | unlike | compared\s+(?:to|with) | in\s+comparison
        | reminiscent\s+of | as\s+(?!well\b|long\b|soon\b|far\b|if\b)\w+\s+as)\b""",
    "irony marker": r"""\b(?i:so[-\s]called | supposedly | allegedly | purportedly | would[-\s]be | if\s+only)\b
        | \b(?i:oh|yeah|wow),\s | \?! | !\? | \(!\) | \(sic\)
        | (?<![\w'])(?:''|``|["“‘`'])\s?[a-z]+(?:[\s-][a-z]+){0,2}\s?(?:''|["”’'])(?![\w'])""",  # 'scare quotes'
    "named entity": r"(?<=[\w,;:'’)]\s)(?!I\b)[A-Z][a-z]+",  # a capital that does not begin a sentence
}
PATTERNS = {name: re.compile(rule, re.VERBOSE) for name, rule in RULES.items()}
LONG, SHORT = 30, 6  # words: at least, at most
NO_TYPE, NO_RATINGS = "none of the rules", "no ratings"


def split_words(text: str) -> list[str]:
    """Return the words of `text`; apostrophes stay inside them ("don't"), everything else separates."""
    return re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text)


def learn_polar_words(texts, labels, *, min_texts: int = 10, min_share: float = 0.75) -> dict[str, int]:
    """Return word → label for words that occur in at least `min_texts` texts, `min_share` of them with one label."""
    counts, total = Counter(), Counter()
    for text, label in zip(texts, labels, strict=True):
        words = set(split_words(text.lower()))
        counts.update((word, label) for word in words)
        total.update(words)
    often = {pair: n for pair, n in counts.items() if total[pair[0]] >= min_texts}
    return {word: label for (word, label), n in often.items() if n >= min_share * total[word]}


def find_types(texts, *, train_texts, train_labels, truncated: np.ndarray) -> pd.DataFrame:
    """Return a column per linguistic type, true where a text has it; a text may have several, or none.

    Beside `RULES`: mixed polarity (words that training saw mostly with one label *and* words mostly with the other),
    rare word (three or more letters, in no training text, and no name), long, short, and truncated.
    """
    texts = list(texts)
    known = {word for text in train_texts for word in split_words(text.lower())}
    polar = learn_polar_words(train_texts, train_labels)
    words = [split_words(text) for text in texts]
    found = {name: [bool(pattern.search(text)) for text in texts] for name, pattern in PATTERNS.items()}
    found["mixed polarity"] = [len({polar[w.lower()] for w in row if w.lower() in polar}) > 1 for row in words]
    found["rare word"] = [any(len(w) > 2 and w.islower() and w not in known for w in row) for row in words]
    found["long"] = [len(text.split()) >= LONG for text in texts]
    found["short"] = [len(text.split()) <= SHORT for text in texts]
    found["truncated"] = list(truncated)
    return pd.DataFrame(found, dtype=bool)


def embed_texts(
    classifier, encoded: EncodedTexts, device: Device | None = None, *, max_tokens: int | None = None
) -> np.ndarray:
    """Return the vector of each text, `(rows, hidden)` in fp32: what the classifier's last layer sees of it."""

    def embed(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        classifier(input_ids=input_ids, attention_mask=attention_mask)
        vectors = seen.pop()
        return (
            vectors if vectors.ndim == 2 else pool(vectors, attention_mask, "last")
        )  # a decoder's head reads all places

    seen, layer = [], final_layer(classifier)
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        return compute_rows(embed, classifier, encoded, (layer.in_features,), device, max_tokens=max_tokens)
    finally:
        hook.remove()


def logits_of(classifier, vectors: np.ndarray) -> np.ndarray:
    """Return the last layer's fp32 logits `(rows, labels)` for `vectors`, so that one pass gives vectors and logits."""
    head = final_layer(classifier)
    with torch.inference_mode():
        return head(torch.from_numpy(vectors).to(head.weight.device)).float().cpu().numpy()


def nearest_rows(vectors: np.ndarray, among: np.ndarray, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers of the `k` nearest of `among` by cosine, and the cosines, both `(rows, k)`, nearest first."""
    unit = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (vectors, among)]
    cosine = unit[0] @ unit[1].T  # (rows, among)
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    return nearest, np.take_along_axis(cosine, nearest, axis=1)


def wrong_predictions(
    texts,
    labels: np.ndarray,
    probability: np.ndarray,
    label_names: Sequence[str],
    *,
    types: pd.DataFrame,
    neighbours: tuple[np.ndarray, np.ndarray],
    train_texts,
    train_labels,
    ratings: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return a row per wrong prediction, the most confident first: what to know about it when asking why.

    `types` is from `find_types`, `neighbours` from `nearest_rows` among the training texts; `ratings` has the columns
    mean_rating and rating_sd, or is None where people gave no ratings (the cells then say so). The index counts rows.
    """
    texts, labels, predicted = list(texts), np.asarray(labels), probability.argmax(axis=1)
    rows = np.flatnonzero(predicted != labels)
    rows = rows[np.argsort(-probability[rows].max(axis=1), kind="stable")]
    actual, called = ([label_names[i] for i in found[rows]] for found in (labels, predicted))
    table = pd.DataFrame({"text": [texts[r] for r in rows], "actual": actual, "predicted": called}, index=rows)
    table["confidence"] = probability[rows].max(axis=1)
    for i, name in enumerate(label_names):
        table[f"p({name})"] = probability[rows, i]
    table["loss"] = -np.log(np.maximum(probability[rows, labels[rows]], 1e-12))
    if len(label_names) == 2:
        table["error_type"] = np.where(predicted[rows] == 1, "false positive", "false negative")
    else:
        table["error_type"] = [f"{label} taken for {other}" for label, other in zip(actual, called, strict=True)]
    table["linguistic_type"] = [", ".join(types.columns[types.iloc[r].to_numpy()]) or NO_TYPE for r in rows]
    for column in ("mean_rating", "rating_sd"):
        table[column] = NO_RATINGS if ratings is None else pd.to_numeric(ratings[column]).to_numpy()[rows]
    (nearest, cosine), train_texts, train_labels = neighbours, list(train_texts), list(train_labels)
    for k in range(nearest.shape[1]):
        table[f"nearest_{k + 1}"] = [train_texts[i] for i in nearest[rows, k]]
        table[f"nearest_{k + 1}_label"] = [label_names[train_labels[i]] for i in nearest[rows, k]]
        table[f"nearest_{k + 1}_cosine"] = cosine[rows, k]
    return table


def collect_errors(corpus, name: str, probability: np.ndarray, *, types: dict, vectors: dict) -> pd.DataFrame:
    """Return `wrong_predictions` of the split called `name`, with its nearest training texts. `types` and `vectors` hold, by
    the splits' names, what `find_types` and `embed_texts` returned; ratings are taken along where the corpus has them."""
    split, train = corpus.splits[name], corpus.splits["train"]
    return wrong_predictions(
        split["text"], np.asarray(split["label"]), probability, corpus.label_names, types=types[name],
        neighbours=nearest_rows(vectors[name], vectors["train"]), train_texts=train["text"],
        train_labels=train["label"], ratings=split.to_pandas() if "ratings" in split.column_names else None,
    )  # fmt: skip


def shorten_texts(table: pd.DataFrame, *, whole: bool = False, words: int = 4) -> pd.DataFrame:
    """Return `table` with the first `words` of each text alone, so that it may be published; all of them if `whole`."""
    starts = table["text"].map(lambda text: " ".join(text.split()[:words]) + " …")
    return table if whole else table.assign(text=starts)


def describe_points(
    texts, labels: np.ndarray, probability: np.ndarray, label_names: Sequence[str], types: pd.DataFrame, *, whole
) -> list[str]:
    """Return what `plots.draw_explorer` shows of each text: its words, what the model says, what it is, its types.
    Of a text whose row is not in `whole` only the first three words, for what may not be published in full."""
    notes = []
    for row, text in enumerate(texts):
        words = text if row in whole else " ".join(text.split()[:3]) + " …"
        says, is_label = label_names[probability[row].argmax()], label_names[labels[row]]
        kinds = ", ".join(types.columns[types.iloc[row].to_numpy()]) or NO_TYPE
        notes.append(f"{words}\nsays {says} at {probability[row].max():.0%}, is {is_label}; {kinds}")
    return notes
