"""Adapters: train a few percent of a model and store only that. LoRA, its 4-bit form QLoRA, and the linear probe.

LoRA (Hu et al., 2021) freezes a matrix W and learns a thin product B A beside it; QLoRA (Dettmers et al., 2023) keeps
the frozen W in 4 bits. Both come from `peft` and `bitsandbytes`. Taught in notebook 05.
"""

import contextlib
import warnings
from collections.abc import Iterator

import torch
from torch import nn

from helpers.device import Device, find_device
from helpers.exceptions import SettingError
from helpers.models.classifier import TextClassifier, backbone_of, count_parameters, head_parts
from helpers.models.frozen import last_numbers

LARGE = 500e6  # frozen parameters. No smaller model of the zoo takes more than 7.1 GiB without it, by data/zoo.csv


def add_lora(
    classifier: nn.Module, *, rank: int = 16, alpha: int | None = None, targets: list[str] | None = None,
    dropout: float = 0.0, seed: int = 0, also: list[str] | None = None, last_layers: int | None = None,
):  # fmt: skip
    """Return `classifier` as a `PeftModel` in which only thin matrices beside the `targets`, and the head, are trained.

    `targets` are names of linear layers ("q_proj"), by default all of the backbone's; `alpha` (2 x rank by default)
    scales the product: it is multiplied by alpha / rank. The head is new, so it must be trained and saved as well:
    `modules_to_save`, with what else is new (`also`). At first B is zero: the logits are those of the classifier as it
    was. With `last_layers`, only so many upper layers get matrices. Raises `ValueError` for a target or a number of layers
    that the backbone does not have.
    """
    from peft import LoraConfig, get_peft_model

    backbone, trained = backbone_of(classifier), [*head_parts(classifier), *(also or [])]
    found = list_linear_layers(backbone)
    targets = found if targets is None else list(targets)
    missing = [name for name in targets if name not in found]
    if missing or not targets:
        named, kind = ", ".join(map(repr, missing)) or "at all", type(backbone).__name__
        raise SettingError(f"LoRA finds no linear layer {named} in {kind}: it has {', '.join(found) or 'none'}.")
    if not isinstance(rank, int) or rank < 1:
        raise SettingError(f"rank={rank!r}: it must be a whole number of at least 1; 8 to 64 are usual.")
    where = None if last_layers is None else list(last_numbers(backbone.config, last_layers))
    torch.manual_seed(seed)  # the initial A
    config = LoraConfig(
        r=rank, lora_alpha=alpha or 2 * rank, lora_dropout=dropout, target_modules=targets, modules_to_save=trained,
        layers_to_transform=where,
        task_type=None if isinstance(classifier, TextClassifier) else "SEQ_CLS",  # so that peft's own classes open it
        base_model_name_or_path=classifier.config._name_or_path, revision=getattr(classifier.config, "base_revision", None),
    )  # fmt: skip
    with quiet_peft():
        return keep_training_in_fp32(get_peft_model(classifier, config))


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Keep off the page that the newest transformers gives another name to what peft asks for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def keep_training_in_fp32(adapted: nn.Module) -> nn.Module:
    """Return `adapted`, in place with all that is trained in fp32, whatever the frozen weights rest in."""
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def list_linear_layers(backbone: nn.Module) -> list[str]:
    """Return the names that LoRA may aim at: the last part of each linear layer's name, sorted, each once."""
    return sorted({name.split(".")[-1] for name, module in backbone.named_modules() if isinstance(module, nn.Linear)})


def four_bit_config(device: Device | None = None, *, keep: list[str] | None = None):
    """Return QLoRA's quantisation: NF4 (16 levels placed for bell-shaped weights), scales quantised too.
    Weights rest in 4 bits and are expanded, block by block, to `device`'s precision for each matrix product; modules
    to `keep` stay as they are: the head, which is trained."""
    from transformers import BitsAndBytesConfig

    precisions = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=precisions[(device or find_device()).precision],
        llm_int8_skip_modules=keep,
    )


def is_four_bit(classifier: nn.Module) -> bool:
    """Return whether the backbone rests in 4 bits."""
    return any(getattr(parameter, "quant_state", None) is not None for parameter in classifier.parameters())


def use_gradient_checkpointing(classifier: nn.Module, *, on: bool = True) -> None:
    """Keep only each layer's input for the backward pass and compute the rest again there: less memory, more time.
    Chen et al., *Training Deep Nets with Sublinear Memory Cost* (2016)."""
    backbone = backbone_of(classifier)
    with quiet_peft():
        if on:
            backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        else:
            backbone.gradient_checkpointing_disable()


def wants_gradient_checkpointing(classifier: nn.Module) -> bool:
    """Return whether gradient checkpointing is on unless somebody says otherwise: in a large model with an adapter.
    There the activations are by far the largest part of what a step holds."""
    counts = count_parameters(classifier)
    return hasattr(classifier, "get_base_model") and counts.total - counts.trainable > LARGE


def merge_lora(classifier) -> nn.Module:
    """Return an ordinary classifier whose weights are W + B A: as fast as without an adapter, and as large to store.
    The adapted model is used up. Raises `ValueError` for a 4-bit base: the sum would be rounded to 16 levels again."""
    if is_four_bit(classifier):
        raise SettingError(
            "The base is in 4 bits, and merging would round the adapter away: save it, then merge "
            "load(folder, four_bit=False)."
        )
    return classifier.float().merge_and_unload()
