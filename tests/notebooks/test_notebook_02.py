"""The recorded contest of notebook 02 keeps its own rules: the same effort, the same rows, and what the notebook trains."""

import pandas as pd
import pytest

from helpers import data
from helpers.assets.defaults import read_notebook
from helpers.files import DATA


@pytest.fixture(scope="module")
def contest() -> pd.DataFrame:
    return pd.read_csv(DATA / "contest.csv", dtype={"predictions": str})


def test_both_systems_tried_the_same_number_of_settings_and_the_best_on_validation_went_on(contest):
    tried = contest[contest["seed"] == 0].groupby("system")
    assert tried.size().to_dict() == {"decoder": 3, "encoder": 3}
    assert tried[["epochs", "batch_size"]].nunique().to_numpy().max() == 1
    best = contest.loc[tried["validation_f1_macro"].idxmax()].set_index("system")["learning_rate"]
    went_on = contest.dropna(subset="predictions").groupby("system")["learning_rate"]
    assert went_on.unique().map(list).to_dict() == {name: [rate] for name, rate in best.items()}


def test_every_seed_answered_every_test_row(contest):
    rows = len(data.load_data("moments", label_column="emotion").splits["test"])
    answered = contest.dropna(subset="predictions")
    for _, seeds in answered.groupby("system")["seed"]:
        assert list(seeds) == list(range(len(seeds)))
    assert all(len(text) == rows and set(text) <= set("012345") for text in answered["predictions"])
    assert answered["predictions"].nunique() == len(answered), "two seeds are no two copies of one run"


def test_the_notebook_trains_what_was_recorded(contest):
    table = read_notebook("02_bert_vs_qwen")["laptop"]
    for system, rows in contest.dropna(subset="predictions").groupby("system"):
        own = {name: table[f"{system}_{name}"] for name in ("learning_rate", "batch_size")}
        own |= {"epochs": table["epochs"], "model": table[system]}
        assert {name: list(rows[name].unique()) for name in own} == {name: [value] for name, value in own.items()}
