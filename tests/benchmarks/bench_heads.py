"""Which head for the laptop's encoder? Transformers' own class, as it comes and with an identity for its pooling layer,
against mean pooling and the bare first token; the same seeds, rows and steps for each, paired.

    python tests/benchmarks/bench_heads.py [--dataset moments | FOLDER] [--seeds 5] [--epochs 4] [--batch 32]

Accuracy on validation (of the best epoch) and on test, and the mean difference from mean pooling with its standard error.
Five seeds on moments take 20 minutes on two cores with AVX-512 BF16. What decides is whether the ecosystem's own class
costs more than a point: if not, it is the default, because every other library can open it.
"""

import argparse
import os

os.environ["COURSE_PROGRESS"] = "off"

import pandas as pd

from helpers import data, evaluation, models, training
from helpers.device import find_device
from helpers.models.classifier import TextClassifier, use_byte_dropout

MODEL = "all-MiniLM-L6-v2"
HEADS = ("mean", "native", "identity", "first token")


def make_classifier(head: str, names: list[str], *, seed: int, device):
    """Return a new classifier with one of the four `HEADS`."""
    pooling = {"identity": "cls", "first token": "mean"}.get(head, head)  # the zoo's "cls" is the identity
    classifier = models.load_classifier(MODEL, names, pooling=pooling, device=device, seed=seed)
    if head == "first token":
        classifier = TextClassifier(classifier.backbone, pooling="cls")
        use_byte_dropout(classifier)
    return classifier


def run(head: str, corpus, encoded: dict, arguments, *, seed: int) -> dict:
    """Return the accuracies of one training."""
    device = find_device()
    classifier = make_classifier(head, corpus.label_names, seed=seed, device=device)
    config = training.TrainingConfig(epochs=arguments.epochs, batch_size=arguments.batch, seed=seed)
    training.fit(classifier, encoded["train"], encoded["validation"], config, device=device)
    found = {"head": head, "seed": seed}
    for split in ("validation", "test"):
        predicted = models.predict_logits(classifier, encoded[split], device).argmax(axis=1)
        found[split] = evaluation.compute_metrics(encoded[split].labels, predicted, corpus.label_names)["accuracy"]
    return found


def main() -> None:
    """Train all heads with all seeds and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="moments")
    for name, default in (("seeds", 5), ("epochs", 4), ("batch", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    column = "emotion" if arguments.dataset == "moments" else None
    corpus = data.load_data(arguments.dataset, label_column=column)
    tokenizer = models.load_tokenizer(MODEL)
    encoded = {name: models.encode_split(split, tokenizer, 128) for name, split in corpus.splits.items()}
    rows = [run(head, corpus, encoded, arguments, seed=s) for s in range(arguments.seeds) for head in HEADS]
    table = pd.DataFrame(rows).set_index(["head", "seed"])
    difference = table.sub(table.loc["mean"], level="seed").groupby("head")
    summary = {"accuracy": table.groupby("head").mean(), "minus mean pooling": difference.mean()}
    summary["standard error"] = difference.sem()
    print(pd.concat(summary, axis=1).loc[list(HEADS)].round(4).to_string())


if __name__ == "__main__":
    main()
