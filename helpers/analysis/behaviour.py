"""Behavioural tests of a sentiment classifier: change a sentence in a way whose effect is known, and see what it says.

After Ribeiro et al., *Beyond Accuracy: Behavioral Testing of NLP Models with CheckList* (2020); notebook 03, section 6.
"""

import random
from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from helpers.evaluation.intervals import interval

PRAISE = ("good", "funny", "moving", "clever", "charming", "gripping", "beautiful", "memorable", "fresh", "smart")
BLAME = ("bad", "boring", "silly", "dull", "clumsy", "predictable", "ugly", "pointless", "stale", "lazy")
THINGS = ("film", "story", "ending", "comedy")
NAMES = ("Anna", "Bilal", "Chen", "Dolores", "Emeka", "Freya", "Giorgos", "Hana", "Ivan", "Jamal")
INTENSIFIERS = ("very", "really", "extremely", "incredibly")
NEGATIONS = ("The {} is not {}.", "I did not find the {} {}.", "Nobody could call this {} {}.")
TOLERANCE = 0.05  # by so much P(positive) may move the wrong way, and by more it has to move where it must rise


def make_cases(texts: Sequence[str] = (), *, seed: int = 0) -> pd.DataFrame:
    """Return the test cases, one row each: test, cluster, before, after, expected.

    `expected` is what must hold of the answer after the change: "positive" or "negative"; "same" as before; or that
    P(positive) is "higher", "not lower" or "not higher" than before. In each of `texts`, real sentences, one typo is made.
    Cases of one cluster differ in little (they share their adjective) and tend to stand or fall together.
    """
    rows = []
    for thing, (praise, blame) in product(THINGS, zip(PRAISE, BLAME, strict=True)):
        good, bad = f"The {thing} is {praise}.", f"The {thing} is {blame}."
        rows.append(("plain praise and blame", praise, good, good, "positive"))
        rows.append(("plain praise and blame", blame, bad, bad, "negative"))
        for form in NEGATIONS:
            rows.append(("negated praise is negative", praise, good, form.format(thing, praise), "negative"))
            rows.append(("negated blame sounds better than blame", blame, bad, form.format(thing, blame), "higher"))
        for much in INTENSIFIERS:
            rows.append(("more praise is no worse", praise, good, f"The {thing} is {much} {praise}.", "not lower"))
            rows.append(("more blame is no better", blame, bad, f"The {thing} is {much} {blame}.", "not higher"))
    for name, word in product(NAMES[1:], PRAISE + BLAME):
        before, after = (f"{who} gives us a {word} film." for who in (NAMES[0], name))
        rows.append(("another name, same answer", word, before, after, "same"))
    draw = random.Random(seed)
    rows += [("one typo, same answer", f"text {i}", t, make_typo(t, draw), "same") for i, t in enumerate(texts)]
    return pd.DataFrame(rows, columns=["test", "cluster", "before", "after", "expected"])


def make_typo(text: str, draw: random.Random) -> str:
    """Return `text` with two neighbouring inner letters of one word swapped; unchanged if no word has four letters."""
    words = text.split(" ")
    places = [(i, j) for i, w in enumerate(words) for j in range(1, len(w) - 2) if w.isalpha() and w[j] != w[j + 1]]
    if places:
        i, j = draw.choice(places)
        words[i] = words[i][:j] + words[i][j + 1] + words[i][j] + words[i][j + 2 :]
    return " ".join(words)


def judge_cases(cases: pd.DataFrame, positive_before: np.ndarray, positive_after: np.ndarray) -> pd.DataFrame:
    """Return `cases` with the columns `testable` and `fails`, given P(positive) before and after the change, both `(rows,)`.

    A case is testable if some answer after the change would fail: P(positive) of 0.03 has no room to fall by more than the
    tolerance, and a test on it could not but pass.
    """
    before, after, expected = np.asarray(positive_before), np.asarray(positive_after), cases["expected"].to_numpy()
    passes = {
        "positive": after > 0.5,
        "negative": after <= 0.5,
        "same": (after > 0.5) == (before > 0.5),
        "higher": after > before + TOLERANCE,
        "not lower": after >= before - TOLERANCE,
        "not higher": after <= before + TOLERANCE,
    }
    cannot_fail = {"not lower": before <= TOLERANCE, "not higher": before >= 1 - TOLERANCE}
    cannot_pass = {"higher": before >= 1 - TOLERANCE}
    idle = [(expected == name) & rows for name, rows in (cannot_fail | cannot_pass).items()]
    fails = ~np.select([expected == name for name in passes], list(passes.values()), default=False)
    testable = ~np.any(idle, axis=0)
    return cases.assign(testable=testable, fails=fails & testable)


def failure_table(judged: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Return per test: cases, how many are testable, failures, their rate among the testable, and its 95 % interval.

    The interval is a bootstrap of whole clusters, since cases that share an adjective are no independent draws. Where no
    case fails, or all do, nothing varies: then it is Wilson's, of as many draws as there are clusters.
    """
    rows = {}
    for name, found in judged.groupby("test", sort=False):
        tested = found[found["testable"]]
        clusters = tested.groupby("cluster", sort=False)["fails"].agg(["sum", "size"]).to_numpy()
        failures, size = int(tested["fails"].sum()), len(tested)
        row = {"cases": len(found), "testable": size, "failures": failures}
        if size:
            low, high = _cluster_interval(clusters, seed)
            row |= {"failure_rate": failures / size, "low": low, "high": high}
        rows[name] = row
    columns = ["cases", "testable", "failures", "failure_rate", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)


def _cluster_interval(clusters: np.ndarray, seed: int) -> tuple[float, float]:
    """Return low and high of the failure rate; `clusters` are failures and cases of each, `(clusters, 2)`."""
    failures, size = clusters.sum(axis=0)
    if failures in (0, size):
        bounds = binomtest(len(clusters) * int(failures > 0), len(clusters)).proportion_ci(method="wilson")
        return float(bounds.low), float(bounds.high)

    def rate(drawn: np.ndarray) -> float:
        return float(np.divide(*clusters[drawn].sum(axis=0)))

    return tuple(interval(rate, len(clusters), seed=seed).tolist())
