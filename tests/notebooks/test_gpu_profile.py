"""The gpu profile of every notebook, end to end on a CPU: the very cells a Colab user runs, against the stand-in Hub."""

import json

import pytest
from headless import reduced_parameters, run_notebook
from standin_hub import TOKEN, StandInHub

from helpers.assets.defaults import read_notebook
from helpers.assets.find import read_pinned
from helpers.course.notebooks import find_notebooks

# Besides the reduced ones, a value other than the default for the parameters that leave model and dataset as they are.
OTHER = {
    "profile": "gpu",
    "learning_rate": 1e-3,
    "batch_size": 16,
    "seed": 7,
    "run_name": "from-hub",
    "resume": False,
    "tracker": "tensorboard",
    "tracker_project": "tests",
    "weight_decay": 0.1,
    "warmup": 0.3,
    "dropout": 0.2,
    "patience": 2,
    "precision": "no",
    "max_tokens": 1024,
    "save_model": False,
}


@pytest.mark.parametrize("notebook", find_notebooks(), ids=lambda path: path.stem)
def test_the_gpu_profile_runs_from_the_hub(notebook, tmp_path):
    """17 s for notebook 00 and for notebook 01, on one core."""
    with StandInHub() as hub:
        parameters = reduced_parameters(notebook, **OTHER)
        variables = hub.environment(tmp_path / "hf", token=TOKEN)
        done = run_notebook(notebook, tmp_path, parameters, **variables)
        assert done.returncode == 0, done.terminal[-3000:]
        files = hub.downloads()
    assert done.network == "", "something else than the Hub was asked"
    assert done.records()
    assert all(record["device"].endswith("cores") for record in done.records())
    if notebook.stem != "07_leaderboard":  # it compares runs; the little that it trains is on moments in both profiles
        assert all("/" in record["dataset"] for record in done.records())
    # What was set is in the result: every parameter of the notebook, and the value that was given.
    chosen = [json.loads(path.read_text(encoding="utf-8")) for path in done.runs.rglob("parameters.json")]
    assert chosen and all(set(found) == set(read_notebook(notebook.stem)["parameters"]) for found in chosen)
    assert all(found[name] == value for found in chosen for name, value in parameters.items())
    assert all(record["precision"] == "no" for record in done.records() if "precision" in parameters)
    if "tracker" in parameters:
        assert any("tests" in path.parts for path in done.runs.rglob("events.out.tfevents*"))
    if "save_model" in parameters:
        assert not (done.runs / notebook.stem / "from-hub" / "model").exists()
    # Every file came from the pinned revision, and none of them is a pickle or a program.
    for path in files:
        kind = "datasets" if path.startswith("/datasets/") else "models"
        name, file = path.removeprefix("/datasets").strip("/").split("/resolve/")
        pinned = read_pinned(name)["revision"]
        assert file.startswith((pinned, hub.repositories[kind, name].sha(pinned))), path
        assert not path.endswith((".bin", ".pt", ".pkl", ".py")), path
