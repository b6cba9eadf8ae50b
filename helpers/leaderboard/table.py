"""One table of many runs, which refuses to compare what cannot be compared. Taught in notebook 07, sections 2 and 6."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.evaluation.intervals import interval
from helpers.evaluation.metrics import fast_score
from helpers.evaluation.ranking import compare_pairs, group_systems
from helpers.evaluation.resampling import resampled_t_test
from helpers.exceptions import DataError, SettingError
from helpers.leaderboard.records import RECIPE, SCORES, Runs

SHORT = {"learning_rate": "rate {}", "batch_size": "batches of {}", "max_train_examples": "{} texts"}
COLUMNS = (
    "rank",
    "group",
    "model",
    "method",
    "trained",
    "texts",
    "runs",
    "score",
    "low",
    "high",
    "spread",
    "seconds",
    "GB",
)


@dataclass(frozen=True)
class Leaderboard:
    """Systems that were scored on the same rows, the best first, and what may be said of their differences."""

    metric: str
    table: pd.DataFrame  # a row per system, `COLUMNS`; those that lack folds stand last and have no rank
    pairs: pd.DataFrame  # every pair of ranked systems, of `compare_pairs`; empty without folds
    groups: list[list[str]]
    notes: list[str]
    folds: bool  # whether the scores are means over folds, and not those of one test set


def make_leaderboard(runs: Runs, metric: str = "f1_macro") -> Leaderboard:
    """Return the leaderboard of `runs` (`read_runs`) by `metric`. Raises `DataError` if they cannot be compared.

    With folds, a system's score is the mean over its folds, seeds averaged within each, and its interval that of
    `resampled_t_test`: what other training and test rows of the same kind could have shown. Without, there is one test
    set, and the interval is a bootstrap over its texts. Systems without all folds are shown, and not ranked.
    """
    if metric not in SCORES:
        raise SettingError(f"metric={metric!r} is unknown: use one of {', '.join(SCORES)}.")
    require_comparable(runs)  # before twins are looked for: results on other data are no second results
    runs, copies = drop_copies(name_systems(runs))
    folds = runs.table["folds"].iloc[0]
    rows = {}
    for system in runs.table["system"].unique():
        rows[system] = summarise(runs.choose(runs.table["system"] == system), metric)
    table = pd.DataFrame.from_dict(rows, orient="index").sort_values(
        ["complete", "score"], ascending=False, kind="stable"
    )
    table.index.name, complete = "system", table["complete"]
    table["rank"] = complete.cumsum().where(complete)
    scores = fold_scores(runs, metric)[list(table.index[complete])] if folds else pd.DataFrame()
    pairs = compare_pairs(scores, 1 / (folds - 1)) if folds else compare_pairs(scores, 0)
    groups = group_systems(scores.mean(), pairs) if folds else []
    letters = {
        name: "".join(chr(97 + i % 26) for i, group in enumerate(groups) if name in group) for name in table.index
    }
    table["group"] = pd.Series(letters)
    notes = [f"{copies} runs are there twice, with equal results, and count once."] if copies else []
    notes += [f"{name} lacks folds, so it is not ranked." for name in table.index[~complete]]
    if unsealed := int((~runs.table["sealed"]).sum()):
        notes.append(
            f"{unsealed} records bear no seal: their scores were computed again, their costs are taken on trust."
        )
    return Leaderboard(metric, table[list(COLUMNS)], pairs, groups, notes, bool(folds))


def name_systems(runs: Runs) -> Runs:
    """Return `runs` with a `system` in each row: what the record calls it, or else model and method, and whatever of the
    recipe differs among those that would have the same name."""
    table = runs.table.copy()
    plain = plain_names(table)
    table["max_train_examples"] = table["max_train_examples"].where(table["fold"].notna(), table["train rows"])
    for _, rows in table.groupby(plain):
        texts = [name for name in ("model", "method", *RECIPE) if rows[name].nunique(dropna=False) > 1]
        for name in texts:
            said = rows[name].map(lambda value, name=name: _say(name, value))
            plain.loc[rows.index] = plain.loc[rows.index].str.cat(said)
    table["system"] = plain
    return Runs(table, runs.answers, runs.truths)


def plain_names(table: pd.DataFrame) -> pd.Series:
    """Return for each run what its record calls the system, or else model and method."""
    return table["system"].fillna(table["model"] + ", " + table["method"])


def _say(name: str, value) -> str:
    if pd.isna(value):
        return ", all texts" if name == "max_train_examples" else ""
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    return ", " + SHORT.get(name, name.replace("_", " ") + " {}").format(value)


def drop_copies(runs: Runs) -> tuple[Runs, int]:
    """Return `runs` without those that are there twice, as after merging folders, and how many these were.
    Raises `DataError` for two different results of one system, fold and seed: one of them must go."""
    cells = runs.table[["system", "fold", "seed"]].astype(object).where(lambda t: t.notna(), None)
    first, kept = {}, []
    for row, cell in enumerate(cells.itertuples(index=False)):
        other = first.setdefault(cell, row)
        kept.append(other == row)
        if runs.table["answered"].iloc[other] != runs.table["answered"].iloc[row]:
            names = " and ".join(map(_end_of, runs.table["folder"].iloc[[other, row]]))
            raise DataError(
                f"{names} are two results of one system and seed: delete one, or set `system` in one of them."
            )
    return runs.choose(kept), len(kept) - sum(kept)


def require_comparable(runs: Runs) -> None:
    """Raise `DataError` if not all `runs` were scored by the same metric, on the same data, and fold by fold on the very
    same rows. The sentence names two runs that differ, and in what."""
    table = runs.table
    _require_one(table, "several", "by other metrics (one label per text, or several)")
    labels = table.filter(regex="^f1 ").notna().apply(lambda row: ", ".join(row.index[row].str[3:]), axis=1)
    _require_one(table.assign(labels=labels), "labels", "for other labels")
    _require_one(table[table["data"].notna()], "data", "on other versions of the data")
    _require_one(table.assign(folds=table["folds"].fillna(0)), "folds", "on another number of folds")
    for _, rows in table.groupby(table["fold"].fillna(0)):
        _require_one(rows, "test_set", "on other test rows")


def _end_of(folder: str) -> str:
    """Return the last two names of a path: they tell runs apart, and leave room for the sentence."""
    return "/".join(Path(folder).parts[-2:])


def _require_one(table: pd.DataFrame, column: str, what: str) -> None:
    if table[column].nunique(dropna=False) > 1:
        counts = table[column].value_counts()  # the two most frequent ones
        one, other = (table[table[column] == value].iloc[0] for value in counts.index[:2])
        where = f" (fold {one['fold']:.0f})" if pd.notna(one["fold"]) and column == "test_set" else ""
        raise DataError(
            f"{_end_of(one['folder'])} and {_end_of(other['folder'])} were scored {what}{where}: they belong in two tables. Name fewer "
            "folders, or choose by --where dataset=…"
        )


def fold_scores(runs: Runs, metric: str = "f1_macro") -> pd.DataFrame:
    """Return the `metric` of every fold, a row each, and system, a column each; seeds are averaged, what is missing is nan."""
    return runs.table.pivot_table(
        index="fold", columns="system", values=metric, aggfunc="mean", sort=False
    ).sort_index()


def summarise(runs: Runs, metric: str) -> dict:
    """Return the row of the leaderboard for `runs`, which are of one system."""
    table, first = runs.table, runs.table.iloc[0]
    by_fold = table.groupby(table["fold"].fillna(0))[metric].mean()
    folds, complete = first["folds"], True
    if pd.notna(folds):
        complete = len(by_fold) == folds
        found = resampled_t_test(by_fold, 1 / (folds - 1)) if len(by_fold) > 1 else None
        low, high = (found.low, found.high) if found else (np.nan, np.nan)
    else:
        truth, answers = runs.truths[first["test_set"]].astype(np.int64), [a.astype(np.int64) for a in runs.answers]
        low, high = interval(lambda rows: _mean_score(metric, truth, answers, rows), len(truth), samples=1000)
    memory = pd.to_numeric(table["peak_memory_bytes"]).max()
    return {
        "model": first["model"], "method": first["method"], "trained": first["parameters_trainable"],
        "texts": round(table["train rows"].mean()), "runs": len(table), "score": by_fold.mean(),
        "low": max(0, low), "high": min(1, high), "spread": by_fold.std() if len(by_fold) > 1 else np.nan,
        "seconds": pd.to_numeric(table["train_seconds"]).median(), "GB": memory / 1e9, "complete": complete,
    }  # fmt: skip


def _mean_score(metric: str, truth: np.ndarray, answers: list[np.ndarray], rows: np.ndarray) -> float:
    return float(np.mean([fast_score(metric, truth[rows], predicted[rows]) for predicted in answers]))


def label_scores(runs: Runs) -> pd.DataFrame:
    """Return the mean F1 of each label, a row each, and system, a column each: over folds, and seeds within each fold."""
    columns = {name: name[3:] for name in runs.table if name.startswith("f1 ")}
    means = runs.table.groupby(["system", runs.table["fold"].fillna(0)])[list(columns)].mean()
    return means.groupby("system", sort=False).mean().rename(columns=columns).T


def learning_curves(runs: Runs, metric: str = "f1_macro") -> pd.DataFrame:
    """Return value, low and high per system and number of training texts, for the systems that were trained on several
    numbers of them. `runs` are those of `read_runs`, whose records hold the systems' own names."""
    table = runs.table.assign(system=plain_names(runs.table))
    rows = {}
    for (system, _), own in table.groupby(["system", table["max_train_examples"].fillna(np.inf)], sort=False):
        found = summarise(Runs(own.reset_index(drop=True), [runs.answers[i] for i in own.index], runs.truths), metric)
        rows[system, found["texts"]] = {"value": found["score"], "low": found["low"], "high": found["high"]}
    curves = pd.DataFrame.from_dict(rows, orient="index")
    curves.index = pd.MultiIndex.from_tuples(rows, names=["system", "texts"])
    several = curves.groupby("system")["value"].transform("size") > 1
    return curves[several].sort_index()
