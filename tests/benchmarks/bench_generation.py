"""How fast is writing the labels? One table: ways to write, and to score, from the plainest to the fastest, in one run.

    python tests/benchmarks/bench_generation.py [--texts 64] [--repeats 3] [--rows 128]

The model first learns a few of data/moments' rows, so that its answers have the usual length. Plain `generate` is asked for
one text at a time, as a first program would do it. The other ways take turns with it; the median counts.
"""

import argparse
import os
import time

os.environ["COURSE_PROGRESS"] = "off"

import numpy as np
import pandas as pd
import torch

from helpers import data, generation, models, training
from helpers.device import autocast, find_device

MODEL, LENGTH = "SmolLM2-135M-Instruct", 96


def make_writer(corpus: data.LoadedData, tokenizer, rows: int, device):
    """Return a writer that has seen `rows` training rows once."""
    names = corpus.label_names
    writer = generation.load_writer(MODEL, names, method="generate", multilabel=True, device=device)
    encoded = {k: models.encode_split(corpus.splits[k], tokenizer, LENGTH) for k in ("train", "validation")}
    few = [models.select_rows(encoded[k], np.arange(n)) for k, n in (("train", rows), ("validation", 8))]
    config = training.TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-3, metric="epoch")
    training.fit(writer, *few, config, device=device)
    return generation.merge(writer).eval()


def list_ways(writer, texts: list[str], tokenizer, device) -> dict:
    """Return a function per way, each of which answers all texts."""

    def plain() -> None:
        for text in texts:
            ids = generation.encode_prompt(writer.prompt, text, tokenizer, max_length=LENGTH)
            with torch.inference_mode(), autocast(device):
                writer.backbone.generate(
                    input_ids=torch.tensor([ids], device=device.kind), do_sample=False,
                    max_new_tokens=writer.answers.longest, eos_token_id=writer.answers.end, pad_token_id=writer.answers.end,
                )  # fmt: skip

    def write(**how) -> None:
        generation.write_answers(writer, texts, tokenizer, max_length=LENGTH, device=device, **how)

    encoded = models.encode_texts(texts, tokenizer, LENGTH)
    return {
        "plain generate, one by one": plain,
        "constrained, one by one": lambda: write(batch_size=1),
        "free, batches of 16": lambda: write(constrained=False),
        "constrained, batches of 16": write,
        "constrained, batches of 32": lambda: write(batch_size=32),
        "scores, one forward pass": lambda: models.predict_logits(writer, encoded, device),
    }


def main() -> None:
    """Print texts per second of every way, and how many times the plain one that is."""
    parser = argparse.ArgumentParser()
    for name, default in (("texts", 64), ("repeats", 3), ("rows", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    device = find_device()
    corpus = data.load_data("moments", label_column=",".join(data.ELEVEN_EMOTIONS))
    tokenizer = generation.read_as_text(models.load_tokenizer(MODEL))
    writer = make_writer(corpus, tokenizer, arguments.rows, device)
    texts = list(corpus.splits["validation"]["text"])[: arguments.texts]
    ways, seconds = list_ways(writer, texts, tokenizer, device), {}
    for _ in range(arguments.repeats):
        for name, answer in ways.items():
            start = time.perf_counter()
            answer()
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    table = pd.DataFrame({"texts/s": {name: len(texts) / np.median(found) for name, found in seconds.items()}})
    table["times plain"] = table["texts/s"] / table["texts/s"].iloc[0]
    print(device, f"{torch.get_num_threads()} threads, {len(texts)} texts, median of {arguments.repeats}")
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
