"""A saved model at work: one text, many texts, a file of any length, a page on the Hub.

The room's door opens to the Predictor and to what measures it, so that a service never loads `datasets`: ask `bulk` and
`publish` by name. Taught in notebook 02 (latency), 03 (one text at a time) and 04 (the Hub).
"""

from helpers.deploy.latency import measure_folder_bytes, measure_latency, measure_throughput
from helpers.deploy.predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor", "measure_folder_bytes", "measure_latency", "measure_throughput"]
