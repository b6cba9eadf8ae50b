"""The leaderboard as text, CSV, Markdown and HTML: the same numbers in each, to the last digit."""

import html

import pandas as pd

from helpers.leaderboard.table import Leaderboard

WORDS = {"accuracy": "accuracy", "f1_macro": "macro F1", "f1_micro": "micro F1", "f1_weighted": "weighted F1"}
STYLE = "table{border-collapse:collapse}td,th{border:1px solid #999;padding:.3em .6em;text-align:right}td:first-child,th:first-child{text-align:left}"


def format_table(board: Leaderboard) -> pd.DataFrame:
    """Return the leaderboard's table with every number written out for readers, a row per system."""
    table, shown = board.table, pd.DataFrame(index=board.table.index)
    shown["rank"] = table["rank"].map(lambda rank: "-" if pd.isna(rank) else f"{rank:.0f}")
    if board.groups:
        shown["group"] = table["group"].replace("", "-")
    shown[WORDS[board.metric]] = table["score"].map("{:.3f}".format)
    shown["95 % interval"] = [_range(low, high) for low, high in zip(table["low"], table["high"], strict=True)]
    shown["runs"] = table["runs"].astype(str)
    shown["texts"] = table["texts"].map("{:,}".format)
    shown["weights trained"] = table["trained"].map(_count)
    shown["seconds"] = table["seconds"].map(lambda value: "-" if pd.isna(value) else f"{value:.3g}")
    shown["GB"] = table["GB"].map(lambda value: "-" if pd.isna(value) else f"{value:.1f}")
    return shown


def _range(low: float, high: float) -> str:
    return "-" if pd.isna(low) else f"{low:.3f} to {high:.3f}"


def _count(value) -> str:
    if value is None or pd.isna(value):
        return "-"
    return f"{value / 1e6:.1f} M" if value >= 1e6 else f"{value:,.0f}"


def explain(board: Leaderboard) -> list[str]:
    """Return what a reader must know of the table: what the interval says, what a group is, and what was left out."""
    if board.folds:
        lines = [
            "Interval: what other training and test rows could have shown (corrected resampled t-test over folds)."
        ]
    else:
        lines = [
            "Interval: what other test texts could have shown (bootstrap). One division: nothing is said of training."
        ]
    if board.groups:
        lines += ["Two systems are told apart (all pairs, Holm, 5 %) unless they have a letter in common."]
    return lines + board.notes


def write_text(board: Leaderboard) -> str:
    """Return the leaderboard for a terminal."""
    return "\n".join([format_table(board).reset_index().to_string(index=False), *explain(board)]) + "\n"


def write_csv(board: Leaderboard) -> str:
    """Return the leaderboard as CSV, numbers in full."""
    return board.table.to_csv(lineterminator="\n")


def write_markdown(board: Leaderboard) -> str:
    """Return the leaderboard as a Markdown table with what it means beneath."""
    table = format_table(board).reset_index()
    rows = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n\n" + "\n\n".join(explain(board)) + "\n"


def write_html(board: Leaderboard) -> str:
    """Return the leaderboard as a page of its own, without scripts and without anything from elsewhere."""
    body = format_table(board).reset_index().to_html(index=False, border=0, escape=True)
    said = "".join(f"<p>{html.escape(line)}</p>" for line in explain(board))
    head = f'<meta charset="utf-8"><title>Leaderboard</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}{said}</body></html>\n'


WRITERS = {"csv": write_csv, "md": write_markdown, "html": write_html}
