"""Rows of text and label: read, checked, split without leaks. Nothing here needs PyTorch.
Taught in notebook 00, section 2; leaks and ratings in notebook 03; competition files in notebook 04."""

from helpers.data.columns import ELEVEN_EMOTIONS, EMOTIONS
from helpers.data.corpus import (
    LoadedData, balance_table, describe, length_table, relabel, require_one_label,
    require_several_labels, take_examples,
)  # fmt: skip
from helpers.data.duplicates import duplicate_report, find_parts, share_of_parts
from helpers.data.splits import leak_of_a_random_split, replace_leaking_test
from helpers.data.kaggle import (
    UNKNOWN, check_like_sample, check_submission, read_questions, write_questions, write_submission,
)  # fmt: skip
from helpers.data.load import load_data, load_scored, load_sentiment
from helpers.data.reviews import (
    CLEAR, agreement, group_agreement, list_mean_ratings, load_ambiguous, single_rater_accuracy,
)  # fmt: skip
from helpers.data.tables import SPLITS
from helpers.exceptions import DataError

__all__ = [
    "CLEAR", "ELEVEN_EMOTIONS", "EMOTIONS", "SPLITS", "UNKNOWN", "DataError", "LoadedData", "agreement",
    "balance_table", "check_like_sample", "check_submission", "describe", "duplicate_report", "find_parts",
    "group_agreement", "leak_of_a_random_split", "length_table", "list_mean_ratings", "load_ambiguous", "load_data",
    "load_scored", "load_sentiment", "read_questions", "relabel", "replace_leaking_test", "require_one_label",
    "require_several_labels", "share_of_parts", "single_rater_accuracy", "take_examples", "write_questions",
    "write_submission",
]  # fmt: skip
