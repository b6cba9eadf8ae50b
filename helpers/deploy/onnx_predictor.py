"""An exported model at work, in onnxruntime: numpy and tokenizers, no PyTorch and no transformers. Taught in notebook 08."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.assets.settings import require_settings
from helpers.deploy.answers import Prediction, predict_texts
from helpers.evaluation.metrics import probabilities
from helpers.exceptions import AssetError, shorten
from helpers.files import read_json

WHOLE, SMALL = "onnx/model.onnx", "onnx/model_quantized.onnx"  # where transformers.js, too, looks for them
BATCH = 64  # texts that are computed together
PASS_TOKENS = 32  # about what a pass costs beside its tokens, in tokens; half or twice as much changes little


class OnnxPredictor:
    """A classifier that `export_onnx` wrote, ready to predict: it answers as `Predictor` does, and has its methods.
    The int8 file reads one text at a time: its scale for the numbers between two layers is that of the whole batch, so
    that a text's answer would depend on which others came along."""

    device = None  # PyTorch's, which is not there

    def __init__(self, session, words, config: dict, *, batch_size: int = BATCH):
        """Wrap an onnxruntime session, a `tokenizers.Tokenizer` (`words`) and the content of the folder's `config.json`."""
        self.session, self.words, self.batch_size = session, words, batch_size
        self.label_names = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        self.multilabel = config.get("problem_type") == "multi_label_classification"
        self.max_length = config["text_max_length"]
        self.thresholds = np.asarray(0.5 if config.get("thresholds") is None else config["thresholds"])
        self.pad_id = config.get("pad_token_id") or 0
        self.words.no_padding()
        self.words.enable_truncation(self.max_length)

    @classmethod
    def load(cls, folder: str | Path, *, int8: bool | None = None, threads: int | None = None) -> "OnnxPredictor":
        """Return the predictor of an exported folder: of its int8 file if `int8`, by default of the fp32 one if it is there.

        `threads` compute one batch (by default onnxruntime's choice, a thread per core); they wait without spinning, so
        that whatever else runs here gets the cores. Raises `AssetError` for a folder that holds no such file.
        """
        import onnxruntime
        from tokenizers import Tokenizer

        file = find_onnx(folder, int8=int8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS", 0))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
            words = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
            config = read_json(Path(folder) / "config.json")
            require_settings(config, folder)
            if len(config["id2label"]) != session.get_outputs()[0].shape[-1]:
                raise AssetError(
                    f"{shorten(folder, 120)}: config.json has other labels than the model: export it again."
                )
            return cls(session, words, config, batch_size=1 if file == Path(folder) / SMALL else BATCH)
        except AssetError:
            raise
        except Exception as error:  # the libraries raise bare exceptions of their own for damaged files
            raise AssetError(
                f"{shorten(folder, 120)} is not a whole export ({type(error).__name__}): export the run again."
            ) from error

    def for_many(self) -> "OnnxPredictor":
        """Return a predictor of the same classifier for files: itself."""
        return self

    def predict_with_cut(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities `(texts, labels)` and a mask `(texts,)`: which texts were longer than the model reads."""
        encoded = self.words.encode_batch(list(texts))
        lengths = np.array([len(one.ids) for one in encoded])
        logits = np.empty((len(encoded), len(self.label_names)), dtype=np.float32)
        for rows in plan_passes(lengths, self.batch_size):
            logits[rows] = self._run([encoded[row].ids for row in rows])
        cut = np.array([bool(one.overflowing) for one in encoded], dtype=bool)
        return probabilities(logits, multilabel=self.multilabel), cut

    def predict_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return probabilities `(texts, labels)`; a calibrated temperature is built into the model."""
        return self.predict_with_cut(texts)[0]

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return a prediction per text. Raises `SettingError` for a text that is empty or no text at all."""
        return predict_texts(self, texts)

    def predict_one(self, text: str) -> Prediction:
        """Return the prediction of one text."""
        return self.predict([text])[0]

    def _run(self, batch: list[list[int]]) -> np.ndarray:
        """Return the logits `(batch, labels)` of token ids, padded on the right to the longest."""
        shape = len(batch), max(map(len, batch))
        input_ids, attention_mask = np.full(shape, self.pad_id, np.int64), np.zeros(shape, np.int64)
        for row, ids in enumerate(batch):
            input_ids[row, : len(ids)], attention_mask[row, : len(ids)] = ids, 1
        return self.session.run(["logits"], {"input_ids": input_ids, "attention_mask": attention_mask})[0]


def plan_passes(lengths: np.ndarray, most: int, *, pass_tokens: int = PASS_TOKENS) -> list[np.ndarray]:
    """Return row numbers, pass by pass, at most `most` each, so that padding and passes together cost the least.

    Few texts of a service are of many lengths: padded to the longest of all, half of the work would be padding; one by
    one, each pays for a pass. Sorted by length, the best cut is found from its end backwards (dynamic programming).
    """
    order = np.argsort(-lengths, kind="stable")
    longest_first = lengths[order]
    cost, begin = np.zeros(len(order) + 1), np.zeros(len(order) + 1, dtype=int)
    for end in range(1, len(order) + 1):
        starts = np.arange(max(0, end - most), end)
        found = cost[starts] + longest_first[starts] * (end - starts) + pass_tokens
        cost[end], begin[end] = found.min(), starts[found.argmin()]
    passes, end = [], len(order)
    while end:
        passes.append(order[begin[end] : end])
        end = begin[end]
    return passes[::-1]


def find_onnx(folder: str | Path, *, int8: bool | None = None) -> Path:
    """Return the file of an exported folder that is to be run. Raises `AssetError` if there is none."""
    wanted = [WHOLE, SMALL] if int8 is None else [SMALL if int8 else WHOLE]
    for name in wanted:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    command = "python -m helpers export --run RUN --to onnx" + " --int8" * bool(int8)
    raise AssetError(f"{shorten(folder, 120)} holds no {wanted[0]}: write one by `{command}`.")


def load_predictor(model: str | Path, *, int8: bool | None = None, threads: int | None = None):
    """Return the predictor of whatever `model` is: an exported folder runs in onnxruntime, all else in PyTorch."""
    if (Path(model) / "onnx").is_dir():
        return OnnxPredictor.load(model, int8=int8, threads=threads)
    from helpers.deploy.predictor import Predictor

    return Predictor.load(model)
