"""Behavioural tests of a sentiment classifier: change a sentence in a way whose effect is known, and see what it says.

After Ribeiro et al., *Beyond Accuracy: Behavioral Testing of NLP Models with CheckList* (2020); notebook 03, section 8.
"""

import random
from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import binomtest

PRAISE = ("good", "funny", "moving", "clever", "charming", "gripping", "beautiful", "memorable", "fresh", "smart")
BLAME = ("bad", "boring", "silly", "dull", "clumsy", "predictable", "ugly", "pointless", "stale", "lazy")
THINGS = ("film", "story", "ending", "comedy")
NAMES = ("Anna", "Bilal", "Chen", "Dolores", "Emeka", "Freya", "Giorgos", "Hana", "Ivan", "Jamal")
INTENSIFIERS = ("very", "really", "extremely", "incredibly")
NEGATIONS = ("The {} is not {}.", "I did not find the {} {}.", "Nobody could call this {} {}.")
TOLERANCE = 0.05  # by so much P(positive) may move against the expected direction


def make_cases(texts: Sequence[str] = (), *, seed: int = 0) -> pd.DataFrame:
    """Return the test cases, one row each: test, before, after, expected.

    `expected` is what must hold of the answer after the change: "positive" or "negative"; "same" as before; or that
    P(positive) is "not lower" or "not higher" than before. In each of `texts`, real sentences, one typo is made.
    """
    rows = []
    for thing, (praise, blame) in product(THINGS, zip(PRAISE, BLAME, strict=True)):
        good, bad = f"The {thing} is {praise}.", f"The {thing} is {blame}."
        rows += [("plain praise and blame", good, good, "positive"), ("plain praise and blame", bad, bad, "negative")]
        for form in NEGATIONS:
            rows.append(("negated praise is negative", good, form.format(thing, praise), "negative"))
            rows.append(("negated blame sounds better than blame", bad, form.format(thing, blame), "not lower"))
        for much in INTENSIFIERS:
            rows.append(("more praise is no worse", good, f"The {thing} is {much} {praise}.", "not lower"))
            rows.append(("more blame is no better", bad, f"The {thing} is {much} {blame}.", "not higher"))
    for name, word in product(NAMES[1:], PRAISE + BLAME):
        before, after = (f"{who} gives us a {word} film." for who in (NAMES[0], name))
        rows.append(("another name, same answer", before, after, "same"))
    draw = random.Random(seed)
    rows += [("one typo, same answer", text, make_typo(text, draw), "same") for text in texts]
    return pd.DataFrame(rows, columns=["test", "before", "after", "expected"])


def make_typo(text: str, draw: random.Random) -> str:
    """Return `text` with two neighbouring inner letters of one word swapped; unchanged if no word has four letters."""
    words = text.split(" ")
    places = [(i, j) for i, w in enumerate(words) for j in range(1, len(w) - 2) if w.isalpha() and w[j] != w[j + 1]]
    if places:
        i, j = draw.choice(places)
        words[i] = words[i][:j] + words[i][j + 1] + words[i][j] + words[i][j + 2 :]
    return " ".join(words)


def judge_cases(cases: pd.DataFrame, positive_before: np.ndarray, positive_after: np.ndarray) -> np.ndarray:
    """Return which cases fail, given P(positive) before and after the change, both `(rows,)`."""
    before, after, expected = np.asarray(positive_before), np.asarray(positive_after), cases["expected"].to_numpy()
    passes = {
        "positive": after > 0.5,
        "negative": after <= 0.5,
        "same": (after > 0.5) == (before > 0.5),
        "not lower": after >= before - TOLERANCE,
        "not higher": after <= before + TOLERANCE,
    }
    return ~np.select([expected == name for name in passes], list(passes.values()), default=False)


def failure_table(cases: pd.DataFrame, fails: np.ndarray) -> pd.DataFrame:
    """Return cases, failures, failure rate and its 95 % interval (Wilson) per test."""
    table = cases.assign(fails=fails).groupby("test", sort=False)["fails"].agg(cases="size", failures="sum")
    table["failure_rate"] = table["failures"] / table["cases"]
    counts = zip(table["failures"].tolist(), table["cases"].tolist(), strict=True)
    bounds = [binomtest(n, size).proportion_ci(method="wilson") for n, size in counts]
    table["low"], table["high"] = [b.low for b in bounds], [b.high for b in bounds]
    return table
