"""What stands for None: `data/defaults.toml` holds every parameter's meaning, and its default by notebook and profile."""

from helpers.files import DATA, read_toml

DEFAULTS = DATA / "defaults.toml"


def read_parameters() -> dict[str, dict]:
    """Return name → meaning and kind (or choices) of every parameter of the course."""
    return read_toml(DEFAULTS).get("parameters", {})


def read_notebook(notebook: str) -> dict:
    """Return a notebook's table: its parameters, its own meanings, and its defaults ("all", "laptop", "gpu")."""
    return read_toml(DEFAULTS).get("notebooks", {}).get(notebook, {"parameters": []})


def list_parameters(notebook: str) -> dict[str, dict]:
    """Return name → meaning, kind and default of every parameter of `notebook`, the default in words.
    Where the profiles differ, both are named; None stands for what the model, the data or a section decides."""
    known, table = read_parameters(), read_notebook(notebook)
    return {
        name: {
            "meaning": table.get("meaning", {}).get(name, known[name]["meaning"]),
            "kind": known[name].get("kind", "choice"),
            "default": _in_words(name, table),
        }
        for name in table["parameters"]
    }


def _in_words(name: str, table: dict) -> str:
    """Return e.g. "4 (laptop), 3 (gpu)"; what belongs to another setting follows: "emotion (dataset moments)"."""
    words = {}
    for part in ("all", "laptop", "gpu"):
        plain = table.get(part, {})
        if name in plain:
            words[f"{plain[name]}" if part == "all" else f"{plain[name]} ({part})"] = None
        for setting, cases in plain.get("with", {}).items():
            found = {value: case[name] for value, case in cases.items() if name in case}
            words |= {f"{default} ({setting} {value})": None for value, default in found.items()}
    return ", ".join(words) or ("auto" if name == "profile" else "None")
