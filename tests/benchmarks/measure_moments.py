"""Which kinds of sentences of data/moments are hard? Five-fold cross-validation over all of it, per phenomenon.

    python tests/benchmarks/measure_moments.py

Every sentence is predicted once by a model that did not see it: by counting words, and by the laptop encoder after the
fine-tuning of notebook 01. This is for the data card; it uses the test split's sentences and chooses nothing.
"""

import os

os.environ["COURSE_PROGRESS"] = "off"

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from helpers import baseline, batching, data, device, evaluation, models, training

FOLDS = 5


def main() -> None:
    """Print accuracy per phenomenon and overall, for both models."""
    corpus = data.load_data("moments", label_column="emotion")
    table = pd.concat([split.to_pandas() for split in corpus.splits.values()], ignore_index=True)
    labels = table["label"].to_numpy()
    hardware, tokenizer = device.find_device(), models.load_tokenizer("all-MiniLM-L6-v2")
    table["counting words"] = table["transformer"] = False
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for seed, (train, test) in enumerate(folds.split(labels, labels)):
        texts = table["text"].to_numpy()
        words = baseline.make_baseline().fit(texts[train], labels[train])
        table.loc[test, "counting words"] = words.predict(texts[test]) == labels[test]
        encoded = {
            name: batching.encode_texts(texts[rows], tokenizer, 128, labels[rows])
            for name, rows in [("train", train), ("test", test)]
        }
        classifier = models.load_classifier(
            "all-MiniLM-L6-v2", corpus.label_names, attention=hardware.attention, seed=seed
        )
        # The last epoch is used, not the best: the fold that is scored must not choose.
        config = training.TrainingConfig(epochs=4, seed=seed, metric="epoch")
        training.fit(classifier, encoded["train"], encoded["test"], config, device=hardware)
        logits = evaluation.predict_logits(classifier, encoded["test"], hardware)
        table.loc[test, "transformer"] = logits.argmax(axis=1) == labels[test]
    scores = table.groupby("phenomenon")[["counting words", "transformer"]].mean()
    scores["sentences"] = table["phenomenon"].value_counts()
    scores["± (95 %)"] = 1.96 * np.sqrt(scores["transformer"] * (1 - scores["transformer"]) / scores["sentences"])
    print(scores.sort_values("transformer", ascending=False).round(3).to_string())
    print("all", table[["counting words", "transformer"]].mean().round(3).to_dict())


if __name__ == "__main__":
    main()
