"""How fast is this machine? Two figures within about five seconds, from which `timing` foretells the notebooks' time.

It is asked in a process of its own, so that what it needs of memory is gone when the notebooks begin.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter

from helpers.exceptions import TrainingError

ROWS, LENGTH, LABELS = 32, 24, 6  # a batch as notebook 01 has them
WARM_UP, FEWEST, SECONDS = 3, 4, 2.5


def ask_probe(threads: int | None = None) -> dict:
    """Return what `probe` finds, in a process of its own, on so many `threads` (None: as this process would have).
    Raises `TrainingError` if it fails."""
    own = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "helpers.course.probe"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | own)
    if done.returncode:
        raise TrainingError(
            "The machine's speed could not be measured: run `python -m helpers.course.probe` to see why."
        )
    return json.loads(done.stdout.splitlines()[-1])


def probe() -> dict:
    """Return seconds per training step (`training`) and per piece of plain Python (`python`), how many cores a step keeps
    busy (`cores`), and in words what computed: `machine`, `profile`."""
    import torch

    from helpers.device import find_device, pick_profile

    device = find_device()
    step = prepare_step(device)
    for _ in range(WARM_UP):
        step()
    start, before = time.perf_counter(), time.process_time()
    training = _time_median(step)
    cores = (time.process_time() - before) / (time.perf_counter() - start)
    machine = f"{device}, {torch.get_num_threads()} threads"
    found = {"training": training, "python": _time_median(_work_in_python, seconds=0.5), "cores": cores}
    return {"machine": machine, "profile": pick_profile()} | {name: round(value, 5) for name, value in found.items()}


def prepare_step(device):
    """Return a function that takes one training step of a model of all-MiniLM-L6-v2's size, with random weights, on
    random tokens; the step is that of notebook 01, section 5. Time depends on the sizes alone."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from helpers.device import autocast

    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    config = BertConfig(**sizes)
    config.num_labels = LABELS
    model = BertForSequenceClassification._from_config(config, attn_implementation=device.attention)
    model = model.to(device.kind).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    tokens = torch.randint(config.vocab_size, (ROWS, LENGTH), device=device.kind)
    labels = torch.randint(LABELS, (ROWS,), device=device.kind)

    def step() -> None:
        with autocast(device):
            logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for a GPU

    return step


def _time_median(function, seconds: float = SECONDS) -> float:
    """Return the median time of calls of `function` that take about `seconds` together, at least `FEWEST` of them."""
    taken = []
    while len(taken) < FEWEST or sum(taken) < seconds:
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _work_in_python() -> str:
    """Do what one thread does between trainings: count words, match patterns, write JSON."""
    texts = [f"the {number} of {number * number} words" for number in range(5_000)]
    counts = Counter(word for text in texts for word in re.findall(r"\w+", text))
    return json.dumps(dict(sorted(counts.items())))


if __name__ == "__main__":
    print(json.dumps(probe()))
