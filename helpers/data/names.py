"""Names of columns as people write them, made fit to be looked up."""

import itertools
import unicodedata


def clean_name(cell: str) -> str:
    """Return a column's name without blanks around it and without invisible characters, such as a byte order mark."""
    return "".join(c for c in str(cell) if unicodedata.category(c) != "Cf").strip()


def name_columns(cells) -> list[str]:
    """Return a name for every column: cleaned, each once, and a number for one without a name."""
    names = []
    for i, cell in enumerate(cells):
        base = name = clean_name(cell) or f"Unnamed: {i}"
        for number in itertools.count(1):
            if name not in names:
                break
            name = f"{base}.{number}"
        names.append(name)
    return names
