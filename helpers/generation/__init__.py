"""Let a decoder write the labels: the prompt, the answers that are allowed, training on them, and a score per label.
A `LabelWriter` looks like any other classifier to the loop, to thresholds and to the Predictor. Taught in notebook 06."""

from helpers.generation.answers import Answers, make_answers
from helpers.generation.decoding import Answer, write_answers
from helpers.generation.parsing import parse_answer
from helpers.generation.pretrained import METHODS, WRITING, load_writer, plan_labels
from helpers.generation.prompts import Prompt, encode_prompt, make_prompt, read_as_text, write_instruction
from helpers.generation.saving import load, merge, save
from helpers.generation.writer import LabelWriter, break_stick, completion_loss, later_loss

__all__ = [
    "METHODS", "WRITING", "Answer", "Answers", "LabelWriter", "Prompt", "break_stick", "completion_loss",
    "encode_prompt", "later_loss", "load", "load_writer", "make_answers", "make_prompt", "merge", "parse_answer",
    "plan_labels", "read_as_text", "save", "write_answers", "write_instruction",
]  # fmt: skip
