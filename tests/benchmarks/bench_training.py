"""How fast does the course train and predict? Five ways to fine-tune the same encoder on the same texts, one table.

    python tests/benchmarks/bench_training.py [--model NAME] [--dataset FOLDER] [--examples 3200] [--epochs 2] [--batch 64]
                                              [--repeats 5]

(a) a plain fp32 loop with every text padded to 300 tokens, (b) Hugging Face Trainer as it comes, (c) Trainer with its
best flags (bf16 where the hardware has it, batches of like length, the same batch size), (d) `helpers.training.fit`, and
(t), (c) with the classifier that the course loads; on a GPU also (e), `fit` without recorded steps
(`training/graphs.py`): there, (d) includes the seconds that recording takes. (b) and (c) load the model as transformers
does; the course's has no dropout in attention, and on a CPU a cheaper one elsewhere. So (d) against (c) is what changing
over brings, (d) against (t) what the loop alone does. All train with the same learning rate, (b) to (t) on the same
examples for the same epochs, so that the scores can be compared. (a) is timed on a few batches only and judged by speed
alone. (c), (d) and (t) take turns, `--repeats` times, each time with another seed. Each runs in a process of its own,
so that its peak memory is its own. The last line is about prediction: one text at a time, and many.

On two CPU cores this takes 13 minutes; on a GPU, `--model ModernBERT-base --batch 32` is what notebook 01 trains there.

The physical limit is the device's rate of matrix products, measured here at the model's own sizes: a transformer of P
parameters outside the token table needs 6 P floating-point operations per token and training step.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["COURSE_PROGRESS"] = "off"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from helpers import data, deploy, evaluation, models, training
from helpers.assets import find_model
from helpers.device import fast_matmul, find_device, peak_memory_bytes
from helpers.training import graphs

MAX_LENGTH = 128
RATE = 2e-4
REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "dair_emotion"
VARIANTS = {
    "a": "padded to 300, fp32 loop",
    "b": "Trainer as it comes",
    "c": "Trainer, best flags",
    "t": "(c), our classifier",
    "d": "helpers.training.fit",
    "e": "fit, nothing recorded",
}


def load(arguments):
    """Return the corpus with the wanted number of training examples, and the encoded splits."""
    label_column = "emotion" if arguments.dataset == "moments" else None
    corpus = data.load_data(arguments.dataset, label_column=label_column)
    corpus = data.take_examples(corpus, arguments.examples)
    tokenizer = models.load_tokenizer(arguments.model)
    encoded = {
        name: models.encode_split(corpus.splits[name], tokenizer, MAX_LENGTH) for name in ("train", "validation")
    }
    return corpus, tokenizer, encoded


def load_classifier(arguments, label_names: list[str], **changes):
    """Return the classifier of the course, which is of transformers' own class; `changes` are of the `Device`."""
    device = dataclasses.replace(find_device(), **changes)
    return models.load_classifier(arguments.model, label_names, device=device, seed=arguments.seed)


def run_padded_loop(arguments) -> dict:
    """(a): the loop of the tutorial that the course replaces, on a handful of batches."""
    corpus, tokenizer, _ = load(arguments)
    device = find_device("no").kind
    model = load_classifier(arguments, corpus.label_names, attention="sdpa").train().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    train = corpus.splits["train"].select(range(6 * arguments.batch))
    inputs = tokenizer(list(train["text"]), padding="max_length", truncation=True, max_length=300, return_tensors="pt")
    labels = torch.tensor(train["label"])
    for start in range(0, len(train), arguments.batch):
        if start == arguments.batch:  # the first batch warms up
            wait()
            began = time.perf_counter()
        rows = slice(start, start + arguments.batch)
        parts = (inputs["input_ids"][rows], inputs["attention_mask"][rows], labels[rows])
        ids, mask, right = (part.to(device) for part in parts)
        model(input_ids=ids, attention_mask=mask, labels=right).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    wait()
    return {"samples_per_second": (len(train) - arguments.batch) / (time.perf_counter() - began)}


def wait() -> None:
    """Wait until a GPU has done what was asked of it: the clock would stop before it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def load_plain(arguments, label_names: list[str], attention: str):
    """Return the classifier as transformers loads it, with the dropout that the model comes with."""
    torch.manual_seed(arguments.seed)
    return AutoModelForSequenceClassification.from_pretrained(
        find_model(arguments.model).location, num_labels=len(label_names), attn_implementation=attention
    )


def run_trainer(arguments, load_model=load_plain, attention: str = "sdpa", **flags) -> dict:
    """(b), (c) and (t): Hugging Face Trainer; `flags` go to its TrainingArguments."""
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    corpus, tokenizer, encoded = load(arguments)
    model = load_model(arguments, corpus.label_names, attention=attention)
    train, validation = (
        Dataset.from_dict({"input_ids": e.input_ids, "label": e.labels.tolist(), "length": e.lengths.tolist()})
        for e in encoded.values()
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            num_train_epochs=arguments.epochs,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
            learning_rate=RATE,
            seed=arguments.seed,
            **flags,
        )
        collator = DataCollatorWithPadding(tokenizer)
        trainer = Trainer(model, settings, data_collator=collator, train_dataset=train, processing_class=tokenizer)
        seconds = trainer.train().metrics["train_runtime"]
        predicted = trainer.predict(validation)
    # Not the rows' own labels: with group_by_length, Trainer shuffles the rows that it predicts as well.
    scores = score(predicted.label_ids, predicted.predictions.argmax(axis=1), corpus.label_names)
    return {"samples_per_second": arguments.examples * arguments.epochs / seconds, **scores}


def run_trainer_as_it_comes(arguments) -> dict:
    """(b): the defaults but for the learning rate: batches of 8, fp32, random order, linear decay."""
    return run_trainer(arguments)


def run_trainer_best(arguments, load_model=load_plain) -> dict:
    """(c): the same batch and schedule as (d), bf16 where the hardware has it, batches of like length; on a CPU eager
    attention, which is 2 to 5 % faster there. Batches of 32 and 128 were slower in its hands (211 and 180 against 216)."""
    bf16 = find_device().precision == "bf16"
    return run_trainer(
        arguments,
        load_model,
        attention=find_device().attention,
        per_device_train_batch_size=arguments.batch,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        weight_decay=0.01,
        bf16=bf16,
        use_cpu=find_device().kind == "cpu",
        train_sampling_strategy="group_by_length",
    )


def run_trainer_with_ours(arguments) -> dict:
    """(t): (c) with the course's classifier."""
    return run_trainer_best(arguments, load_classifier)


def run_fit(arguments) -> dict:
    """(d): the course."""
    corpus, _, encoded = load(arguments)
    device = find_device()
    classifier = load_classifier(arguments, corpus.label_names)
    settings = {"learning_rate": RATE, "batch_size": arguments.batch, "seed": arguments.seed, "metric": "epoch"}
    config = training.TrainingConfig(epochs=arguments.epochs, **settings)
    result = training.fit(classifier, encoded["train"], encoded["validation"], config, device=device)
    logits = models.predict_logits(classifier, encoded["validation"], device)
    tokens = float(encoded["train"].lengths.mean())
    parameters = result.parameters.total - classifier.get_input_embeddings().weight.numel()
    scores = score(encoded["validation"].labels, logits.argmax(axis=1), corpus.label_names)
    return {
        "samples_per_second": result.samples_per_second,
        "flops_per_sample": 6 * parameters * tokens,
        "tokens": tokens,
        **scores,
    }


def run_fit_eagerly(arguments) -> dict:
    """(e): the same, each kernel launched by the host."""
    graphs.can_record = lambda run: False
    return run_fit(arguments)


def run_prediction(arguments) -> dict:
    """(p): the classifier at work: milliseconds for a text by the `Predictor`, and texts per second in batches."""
    corpus, tokenizer, encoded = load(arguments)
    device, texts = find_device(), list(corpus.splits["validation"]["text"])
    classifier = load_classifier(arguments, corpus.label_names)
    with tempfile.TemporaryDirectory() as folder:
        predictor = deploy.Predictor.load(models.save(classifier, tokenizer, Path(folder) / "model"))
        latency = deploy.measure_latency(predictor.predict_one, texts[:200])
    rate = deploy.measure_throughput(classifier.to(device.kind), encoded["train"], device)
    parameters = models.count_parameters(classifier).total - classifier.get_input_embeddings().weight.numel()
    flops = 2 * parameters * float(encoded["train"].lengths.mean())
    return {"p50_ms": latency.p50_ms, "p95_ms": latency.p95_ms, "texts_per_second": rate, "flops_per_text": flops}


def score(labels, predictions, label_names) -> dict:
    """Return accuracy and macro F1."""
    found = evaluation.compute_metrics(labels, predictions, label_names)
    return {name: found[name] for name in ("accuracy", "f1_macro")}


def matrix_rate(dtype: torch.dtype, rows: int, inner: int) -> float:
    """Return the device's floating-point operations per second in matrix products `(rows, inner)` by `(inner, 4 inner)`,
    best of several; on a GPU in fp32 with TF32, as `fit` has it."""
    device, columns = find_device("no"), 4 * inner
    left, right = (torch.randn(size, inner, device=device.kind).to(dtype) for size in (rows, columns))
    best = float("inf")
    with fast_matmul(device):
        for _ in range(7):
            wait()
            start = time.perf_counter()
            for _ in range(20):
                torch.nn.functional.linear(left, right)
            wait()
            best = min(best, (time.perf_counter() - start) / 20)
    return 2 * rows * inner * columns / best


def measure(variant: str, arguments, seed: int = 0) -> dict:
    """Run one variant in a fresh process and return what it printed."""
    command = [sys.executable, __file__, "--variant", variant, "--dataset", arguments.dataset, "--seed", str(seed)]
    command += ["--examples", str(arguments.examples), "--epochs", str(arguments.epochs)]
    command += ["--model", arguments.model, "--batch", str(arguments.batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"variant {variant} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def describe(values: list[float], digits: int) -> str:
    """Return the median, with the lowest and the highest where there are several."""
    middle, low, high = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def print_table(results: dict[str, list[dict]]) -> None:
    """Print a line per variant: medians, lowest and highest over its runs; the ratio is that of the medians."""
    print(f"{'':<28} {'samples/s':<24} {'(d) is':>7}  {'memory':>8}  {'accuracy':<22}  macro F1, validation")
    ours = statistics.median(run["samples_per_second"] for run in results["d"])
    for variant, runs in results.items():
        speeds = [run["samples_per_second"] for run in runs]
        ratio = "" if variant == "d" else f"{ours / statistics.median(speeds):.2f} x"
        scores = [describe([run[m] for run in runs], 3) if m in runs[0] else "-" for m in ("accuracy", "f1_macro")]
        memory = f"{max(run['peak_memory_bytes'] for run in runs) / 2**30:.2f} GiB"
        print(
            f"({variant}) {VARIANTS[variant]:<24} {describe(speeds, 1):<24} {ratio:>7}  {memory:>8}  {scores[0]:<22}  {scores[1]}"
        )


def print_limits(ours: list[dict], predicted: dict, fp32: float, bf16: float, precision: str) -> None:
    """Print the matrix rate of this machine, and which share of it training and prediction need."""
    limit = bf16 if precision == "bf16" else fp32
    needed = ours[0]["flops_per_sample"] * statistics.median(run["samples_per_second"] for run in ours)
    rate, work = predicted["texts_per_second"], predicted["texts_per_second"] * predicted["flops_per_text"]
    print(f"matrix products here: {fp32 / 1e9:.0f} GFLOP/s in fp32, {bf16 / 1e9:.0f} in bf16")
    print(
        f"(d) needs {needed / 1e9:.0f} GFLOP/s for {ours[0]['tokens']:.1f} tokens per text: {needed / limit:.0%} of that;"
    )
    print("the rest goes to what is no matrix product: GELU, softmax, dropout, casts, the optimizer, and padding.")
    print(
        f"prediction: {rate:.0f} texts/s in batches, {work / limit:.0%} of the matrix rate; one text at a time", end=""
    )
    print(f" {predicted['p50_ms']:.1f} ms (half of the texts), {predicted['p95_ms']:.1f} ms (95 of 100)")


def main() -> None:
    """Print one table for all variants, or with `--variant` one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--dataset", default=str(REAL_DATA) if REAL_DATA.exists() else "moments")
    for name, default in (("examples", 3200), ("epochs", 2), ("batch", 64), ("repeats", 5), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    runs = dict(
        zip(
            "abctdep",
            (
                run_padded_loop, run_trainer_as_it_comes, run_trainer_best, run_trainer_with_ours, run_fit, run_fit_eagerly,
                run_prediction,
            ),
            strict=True,
        )
    )  # fmt: skip
    parser.add_argument("--variant", choices=runs)
    arguments = parser.parse_args()
    if arguments.variant:
        found = runs[arguments.variant](arguments)
        print(json.dumps(found | {"peak_memory_bytes": peak_memory_bytes(find_device("no"))}))
        return
    device, name = find_device(), Path(arguments.dataset).name
    print(f"{device}; {name}, {arguments.examples} examples x {arguments.epochs} epochs")
    width = AutoConfig.from_pretrained(find_model(arguments.model).location).hidden_size
    fp32, bf16 = (matrix_rate(dtype, 1024, width) for dtype in (torch.float32, torch.bfloat16))
    turns = [(v, 0) for v in "ab"] + [(v, seed) for seed in range(arguments.repeats) for v in "ctd"]
    results: dict[str, list[dict]] = {}
    for variant, seed in turns + [("e", 0)] * (device.kind == "cuda"):
        results.setdefault(variant, []).append(measure(variant, arguments, seed))
        print(f"({variant}) {results[variant][-1]['samples_per_second']:.1f} samples/s", file=sys.stderr, flush=True)
    print_table(results)
    print_limits(results["d"], measure("p", arguments), fp32, bf16, device.precision)


if __name__ == "__main__":
    np.random.seed(0)
    main()
