"""What does each model of the zoo need? Memory and texts per second at true size, with random weights, on one GPU or CPU.

    python tests/benchmarks/bench_zoo.py [--models gemma-2b Llama-3.2-1B] [--tiny] [--write]

No weights are downloaded: speed and memory do not depend on their values, so every model is built from its published
sizes and filled at random. Each runs in a process of its own; beside the peak that a GPU measured on the worst batch
stands the estimate, which is the table's `memory_gib` (`estimate.py`; `tests/training/test_memory.py` compares it with
an H100; a CPU's figure is that of the whole process). `--write` puts the figures, with the device's name,
into `data/zoo.csv`; `--tiny` shrinks every model, to try the script on a CPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["COURSE_PROGRESS"] = "off"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import torch
from estimate import estimate_step, estimate_writing

from helpers import data, files, models, training
from helpers.device import Device, find_device
from helpers.models import zoo
from helpers.models.batches import EncodedTexts

LENGTHS = (20, 45)  # tokens: the median and the 95th percentile of the tweets
QWEN = {"rope_theta": 1e6, "max_position_embeddings": 32768}
LLAMA = {"rope_theta": 5e5, "max_position_embeddings": 131072, "vocab_size": 128256}
MISTRAL = {"vocab_size": 32000, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "intermediate_size": 14336}  # fmt: skip
GEMMA = {"vocab_size": 256000, "hidden_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 8,
         "num_key_value_heads": 1, "head_dim": 256, "intermediate_size": 16384}  # fmt: skip
BERT = {"vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072}  # fmt: skip
ROBERTA = BERT | {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}
# As published in each model's config.json: what decides the number of parameters and the work per token.
TIED = {"tie_word_embeddings": True}  # the words that are read and those that are written share their vectors
WRITING = {"prompt": 60, "answer": 24}  # tokens around a text and behind it: eleven labels, all of them
QWEN_14B = QWEN | {"vocab_size": 152064, "hidden_size": 5120, "num_hidden_layers": 48, "num_attention_heads": 40,
                   "num_key_value_heads": 8, "intermediate_size": 13824}  # fmt: skip
SIZES = {
    "all-MiniLM-L6-v2": BERT | {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    "SmolLM2-135M-Instruct": {"vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30,
                              "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536},
    "bert-base-uncased": BERT,
    "distilbert-base-uncased": {"vocab_size": 30522, "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072},
    "roberta-base": ROBERTA,
    "distilroberta-base": ROBERTA | {"num_hidden_layers": 6},
    "ModernBERT-base": {"vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12,
                        "intermediate_size": 1152},
    "Qwen2.5-0.5B": QWEN | {"vocab_size": 151936, "hidden_size": 896, "num_hidden_layers": 24,
                            "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864},
    "gemma-2b": GEMMA,
    "gemma-1.1-2b-it": GEMMA,
    "gemma-2-2b": {"vocab_size": 256000, "hidden_size": 2304, "num_hidden_layers": 26, "num_attention_heads": 8,
                   "num_key_value_heads": 4, "head_dim": 256, "intermediate_size": 9216},
    "Llama-3.2-1B": LLAMA | {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
                             "num_key_value_heads": 8, "intermediate_size": 8192},
    "stella_en_1.5B_v5": QWEN | {"vocab_size": 151646, "hidden_size": 1536, "num_hidden_layers": 28,
                                 "num_attention_heads": 12, "num_key_value_heads": 2, "intermediate_size": 8960},
    "Mistral-7B-v0.1": MISTRAL,
    "Mistral-7B-Instruct-v0.1": MISTRAL,
    "Qwen2.5-1.5B": QWEN | TIED | {"vocab_size": 151936, "hidden_size": 1536, "num_hidden_layers": 28,
                            "num_attention_heads": 12, "num_key_value_heads": 2, "intermediate_size": 8960},
    "Llama-3.2-3B-Instruct": LLAMA | TIED | {"hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 24,
                                      "num_key_value_heads": 8, "intermediate_size": 8192},
    "Qwen2.5-14B-Instruct": QWEN_14B,
    "Qwen2.5-Coder-14B-Instruct": QWEN_14B,
}  # fmt: skip
TINY = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "max_position_embeddings": 128, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64,
        "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
        "cls_token_id": 2, "sep_token_id": 3, "local_attention": 8, "sliding_window": 8}  # fmt: skip


def make_config(name: str, *, tiny: bool = False):
    """Return the configuration of a zoo model at its true size, or of the same architecture with two thin layers."""
    from transformers import AutoConfig

    architecture = zoo.find_row(name)["architecture"]
    config = AutoConfig.for_model(architecture, **SIZES[name])
    if tiny:
        own = {key: value for key, value in TINY.items() if key in config.to_dict()}
        if SIZES[name].get("num_key_value_heads") == 1:
            own["num_key_value_heads"] = 1
        config = AutoConfig.for_model(architecture, **own)
    return config


def count_needs(name: str, *, tiny: bool = False) -> dict[str, float]:
    """Return a zoo model's parameters, in millions, head included, and the GiB at the peak of its worst training step.

    On a GPU with bf16, at the zoo's settings: `batch_size` texts of `max_length` tokens in one pass, frozen weights in
    bf16 or in 4 bits, gradient checkpointing for large models with an adapter. See `estimate.py`.
    """
    row, config = zoo.find_row(name), make_config(name, tiny=tiny)
    settings = {"rank": int(row["rank"] or 0), "targets": zoo.find_defaults(name)["targets"]}
    settings |= {"rows": int(row["batch_size"]), "length": longest_text(row)}
    if row["method"] == "generation":
        found = estimate_writing(config, method="generate-qlora", **WRITING, **settings)
    else:
        settings |= {"pooling": row["pooling"]}
        found = estimate_step(config, list(data.ELEVEN_EMOTIONS), method=row["method"], **settings)
    return {"parameters_millions": round(found.parameters / 1e6, 1), "memory_gib": round(found.peak / 2**30, 1)}


def find_method(row: dict) -> str:
    """Return the method that the row's classifier is trained by; a generation row is measured as QLoRA, which it uses."""
    return "qlora" if row["method"] == "generation" else row["method"]


def longest_text(row: dict) -> int:
    """Return the most tokens of a text; of the laptop profile's models, which the table gives none, those of notebook 01."""
    return int(row["max_length"] or 128)


def build_backbone(name: str, folder: Path, *, tiny: bool = False) -> Path:
    """Write a randomly initialised backbone of the zoo model `name` to `folder`, in bf16; return it."""
    from transformers import AutoModel

    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        backbone = AutoModel.from_config(make_config(name, tiny=tiny), dtype=torch.bfloat16)
    backbone.save_pretrained(folder)
    return folder


def make_classifier(row: dict, folder: Path, device: Device):
    """Return the classifier with the method of the zoo's row."""
    settings = {"pooling": row["pooling"] or "last", "rank": int(row["rank"] or 0)}
    names = list(data.ELEVEN_EMOTIONS)
    return models.load_classifier(
        str(folder), names, method=find_method(row), multilabel=True, device=device, **settings
    )


def make_texts(rows: int, vocabulary: int, lengths: tuple[int, int] = LENGTHS) -> EncodedTexts:
    """Return random token ids, by default of a tweet's length, with random labels."""
    draw = np.random.default_rng(0)
    ids = [draw.integers(4, vocabulary, draw.integers(*lengths)).tolist() for _ in range(rows)]
    return EncodedTexts(ids, 0, (draw.random((rows, 11)) < 0.2).astype(np.float32))


def measure(name: str, *, tiny: bool, steps: int) -> dict:
    """Return memory and speed of one zoo model: training at its batch size, then prediction.
    Speed on texts of a tweet's length; memory, and its estimate, on two batches of the longest texts that the zoo allows."""
    row, device = zoo.find_row(name), find_device()
    with tempfile.TemporaryDirectory() as folder:
        classifier = make_classifier(row, build_backbone(name, Path(folder), tiny=tiny), device)
    classifier.to(device.kind)
    batch, vocabulary = int(row["batch_size"]), classifier.config.vocab_size
    config = training.TrainingConfig(epochs=1, learning_rate=1e-5, batch_size=batch, max_tokens=4096, metric="epoch")
    texts, longest = make_texts(batch * steps, vocabulary), longest_text(row)
    few = EncodedTexts(texts.input_ids[:16], 0, texts.labels[:16])
    training.fit(classifier, few, few, config, device=device)  # warms up
    result = training.fit(classifier, texts, few, config, device=device)
    models.predict_logits(classifier, few, device)
    start = time.perf_counter()
    models.predict_logits(classifier, texts, device)
    seconds = time.perf_counter() - start
    worst = training.fit(
        classifier, make_texts(2 * batch, vocabulary, (longest, longest + 1)), few, config, device=device
    )
    return {
        "device": device.name,
        "on_gpu": device.kind == "cuda",
        "train_memory_gib": round(worst.peak_memory_bytes / 2**30, 2),
        "estimated_gib": count_needs(name, tiny=tiny)["memory_gib"],
        "train_texts_per_s": round(result.samples_per_second, 1),
        "predict_texts_per_s": round(len(texts) / seconds, 1),
        "parameters": result.parameters.total,
    }


def write_figures(results: dict[str, dict], path: Path = zoo.ZOO) -> None:
    """Put what was measured into the zoo's table; rows that were not measured stay as they are."""
    whole = {"rank": "Int64", "max_length": "Int64"}
    table = zoo.read_zoo(path).astype({"device": object, **whole})
    for name, found in results.items():
        on_gpu = ["train_memory_gib"] if found["on_gpu"] else []  # a CPU's figure is that of the whole process
        for column in ("device", *on_gpu, "train_texts_per_s", "predict_texts_per_s"):
            table.loc[name, column] = found[column]
    files.write_table(path, table.reset_index())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=list(SIZES))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write and arguments.tiny:
        raise SystemExit("Error: only figures of models at true size go into the table.")
    if arguments.alone:
        print(json.dumps(measure(arguments.models[0], tiny=arguments.tiny, steps=arguments.steps)))
        return
    results = {}
    for name in arguments.models:
        command = [sys.executable, __file__, "--alone", "--models", name, "--steps", str(arguments.steps)]
        done = subprocess.run(command + ["--tiny"] * arguments.tiny, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:<26} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}", flush=True)
            continue
        found = results[name] = json.loads(done.stdout.strip().splitlines()[-1])
        print(
            f"{name:<26} {found['parameters'] / 1e6:>8.1f} M {found['train_memory_gib']:>7.2f} GiB at the peak, "
            f"{found['estimated_gib']:>5.1f} estimated {found['train_texts_per_s']:>8.1f} texts/s training "
            f"{found['predict_texts_per_s']:>8.1f} predicting   {found['device']}",
            flush=True,
        )
    if arguments.write and results:
        write_figures(results)
    if len(results) < len(arguments.models):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
