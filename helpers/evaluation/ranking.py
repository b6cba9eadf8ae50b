"""Many systems: every pair is tested, luck is paid for, and what does not differ stands in one group. And luck planned for:
how many seeds one needs, what the best of many seeds is worth. Taught in notebook 07, sections 6 to 8."""

from itertools import combinations

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from helpers.evaluation.resampling import resampled_t_test


def compare_pairs(scores: pd.DataFrame, test_to_train: float, *, level: float = 0.05) -> pd.DataFrame:
    """Return a row per pair of the systems in `scores` (a row per fold, a column per system): first and second, difference
    (second minus first) with its 95 % interval, p by `resampled_t_test`, `p_holm`, and whether they `differ` at `level`.

    With many pairs some p are small by luck. Holm's step-down (*Scandinavian Journal of Statistics* 6, 1979) keeps the
    chance of even one wrong finding below `level`; the intervals are those of single pairs.
    """
    columns = ["first", "second", "difference", "low", "high", "p", "p_holm", "differ"]
    tests = {pair: scores[pair[1]] - scores[pair[0]] for pair in combinations(scores.columns, 2)}
    tests = {pair: resampled_t_test(values.to_numpy(), test_to_train) for pair, values in tests.items()}
    if not tests:
        return pd.DataFrame(columns=columns)
    rows = [(*pair, test.mean, test.low, test.high, test.p_value) for pair, test in tests.items()]
    table = pd.DataFrame(rows, columns=columns[:6])
    table["p_holm"] = multipletests(table["p"], method="holm")[1]
    table["differ"] = table["p_holm"] < level
    return table


def group_systems(means: pd.Series, pairs: pd.DataFrame) -> list[list[str]]:
    """Return the groups of systems that no test of `pairs` (`compare_pairs`) tells apart, the best first: two systems share
    a group exactly if they do not differ, and no group lies within another. A system may be in two groups: not told
    apart from those above nor from those below, which says that there was too little data, and not that all are equal.

    Every difference cuts the groups that hold both systems in two (Piepho, *An Algorithm for a Letter-Based
    Representation of All-Pairwise Comparisons*, 2004). The systems of a group need not be neighbours in the order of
    their means: a steady system may differ from one that is nearer than another.
    """
    order = list(means.sort_values(ascending=False, kind="stable").index)
    groups = [frozenset(order)] if order else []
    for pair in pairs.loc[pairs["differ"], ["first", "second"]].to_numpy():
        cut = [
            part
            for group in groups
            for part in ([group - {one} for one in pair] if group.issuperset(pair) else [group])
        ]
        groups = [group for group in dict.fromkeys(cut) if not any(group < other for other in cut)]
    return sorted((sorted(group, key=order.index) for group in groups), key=lambda group: [*map(order.index, group)])


def count_seeds_needed(difference: float, spread: float, *, power: float = 0.8, level: float = 0.05) -> int | None:
    """Return how many paired runs find a true `difference` with the chance `power`, if the single differences have the
    standard deviation `spread`; None where even 10,000 are not enough. More seeds do nothing against a small test set."""
    if difference == 0:
        return None
    if spread == 0:
        return 2
    test = TTestPower()
    for runs in (*range(2, 100), *range(100, 10_001, 10)):
        if test.power(abs(difference) / spread, runs, level) >= power:
            return runs
    return None


def pick_best_seeds(
    count: int, *, accuracy: float, seed_spread: float, rows: int, worlds: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return the accuracy of the best of `count` seeds, a row per simulated world: as it is `reported`, on the `rows` on which
    the best was picked; its `true` one; and that of `fresh` rows, as many. The `mean` of all seeds stands beside.

    All seeds have one recipe: their true accuracies are drawn around `accuracy` with the standard deviation `seed_spread`,
    and each test is a draw of so many right answers. What is above the mean in `reported` and not in `fresh` is luck.
    """
    generator = np.random.default_rng(seed)
    true = np.clip(generator.normal(accuracy, seed_spread, (worlds, count)), 0, 1)
    tested, fresh = (generator.binomial(rows, true) / rows for _ in range(2))
    best, every = tested.argmax(axis=1), np.arange(worlds)
    picked = {"mean": tested.mean(axis=1), "reported": tested[every, best], "true": true[every, best]}
    return pd.DataFrame(picked | {"fresh": fresh[every, best]})
