"""A classifier on a transformer: tokens in, logits out; new, adapted, saved, or the baseline it has to beat.
Taught in notebook 01 (batches, the classifier, saving), 02 (pooling) and 04 (adapters, the zoo)."""

from helpers.models.adapters import use_gradient_checkpointing
from helpers.models.baseline import make_baseline
from helpers.models.batches import (
    collate, encode_split, encode_texts, make_batches, padding_share, select_rows,
)  # fmt: skip
from helpers.models.classifier import POOLINGS, TextClassifier, count_parameters, pool
from helpers.models.predict import predict_logits
from helpers.models.pretrained import METHODS, load_classifier, load_tokenizer
from helpers.models.saving import load, save
from helpers.models.zoo import find_defaults, read_zoo, require_method

__all__ = [
    "METHODS", "POOLINGS", "TextClassifier", "collate", "count_parameters", "encode_split",
    "encode_texts", "find_defaults", "load", "load_classifier", "load_tokenizer", "make_baseline", "make_batches",
    "padding_share", "pool", "predict_logits", "read_zoo", "require_method", "save", "select_rows",
    "use_gradient_checkpointing",
]  # fmt: skip
