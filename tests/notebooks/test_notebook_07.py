"""Notebook 07 on runs of one's own, and what the stored grid promises."""

import pandas as pd
from headless import run_notebook
from made_runs import make_grid

from helpers.files import ROOT
from helpers.leaderboard import GRID, make_leaderboard, read_runs

NOTEBOOK = ROOT / "notebooks" / "07_leaderboard.ipynb"


def test_runs_of_one_s_own_are_read_in_place_of_the_stored_ones(tmp_path):
    """papermill notebooks/07_leaderboard.ipynb … -p grid FOLDER,FOLDER"""
    own = {"several": True, "peak_memory_bytes": 10**9, "max_train_examples": 240}
    first = make_grid(tmp_path / "one", {"Ada": 0.7, "Bob": 0.72}, seeds=1, **own)
    second = make_grid(tmp_path / "two", {"Cy": 0.9}, **own)
    small = own | {"max_train_examples": 100, "sizes": {"train": 100, "validation": 20, "test": 60}}
    make_grid(tmp_path / "two" / "small", {"Cy": 0.8}, seeds=1, **small)
    given = {"grid": f"{first}, {second}", "max_train_examples": 300}
    done = run_notebook(NOTEBOOK, tmp_path, given, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.terminal[-3000:]
    assert "Cy, full" in done.terminal and "TF-IDF," not in done.terminal
    (record,) = done.records()
    assert (record["system"], record["sizes"]["train"], record["max_train_examples"]) == ("TF-IDF", 300, 300)
    assert done.network == ""


def test_the_stored_grid_is_whole_checked_and_without_texts():
    runs = read_runs([GRID])
    assert runs.table["sealed"].all() and set(runs.table["dataset"]) == {"moments"}
    at_400 = runs.choose(runs.table["max_train_examples"] == 400)
    board = make_leaderboard(at_400)
    assert board.table["rank"].notna().all() and len(board.table) >= 4
    assert (at_400.table.groupby("system")["fold"].nunique() == 5).all()
    texts = pd.read_csv(ROOT / "data" / "moments" / "train.csv")["text"]
    stored = "".join(path.read_text(encoding="utf-8") for path in GRID.glob("*/predictions.csv"))
    assert not any(text in stored for text in texts[:100])
    assert sum(path.stat().st_size for path in GRID.rglob("*") if path.is_file()) < 4e6
