"""The peak of a training step at a model's true size, on a GPU with bf16, found without one and without its memory.

The step is taken by PyTorch's fake tensors, which have shapes and storages but no numbers, and `count_peak` notes what is
alive. The classifier is the course's, its LoRA is peft's; stand-ins replace what a CPU would do differently: 4-bit weights
and dropout. Autocast is the CPU's, whose bf16 operators are those that matter here.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import DefaultDeviceType
from transformers.modeling_outputs import SequenceClassifierOutput

from helpers.device import Device
from helpers.generation.pretrained import add_adapter
from helpers.generation.writer import completion_loss
from helpers.models.adapters import LARGE, add_lora, use_gradient_checkpointing, wants_gradient_checkpointing
from helpers.models.classifier import TextClassifier, backbone_of, count_parameters, set_labels
from helpers.models.weights import ATTENTION_DROPOUTS, native_class, native_poolings, pick_attention, pick_dtype
from helpers.training.memory import count_peak

GPU = Device("cuda", "estimated", "bf16", "sdpa")
CPU = Device("cpu", "estimated", "bf16", "sdpa")


@dataclass(frozen=True)
class Estimate:
    """What a step needs: the model's parameters, without an adapter's, and the most bytes alive at once."""

    parameters: int
    peak: int
    checkpointing: bool


def estimate_step(
    config, names: list[str], *, method: str, pooling: str, rows: int, length: int, rank: int = 16,
    targets: list[str] | None = None, checkpointing: bool | None = None, frozen_dtype: torch.dtype | None = None,
) -> Estimate:  # fmt: skip
    """Return what a step on `rows` texts of `length` tokens needs, all in one pass, for the model of `config`.
    `checkpointing` is by the course's rule unless given; so is `frozen_dtype`, what frozen weights rest in."""
    set_labels(config, names, multilabel=True)
    with torch.device("meta"):
        classifier = build_classifier(config, method, pooling, frozen_dtype)
        parameters = count_parameters(classifier).total
        if "lora" in method:
            if method == "qlora":
                put_in_4_bits(classifier)
            classifier = add_lora(classifier, rank=rank, targets=targets)
    if checkpointing is None:
        checkpointing = wants_gradient_checkpointing(classifier)
    if checkpointing:
        use_gradient_checkpointing(classifier)
    with FakeTensorMode(allow_non_fake_inputs=True), as_on_a_gpu():
        materialise(classifier)
        batch = {name: torch.ones(rows, length, dtype=torch.long) for name in ("input_ids", "attention_mask")}
        batch["labels"] = torch.zeros(rows, len(names))
        return Estimate(parameters, count_peak(classifier, batch, CPU), checkpointing)


class Written(nn.Module):
    """A language model and the loss of its answers, as `LabelWriter` computes it: of texts that are already in a prompt."""

    own_loss = True

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, labels):
        keep = labels.shape[1] + 1
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=keep).logits.float()
        return SequenceClassifierOutput(loss=completion_loss(logits[:, :-1], labels))


def estimate_writing(
    config, *, method: str, rows: int, length: int, prompt: int, answer: int, rank: int, targets: list[str] | None
) -> Estimate:
    """Return what a step on `rows` texts of `length` tokens needs, in a prompt of so many tokens, for the language model of
    `config` that learns to write answers of `answer` tokens by `method`, "generate" or "generate-qlora".
    With gradient checkpointing, by which large models are trained, every text has the whole prompt before it."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    config.use_cache, config.base_revision, config._name_or_path = False, None, "estimated"
    attention = pick_attention(MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], GPU)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation=attention, dtype=pick_dtype(GPU, frozen=True)
        )
        parameters = count_parameters(model).total
        if method == "generate-qlora":
            put_in_4_bits(model)
        model = add_adapter(model, rank=rank, targets=targets, seed=0)
    checkpointing = parameters > LARGE
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with FakeTensorMode(allow_non_fake_inputs=True), as_on_a_gpu():
        materialise(model)
        if config.tie_word_embeddings:
            model.get_base_model().lm_head.weight = model.get_input_embeddings().weight
        whole = prompt + length + answer
        batch = {name: torch.ones(rows, whole, dtype=torch.long) for name in ("input_ids", "attention_mask")}
        batch["labels"] = torch.ones(rows, answer, dtype=torch.long)
        return Estimate(parameters, count_peak(Written(model), batch, CPU), checkpointing)


def build_classifier(config, method: str, pooling: str, frozen_dtype: torch.dtype | None) -> nn.Module:
    """Return the classifier that the course would load for `pooling`, as `read_config` has it: the architecture's own
    class where that can do it."""
    from transformers import AutoModel
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    for name in ATTENTION_DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, 0.0)
    config.use_cache = False
    if config.pad_token_id is None:  # the architecture's own class asks for one
        config.pad_token_id = 0
    dtype = pick_dtype(GPU, frozen="lora" in method)
    if "lora" in method and frozen_dtype is not None:
        dtype = frozen_dtype
    how = {"attn_implementation": pick_attention(MODEL_MAPPING[type(config)], GPU), "dtype": dtype}
    if pooling in ("auto", "native", *native_poolings(config)):
        if hasattr(config, "classifier_pooling") and pooling == "mean":
            config.classifier_pooling = pooling
        return native_class(config)._from_config(config, **how)
    return TextClassifier(AutoModel.from_config(config, **how), pooling=pooling)


def put_in_4_bits(classifier: nn.Module) -> None:
    """Replace the backbone's linear layers by those of bitsandbytes, whose LoRA differs from that of others."""
    import bitsandbytes

    backbone = backbone_of(classifier)
    for name, module in list(backbone.named_modules()):
        if isinstance(module, nn.Linear):
            has_bias, how = module.bias is not None, {"compute_dtype": torch.bfloat16, "quant_type": "nf4"}
            packed = bitsandbytes.nn.Linear4bit(module.in_features, module.out_features, bias=has_bias, **how)
            packed.weight.requires_grad_(False)
            backbone.set_submodule(name, packed)
    classifier.is_loaded_in_4bit = True  # where peft looks


class FourBitLinear(nn.Module):
    """A linear layer that rests in NF4 and computes in bf16, as that of bitsandbytes does on a GPU."""

    def __init__(self, original: nn.Module):
        super().__init__()
        self.shape, self.bias, numbers = original.weight.shape, original.bias, original.weight.numel()
        parts = {  # two numbers in a byte; a scale per 64, in a byte; the scale of 256 scales, in fp32
            "weight": (numbers // 2, torch.uint8), "scales": (numbers // 64, torch.uint8),
            "scales_of_scales": (numbers // (64 * 256), torch.float32),
        }  # fmt: skip
        for name, (size, dtype) in parts.items():
            self.register_parameter(name, nn.Parameter(torch.empty(size, dtype=dtype, device="meta"), False))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        product = FourBitProduct.apply(values.to(torch.bfloat16), self.shape)
        return (product if self.bias is None else product + self.bias.to(product.dtype)).to(values.dtype)


class FourBitProduct(torch.autograd.Function):
    """The product with a 4-bit matrix: expanded for the moment on the way there, and again on the way back."""

    @staticmethod
    def forward(ctx, values: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        ctx.shape = shape
        return nn.functional.linear(values, torch.empty(shape, dtype=values.dtype, device=values.device))

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple:
        return gradient @ torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device), None


class GpuDropout(nn.Dropout):
    """Dropout that keeps a byte per value for the way back, as the kernel of a GPU does; a CPU's keeps four."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.native_dropout(values, self.p, self.training)[0] if self.training else values


def materialise(classifier: nn.Module) -> None:
    """Give all of `classifier`, which holds shapes alone, storages of the active fake mode, and a GPU's layers."""
    import bitsandbytes

    for name, module in list(classifier.named_modules()):
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            classifier.set_submodule(name, FourBitLinear(module))
        elif type(module) is nn.Dropout and module.p > 0:
            classifier.set_submodule(name, GpuDropout(module.p))
    for module in classifier.modules():
        for name, old in list(module.named_parameters(recurse=False)):
            new = torch.empty(old.shape, dtype=old.dtype, device="cpu")
            module.register_parameter(name, nn.Parameter(new, requires_grad=old.requires_grad))
        for name, old in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(old.shape, dtype=old.dtype, device="cpu"))


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Let peft find autocast where it looks for it, which is at CUDA's, also in a layer that is computed again."""
    device, enabled = DefaultDeviceType.get_device_type(), torch.is_autocast_enabled("cuda")
    DefaultDeviceType.set_device_type("cpu")  # gradient checkpointing would switch CUDA's autocast off without a GPU
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        DefaultDeviceType.set_device_type(device)
        torch.set_autocast_enabled("cuda", enabled)
