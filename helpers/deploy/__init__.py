"""A saved model at work: one text, many texts, a file of any length, a page on the Hub, a file that runs without PyTorch.

The room's door opens to the Predictor and to what measures it, so that a service never loads `datasets`: ask `bulk`,
`export` and `publish` by name. PyTorch is loaded when the first name that needs it is asked for.
Taught in notebook 02 (latency), 03 (one text at a time), 04 (the Hub) and 08.
"""

from importlib import import_module

from helpers.deploy.answers import Prediction

WHERE = {
    "OnnxPredictor": "onnx_predictor", "load_predictor": "onnx_predictor", "Predictor": "predictor",
    "measure_folder_bytes": "latency", "measure_latency": "latency", "measure_throughput": "latency",
}  # fmt: skip

__all__ = ["Prediction", *WHERE]


def __getattr__(name: str):
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"helpers.deploy.{WHERE[name]}"), name)
