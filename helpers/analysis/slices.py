"""Which kinds of text fare worse than the rest, with intervals for many questions. Taught in notebook 03, section 3."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest, fisher_exact
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep


def compare_slices(wrong: np.ndarray, slices: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Return a row per slice: its error rate, that of all other rows, and their difference with an interval.

    Asking ten questions finds something by chance; so the intervals (Newcombe 1998, method 10, from two Wilson intervals)
    are wide enough to hold *all together* at `level` (Bonferroni), and `p_adjusted` is Fisher's exact test corrected by
    Holm's method. A slice with no rows, or with all of them, has no rest to be compared with and counts for nothing.
    """
    wrong = np.asarray(wrong, dtype=bool)
    comparable = [name for name in slices if 0 < slices[name].sum() < len(wrong)]
    alpha = (1 - level) / max(1, len(comparable))
    rows = {}
    for name in slices:
        inside = slices[name].to_numpy(dtype=bool)
        errors, size = int(wrong[inside].sum()), int(inside.sum())
        others, rest = int(wrong[~inside].sum()), int((~inside).sum())
        rows[name] = {"rows": size, "errors": errors}
        if name in comparable:
            rates = {"error_rate": errors / size, "rest": others / rest, "difference": errors / size - others / rest}
            p_value = fisher_exact([[errors, size - errors], [others, rest - others]]).pvalue
            low, high = confint_proportions_2indep(errors, size, others, rest, method="newcomb", alpha=alpha)
            rows[name] |= rates | {"low": low, "high": high, "p_adjusted": p_value}
    columns = ["rows", "errors", "error_rate", "rest", "difference", "low", "high", "p_adjusted"]
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)
    if comparable:
        table.loc[comparable, "p_adjusted"] = multipletests(table.loc[comparable, "p_adjusted"], method="holm")[1]
    return table.sort_values("difference", ascending=False, na_position="last")


def rate_table(wrong: np.ndarray, groups: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return value, low and high (the error rate with its 95 % Wilson interval) per group of rows that is not empty.
    `groups` maps names to masks `(rows,)`; the number of rows is put behind the name."""
    rates = {}
    for name, inside in groups.items():
        errors, rows = int(wrong[inside].sum()), int(np.sum(inside))
        if rows:
            bounds = binomtest(errors, rows).proportion_ci(method="wilson")
            rates[f"{name} ({rows:,})"] = (errors / rows, float(bounds.low), float(bounds.high))
    return pd.DataFrame.from_dict(rates, orient="index", columns=["value", "low", "high"])
