"""A classifier's weights, read from where its origin says they are: never a random backbone, and a random head only
where one is to be trained."""

import torch
from torch import nn

from helpers.assets.hub_errors import explain_hub_errors
from helpers.device import Device, find_device
from helpers.exceptions import AssetError, SettingError
from helpers.models.adapters import four_bit_config
from helpers.models.classifier import (
    POOLINGS,
    TextClassifier,
    backbone_prefix,
    final_layer,
    find_pooler,
    head_parts,
    let_through,
    prepare,
    set_labels,
)  # fmt: skip
from helpers.models.origins import OWN_HEAD, Origin, find_origin, load_tokenizer, quiet_loading

# What architectures call the dropout of their hidden states, that before their head, and that of their attention.
HIDDEN_DROPOUTS = ("hidden_dropout_prob", "dropout", "resid_pdrop", "embd_pdrop", "embedding_dropout", "mlp_dropout")
HEAD_DROPOUTS = ("classifier_dropout", "seq_classif_dropout")
ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")


def read_config(origin: Origin, *, dropout: float | None = None):
    """Return the configuration object of a model, with what fine-tuning wants: no attention dropout (slow, and hidden
    dropout regularises enough), no cache; and `dropout`, if given, wherever the model has one."""
    config = open_config(origin)
    values = dict.fromkeys(ATTENTION_DROPOUTS, 0.0)
    values |= {} if dropout is None else dict.fromkeys((*HIDDEN_DROPOUTS, *HEAD_DROPOUTS), dropout)
    for name, value in values.items():
        if hasattr(config, name):
            setattr(config, name, value)
    config.use_cache = False
    vars(config).pop("writing", None)  # of a model that wrote its labels; a head on top of it does not
    return config


def open_config(origin: Origin):
    """Return the configuration object of a model as it was stored. Raises `AssetError` for a model that reads no texts."""
    from transformers import AutoConfig

    if origin.kind == "pooled":
        values = dict(origin.config)
        config = AutoConfig.for_model(values.pop("model_type").removeprefix(OWN_HEAD), **values)
    else:
        with explain_hub_errors(origin.name, origin.location):  # code that comes with a model is never run
            config = AutoConfig.from_pretrained(origin.location, revision=origin.revision, trust_remote_code=False)
    _require_reader(origin, config)
    return config


def _require_reader(origin: Origin, config) -> None:
    """Refuse an architecture that reads no texts: pictures or sound, say."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    if getattr(MODEL_MAPPING.get(type(config), None), "main_input_name", "input_ids") != "input_ids":
        raise AssetError(f"{origin.name!r} is no model for texts ({config.model_type}): choose another.")


def count_weights(model: str, *, revision: str | None = None) -> int:
    """Return how many numbers the model consists of, from its configuration alone: its weights are not read."""
    from transformers import AutoModel

    with torch.device("meta"):
        backbone = AutoModel.from_config(read_config(find_origin(model, revision=revision)))
    return sum(parameter.numel() for parameter in backbone.parameters())


def pick_attention(model_class, device: Device | None) -> str:
    """Return the attention kernel: the device's, or "eager" where the architecture has no other.
    Gemma 2 caps its attention scores, which the fused kernel ("sdpa") cannot do."""
    wanted = device.attention if device else "sdpa"
    return wanted if wanted != "sdpa" or getattr(model_class, "_supports_sdpa", True) else "eager"


def pick_dtype(device: Device | None, *, frozen: bool) -> torch.dtype:
    """Return the type that weights rest in: fp32 where they are trained, because small updates would vanish in bf16.
    Weights that stay as they are take half the memory in bf16 on a GPU, which computes in bf16 anyway."""
    halves = frozen and device is not None and device.kind == "cuda" and device.precision == "bf16"
    return torch.bfloat16 if halves else torch.float32


def native_class(config):
    """Return the architecture's own class for sequence classification; None if it has none."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    return MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)


def native_poolings(config) -> tuple[str, ...]:
    """Return which poolings, besides "native", the architecture's own class can do: ModernBERT's the first token's or
    the mean; BERT's the first token's, where its pooling layer begins as the identity; a decoder's the last token's,
    where one linear layer ("score") reads it."""
    if hasattr(config, "classifier_pooling"):
        return ("cls", "mean")
    with torch.device("meta"):
        model = native_class(config)(config)
    return ("cls",) if find_pooler(model) else ("last",) if hasattr(model, "score") else ()


def keeps_head(origin: Origin, pooling: str) -> bool:
    """Return whether a head that was trained already reads texts as `pooling` wants it, and so can stay."""
    if origin.kind == "classifier":
        its_own = pooling in ("auto", "native", origin.pooling)
        return its_own or (pooling == "last" and pooling in native_poolings(read_config(origin)))
    return origin.kind == "pooled" and pooling in ("auto", origin.pooling)


def load_whole(
    origin: Origin, names: list[str], *, multilabel: bool, pooling: str = "auto", dropout: float | None = None,
    device: Device | None = None, frozen: bool = False, four_bit: bool = False,
) -> tuple[nn.Module, list[str]]:  # fmt: skip
    """Return a classifier with its own trained head, whatever its labels, or with a new one for `names`; and which parts
    of its backbone are new: BERT's pooling layer, if the origin did not hold it or `pooling` is "cls"."""
    config, how = read_config(origin, dropout=dropout), {"device": device, "frozen": frozen, "four_bit": four_bit}
    if origin.kind == "pooled":
        if four_bit or not keeps_head(origin, pooling):
            raise SettingError(
                f"{origin.name!r} was trained with pooling={origin.pooling!r}, and goes on with it and in full precision "
                "only: leave pooling out, and use method='lora' for 'qlora'."
            )
        return load_pooled(origin, config, device=device), []
    kept = keeps_head(origin, pooling)
    if not kept:
        set_labels(config, names, multilabel=multilabel)
    if native_class(config) is None and pooling in ("auto", "native"):
        pooling = "mean"  # an architecture without a classifier of its own
    if kept or pooling in ("auto", "native") or pooling in native_poolings(config):
        if hasattr(config, "classifier_pooling") and pooling in POOLINGS:
            config.classifier_pooling = pooling
        classifier, missing = load_native(origin, config, new_head=not kept, **how)
        if kept and missing:
            raise AssetError(f"{origin.name!r} lacks weights of its head ({min(missing)}): it is no whole classifier.")
        if not kept:
            final_layer(classifier).reset_parameters()  # as PyTorch begins a layer: what the heads were compared with
        pooler = find_pooler(classifier)
        new_pooler = (
            pooler is not None and not kept and (pooling == "cls" or any("pooler." in name for name in missing))
        )
        if new_pooler:
            let_through(pooler)
        return classifier, ["pooler"] if new_pooler else []
    backbone = load_backbone(origin, config, **how)
    classifier = TextClassifier(backbone, pooling=pooling, dropout=0.1 if dropout is None else dropout)
    classifier.classifier.to(next(backbone.parameters()).device)
    return prepare(classifier, device), []


def load_native(
    origin: Origin, config, *, device: Device | None, new_head: bool = False, frozen: bool = False, four_bit: bool = False
):  # fmt: skip
    """Return the architecture's own classifier, and the names of the weights that the origin did not hold. A head that will
    be a new one may have another shape there: that of a model for names in texts, say.
    Raises `AssetError` if any of them belongs to the backbone; a pooling layer on top of it may be new."""
    from transformers import AutoModelForSequenceClassification

    keep = []  # the head, and the pooling layer, which may be new: no part that is trained rests in 4 bits
    if four_bit:
        with torch.device("meta"):
            model = native_class(config)(config)
        keep = [*head_parts(model), f"{backbone_prefix(model)}pooler"]
    how = loading_options(native_class(config), device, frozen=frozen, keep=keep if four_bit else None)
    with explain_hub_errors(origin.name, origin.location), quiet_loading():
        model, found = AutoModelForSequenceClassification.from_pretrained(
            origin.location, revision=origin.revision, config=config, ignore_mismatched_sizes=new_head, **how
        )
    unlike = [name for name, *_ in found["mismatched_keys"]]
    require_backbone(origin, [*found["missing_keys"], *unlike], backbone_prefix(model))
    if hasattr(model, "score"):
        model.config.pad_token_id = _find_pad_id(origin, config)
    return prepare(model, device), found["missing_keys"]


def _find_pad_id(origin: Origin, config) -> int:
    """Return what the tokenizer pads with. A decoder's own head takes the last token that is another one, and most
    decoders' configurations name none, or the end token of chats: a padded text would get the padding's logits."""
    try:
        return load_tokenizer(origin.name, revision=origin.revision).pad_token_id
    except AssetError:  # weights alone
        known = next(one for one in (config.pad_token_id, config.eos_token_id, 0) if one is not None)
        return known[0] if isinstance(known, list) else known


def load_backbone(origin: Origin, config, *, device: Device | None, frozen: bool = False, four_bit: bool = False):
    """Return the transformer without a head. Raises `AssetError` if weights of it are missing."""
    from transformers import AutoModel
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    how = loading_options(MODEL_MAPPING[type(config)], device, frozen=frozen, keep=[] if four_bit else None)
    with explain_hub_errors(origin.name, origin.location), quiet_loading():
        backbone, found = AutoModel.from_pretrained(origin.location, revision=origin.revision, config=config, **how)
    require_backbone(origin, found["missing_keys"], "")
    return backbone


def loading_options(model_class, device: Device | None, *, frozen: bool, keep: list[str] | None) -> dict:
    """Return what all weights are loaded with; `keep` names the modules that do not rest in 4 bits, None for all."""
    options = {"dtype": pick_dtype(device, frozen=frozen), "attn_implementation": pick_attention(model_class, device)}
    options |= {"use_safetensors": True, "output_loading_info": True}  # a pickle can run any code when it is loaded
    if keep is not None:  # bitsandbytes would put 4-bit weights on a GPU wherever there is one
        kind = (device or find_device()).kind
        options |= {"quantization_config": four_bit_config(device, keep=keep or None), "device_map": {"": kind}}
    return options


def require_backbone(origin: Origin, missing, prefix: str) -> None:
    """Refuse weights that lack a part of the transformer: the library would fill it with random numbers."""
    lost = sorted(name for name in missing if name.startswith(prefix) and "pooler." not in name)
    if lost:
        raise AssetError(
            f"{origin.name!r} lacks {len(lost)} of the weights of its transformer (the first: {lost[0]}): it is no whole "
            "model of the architecture that its config.json names."
        )


def load_pooled(origin: Origin, config, *, device: Device | None) -> TextClassifier:
    """Return a `TextClassifier` that `save` wrote. Raises `AssetError` if its weights are not those it needs."""
    from safetensors.torch import load_file
    from transformers import AutoModel
    from transformers.models.auto.modeling_auto import MODEL_MAPPING
    from transformers.utils import cached_file

    attention = pick_attention(MODEL_MAPPING.get(type(config), None), device)
    backbone = AutoModel.from_config(config, attn_implementation=attention, dtype=torch.float32)
    classifier = TextClassifier(backbone, pooling=config.pooling, dropout=config.classifier_dropout)
    with explain_hub_errors(origin.name, origin.location):
        weights = load_file(cached_file(origin.location, "model.safetensors", revision=origin.revision))
        try:
            classifier.load_state_dict(weights)
        except RuntimeError as error:
            raise AssetError(f"The weights of {origin.name!r} do not fit its config.json: copy it anew.") from error
    return prepare(classifier, device)
