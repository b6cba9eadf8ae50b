"""Where does a training step's time go, and what would make it shorter? A profile, then every idea tried by turns.

    python tests/benchmarks/bench_step.py [--dataset FOLDER] [--steps 40] [--ways "as it is" "clipping in AdamW" ...]

The step is that of notebook 01: forward pass, backward pass, clipping, AdamW, with all-MiniLM-L6-v2 in batches of 64. The
profile says what each kind of work takes, and so the most that an idea could gain if it made that work free. The ways are
taken in an order drawn anew for every batch, all with a classifier of their own, in one process: whatever else the
machine does meets all of them alike. Compiling takes a C++ compiler, a minute, and the first batches.

How a processor with AVX2 alone would do, seen from one that has more: the libraries are told to use no other instructions.

    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \\
        python tests/benchmarks/bench_step.py --precision no

Six minutes on two cores with AVX-512 BF16 at half their speed.
"""

import argparse
import os
import random
import time
from collections import Counter

os.environ["COURSE_PROGRESS"] = "off"

import numpy as np
import torch
from bench_training import MAX_LENGTH, REAL_DATA, matrix_rate
from step_ways import BATCH, MODEL, WAYS, Step
from torch.profiler import ProfilerActivity, profile

from helpers import data, models, training
from helpers.device import PRECISIONS, find_device

# What an operator's name says of the work, first match wins; the time is the operator's own.
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul"),
    "AdamW": ("_fused_adamw_", "Optimizer.step#AdamW.step"),
    "casts and copies": ("_to_copy", "copy_", "to", "contiguous", "clone"),
    "GELU": ("gelu", "gelu_backward"),
    "layer norm": ("native_layer_norm", "native_layer_norm_backward", "layer_norm"),
    "dropout's random numbers": ("random_", "ge", "bernoulli_", "native_dropout", "native_dropout_backward"),
    "softmax": ("_softmax", "_softmax_backward_data"),
    "token tables": ("embedding", "embedding_dense_backward", "index_select"),
    "sums and products, number by number": ("add", "add_", "mul", "mul_", "div", "div_", "sum", "fill_"),
    "the gradients' length": ("linalg_vector_norm", "_foreach_norm", "stack"),
}
WARM_UP, PROFILED = 4, 10  # steps


def profile_step(step: Step, plan: list[np.ndarray]) -> dict[str, float]:
    """Return which share of the steps' time each kind of work takes; together 1, with what no name says as "the rest"."""
    for rows in plan[:WARM_UP]:
        step(rows)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for rows in plan[WARM_UP:]:
            step(rows)
    taken: Counter[str] = Counter()
    for event in seen.key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((kind for kind, names in KINDS.items() if name in names), "the rest")
        taken[kind] += event.self_cpu_time_total
    return {kind: value / taken.total() for kind, value in taken.most_common()}


def take_turns(steps: dict[str, Step], plan: list[np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return per way its seconds of every step after the first few, and the mean of its last ten losses."""
    seconds, losses = {name: [] for name in steps}, {name: [] for name in steps}
    for rows in plan:
        for name in random.sample(list(steps), len(steps)):
            start = time.perf_counter()
            losses[name].append(steps[name](rows))
            seconds[name].append(time.perf_counter() - start)
    taken = {name: np.array(values[WARM_UP:]) for name, values in seconds.items()}
    return taken, {name: float(np.mean(values[-10:])) for name, values in losses.items()}


def print_profile(shares: dict[str, float]) -> None:
    """Print a line per kind of work: its share, and how many times as fast a step would be without it."""
    print(f"\n{'kind of work':<38} {'share':>6}  a step without it")
    for kind, share in shares.items():
        print(f"{kind:<38} {share:>6.1%}  {1 / (1 - share):.2f} x as fast")


def print_ways(taken: dict[str, np.ndarray], losses: dict[str, float]) -> None:
    """Print a line per way: its times, the paired ratio to the first way, and what it learnt meanwhile."""
    print(f"\n{'way':<26} {'least':>8} {'median':>9}  {'as fast (quartiles)':<26} loss at the end")
    first = taken[next(iter(taken))]
    for name, values in taken.items():
        low, middle, high = np.quantile(first / values, [0.25, 0.5, 0.75])
        ratio = f"{middle:.2f} x ({low:.2f} to {high:.2f})"
        print(
            f"{name:<26} {1000 * values.min():>5.0f} ms {1000 * np.median(values):>6.0f} ms  {ratio:<26} {losses[name]:.3f}"
        )


def print_limit(encoded, plan: list[np.ndarray], step: Step, seconds: float) -> None:
    """Print the machine's matrix rate, and what a step needs of it: operations of real tokens alone, and with padding."""
    table = step.classifier.get_input_embeddings().weight
    flops = 6 * (sum(p.numel() for p in step.parameters) - table.numel())
    tokens = np.mean([encoded.lengths[rows].sum() for rows in plan])
    places = np.mean([len(rows) * encoded.lengths[rows].max() for rows in plan])
    dtype = torch.bfloat16 if step.device.precision == "bf16" else torch.float32
    rate = matrix_rate(dtype, int(places), table.shape[1])
    print(
        f"\nmatrix products here: {rate / 1e9:.0f} GFLOP/s; a step as it is needs {flops * tokens / seconds / rate:.0%} of that, "
        f"with padding, {1 - tokens / places:.1%} of all places, {flops * places / seconds / rate:.0%}"
    )


def main() -> None:
    """Print the profile of the step as it is, a line per way, and the machine's limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default=str(REAL_DATA) if REAL_DATA.exists() else "moments")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    device = find_device(arguments.precision)
    corpus = data.load_data(arguments.dataset, label_column="emotion" if arguments.dataset == "moments" else None)
    start = time.perf_counter()
    encoded = models.encode_split(corpus.splits["train"], models.load_tokenizer(MODEL), MAX_LENGTH)
    encoding = (time.perf_counter() - start) / len(encoded) * BATCH
    plan = training.plan_steps(encoded.lengths, training.TrainingConfig(epochs=1, batch_size=BATCH))[0]
    plan = [rows for rows in plan if len(rows) == BATCH][: arguments.steps + WARM_UP]
    parts = corpus.label_names, encoded, device
    print(f"{device}; {MODEL}, {arguments.steps} batches of {BATCH}")
    print_profile(profile_step(Step(*parts), plan[: WARM_UP + PROFILED]))
    steps = {name: WAYS[name](*parts) for name in arguments.ways}
    taken, losses = take_turns(steps, plan)
    print_ways(taken, losses)
    first = float(np.median(taken[arguments.ways[0]]))
    print(f"\ntokenising a batch's texts, once for all epochs: {encoding / first:.1%} of a step's time")
    print_limit(encoded, plan, steps[arguments.ways[0]], first)


if __name__ == "__main__":
    main()
