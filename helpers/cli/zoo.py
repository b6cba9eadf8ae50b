"""The command that shows the model zoo: all of it as a table, or one model with every setting."""

from typing import Annotated

import typer

from helpers.exceptions import SettingError

NOTE = "GiB: the most that training takes at these settings, on a GPU with bf16 and texts of full length; an estimate."
HINT = "Use one: python -m helpers train --model NAME --dataset FILE; all of one: python -m helpers zoo NAME"


def zoo(
    name: Annotated[
        str | None, typer.Argument(help='a name, a short name ("bert") or a Hub id; all by default')
    ] = None,
):
    """List the models that the course knows by name, smallest first; or all that is known of one."""
    print("\n".join(entry_lines(name) if name else [*table_lines(), NOTE, HINT]))


def table_lines() -> list[str]:
    """Return the zoo as lines of text, a model each, sorted by size; what is unknown is left empty."""
    from helpers.assets.zoo import read_rows

    rows = sorted(read_rows(), key=lambda row: row["parameters_millions"])
    table = {
        "name": [row["name"] for row in rows],
        "method": [row["method"] for row in rows],
        "pool": [row["pooling"] for row in rows],
        "rate": [_short_rate(row["learning_rate"]) for row in rows],
        "batch": [row["batch_size"] for row in rows],
        "length": [row["max_length"] for row in rows],
        "epochs": [row["epochs"] for row in rows],
        "rank": [row["rank"] for row in rows],
        "licence": [row["licence"] for row in rows],
        "gate": [row["gated"] for row in rows],
        "size": [_short_size(row["parameters_millions"]) for row in rows],
        "GiB": [row["memory_gib"] for row in rows],
        "F1": [_without_zero(row["reported_f1"]) for row in rows],
    }
    columns = [_align(title, values) for title, values in table.items()]
    return [" ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def entry_lines(name: str) -> list[str]:
    """Return all that the zoo says of the model `name`, a line per setting; "-" is unknown.
    Raises `ValueError` for a name that it does not list."""
    from helpers.assets.zoo import find_row, list_near_names

    row = find_row(name)
    if row is None:
        near = list_near_names(name)
        remedy = f"do you mean {' or '.join(near)}?" if near else "`python -m helpers zoo` lists what there is."
        raise SettingError(f"The zoo has no model {name!r}: {remedy}")
    width = max(map(len, row))
    return [f"{setting:<{width}}  {'-' if value is None else value}" for setting, value in row.items()]


def _align(title: str, values: list) -> list[str]:
    """Return a column's title and cells at one width: words begin at the left, numbers end at the right."""
    cells = [title, *("" if value is None else str(value) for value in values)]
    width = max(map(len, cells))
    left = title in ("name", "method", "pool", "licence", "gate")
    return [cell.ljust(width) if left else cell.rjust(width) for cell in cells]


def _short_rate(rate: float) -> str:
    """Return 0.00005 as 5e-5."""
    digits, exponent = f"{rate:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def _short_size(millions: float) -> str:
    """Return the number of parameters as 23M or 2.6B."""
    return f"{int(millions + 0.5)}M" if millions < 1000 else f"{millions / 1000:.2g}B"


def _without_zero(score: float | None) -> str | None:
    """Return 0.6222 as .6222."""
    return None if score is None else f"{score:.4f}".removeprefix("0")
