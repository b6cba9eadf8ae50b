import math

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from helpers.models import batches
from helpers.models.batches import (
    EncodedTexts,
    collate,
    cut_by_tokens,
    encode_split,
    encode_texts,
    make_batches,
    padding_share,
    select_rows,
)

PAD, UNKNOWN, START, END, WORD = range(5)
LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array)
FEW = settings(max_examples=50, deadline=None)


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(WordLevel({"[PAD]": PAD, "[UNK]": UNKNOWN, "[CLS]": START, "[SEP]": END, "so": WORD}, "[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", START), ("[SEP]", END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


# Tokenising


def test_encode_texts_adds_special_tokens_and_no_padding(tokenizer):
    encoded = encode_texts(["so so", "so what"], tokenizer, max_length=10)
    assert encoded.input_ids == [[START, WORD, WORD, END], [START, WORD, UNKNOWN, END]]
    assert encoded.pad_id == PAD and encoded.labels is None and encoded.truncated == 0


@pytest.mark.parametrize("piece", [1, 3, 7])
def test_texts_that_are_tokenised_piece_by_piece_are_all_there_in_their_order(tokenizer, piece, monkeypatch):
    texts = ["so " * n for n in (1, 9, 2, 20, 0, 4, 3)]
    expected = encode_texts(texts, tokenizer, max_length=8, labels=range(7))
    monkeypatch.setattr(batches, "PIECE", piece)
    found = encode_texts(texts, tokenizer, max_length=8, labels=range(7))
    assert found.input_ids == expected.input_ids and found.lengths.tolist() == [3, 8, 4, 8, 2, 6, 5]
    assert found.cut.tolist() == [False, True, False, True, False, False, False]


def test_encode_texts_counts_what_it_truncates_and_keeps_the_end_token(tokenizer):
    encoded = encode_texts(["so " * n for n in (1, 3, 4, 50)], tokenizer, max_length=5)
    assert encoded.truncated == 2  # three words and two special tokens just fit
    assert encoded.lengths.tolist() == [3, 5, 5, 5] and len(encoded) == 4
    assert all(ids[0] == START and ids[-1] == END for ids in encoded.input_ids)


@FEW
@given(words=st.lists(st.integers(1, 20), min_size=1, max_size=20), max_length=st.integers(3, 25))
def test_encode_texts_keeps_order_and_limit(tokenizer, words, max_length):
    encoded = encode_texts(["so " * n for n in words], tokenizer, max_length)
    assert encoded.input_ids == [[START, *[WORD] * min(n, max_length - 2), END] for n in words]
    assert encoded.truncated == sum(n + 2 > max_length for n in words)


FORMS = {
    "tuple": tuple,
    "array": np.array,
    "dataset column": lambda texts: Dataset.from_dict({"text": texts})["text"],
    "series": pd.Series,
    "shuffled series": lambda texts: pd.Series(texts, index=[2, 0, 1]),
}


SHUFFLED = pytest.param("shuffled series")


@pytest.mark.parametrize("form", ["tuple", "array", "dataset column", "series", SHUFFLED])
def test_encode_texts_takes_any_sequence_of_texts(tokenizer, form):
    texts = ["so", "so so so so so", "what what what what"]
    expected = encode_texts(texts, tokenizer, max_length=5)
    found = encode_texts(FORMS[form](texts), tokenizer, max_length=5)
    assert (found.input_ids, found.pad_id, found.labels) == (expected.input_ids, expected.pad_id, None)
    assert found.cut.tolist() == expected.cut.tolist() == [False, True, True]


def test_encode_texts_keeps_whole_number_labels_as_int64(tokenizer):
    encoded = encode_texts(["so", "so"], tokenizer, 5, labels=[1, 0])
    assert encoded.labels.dtype == np.int64 and encoded.labels.tolist() == [1, 0]


def test_encode_texts_keeps_label_vectors_as_float32(tokenizer):
    encoded = encode_texts(["so", "so"], tokenizer, 5, labels=[[1.0, 0.0], [1.0, 1.0]])
    assert encoded.labels.shape == (2, 2) and encoded.labels.dtype == np.float32


def test_encode_split_brings_one_label_per_text(tokenizer):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    encoded = encode_split(Dataset.from_dict({"text": ["so", "so so"], "label": [1, 0]}, features), tokenizer, 8)
    assert encoded.labels.dtype == np.int64 and encoded.labels.tolist() == [1, 0]
    assert encoded.lengths.tolist() == [3, 4]


def test_encode_split_brings_label_vectors(tokenizer):
    features = Features({"text": Value("string"), "labels": List(Value("float32"), length=2)})
    encoded = encode_split(Dataset.from_dict({"text": ["so"], "labels": [[0.0, 1.0]]}, features), tokenizer, 8)
    assert encoded.labels.dtype == np.float32 and encoded.labels.tolist() == [[0.0, 1.0]]


# Batches


@FEW
@given(lengths=LENGTHS, batch_size=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 100))
def test_make_batches_gives_every_row_once_in_as_few_batches_as_possible(lengths, batch_size, seed, epoch):
    batches = make_batches(lengths, batch_size, seed=seed, epoch=epoch)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch_size
    assert len(batches) == math.ceil(len(lengths) / batch_size)


@FEW
@given(lengths=LENGTHS, batch_size=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 100))
def test_make_batches_depends_on_seed_and_epoch_alone(lengths, batch_size, seed, epoch):
    np.random.seed(0)
    first = make_batches(lengths, batch_size, seed=seed, epoch=epoch)
    np.random.seed(1)
    second = make_batches(lengths.tolist(), batch_size, seed=seed, epoch=epoch)
    assert [rows.tolist() for rows in first] == [rows.tolist() for rows in second]


@FEW
@given(
    lengths=st.lists(st.integers(1, 60), min_size=200, max_size=300).map(np.array),
    batch_size=st.integers(1, 8),
    seed=st.integers(0, 1000),
    epoch=st.integers(0, 100),
)
def test_make_batches_differs_between_epochs_and_seeds(lengths, batch_size, seed, epoch):
    def order(**numbers):
        return np.concatenate(make_batches(lengths, batch_size, **numbers)).tolist()

    assert order(seed=seed, epoch=epoch) != order(seed=seed, epoch=epoch + 1)
    assert order(seed=seed, epoch=epoch) != order(seed=seed + 1, epoch=epoch)


def test_make_batches_of_nothing_is_nothing():
    assert make_batches(np.array([], dtype=int), 8, seed=0) == []


@FEW
@given(lengths=LENGTHS, max_tokens=st.integers(1, 500), data=st.data())
def test_cut_by_tokens_keeps_every_row_the_budget_and_the_order(lengths, max_tokens, data):
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), unique=True, min_size=1)))
    parts = cut_by_tokens(rows, lengths, max_tokens)
    cut = np.concatenate(parts)
    assert sorted(cut) == sorted(rows)
    assert (np.diff(lengths[cut]) <= 0).all()
    for part in parts:
        assert len(part) == 1 or len(part) * lengths[part].max() <= max_tokens
    for part in parts[:-1]:  # no part ends before it must
        assert (len(part) + 1) * lengths[part].max() > max_tokens


@pytest.mark.parametrize(
    ("max_tokens", "expected"), [(10, [[2], [0], [1, 3]]), (1, [[2], [0], [1], [3]]), (200, [[2, 0, 1, 3]])]
)
def test_cut_by_tokens_on_a_hand_made_case(max_tokens, expected):
    parts = cut_by_tokens(np.arange(4), np.array([6, 5, 50, 4]), max_tokens)
    assert [part.tolist() for part in parts] == expected


# Padding


@FEW
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=20), data=st.data())
def test_collate_pads_to_the_longest_of_its_rows(lengths, data):
    encoded = EncodedTexts([list(range(100, 100 + n)) for n in lengths], pad_id=7, labels=np.arange(len(lengths)))
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), unique=True, min_size=1)))
    batch = collate(encoded, rows)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert ids.shape == mask.shape == (len(rows), max(lengths[row] for row in rows))
    assert ids.dtype == mask.dtype == torch.int64
    assert batch["labels"].tolist() == rows.tolist()
    for row, row_ids, row_mask in zip(rows, ids.tolist(), mask.tolist(), strict=True):
        padding = ids.shape[1] - lengths[row]
        assert row_ids == encoded.input_ids[row] + [7] * padding
        assert row_mask == [1] * lengths[row] + [0] * padding


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (np.array([2, 0, 1]), torch.int64),
        (np.array([[0, 1], [1, 1], [0, 0]], dtype=np.float32), torch.float32),
    ],
)
def test_collate_keeps_the_kind_of_labels(labels, dtype):
    batch = collate(EncodedTexts([[1], [2], [3]], pad_id=0, labels=labels), np.array([2, 0]))
    assert batch["labels"].dtype == dtype
    assert batch["labels"].tolist() == labels[[2, 0]].tolist()


def test_collate_pads_further_where_it_is_asked_to():
    encoded = EncodedTexts([[5, 6], [7]], 9)
    batch = collate(encoded, np.array([1, 0]), length=4)
    assert batch["input_ids"].tolist() == [[7, 9, 9, 9], [5, 6, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]


def test_collate_without_labels_has_none():
    assert set(collate(EncodedTexts([[1, 2]], pad_id=0), np.array([0]))) == {"input_ids", "attention_mask"}


def test_collated_labels_are_a_copy():
    encoded = EncodedTexts([[1], [2]], pad_id=0, labels=np.array([0, 1]))
    collate(encoded, np.array([0, 1]))["labels"][:] = 9
    assert encoded.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("pad_to", "expected"),
    [
        (None, 1 - 10 / (2 * 4 + 2 * 3)),
        (5, 1 - 10 / (4 * 5)),
        (3, 1 - 9 / (4 * 3)),  # the text of four tokens is cut to three
    ],
)
def test_padding_share_on_a_hand_made_case(pad_to, expected):
    batches = [np.array([0, 1]), np.array([2, 3])]
    assert padding_share(np.array([4, 2, 3, 1]), batches, pad_to) == pytest.approx(expected)


def test_padding_share_of_equal_lengths_is_zero():
    assert padding_share(np.full(6, 9), [np.array([0, 1, 2, 3]), np.array([4, 5])]) == 0


def test_padding_share_of_some_of_the_rows():
    assert padding_share(np.array([4, 2, 3, 1]), [np.array([0, 1])]) == pytest.approx(1 - 6 / 8)


@FEW
@given(lengths=LENGTHS, batch_size=st.integers(1, 40))
def test_padding_share_is_what_collate_pads(lengths, batch_size):
    encoded = EncodedTexts([[1] * n for n in lengths], pad_id=0)
    batches = make_batches(lengths, batch_size, seed=0)
    masks = [collate(encoded, rows)["attention_mask"] for rows in batches]
    padded = sum(int((mask == 0).sum()) for mask in masks) / sum(mask.numel() for mask in masks)
    assert padding_share(lengths, batches) == pytest.approx(padded)


@pytest.mark.parametrize("batch_size", [8, 32, 64])
def test_batches_by_length_pad_far_less_than_batches_in_file_order(batch_size):
    # Lengths like those of tweets: half of them have at most 20 tokens, one in twenty more than 45.
    lengths = np.random.default_rng(0).lognormal(np.log(20), 0.5, size=5000).astype(int).clip(3, 87)
    in_file_order = [np.arange(i, min(i + batch_size, 5000)) for i in range(0, 5000, batch_size)]
    by_length = padding_share(lengths, make_batches(lengths, batch_size, seed=0))
    assert by_length < 0.1 < 0.3 < padding_share(lengths, in_file_order) < padding_share(lengths, in_file_order, 128)


def test_selected_rows_keep_ids_and_labels_together():
    encoded = EncodedTexts([[1], [2, 2], [3]], 0, np.array([10, 20, 30]))
    chosen = select_rows(encoded, [2, 0])
    assert (chosen.input_ids, chosen.labels.tolist(), chosen.pad_id) == ([[3], [1]], [30, 10], 0)
    assert select_rows(EncodedTexts([[1], [2]], 7), [1]).labels is None


def test_selected_rows_know_whether_they_were_cut(tokenizer):
    encoded = encode_texts(["so " * n for n in (1, 9, 2, 20)], tokenizer, max_length=5)
    assert encoded.cut.tolist() == [False, True, False, True]
    chosen = select_rows(encoded, [3, 0, 0])
    assert (chosen.cut.tolist(), chosen.truncated) == ([True, False, False], 1)
    assert (select_rows(chosen, [1]).truncated, select_rows(chosen, []).truncated) == (0, 0)


def test_texts_that_nobody_cut_count_as_whole():
    encoded = EncodedTexts([[1], [2, 2]], 0)
    assert (encoded.truncated, select_rows(encoded, [1]).cut) == (0, None)


def test_lengths_are_counted_once():
    encoded = EncodedTexts([[1], [2, 2]], 0)
    assert encoded.lengths is encoded.lengths
