"""The benchmark of growth finds the exponents that it is given, and draws every curve."""

import bench_growth
import pandas as pd
import pytest


@pytest.fixture
def table():
    """Points of every curve: time grows with rows to the power of 1.1, memory by 500 bytes per row from 1 GB."""
    points = [
        {"what": what, "model": model, "rows": rows, "seconds": 0.002 * rows**1.1, "bytes": 1e9 + 500 * rows}
        for (what, model), sizes in bench_growth.POINTS.items()
        for rows in sizes
    ]
    return pd.DataFrame(points)


def test_exponents_and_costs_per_row_are_found_in_any_order(table):
    growth = bench_growth.find_growth(table.sample(frac=1, random_state=0))
    assert list(growth.index) == list(bench_growth.POINTS)
    assert growth["time_exponent"].tolist() == pytest.approx([1.1] * len(growth))
    assert growth["bytes_per_row"].tolist() == pytest.approx([500] * len(growth))
    assert growth["memory_exponent"].between(0, 0.1).all()


def test_each_curve_is_drawn_beside_its_exponent_and_its_memory(table):
    growth = bench_growth.find_growth(table)
    figure = bench_growth.plot_growth(table, growth)
    drawn = [len(ax.get_lines()) for ax in figure.axes]
    assert drawn == [2, 3, 3, len(growth)]
    for ax in figure.axes[:3]:
        assert all("rows^1.10" in text.get_text() for text in ax.get_legend().get_texts())
