"""Where models and data come from: a local path, a pinned artefact of the package index, or a pinned Hub revision.

No notebook teaches it; `data/assets.toml` lists all that has a name, and `python -m helpers fetch` brings it.
"""

from helpers.assets.find import Asset as Asset
from helpers.assets.find import find_dataset as find_dataset
from helpers.assets.find import find_model as find_model
