"""A writer ready to train by one of three methods: from a pretrained decoder, or from a writer that was trained before.
Taught in notebook 06, section 3."""

import torch

from helpers.assets.hub_errors import explain_hub_errors
from helpers.device import Device
from helpers.exceptions import AssetError, SettingError
from helpers.generation.answers import make_answers
from helpers.generation.prompts import Prompt, make_prompt, read_as_text
from helpers.generation.writer import LabelWriter, require_room
from helpers.models import heads
from helpers.models.adapters import LARGE, keep_training_in_fp32, list_linear_layers, quiet_peft
from helpers.models.classifier import count_parameters, prepare
from helpers.models.origins import Origin, find_base, find_origin, load_tokenizer, name_base, quiet_loading
from helpers.models.pretrained import METHODS as CLASSIFIER_METHODS
from helpers.models.weights import loading_options, read_config, require_backbone

WRITING = ("generate", "generate-full", "generate-qlora")  # LoRA, all weights, LoRA beside 4-bit weights
METHODS = (*CLASSIFIER_METHODS, *WRITING)


def load_writer(
    model: str, label_names: list[str], *, method: str = "generate", multilabel: bool = False, rank: int = 16,
    device: Device | None = None, targets: list[str] | None = None, dropout: float | None = None, seed: int = 0,
    revision: str | None = None, gradient_checkpointing: bool | None = None, prompt: Prompt | None = None,
    score_weight: float = 1.0,
) -> LabelWriter:  # fmt: skip
    """Return a writer of `label_names` on the decoder `model`, ready to train by `method`, one of `WRITING`.

    `model` is a name of the course or of the zoo, a Hub id, or a folder; a writer that was trained before is trained on,
    with a new prompt. "generate" trains thin matrices of `rank` beside the `targets` (LoRA), "generate-qlora" the same
    beside weights in 4 bits, "generate-full" all weights. Without a word about `gradient_checkpointing`, a large model
    with an adapter has it. Raises `AssetError` for a model that cannot write.
    """
    if method not in WRITING:
        raise SettingError(f"method={method!r} does not write: use one of {', '.join(WRITING)}.")
    origin = find_origin(model, revision=revision)
    tokenizer = load_tokenizer(model, revision=revision)
    adapted = method != "generate-full"
    backbone = load_decoder(
        origin, dropout=dropout, device=device, adapted=adapted, four_bit=method == "generate-qlora"
    )
    config = backbone.config
    config.base_model, config.base_revision, config.thresholds = name_base(model, origin), origin.revision, None
    if origin.kind == "adapter":
        config.base_model, config.base_revision = origin.base
    if adapted and not hasattr(backbone, "peft_config"):
        backbone = add_adapter(backbone, rank=rank, targets=targets, seed=seed)
    if gradient_checkpointing is None:
        counts = count_parameters(backbone)
        gradient_checkpointing = adapted and counts.total - counts.trainable > LARGE
    if gradient_checkpointing:
        with quiet_peft():
            backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    read_as_text(tokenizer)
    return LabelWriter(
        backbone, tokenizer, label_names, multilabel=multilabel, prompt=prompt, score_weight=score_weight
    )


def load_decoder(
    origin: Origin, *, dropout: float | None = None, device: Device | None = None, adapted: bool, four_bit: bool,
    trainable: bool = True,
):  # fmt: skip
    """Return the language model of `origin`: `adapted` with the adapter that it holds, if any, else merged.
    Raises `AssetError` for an encoder, for an adapter that was trained for something else, and for missing weights."""
    require_decoder(origin)
    if origin.kind == "adapter":
        return _load_adapted(origin, dropout, device, adapted=adapted, four_bit=four_bit, trainable=trainable)
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    config = read_config(origin, dropout=dropout)
    how = loading_options(
        MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], device, frozen=adapted, keep=[] if four_bit else None
    )
    with explain_hub_errors(origin.name, origin.location), quiet_loading():
        backbone, found = AutoModelForCausalLM.from_pretrained(
            origin.location, revision=origin.revision, config=config, **how
        )
    require_backbone(origin, found["missing_keys"], "")
    return prepare(backbone, device)


def require_decoder(origin: Origin) -> None:
    """Raise `AssetError` for a model that does not write text, and for an adapter that did not learn to write labels."""
    if origin.kind == "adapter" and not origin.writes:
        raise AssetError(
            f"The adapter {origin.name!r} was not trained to write labels: name the model that it stands on."
        )
    if origin.kind != "adapter" and not str((origin.config.get("architectures") or [""])[0]).endswith("ForCausalLM"):
        raise AssetError(
            f"{origin.name!r} does not write text ({origin.config.get('model_type')}): choose a decoder that "
            "`python -m helpers zoo` lists, such as SmolLM2-135M-Instruct."
        )


def _load_adapted(
    origin: Origin, dropout: float | None, device: Device | None, *, adapted: bool, four_bit: bool, trainable: bool
):
    """Return a writer's adapter on its base, or merged into it if it is not to stay one."""
    from peft import PeftModel

    backbone = load_decoder(find_base(origin), dropout=dropout, device=device, adapted=adapted, four_bit=four_bit)
    with quiet_peft(), explain_hub_errors(origin.name, origin.location):
        found = PeftModel.from_pretrained(
            backbone, origin.location, revision=origin.revision, is_trainable=adapted and trainable
        )
    return keep_training_in_fp32(found) if adapted else found.merge_and_unload().requires_grad_(True)


def add_adapter(backbone, *, rank: int, targets: list[str] | None, seed: int):
    """Return `backbone` as a `PeftModel` for writing, in which only thin matrices beside the `targets` are trained.
    Raises `SettingError` for a target that it does not have."""
    from peft import LoraConfig, get_peft_model

    found = list_linear_layers(backbone.base_model)  # without the last layer, which writes every token
    missing = [name for name in targets or found if name not in found]
    if missing:
        raise SettingError(f"LoRA finds no linear layer {', '.join(missing)} in this model: it has {', '.join(found)}.")
    if not isinstance(rank, int) or rank < 1:
        raise SettingError(f"rank={rank!r}: it must be a whole number of at least 1; 8 to 64 are usual.")
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=list(targets or found), task_type="CAUSAL_LM",
        base_model_name_or_path=backbone.config._name_or_path, revision=backbone.config.base_revision,
    )  # fmt: skip
    with quiet_peft():
        return keep_training_in_fp32(get_peft_model(backbone, config))


def plan_labels(
    model: str, names: list[str], *, method: str, multilabel: bool, pooling: str = "auto", revision: str | None = None
) -> heads.LabelPlan:  # fmt: skip
    """Return the labels that `model` will have when it is trained by `method`, as `models.plan_labels` does: a writer
    has no head, so its labels are those of the data. Raises `PlainError` for a model that cannot write them."""
    if method not in WRITING:
        return heads.plan_labels(model, names, multilabel=multilabel, pooling=pooling, revision=revision)
    require_decoder(find_origin(model, revision=revision))
    tokenizer = load_tokenizer(model, revision=revision)
    answers = make_answers(tokenizer, names, multilabel=multilabel)  # refuses what it cannot write
    ends = make_prompt(tokenizer, names, multilabel=multilabel).encode_ends(tokenizer)
    require_room(tokenizer.model_max_length, *ends, answers)
    return heads.LabelPlan(names, "new", f"{model} learns to write {len(names)} labels.")
