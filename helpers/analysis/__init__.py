"""Why is it wrong? Errors by stated rules, slices, behavioural tests, attributions, and a look inside the model.
Taught in notebook 03; the look inside, in notebook 02, sections 1 to 3."""

from helpers.analysis.attributions import attribute_tokens
from helpers.analysis.behaviour import failure_table, judge_cases, make_cases
from helpers.analysis.errors import (
    collect_errors, describe_points, embed_texts, find_types, logits_of, nearest_rows, shorten_texts,
)  # fmt: skip
from helpers.analysis.representations import measure_forward, measure_influence, padding_effects, pooled_features
from helpers.analysis.slices import compare_slices, rate_table

__all__ = [
    "attribute_tokens", "collect_errors", "compare_slices", "describe_points", "embed_texts", "failure_table",
    "find_types", "judge_cases", "logits_of", "make_cases", "measure_forward", "measure_influence", "nearest_rows",
    "padding_effects", "pooled_features", "rate_table", "shorten_texts",
]  # fmt: skip
