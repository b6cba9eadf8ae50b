"""What must hold of the notebooks as they are committed, besides that their outputs can be reproduced."""

import ast

import nbformat
import pytest

from helpers.assets import ROOT
from helpers.notebooks import find_notebooks, list_parameters

REPOSITORY = "transformers-for-emotion/transformers-for-emotion"
SHARED_PARAMETERS = {"profile", "dataset", "text_column", "label_column", "max_train_examples", "seed", "run_name"}
each_notebook = pytest.mark.parametrize("path", find_notebooks(), ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@each_notebook
def test_executed_top_to_bottom_without_errors_or_noise(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@each_notebook
def test_metadata_is_clean(path):
    content = nbformat.read(path, as_version=4)
    assert content.metadata.kernelspec.name == "python3"
    assert set(content.metadata) == {"kernelspec", "language_info"}  # no widget state, no editor's traces
    assert path.stat().st_size < 1.5e6


@each_notebook
def test_parameters_are_flat_literals_with_a_meaning(path):
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    for statement in ast.parse(cell.source).body:
        ast.literal_eval(statement.value)
    parameters = list_parameters(path)
    assert set(parameters) >= SHARED_PARAMETERS
    assert all(found["meaning"] for found in parameters.values())


@each_notebook
def test_badge_and_first_cell_name_the_repository(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    assert f"colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks/{path.name}" in first
    assert f"https://github.com/{REPOSITORY}" in code_cells(path)[0].source


@each_notebook
def test_few_cells_are_left_uncompared(path):
    # Numbers of trained weights differ between processors; everything else is compared with what is stored.
    cells = code_cells(path)
    uncompared = [cell for cell in cells if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert len(uncompared) <= len(cells) / 4


def test_readme_lists_every_notebook():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"notebooks/{path.name}" in readme for path in find_notebooks())
