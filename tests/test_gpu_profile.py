"""The gpu profile of every notebook, end to end on a CPU: the very cells a Colab user runs, against the stand-in Hub."""

import pytest
from headless import reduced_parameters, run_notebook
from standin_hub import TOKEN, StandInHub

from helpers.assets import read_manifest
from helpers.notebooks import find_notebooks

PINNED = {name: entry["revision"] for name, entry in read_manifest()["hub"].items()}


@pytest.mark.parametrize("notebook", find_notebooks(), ids=lambda path: path.stem)
def test_the_gpu_profile_runs_from_the_hub(notebook, tmp_path):
    """15 s for notebook 00 and 25 s for notebook 01, on one core."""
    with StandInHub() as hub:
        parameters = reduced_parameters(notebook, profile="gpu", seed=7, run_name="from-hub", learning_rate=1e-3)
        variables = hub.environment(tmp_path / "hf", token=TOKEN)
        done = run_notebook(notebook, tmp_path, parameters, **variables)
        assert done.returncode == 0, done.terminal[-3000:]
        files = hub.downloads()
    assert done.network == "", "something else than the Hub was asked"
    for record in done.records():
        assert "/" in record["dataset"]
        assert record["seed"] == 7 or "seeds" in parameters
    assert done.records()
    # Every file came from the pinned revision, and none of them is a pickle or a program.
    for path in files:
        kind = "datasets" if path.startswith("/datasets/") else "models"
        name, file = path.removeprefix("/datasets").strip("/").split("/resolve/")
        assert file.startswith((PINNED[name], hub.repositories[kind, name].sha(PINNED[name]))), path
        assert not path.endswith((".bin", ".pt", ".pkl", ".py")), path
