"""What training keeps in memory, item by item: counted from the tensors themselves, so the same on every machine.
Taught in notebook 05."""

import math
import weakref

import numpy as np
import psutil
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers.device import Device, autocast
from helpers.models.batches import EncodedTexts, collate
from helpers.models.classifier import backbone_of
from helpers.models.predict import modes_restored
from helpers.models.weights import pick_dtype
from helpers.training.losses import compute_loss, default_loss, pick_loss

USUAL_TOKENS = 4096  # of a pass where memory is not asked: a batch of 32 texts of 128 tokens is one
FEWEST_TOKENS, MOST_TOKENS = 256, 16384  # a few texts, at least; beyond the most, a GPU gains no speed
TRIED_TOKENS = 512  # in a pass that is taken to see what one costs: little enough for any GPU
# Bytes per weight that training needs besides its passes: the weights themselves, and where all are trained, a gradient
# and AdamW's two numbers for each; in QLoRA 4 bits, and some layers more. Otherwise what is frozen counts: `pick_dtype`.
BYTES_PER_WEIGHT = {"full": 16, "qlora": 1}
SPARE = 0.2  # of the free memory, for what is not counted: the libraries' own, and gaps between tensors


def count_memory(classifier: nn.Module, batch: dict[str, torch.Tensor], device: Device | None = None) -> dict[str, int]:
    """Return the bytes that a training step on `batch` holds: weights, gradients, optimizer state, activations.

    AdamW keeps two numbers of fp32 for each trainable one. Activations are what the forward pass puts aside for the
    backward pass, in `device`'s precision. Not all of it is there at once, and temporary results come on top:
    `count_peak` counts what is.
    """
    trainable = _count_trained_bytes(classifier)
    return {
        "weights": count_weight_bytes(classifier),
        "gradients": trainable,
        "optimizer": 2 * trainable,
        "activations": count_activation_bytes(classifier, batch, device),
    }


def _count_trained_bytes(classifier: nn.Module) -> int:
    return sum(p.nbytes for p in classifier.parameters() if p.requires_grad)


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
    with modes_restored(classifier, training=True), watched:
        loss = _compute_loss(classifier, batch, device)
    kept_bytes = sum(kept.values())
    del loss  # only now may the storages, whose addresses tell them apart, be used again
    return kept_bytes


def _compute_loss(classifier: nn.Module, batch: dict[str, torch.Tensor], device: Device | None) -> torch.Tensor:
    with autocast(device):
        return compute_loss(classifier, batch, pick_loss(classifier, default_loss))


def count_peak(classifier: nn.Module, batch: dict[str, torch.Tensor], device: Device | None = None) -> int:
    """Return the most bytes that a training step on `batch` holds at once, after the first, which made AdamW's state.

    Weights and AdamW's state are always there; of gradients, activations and temporary results, what is alive at the
    worst moment. Nothing is modelled: the step is taken, and thrown away. What the libraries of a GPU allocate for
    themselves is not seen; measured on one, the difference was at most three percent.
    """
    always = count_weight_bytes(classifier) + 2 * _count_trained_bytes(classifier)
    return always + trace_step(classifier, batch, device)


def trace_step(
    classifier: nn.Module, batch: dict[str, torch.Tensor], device: Device | None = None, *, gradients: bool = True
) -> int:
    """Return the most bytes that forward and backward pass of `batch` hold at once on top of what was there before.

    Without `gradients`, those of the weights are not computed: only what grows with the batch is. The classifier and
    the random numbers stay as they were.
    """
    wanted = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    words = []  # the embedded tokens: a gradient for them asks for the whole way back, and for no weight's gradient
    hooks = []
    if not gradients and any(parameter.requires_grad for parameter in backbone_of(classifier).parameters()):
        embeddings = backbone_of(classifier).get_input_embeddings()
        hooks = [embeddings.register_forward_hook(lambda *call: words.append(call[-1].requires_grad_()))]
    where = batch["input_ids"].device
    on_gpu = [where] if where.type == "cuda" else []
    try:
        with torch.random.fork_rng(on_gpu), modes_restored(classifier, training=True), Ledger() as ledger:
            loss = _compute_loss(classifier, batch, device)
            torch.autograd.grad(loss, words or wanted, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    return ledger.peak


def choose_max_tokens(classifier: nn.Module, train: EncodedTexts, device: Device, optimizer=None) -> int:
    """Return how many padded tokens a pass of training may hold, when nobody said: on a GPU what fits into its memory.

    Two passes of the longest texts tell what a token costs, and what any pass does. Rounded down to a power of two, so
    that what else runs on the GPU hardly ever changes it. Elsewhere always the same: a CPU gains nothing by more.
    """
    if device.kind != "cuda":
        return USUAL_TOKENS
    where, length = next(classifier.parameters()).device, int(train.lengths.max())
    longest = np.argsort(-train.lengths, kind="stable")
    several = max(2, TRIED_TOKENS // length)
    one, more = (
        trace_step(classifier, collate(train, np.resize(longest[:rows], rows), where), device, gradients=False)
        for rows in (1, several)
    )
    per_token = max(1.0, (more - one) / ((several - 1) * length))
    left = count_free_bytes() * (1 - SPARE) - _count_bytes_to_come(classifier, optimizer) - (one - per_token * length)
    tokens = max(FEWEST_TOKENS, min(left / per_token, MOST_TOKENS))
    return 2 ** int(math.log2(tokens))


def fits(what: str, weights: int, method: str, device: Device) -> bool:
    """Return whether free memory holds what training so many `weights` by `method` needs besides its passes, which can
    be small; if it does not, print one sentence that says so of `what`."""
    needed = BYTES_PER_WEIGHT.get(method, pick_dtype(device, frozen=True).itemsize) * weights
    free = count_free_bytes() if device.kind == "cuda" else psutil.virtual_memory().available
    enough = needed < free * (1 - SPARE)
    if not enough:
        gib = f"{needed / 2**30:,.1f} GiB before the first text; {free / 2**30:,.1f} GiB are free"
        print(f"Left out: {what}. It needs {gib}.")
    return enough


def count_free_bytes() -> int:
    """Return the bytes of the GPU that nobody uses, those included that PyTorch keeps for its next tensors."""
    return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def _count_bytes_to_come(classifier: nn.Module, optimizer) -> int:
    """Return what training will allocate besides its passes: gradients, AdamW's state, and where passes add up, the
    largest gradient a second time. The state of a run that goes on is there already."""
    trained = [parameter.nbytes for parameter in classifier.parameters() if parameter.requires_grad]
    there = 0 if optimizer is None else sum(leaf.nbytes for leaf in _tensors_of(dict(optimizer.state)))
    return 3 * sum(trained) + max(trained) - there


class Ledger(TorchDispatchMode):
    """Inside the block, the bytes of all that is computed: `live`, what is still referred to, and `peak`, the most."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self._entries: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = {id(storage) for storage in _storages_of((args, kwargs))}
        results = function(*args, **kwargs)
        for storage in _storages_of(results):  # one that was given is a view, or changed in place: nothing new
            if id(storage) not in given and id(storage) not in self._entries:
                self._entries.add(id(storage))
                self.live += storage.nbytes()
                weakref.finalize(storage, self._strike_out, id(storage), storage.nbytes())
        self.peak = max(self.peak, self.live)
        return results

    def _strike_out(self, entry: int, size: int) -> None:
        self._entries.discard(entry)
        self.live -= size


def _storages_of(values) -> list[torch.UntypedStorage]:
    return [tensor.untyped_storage() for tensor in _tensors_of(values)]


def _tensors_of(values) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
