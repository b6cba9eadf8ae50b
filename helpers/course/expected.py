"""Expected results: the band in which a metric of a notebook lies, measured over several seeds and kept as data."""

from pathlib import Path

import pandas as pd

from helpers.files import DATA, read_json, write_json

BANDS = DATA / "expected.json"


def find_bands(record: dict, bands: Path = BANDS) -> dict[str, tuple[float, float]]:
    """Return the band of each metric for the notebook, model, dataset and sizes of a `metrics.json` record.
    Another model, dataset, number of examples or of epochs is another experiment, for which nothing is expected: {}."""
    entry = _read_bands(bands).get(record["notebook"], {})
    if not entry or any(entry.get("settings", {}).get(name) != value for name, value in _settings(record).items()):
        return {}
    return {name: tuple(band) for name, band in entry["bands"].items()}


def _read_bands(bands: Path) -> dict:
    return read_json(bands) if bands.exists() else {}


def _settings(record: dict) -> dict:
    return {name: record.get(name) for name in ("model", "dataset", "sizes", "epochs", "learning_rate", "batch_size")}


def judge(record: dict, bands: Path = BANDS) -> pd.DataFrame:
    """Return a row per expected metric: value, low, high and `inside`."""
    known = find_bands(record, bands).items()
    rows = [(name, record[name], low, high, low <= record[name] <= high) for name, (low, high) in known]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "inside"]).set_index("metric")


def print_card(record: dict, bands: Path = BANDS) -> None:
    """Print the expected-result card: per headline metric its value, its band, and whether it is inside."""
    table = judge(record, bands)
    if record["notebook"] not in _read_bands(bands):
        print("No expected results are stored for this notebook yet.")
    elif table.empty:
        print("Expected results exist for the notebook as it comes; these settings are your own experiment.")
    for name, row in table.iterrows():
        verdict = "inside" if row["inside"] else "OUTSIDE"
        print(f"{name:<12} ≈ {row['value']:.3f}   {verdict} the expected band {row['low']:.3f} to {row['high']:.3f}")


def write_bands(records: list[dict], metrics: tuple[str, ...], bands: Path = BANDS) -> dict:
    """Store the bands that `records`, runs of one notebook that differ in their seed alone, have shown; return the entry.

    A band reaches from the lowest to the highest value seen, and one standard error of the test set's size further
    on both sides: room for other processors, whose rounding leads to other weights, but not for a bug.
    """
    first = records[0]
    rows = first["sizes"]["test"]
    room = {name: (first[name] * (1 - first[name]) / rows) ** 0.5 for name in metrics}
    seen = {name: [record[name] for record in records] for name in metrics}
    limits = {n: [round(min(seen[n]) - room[n], 4), round(max(seen[n]) + room[n], 4)] for n in metrics}
    seeds = [record["seed"] for record in records]
    entry = {"settings": _settings(first), "seeds": seeds, "seen": seen, "bands": limits}
    write_json(bands, dict(sorted((_read_bands(bands) | {first["notebook"]: entry}).items())))
    return entry
