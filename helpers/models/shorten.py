"""Fewer layers: a pretrained model without its upper ones, as a folder that the course and other libraries open.

The uppermost layers of a language model serve the guess of the next word; a classifier may do without them (Sajjad et
al., *On the Effect of Dropping Layers of Pre-trained Transformer Models*, 2020). What half a decoder gains and loses is
measured by `tests/benchmarks/bench_decoders.py`. Taught in notebook 02, section 8.
"""

from pathlib import Path

from helpers.assets.hub_errors import explain_hub_errors
from helpers.exceptions import SettingError
from helpers.files import atomic_folder
from helpers.models.frozen import require_layer_count
from helpers.models.origins import find_origin, load_tokenizer, quiet_loading
from helpers.models.saving import require_model_folder
from helpers.models.weights import open_config, require_backbone


def keep_first_layers(model: str, layers: int, folder: str | Path, *, revision: str | None = None) -> Path:
    """Write the pretrained `model` with its first `layers` alone, and its tokenizer, to `folder`; return it.

    The folder is the name of a model like any other: what is trained on it costs as much less as it has fewer layers, and
    so does what it answers afterwards. Raises `SettingError` for a number of layers that the model does not have, for a
    model whose head is trained (it reads the last layer), and for a folder in which something else lies.
    """
    from transformers import AutoModel

    origin, tokenizer = find_origin(model, revision=revision), load_tokenizer(model, revision=revision)
    if origin.kind != "backbone":
        raise SettingError(
            f"{model!r} is trained, and its head reads the last layer: shorten what it was trained from."
        )
    require_model_folder(folder, tokenizer)
    config = _cut_config(origin, layers)
    how = {"config": config, "dtype": "auto", "use_safetensors": True, "output_loading_info": True}
    with explain_hub_errors(origin.name, origin.location), quiet_loading():
        backbone, found = AutoModel.from_pretrained(origin.location, revision=origin.revision, **how)
    require_backbone(origin, found["missing_keys"], "")
    held = {name: value for name, value in backbone.state_dict().items() if name not in found["missing_keys"]}
    with atomic_folder(folder) as work:
        backbone.save_pretrained(work, state_dict=held)  # without a pooling layer that was made up just now
        tokenizer.save_pretrained(work)
    return Path(folder)


def _cut_config(origin, layers: int):
    """Return the model's configuration for its first `layers`."""
    config = open_config(origin)
    require_layer_count(config, layers, setting="layers")
    config.num_hidden_layers = layers
    for name, types in list(vars(config).items()):
        if name.endswith("layer_types") and types:  # one entry per layer
            setattr(config, name, types[:layers])
    return config
