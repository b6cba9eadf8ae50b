"""A classifier on a transformer: tokens in, logits out; new, adapted, saved, or the baseline it has to beat.
Taught in notebook 01 (batches, the classifier, saving), 02 (pooling) and 04 (adapters, the zoo)."""

from helpers.models.adapters import use_gradient_checkpointing
from helpers.models.baseline import make_baseline
from helpers.models.batches import (
    collate, encode_split, encode_texts, fit_length, make_batches, padding_share, select_rows,
)  # fmt: skip
from helpers.models.classifier import (
    POOLINGS, TextClassifier, backbone_of, count_parameters, final_layer, head_parts, is_multilabel, label_names, pool,
    pooling_of, set_labels,
)  # fmt: skip
from helpers.models.heads import LabelPlan, match_labels, plan_labels
from helpers.models.origins import load_tokenizer
from helpers.models.predict import predict_logits
from helpers.models.pretrained import HEADS, METHODS, load_classifier, require_layers
from helpers.models.saving import load, save
from helpers.models.shorten import keep_first_layers
from helpers.models.soup import average_models
from helpers.models.weights import count_weights
from helpers.models.zoo import find_defaults, read_zoo, require_method

__all__ = [
    "HEADS", "METHODS", "POOLINGS", "LabelPlan", "TextClassifier", "average_models", "backbone_of", "collate", "count_parameters",
    "count_weights", "encode_split", "encode_texts", "final_layer", "find_defaults", "fit_length", "head_parts", "is_multilabel",
    "keep_first_layers", "label_names", "load", "load_classifier", "load_tokenizer", "make_baseline", "make_batches", "match_labels",
    "padding_share", "plan_labels", "pool", "pooling_of", "predict_logits", "read_zoo", "require_layers", "require_method", "save",
    "select_rows", "set_labels", "use_gradient_checkpointing",
]  # fmt: skip
