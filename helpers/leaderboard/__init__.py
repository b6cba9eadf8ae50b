"""Many runs, one table that compares only what may be compared: grids of runs, and what they found.
Taught in notebook 07."""

from helpers.leaderboard.grid import Cell, Sweep, read_sweep

__all__ = ["Cell", "Sweep", "read_sweep"]
