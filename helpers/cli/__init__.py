"""The command line, `python -m helpers …`: `model` trains, evaluates and predicts; `zoo` lists the models; `course`
keeps the notebooks.
Every option of `train` is a parameter of `data/defaults.toml`, with the same name and meaning as in the notebooks."""

from helpers.cli.app import main as main
