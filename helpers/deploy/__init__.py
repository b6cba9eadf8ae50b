"""A saved model at work: one text, many texts, a file of any length, a page on the Hub, a file that runs without PyTorch.

The room's door opens to all that notebooks ask for, and loads each part when its name is asked for: a service needs
neither `datasets` nor, for an exported model, PyTorch.
Taught in notebook 02 (latency), 03 (one text at a time), 04 (the Hub) and 08.
"""

from importlib import import_module

from helpers.deploy.answers import Prediction

WHERE = {
    "OnnxPredictor": "onnx_predictor", "Predictor": "predictor", "Settings": "service", "compare_predictors": "export",
    "export_onnx": "export", "has_javascript": "browser", "load_predictor": "onnx_predictor",
    "make_model_card": "publish", "measure_folder_bytes": "latency", "measure_latency": "latency",
    "measure_throughput": "latency", "push_to_hub": "publish", "quantise": "export", "start_service": "service",
    "weigh_words": "demo", "write_page": "browser",
}  # fmt: skip

__all__ = ["Prediction", *WHERE]


def __getattr__(name: str):
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"helpers.deploy.{WHERE[name]}"), name)
