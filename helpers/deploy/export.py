"""A trained classifier as an ONNX file: it runs in onnxruntime, in a browser, wherever PyTorch is not. Taught in notebook 08.

The folder is laid out as transformers.js wants it: config, tokenizer, `onnx/model.onnx`, `onnx/model_quantized.onnx`.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.deploy.onnx_predictor import SMALL, WHOLE, OnnxPredictor
from helpers.deploy.predictor import Predictor
from helpers.device import Device
from helpers.evaluation.metrics import decide
from helpers.exceptions import AssetError
from helpers.files import atomic_folder, make_folder, read_json, require_own, write_json
from helpers.models.saving import TOKENIZER_FILES, load
from helpers.models.shortcuts import first_token_only

EXPORT_FILES = (*TOKENIZER_FILES, "config.json", WHOLE, SMALL)
TOLERANCE = 1e-4  # between probabilities; what fp32 sums in another order differ by is a thousandth of that
PROBES = ("I finally got the job!", "No.", "She left without a word, and the house has been too quiet ever since. " * 4)


@dataclass(frozen=True)
class Agreement:
    """How two predictors of the same labels differ over some texts."""

    texts: int
    largest: float  # the largest difference between two probabilities
    changed: int  # texts whose label is another


class _Logits(nn.Module):
    """The classifier with plain tensors in and out, as a file can hold it."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.classifier(input_ids=input_ids, attention_mask=attention_mask).logits


def export_onnx(
    model: str | Path, folder: str | Path, *, int8: bool = False, texts: Sequence[str] = PROBES
) -> Agreement:
    """Write a trained classifier to `folder`, which appears whole or not at all; return how its answers agree on `texts`.

    `model` is whatever `Predictor.load` takes; an adapter is merged into its base. With `int8`, the small file is
    written beside the whole one; compare it with `compare_predictors`, since it is not the same model any more.
    Raises `AssetError` for an architecture that cannot be exported, or if the file answers differently by `TOLERANCE`,
    `SettingError` for a folder that holds other things than an earlier export.
    """
    require_own(folder, EXPORT_FILES if (Path(folder) / "onnx").is_dir() else ())
    device = Device("cpu", "export", "no", "eager")
    classifier, tokenizer, settings = load(model, device=device, four_bit=False)
    if hasattr(classifier, "merge_and_unload"):
        classifier = classifier.merge_and_unload()
    tokenizer.model_max_length = settings["max_length"]  # where the tokenizers of other libraries cut
    with atomic_folder(folder) as work:
        tokenizer.save_pretrained(work)
        if not (work / "tokenizer.json").exists():
            raise AssetError(f"{str(model)!r} has no tokenizer.json (a slow tokenizer): it cannot be exported.")
        _write_config(classifier, tokenizer, settings, work / "config.json")
        make_folder(work / "onnx")
        _trace(classifier, work / WHOLE, str(model))
        agreement = compare_predictors(
            Predictor(classifier, tokenizer, settings, device=device), OnnxPredictor.load(work), texts
        )
        if not agreement.largest <= TOLERANCE:
            raise AssetError(
                f"The ONNX file of {str(model)!r} answers differently, by {agreement.largest:.1e} in a probability: its "
                "architecture does not survive the export, use the run itself."
            )
        if int8:
            quantise(work / WHOLE, work / SMALL)
    return agreement


def _write_config(classifier: nn.Module, tokenizer, settings: dict, file: Path) -> None:
    """Write what a runner needs to know: labels, kind of question, length, thresholds; and the plain architecture's name."""
    config = classifier.config
    config.text_max_length, config.thresholds = settings["max_length"], settings["thresholds"]
    pad = tokenizer.pad_token_id
    config.pad_token_id = tokenizer.eos_token_id if pad is None else pad
    config.save_pretrained(file.parent)
    write_json(file, read_json(file) | {"architectures": [type(classifier).__name__]})


def _trace(classifier: nn.Module, file: Path, name: str) -> None:
    """Write the classifier's computation into one file, for any number of texts and any length."""
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    inputs = {"input_ids": torch.ones(2, 7, dtype=torch.long), "attention_mask": torch.ones(2, 7, dtype=torch.long)}
    inputs["attention_mask"][1, 5:] = 0  # padding, so that the mask is not found to be superfluous
    try:
        with torch.inference_mode(), first_token_only(classifier), _quiet():
            torch.onnx.export(
                _Logits(classifier).eval(), (), file, kwargs=inputs, dynamo=True, external_data=False, optimize=True,
                dynamic_shapes=dict.fromkeys(inputs, sizes), output_names=["logits"],
            )  # fmt: skip
    except torch.onnx.errors.OnnxExporterError as error:
        kind = classifier.config.model_type
        raise AssetError(
            f"{name!r} cannot be exported: PyTorch {torch.__version__} finds no ONNX for its architecture ({kind})."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and advice off the page."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def quantise(source: str | Path, target: str | Path, *, per_channel: bool = True, reduce_range: bool = True) -> Path:
    """Write `target`, the ONNX file `source` with weights in 8 bits, a quarter of the size; return it.

    `per_channel` gives every column of a matrix a scale of its own. `reduce_range` spends 7 bits: without it, sums of
    two products overflow on CPUs without VNNI instructions.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root, before = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)  # it advises, on the root logger, a step that PyTorch's exporter has already done
    try:
        quantize_dynamic(
            source, target, per_channel=per_channel, reduce_range=reduce_range, weight_type=QuantType.QInt8
        )
    finally:
        root.setLevel(before)
    return Path(target)


def compare_predictors(first, second, texts: Sequence[str]) -> Agreement:
    """Return how far two predictors agree on `texts`; each may be a `Predictor` or an `OnnxPredictor`."""
    ours, theirs = first.predict_probabilities(texts), second.predict_probabilities(texts)
    called = [
        decide(probability, multilabel=one.multilabel, thresholds=one.thresholds).reshape(len(texts), -1)
        for one, probability in ((first, ours), (second, theirs))
    ]
    changed = (called[0] != called[1]).any(axis=1)
    return Agreement(len(texts), float(np.abs(ours - theirs).max()), int(changed.sum()))
