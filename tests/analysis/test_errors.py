import numpy as np
import pandas as pd
import pytest
from tiny import BF16, FP32, LABELS, build_models, make_tokenizer, toy_texts

from helpers.analysis.errors import (
    NO_RATINGS,
    NO_TYPE,
    describe_points,
    embed_texts,
    find_types,
    learn_polar_words,
    logits_of,
    nearest_rows,
    wrong_predictions,
)
from helpers.models.batches import encode_texts
from helpers.models.predict import predict_logits
from helpers.models.pretrained import load_classifier

TRAIN = ["a lovely film"] * 12 + ["a dreadful film"] * 12 + ["an odd film"] * 12
TRAIN_LABELS = [1] * 12 + [0] * 12 + [1, 0] * 6


def types_of(text):
    return find_types([text], train_texts=TRAIN, train_labels=TRAIN_LABELS, truncated=np.array([False])).loc[0]


# Rules: hits and near misses ------------------------------------------------------------------------------------------

HITS = {
    "negation": [
        "It is not funny.",
        "Don't bother.",
        "I can't recommend it.",
        "It does n't work.",
        "They ca n't act.",
        "It isn’t funny",
        "No plot at all.",
        "Never dull.",
        "A film without wit.",
        "Hardly a classic.",
        "It lacks charm.",
        "It fails to move.",
        "Nothing works here.",
        "It cannot hold us.",
    ],
    "contrast": [
        "Slow but rewarding.",
        "Although long, it works.",
        "Funny, yet sad.",
        "However, it ends well.",
        "Despite the cast, it sinks.",
        "In spite of itself it works.",
        "Worth it, even if you yawn.",
        "Nothing happens. But it charms.",
    ],
    "comparison": [
        "Better than the first.",
        "Unlike its star, it has charm.",
        "As funny as a funeral.",
        "Tame compared to the book.",
        "It is reminiscent of better films.",
    ],
    "irony marker": [
        "This so-called comedy.",
        "A so called comedy.",
        "The ''comic'' relief.",
        "The “big reveal” at last.",
        "It is supposedly a thriller.",
        "Oh, how we laughed.",
        "A comedy?!",
        "If only it were shorter.",
        "the ` funny ' parts",
        "the `` twist '' comes late",
    ],
    "named entity": ["We saw Marion again.", "The film, Casablanca, is old.", "It was (in Paris) shot. Then Rick left"],
    "mixed polarity": ["lovely and dreadful", "Lovely, then DREADFUL."],
    "rare word": ["a floccinaucinihil film", "an odd xylophone"],
    "long": ["odd " * 30],
    "short": ["an odd film", "a lovely film, an odd one"],
}
NEAR_MISSES = {
    "negation": [
        "Not only funny, moving too.",
        "I can't help smiling.",
        "You ca n't help smiling.",
        "No doubt a classic.",
        "A notable knot of a plot.",
        "Nothing but joy.",
        "Nothing short of superb.",
        "Noted for its slack pace",
        "Without doubt a classic.",
        "No wonder it won.",
        "One cannot help smiling",
    ],
    "contrast": [
        "Nothing but praise.",
        "All but forgotten.",
        "Anything but dull.",
        "Yet another sequel.",
        "It is not yet out.",
        "Butter on a buttress.",
        "The best yet.",
        "As yet unseen.",
        "His best yet",
    ],
    "comparison": [
        "Thank you.",
        "Well acted as well as well shot.",
        "I would rather than not. As soon as it ends.",
        "A likely story.",
        "More charming.",
        "As long as it lasts",
        "It looks as if as well",
    ],
    "irony marker": [
        "So calledfully good.",
        "''The Matrix'' is good.",
        "The film's 'The Ring' is good.",
        "Don't say it's bad, 'cause it's not.",
        "Really?",
        "The actors' best films' charm",
        "Only if it rains.",
        "Ohio is far",
    ],
    "named entity": ["Lovely film.", "I saw it. Then I slept.", "so I left", "THE END", "all in lower case, paris too"],
    "mixed polarity": ["lovely and odd", "loveliest and dreadfully", "lovely and lovely"],
    "rare word": ["an odd film", "an odd Marion", "an xx film", "a lovely, LOVELY film!"],
    "long": ["odd " * 29],
    "short": ["odd " * 7],
}


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in HITS.items() for t in texts])
def test_a_rule_finds_what_it_states(kind, text):
    assert types_of(text)[kind]


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in NEAR_MISSES.items() for t in texts])
def test_a_rule_leaves_what_only_looks_like_it(kind, text):
    assert not types_of(text)[kind]


def test_polar_words_need_enough_texts_of_mostly_one_label():
    polar = learn_polar_words(TRAIN, TRAIN_LABELS)
    assert polar == {"lovely": 1, "dreadful": 0}
    assert learn_polar_words(TRAIN, TRAIN_LABELS, min_texts=13) == {}


def test_a_word_counts_once_per_text():
    assert learn_polar_words(["odd odd odd odd odd odd odd odd odd odd"], [1]) == {}


def test_a_text_of_5000_words_is_truncated_and_says_so():
    tokenizer = make_tokenizer()
    texts = ["word1 " * 5000, "word1 word2"]
    encoded = encode_texts(texts, tokenizer, 64)
    assert encoded.cut.tolist() == [True, False]
    assert encoded.lengths.tolist() == [64, 4]
    types = find_types(texts, train_texts=TRAIN, train_labels=TRAIN_LABELS, truncated=encoded.cut)
    assert types["truncated"].tolist() == [True, False]
    assert encode_texts(["word1 " * 62], tokenizer, 64).cut.tolist() == [False]  # it just fits


# Vectors, neighbours, suspected labels -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = build_models(tmp_path_factory.mktemp("models"))["bert"]
    return load_classifier(str(folder), LABELS, device=FP32, dropout=0.3)


@pytest.mark.parametrize(("device", "tolerance"), [(FP32, 1e-5), (BF16, 0.05)], ids=["fp32", "bf16"])
def test_vectors_and_head_give_the_logits_of_the_classifier(classifier, device, tolerance):
    encoded = encode_texts(toy_texts(20)[0], make_tokenizer(), 64)
    classifier.train()
    vectors = embed_texts(classifier, encoded, device, max_tokens=64)
    assert classifier.training
    assert vectors.shape == (20, 32)
    np.testing.assert_allclose(
        logits_of(classifier, vectors), predict_logits(classifier, encoded, device), atol=tolerance
    )


def test_nearest_rows_are_sorted_by_cosine_whatever_the_length_of_the_vectors():
    among = np.array([[0, 5.0], [9, 9], [0.1, 0]])
    nearest, cosine = nearest_rows(np.array([[2.0, 0]]), among, k=2)
    assert nearest.tolist() == [[2, 1]]
    assert cosine[0] == pytest.approx([1, np.sqrt(0.5)])
    assert nearest_rows(np.zeros((1, 2)), among, k=5)[0].shape == (1, 3)  # no more neighbours than rows, no NaN


ALL_CORRECT = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
ONE_CLASS = np.tile([0.7, 0.3], (4, 1))


# The table of wrong predictions ------------------------------------------------------------------------------------------


def table_of(probability, labels=(0, 1, 0, 1), names=("negative", "positive"), ratings=None):
    texts = ["not lovely", "a lovely film", "odd", "an odd film, though"]
    types = find_types(texts, train_texts=TRAIN, train_labels=TRAIN_LABELS, truncated=np.zeros(4, bool))
    neighbours = nearest_rows(np.eye(4, 3), np.eye(36, 3), k=2)
    return wrong_predictions(
        texts,
        np.array(labels),
        np.asarray(probability),
        names,
        types=types,
        neighbours=neighbours,
        train_texts=TRAIN,
        train_labels=TRAIN_LABELS,
        ratings=ratings,
    )


def test_every_wrong_prediction_has_a_row_with_every_column_filled():
    ratings = pd.DataFrame({"mean_rating": ["-1.5", "2.0", "-0.6", "1.1"], "rating_sd": ["0.5", "1.0", "2.2", "0.7"]})
    table = table_of([[0.1, 0.9], [0.3, 0.7], [0.4, 0.6], [0.8, 0.2]], ratings=ratings)
    assert table.index.tolist() == [0, 3, 2]  # the most confident first
    assert table["error_type"].tolist() == ["false positive", "false negative", "false positive"]
    assert table["linguistic_type"].tolist() == ["negation, rare word, short", "contrast, rare word, short", "short"]
    assert table["mean_rating"].tolist() == [-1.5, 1.1, -0.6]
    assert table["loss"].tolist() == pytest.approx((-np.log([0.1, 0.2, 0.4])).tolist())
    assert table["nearest_1"].tolist()[0] == TRAIN[0]
    assert table["nearest_1_label"].tolist()[0] == "positive"
    assert not table.isna().any().any()
    assert not (table.astype(str) == "").any().any()


def test_without_ratings_the_cells_say_so():
    table = table_of(ONE_CLASS)
    assert set(table["mean_rating"]) == set(table["rating_sd"]) == {NO_RATINGS}
    assert not table.isna().any().any()


@pytest.mark.parametrize("names", [("negative", "positive"), ("calm", "glad", "sour")])
def test_an_all_correct_model_has_an_empty_table_with_all_columns(names):
    table = table_of(np.pad(ALL_CORRECT, ((0, 0), (0, len(names) - 2))), names=names)
    assert len(table) == 0
    assert {"text", "loss", "error_type", "linguistic_type", "nearest_2_label"} <= set(table.columns)


def test_a_certain_error_has_a_finite_loss_and_other_labels_are_named():
    probability = np.eye(3)[[1, 1, 0, 2]]
    table = table_of(probability, labels=(0, 1, 0, 1), names=("calm", "glad", "sour"))
    assert table["error_type"].tolist() == ["calm taken for glad", "glad taken for sour"]
    assert np.isfinite(table["loss"]).all()


def test_a_text_without_any_type_says_so():
    types = pd.DataFrame({"negation": [False]})
    table = wrong_predictions(
        ["x"],
        np.array([0]),
        np.array([[0.2, 0.8]]),
        ["negative", "positive"],
        types=types,
        neighbours=nearest_rows(np.ones((1, 2)), np.ones((3, 2))),
        train_texts=["a", "b", "c"],
        train_labels=[0, 1, 0],
    )
    assert table["linguistic_type"].tolist() == [NO_TYPE]


def test_a_point_s_note_holds_whole_texts_only_where_they_may_be_shown():
    texts = ["a film of rare charm", "dull"]
    types = pd.DataFrame({"negation": [False, True], "short": [False, True]})
    notes = describe_points(
        texts, np.array([1, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]), ["negative", "positive"], types, whole={1}
    )
    assert notes == [
        "a film of …\nsays negative at 90%, is positive; none of the rules",
        "dull\nsays negative at 80%, is negative; negation, short",
    ]
