"""Which kinds of text fare worse than the rest: differences of error rates, with intervals that bear many questions.

Taught in notebook 03, section 5.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest, fisher_exact
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep


def compare_slices(wrong: np.ndarray, slices: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Return a row per slice: its error rate, that of all other rows, and their difference with an interval.

    Asking ten questions finds something by chance; so the intervals (Newcombe's, from two Wilson intervals) are wide
    enough to hold *all together* at `level` (Bonferroni), and `p_adjusted` is Fisher's exact test corrected by Holm's
    method. A slice with no rows, or with all of them, has no rest to be compared with and counts for nothing.
    """
    wrong = np.asarray(wrong, dtype=bool)
    comparable = [name for name in slices if 0 < slices[name].sum() < len(wrong)]
    each = 1 - (1 - level) / max(1, len(comparable))
    rows = {}
    for name in slices:
        inside = slices[name].to_numpy(dtype=bool)
        counts = (int(wrong[inside].sum()), int(inside.sum()), int(wrong[~inside].sum()), int((~inside).sum()))
        row = {"rows": counts[1], "errors": counts[0]}
        if name in comparable:
            low, high = difference_interval(*counts, level=each)
            rates = counts[0] / counts[1], counts[2] / counts[3]
            p = fisher_exact([[counts[0], counts[1] - counts[0]], [counts[2], counts[3] - counts[2]]]).pvalue
            row |= {"error_rate": rates[0], "rest": rates[1], "difference": rates[0] - rates[1]}
            row |= {"low": low, "high": high, "p_adjusted": float(p)}
        rows[name] = row
    columns = ["rows", "errors", "error_rate", "rest", "difference", "low", "high", "p_adjusted"]
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)
    table["p_adjusted"] = adjust_p_values(table["p_adjusted"])
    return table.sort_values("difference", ascending=False, na_position="last")


def difference_interval(errors: int, rows: int, other_errors: int, other_rows: int, *, level: float = 0.95):
    """Return the interval of the difference of two error rates (Newcombe 1998, method 10: from Wilson's intervals)."""
    counts = (errors, rows, other_errors, other_rows)
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=1 - level)
    return float(low), float(high)


def adjust_p_values(p_values: pd.Series) -> pd.Series:
    """Return p values corrected for their number by Holm's step-down method; missing ones stay missing."""
    known = p_values.dropna()
    adjusted = multipletests(known, method="holm")[1] if len(known) else []
    return pd.Series(adjusted, known.index, dtype=float).reindex(p_values.index)


def rate_table(wrong: np.ndarray, groups: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return value, low and high (the error rate with its 95 % Wilson interval) per group of rows that is not empty.

    `groups` maps names to masks `(rows,)`; the number of rows is put behind the name.
    """
    rates = {}
    for name, inside in groups.items():
        errors, rows = int(wrong[inside].sum()), int(np.sum(inside))
        if rows:
            bounds = binomtest(errors, rows).proportion_ci(method="wilson")
            rates[f"{name} ({rows:,})"] = (errors / rows, float(bounds.low), float(bounds.high))
    return pd.DataFrame.from_dict(rates, orient="index", columns=["value", "low", "high"])
