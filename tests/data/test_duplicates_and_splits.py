import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from helpers.data.corpus import LoadedData
from helpers.data.duplicates import find_parts, group_parts, normalise, share_of_parts
from helpers.data.splits import hold_out_whole_texts, leak_of_a_random_split, replace_leaking_test
from helpers.files import ROOT

SHARED = ROOT.parent / "shared" / "data"


def test_parts_and_equals_share_a_group_through_a_third():
    texts = [
        "Often hilarious.",
        "Sparkling, often hilarious!",
        "often HILARIOUS and kind",
        "Often, hilarity",
        "hilarious",
    ]
    groups = group_parts([*texts, "oftenhilarious"])
    assert groups[0] == groups[1] == groups[2] == groups[4]
    assert len({groups[0], groups[3], groups[5]}) == 3  # whole words only


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4).map(" ".join), min_size=1, max_size=12))
def test_no_text_is_part_of_one_of_another_group(texts):
    groups = group_parts(texts)
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            if f" {normalise(one)} " in f" {normalise(other)} ":
                assert groups[i] == groups[j]


def test_parts_are_found_in_whole_words_only():
    assert find_parts(["Fine!", "a film", "unheard of"], ["a fine film", "fine, a film", "define"]) == [[0, 1], [1], []]


def test_an_accent_is_the_same_however_it_is_stored():
    assert normalise("Cafe\u0301 d'e\u0301te\u0301!") == normalise("caf\u00e9 d'\u00e9t\u00e9")
    assert share_of_parts(["cafe\u0301"], ["un caf\u00e9"]) == 1


def test_texts_that_are_part_of_another_are_counted():
    assert share_of_parts(["Fine!", "a film", "unheard of", "film"], ["a fine film", "define"]) == 0.5


def test_the_leak_of_a_random_split_is_counted():
    assert leak_of_a_random_split([f"word{i} here" for i in range(50)]) == 0
    assert leak_of_a_random_split(["the same"] * 50) == 1
    sentences = [f"one{i} two{i} three{i} four{i}" for i in range(100)]
    phrases = [part for s in sentences for part in (s, s[: s.index(" three")], s[s.index("three") :])]
    assert leak_of_a_random_split(phrases) == pytest.approx(2 / 3 * 0.9, abs=0.15)  # two of three have a sentence kept


def test_whole_texts_are_held_out_with_all_their_parts():
    sentences = [f"one{i} two{i} three{i} and more" for i in range(20)]
    rows = Dataset.from_dict(
        {"text": [*sentences, *(s.rsplit(" ", 2)[0] for s in sentences), "and more", sentences[0].upper()]}
    )
    kept, held_out = hold_out_whole_texts(rows, share=0.1, seed=0)
    assert {normalise(text) for text in held_out["text"]} < set(sentences)
    assert len({normalise(text) for text in held_out["text"]}) == 2
    assert not any(find_parts(kept["text"], held_out["text"]))
    assert not any(find_parts(held_out["text"], kept["text"]))
    assert "and more" not in kept["text"]  # part of a held-out sentence as well
    assert len(kept) >= 36
    same = hold_out_whole_texts(rows, share=0.1, seed=0)
    assert (same[0]["text"], same[1]["text"]) == (kept["text"], held_out["text"])


def make_data(train, test):
    names = ["negative", "positive"]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    splits = {
        name: Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(len(texts))]}, features=features)
        for name, texts in {"train": train, "validation": ["other words"], "test": test}.items()
    }
    return LoadedData(DatasetDict(splits), names, False, ["a note"])


def test_a_test_split_of_phrases_of_train_is_replaced_and_says_so():
    train = [f"one{i} two{i} three{i}" for i in range(30)]
    leaking = make_data(train, [f"one{i} two{i}" for i in range(9)] + ["new"])
    data = replace_leaking_test(leaking)
    assert data.notes == ["a note", "90% of test was part of a training text: 3 whole texts are held out instead."]
    assert not any(find_parts(data.splits["test"]["text"], data.splits["train"]["text"]))
    assert not any(find_parts(data.splits["train"]["text"], data.splits["test"]["text"]))
    assert data.splits["validation"] is leaking.splits["validation"]
    sound = make_data(train, ["new", "newer"])
    assert replace_leaking_test(sound) is sound


@pytest.mark.skipif(not (SHARED / "sst2").exists(), reason="shared/data/sst2 is not here")
def test_sst2_phrases_leak_into_the_sentences_they_were_cut_from():
    import pandas as pd

    phrases = pd.read_csv(SHARED / "sst2/train.csv.gz", keep_default_na=False)["text"]
    sentences = pd.read_csv(SHARED / "sst2_sentences/train.csv.gz", keep_default_na=False)["text"]
    inside = [bool(rows) for rows in find_parts(phrases, sentences)]
    assert sum(inside) / len(inside) == pytest.approx(0.997, abs=0.001)  # 0.992 with case and punctuation
    assert leak_of_a_random_split(phrases) == pytest.approx(0.903, abs=0.01)  # 0.884 with case and punctuation
