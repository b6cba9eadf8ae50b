"""What training keeps in memory, item by item: counted from the tensors themselves, so the same on every machine.
Taught in notebook 04, section 7."""

import torch
from torch import nn

from helpers.device import Device, autocast
from helpers.models.predict import modes_restored
from helpers.training.losses import default_loss


def count_memory(classifier: nn.Module, batch: dict[str, torch.Tensor], device: Device | None = None) -> dict[str, int]:
    """Return the bytes that a training step on `batch` holds: weights, gradients, optimiser state, activations.

    AdamW keeps two numbers of fp32 for each trainable one. Activations are what the forward pass puts aside for the
    backward pass. A step's true peak adds temporary results; a GPU's is measured by `device.peak_memory_bytes`.
    """
    trainable = sum(p.nbytes for p in classifier.parameters() if p.requires_grad)
    return {
        "weights": count_weight_bytes(classifier),
        "gradients": trainable,
        "optimiser": 2 * trainable,
        "activations": count_activation_bytes(classifier, batch, device),
    }


def count_weight_bytes(model: nn.Module) -> int:
    """Return the bytes of all parameters; of 4-bit ones, which hold two in a byte, with their scales."""
    total = sum(parameter.nbytes for parameter in model.parameters())
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        scales = [state.absmax, state.code] if state is not None else []
        if scales and state.nested:
            scales += [state.state2.absmax, state.state2.code]
        total += sum(tensor.nbytes for tensor in scales)
    return total


def count_activation_bytes(classifier: nn.Module, batch: dict[str, torch.Tensor], device: Device | None = None) -> int:
    """Return the bytes that the forward pass of `batch` keeps for the backward pass, each storage once, weights not."""
    own = {parameter.untyped_storage().data_ptr() for parameter in classifier.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    watched = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with modes_restored(classifier, training=True), watched, autocast(device):
        logits = classifier(batch["input_ids"], batch["attention_mask"]).logits
        loss = default_loss(logits.float(), batch["labels"])
    kept_bytes = sum(kept.values())
    del loss  # only now may the storages, whose addresses tell them apart, be used again
    return kept_bytes
