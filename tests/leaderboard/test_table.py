"""One table of many runs: what is ranked, what is refused, and that every form of it says the same."""

import io
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from made_runs import make_grid, make_run

from helpers.evaluation.resampling import resampled_t_test
from helpers.exceptions import DataError, SettingError
from helpers.leaderboard import fold_scores, label_scores, learning_curves, make_leaderboard, name_systems, read_runs
from helpers.leaderboard.show import WRITERS, explain, format_table, write_html, write_markdown

SYSTEMS = {"words": 0.5, "small": 0.8, "large": 0.82}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return make_grid(tmp_path_factory.mktemp("grid"), SYSTEMS)


def test_systems_are_ranked_by_the_mean_over_folds(grid):
    runs = read_runs([grid])
    board = make_leaderboard(runs)
    scores = fold_scores(name_systems(runs))
    assert scores.shape == (5, 3) and list(scores.index) == [1, 2, 3, 4, 5]
    one = runs.table[(runs.table["model"] == "small") & (runs.table["fold"] == 2)]["f1_macro"]
    assert len(one) == 2 and scores.loc[2, "small, full"] == pytest.approx(one.mean())
    assert list(board.table["rank"]) == [1, 2, 3] and board.table["score"].is_monotonic_decreasing
    row = board.table.loc["small, full"]
    found = resampled_t_test(scores["small, full"], 1 / 4)
    assert (row["score"], row["low"], row["high"]) == pytest.approx((found.mean, found.low, found.high))
    assert (row["runs"], row["texts"], row["seconds"]) == (10, 240, 2.5)
    assert board.groups == [["large, full", "small, full"], ["words, full"]]
    assert list(board.table["group"]) == ["a", "a", "b"] and board.notes == []


def test_one_test_set_gets_an_interval_over_its_texts_and_no_groups(tmp_path):
    for seed in range(3):
        make_run(tmp_path / f"a{seed}", seed=seed)
        make_run(tmp_path / f"b{seed}", seed=seed, model="other", accuracy=0.6)
    board = make_leaderboard(read_runs([tmp_path]), "accuracy")
    assert board.pairs.empty and board.groups == [] and list(board.table["runs"]) == [3, 3]
    assert (board.table["low"] < board.table["score"]).all() and (board.table["score"] < board.table["high"]).all()
    assert "group" not in format_table(board)


def test_a_system_without_all_folds_is_shown_and_not_ranked(grid, tmp_path):
    shutil.copytree(grid, tmp_path / "grid")
    for folder in (tmp_path / "grid").glob("large-fold3-*"):
        shutil.rmtree(folder)
    board = make_leaderboard(read_runs([tmp_path]))
    assert list(board.table.index)[-1] == "large, full" and np.isnan(board.table["rank"].iloc[-1])
    assert board.notes == ["large, full lacks folds, so it is not ranked."]
    assert board.groups == [["small, full"], ["words, full"]]


def test_a_lone_system_without_all_folds_is_not_called_one_division(grid, tmp_path):
    for folder in grid.glob("large-fold[12]-*"):
        shutil.copytree(folder, tmp_path / folder.name)
    said = explain(make_leaderboard(read_runs([tmp_path])))
    assert said[1:] == ["large, full lacks folds, so it is not ranked."] and "over folds" in said[0]


def test_results_on_two_datasets_are_not_called_results_of_one_system(tmp_path):
    make_run(tmp_path / "first")
    make_run(tmp_path / "second", dataset="other", data="d2", accuracy=0.5)
    with pytest.raises(DataError, match="on other versions of the data"):
        make_leaderboard(read_runs([tmp_path]))


def test_folders_of_two_machines_are_merged_and_copies_count_once(grid, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(
            grid, tmp_path / name, ignore=shutil.ignore_patterns("words-fold[45]*" if name == "one" else "small*")
        )
    board = make_leaderboard(read_runs([tmp_path / "one", tmp_path / "two"]))
    assert board.notes == ["16 runs are there twice, with equal results, and count once."]
    pd.testing.assert_frame_equal(board.table, make_leaderboard(read_runs([grid])).table)


def test_two_results_of_one_cell_are_refused(grid, tmp_path):
    make_run(tmp_path / "again", fold=1, folds=5, model="small", accuracy=0.3)
    with pytest.raises(DataError, match=r"small-fold1-seed0 and .*again are two results of one system and seed"):
        make_leaderboard(read_runs([grid, tmp_path]))


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"rows": 61}, "on other test rows"),
        ({"data": "d2"}, "on other versions of the data"),
        ({"several": True}, "by other metrics"),
        ({"fold": 1, "folds": 5}, "on another number of folds"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_named(changes, says, tmp_path):
    make_run(tmp_path / "first")
    make_run(tmp_path / "second", model="other", **changes)
    with pytest.raises(DataError, match=says) as caught:
        make_leaderboard(read_runs([tmp_path]))
    assert "first" in str(caught.value) and "second" in str(caught.value)


def test_other_rows_in_one_fold_are_named_with_the_fold(grid, tmp_path):
    own = {"model": "new", "folds": 5}
    for fold in range(1, 6):
        make_run(tmp_path / f"new{fold}", fold=fold, texts=[f"{fold == 4} {i}" for i in range(60)], **own)
    with pytest.raises(DataError, match=r"on other test rows \(fold \d\)"):
        make_leaderboard(read_runs([grid, tmp_path]))


def test_other_labels_are_refused(tmp_path, monkeypatch):
    make_run(tmp_path / "first")
    monkeypatch.setattr("made_runs.LABELS", ["sad", "glad", "wild"])
    make_run(tmp_path / "second", model="other")
    with pytest.raises(DataError, match="for other labels"):
        make_leaderboard(read_runs([tmp_path]))


def test_recipes_of_one_model_are_told_apart_by_what_differs(tmp_path):
    make_run(tmp_path / "a", learning_rate=1e-4, epochs=3)
    make_run(tmp_path / "b", learning_rate=2e-4, epochs=3)
    make_run(tmp_path / "c", model="other", epochs=3)
    names = set(name_systems(read_runs([tmp_path])).table["system"])
    assert names == {"tiny, full, rate 0.0001", "tiny, full, rate 0.0002", "other, full"}


def test_a_system_has_the_name_that_its_record_gives_it(tmp_path):
    make_run(tmp_path / "a", system="Mine")
    make_run(tmp_path / "b", system="Mine", fold=None, max_train_examples=100, sizes={"train": 100, "test": 60})
    assert set(name_systems(read_runs([tmp_path])).table["system"]) == {"Mine, 100 texts", "Mine, 240 texts"}


def test_an_unknown_metric_is_refused(grid):
    with pytest.raises(SettingError, match="metric='f2' is unknown"):
        make_leaderboard(read_runs([grid]), "f2")


def test_labels_and_curves_are_means_over_folds(grid, tmp_path):
    small = {"max_train_examples": 100, "sizes": {"train": 100, "validation": 20, "test": 60}}
    make_grid(tmp_path, {"small": 0.7}, seeds=1, system="small, full", **small)
    runs = read_runs([grid, tmp_path])
    curves = learning_curves(runs)
    assert list(curves.index) == [("small, full", 100), ("small, full", 240)]
    assert (curves["low"] < curves["value"]).all() and curves["value"].is_monotonic_increasing
    table = label_scores(name_systems(read_runs([grid])))
    assert table.shape == (3, 3)
    own = runs.table[(runs.table["model"] == "words")]
    assert table.loc["sad", "words, full"] == pytest.approx(own["f1 sad"].mean())


def test_every_form_of_the_table_says_the_same(grid):
    board = make_leaderboard(read_runs([grid]))
    table = pd.read_csv(io.StringIO(WRITERS["csv"](board)), index_col="system")
    pd.testing.assert_series_equal(table["score"], board.table["score"], rtol=0, atol=0)
    lines = write_markdown(board).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    assert [row[0] for row in cells[2:]] == list(board.table.index)
    page = re.findall(r"<td>(.*?)</td>", write_html(board))
    assert page == [cell for row in cells[2:] for cell in row]
    assert "<script" not in write_html(board)


def test_odd_names_break_no_table(tmp_path):
    make_run(tmp_path / "a", system='<b>|"x"')
    board = make_leaderboard(read_runs([tmp_path]))
    assert "<b>" not in write_html(board) and '\\|"x"' in write_markdown(board)


def test_the_command_prints_and_writes_all_forms(command, grid, tmp_path):
    files = [tmp_path / f"table.{kind}" for kind in ("csv", "md", "html")]
    status, out, err = command("leaderboard", grid, "--csv", files[0], "--md", files[1], "--html", files[2])
    assert (status, err) == (0, "") and "large, full" in out and "unless they have a letter in common" in out
    board = make_leaderboard(read_runs([grid]))
    assert [path.read_text() for path in files] == [write(board) for write in WRITERS.values()]


def test_the_command_chooses_by_what_the_records_say(command, grid, tmp_path):
    make_run(tmp_path / "other", dataset="else", data="d9")
    status, _, err = command("leaderboard", grid, tmp_path)
    assert status == 2 and "on other versions of the data" in err and err.count("\n") == 1
    status, out, _ = command("leaderboard", grid, tmp_path, "--where", "dataset=toy", "--where", "seed=0")
    assert status == 0 and " 5 " in out
    assert "no run says so" in command("leaderboard", grid, "--where", "dataset=nothing")[2]
    assert "write it as name=value" in command("leaderboard", grid, "--where", "colour=red")[2]


def test_the_command_packs(command, grid, tmp_path):
    status, out, _ = command("leaderboard", grid, "--pack", tmp_path / "packed")
    assert status == 0 and out.startswith("30 runs packed into")
    assert command("leaderboard", tmp_path / "packed") == command("leaderboard", grid)
