"""Why is it wrong? Errors by stated rules, slices, behavioural tests, attributions, and a look inside the model.
Taught in notebook 03; the look inside, in notebook 02, sections 1 to 3."""

from helpers.analysis.attributions import attribute_tokens
from helpers.analysis.behaviour import failure_table, judge_cases, make_cases, make_typo
from helpers.analysis.errors import (
    NO_TYPE, collect_errors, describe_points, embed_texts, find_types, logits_of, nearest_rows, shorten_texts,
    wrong_predictions,
)  # fmt: skip
from helpers.analysis.representations import measure_forward, measure_influence, padding_effects, pooled_features
from helpers.analysis.slices import compare_slices, rate_table

__all__ = [
    "NO_TYPE", "attribute_tokens", "collect_errors", "compare_slices", "describe_points", "embed_texts",
    "failure_table", "find_types", "judge_cases", "logits_of", "make_cases", "make_typo", "measure_forward",
    "measure_influence", "nearest_rows", "padding_effects", "pooled_features", "rate_table", "shorten_texts",
    "wrong_predictions",
]  # fmt: skip
