"""The command that makes one table of many runs."""

from pathlib import Path
from typing import Annotated

import typer

from helpers.exceptions import SettingError


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(help="folders with runs, of one machine or of several")],
    metric: Annotated[str, typer.Option(help="accuracy, f1_macro, f1_micro or f1_weighted")] = "f1_macro",
    where: Annotated[
        list[str] | None, typer.Option(help="only runs whose record says so, as name=value: notebook=experiment")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="write the table, numbers in full, to this file")] = None,
    md: Annotated[Path | None, typer.Option(help="write the table as Markdown to this file")] = None,
    html: Annotated[Path | None, typer.Option(help="write the table as a page to this file")] = None,
    pack: Annotated[
        Path | None, typer.Option(help="copy records and answers, without texts, below this folder, to be shared")
    ] = None,
):
    """Put many runs into one table, scores computed again; refuses what cannot be compared, or was changed."""
    from helpers.files import atomic_path
    from helpers.leaderboard.records import pack_runs, read_runs
    from helpers.leaderboard.show import WRITERS, write_text
    from helpers.leaderboard.table import make_leaderboard

    if pack:
        print(f"{len(list(pack_runs(runs, pack)))} runs packed into {pack}")
        return
    board = make_leaderboard(select(read_runs(runs), where or []), metric)
    for kind, path in {"csv": csv, "md": md, "html": html}.items():
        if path:
            with atomic_path(path) as temporary:
                temporary.write_text(WRITERS[kind](board), encoding="utf-8")
    print(write_text(board), end="")


def select(found, where: list[str]):
    """Return the runs of `found` for which every name=value of `where` holds; `SettingError` if there is none."""
    for pair in where:
        name, _, value = pair.partition("=")
        if name not in found.table or not value:
            names = ", ".join(column for column in found.table if " " not in column)
            raise SettingError(f"--where {pair}: write it as name=value, with one of {names}.")
        found = found.choose(found.table[name].map(_write) == value)
        if found.table.empty:
            raise SettingError(f"--where {pair}: no run says so.")
    return found


def _write(value) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)
