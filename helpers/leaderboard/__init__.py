"""Many runs, one table that compares only what may be compared. Taught in notebook 07."""

from helpers.leaderboard.records import GRID, Runs, find_places, pack_runs, read_runs
from helpers.leaderboard.show import explain, format_table
from helpers.leaderboard.table import (
    Leaderboard, drop_copies, fold_scores, label_scores, learning_curves, make_leaderboard, name_systems,
    require_comparable,
)  # fmt: skip

__all__ = [
    "GRID", "Leaderboard", "Runs", "drop_copies", "explain", "find_places", "fold_scores", "format_table", "label_scores", "learning_curves",
    "make_leaderboard", "name_systems", "pack_runs", "read_runs", "require_comparable",
]  # fmt: skip
