"""Ways to take a training step that `bench_step.py` compares: each is a class, and each takes the same step.

What they learn is the same up to rounding and dropout's numbers; `Bf16Copy` alone computes in fewer bits.
"""

import contextlib
from itertools import chain

import numpy as np
import torch
from bench_training import MAX_LENGTH

from helpers import models, training
from helpers.device import autocast
from helpers.models.classifier import backbone_of
from helpers.models.shortcuts import first_token_only, occurring_words_only

MODEL, BATCH = "all-MiniLM-L6-v2", 64


class Step:
    """One way to take a training step of a classifier of its own; a subclass changes what its name says."""

    def __init__(self, label_names: list[str], encoded, device):
        self.encoded, self.device, self.config = encoded, device, training.TrainingConfig(batch_size=BATCH)
        self.classifier = models.load_classifier(MODEL, label_names, device=device).train()
        self.prepare()
        self.optimizer = training.make_optimizer(self.classifier, self.config)
        self.parameters = list(self.classifier.parameters())

    def prepare(self) -> None:
        """Change the classifier before the optimizer sees it; set `model` to what is called."""
        self.model = self.classifier

    def __call__(self, rows: np.ndarray) -> float:
        """Take the step of the batch `rows`, and return its loss."""
        batch = models.collate(self.encoded, rows)
        with autocast(self.device):
            logits = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return self.learn(logits, rows)

    def learn(self, logits: torch.Tensor, rows: np.ndarray) -> float:
        """Take the step from the logits on; return the loss."""
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.from_numpy(self.encoded.labels[rows]))
        loss.backward()
        self.update()
        return loss.item()

    def update(self) -> None:
        """Clip the gradients, move the weights, forget the gradients."""
        self.clip()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def clip(self) -> None:
        """Make the gradients shorter if they are too long."""
        torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)


class ForeachClipping(Step):
    """All gradients' lengths in one call, and all of them made shorter in one."""

    def clip(self) -> None:
        """As `Step.clip`."""
        torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm, foreach=True)


class ForeachAdamW(ForeachClipping):
    """AdamW list by list in place of the fused kernel."""

    def __init__(self, *parts):
        super().__init__(*parts)
        groups = [{key: group[key] for key in ("params", "weight_decay")} for group in self.optimizer.param_groups]
        self.optimizer = torch.optim.AdamW(groups, lr=self.config.learning_rate, foreach=True)


class ClippingInAdamW(Step):
    """The gradients are made shorter where AdamW reads them: one pass over them less."""

    def clip(self) -> None:
        """Tell AdamW by how much: as `Step.clip`, up to rounding."""
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        self.optimizer.grad_scale = (norm / self.config.clip_norm).clamp(min=1.0)
        self.optimizer.found_inf = torch.zeros(())


class Bf16Copy(Step):
    """The forward and backward pass on a bf16 copy of all weights, AdamW on the fp32 ones, the copy made anew each step.
    Layer norm and softmax are then bf16 as well, which autocast avoids."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.masters = [parameter.detach().clone() for parameter in self.parameters]
        self.classifier.to(torch.bfloat16)
        decays = {True: [m for m in self.masters if m.ndim >= 2], False: [m for m in self.masters if m.ndim < 2]}
        groups = [{"params": held, "weight_decay": self.config.weight_decay * large} for large, held in decays.items()]
        self.optimizer = torch.optim.AdamW(groups, lr=self.config.learning_rate, fused=True)

    def update(self) -> None:
        """As `Step.update`, with the copies between the two sets of weights."""
        for master, parameter in zip(self.masters, self.parameters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
        torch.nn.utils.clip_grad_norm_(self.masters, self.config.clip_norm)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.masters)
        self.classifier.zero_grad()


class Compiled(Step):
    """TorchInductor's kernels: residual, norm, dropout, GELU and casts of a layer in a few loops."""

    def prepare(self) -> None:
        """The first call compiles, which takes a C++ compiler."""
        self.model = torch.compile(self.classifier, dynamic=True)


class InBlock(Step):
    """A shortcut of the course; its block stays open, since the classifier is thrown away."""

    def prepare(self) -> None:
        """Enter the block."""
        self.block = contextlib.ExitStack()
        self.block.enter_context(self.shortcut())
        self.model = self.classifier


class OccurringWordsOnly(InBlock):
    """Only the rows of words that occur are trained, as `fit` does it."""

    def shortcut(self):
        """Return the block."""
        return occurring_words_only(
            self.classifier, [*chain.from_iterable(self.encoded.input_ids), self.encoded.pad_id]
        )


class FirstTokenOnly(InBlock):
    """The last layer's feed-forward half for the first token alone, as prediction does it."""

    def shortcut(self):
        """Return the block."""
        return first_token_only(self.classifier)


class Packed(Step):
    """Several texts in each row, no padding: a mask keeps them apart, and places are counted anew for each.
    Attention computes a row's every pair of tokens, of other texts as well."""

    def __call__(self, rows: np.ndarray) -> float:
        """As `Step.__call__`; the pooling layer and the head read every text's first token."""
        ids, owner, places = pack([self.encoded.input_ids[row] for row in rows], MAX_LENGTH, self.encoded.pad_id)
        mine = (owner[:, None, :, None] == owner[:, None, None, :]) & (owner >= 0)[:, None, None, :]
        mask = torch.zeros(mine.shape).masked_fill(~mine, torch.finfo(torch.float32).min)
        backbone, first = backbone_of(self.model), (places == 0) & (owner >= 0)
        with autocast(self.device):
            hidden = backbone(input_ids=ids, attention_mask=mask, position_ids=places).last_hidden_state
            firsts = hidden[first][owner[first].argsort()]  # (texts, hidden)
            logits = self.model.classifier(self.model.dropout(backbone.pooler(firsts[:, None])))
        return self.learn(logits, rows)


def pack(texts: list[list[int]], length: int, pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return token ids, each token's text (-1 for padding) and its place in it, all `(rows, length)`: the longest texts
    first, each in the first row with room."""
    rows: list[list[int]] = []
    for number in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
        room = (row for row in rows if sum(len(texts[i]) for i in row) + len(texts[number]) <= length)
        row = next(room, None)
        if row is None:
            rows.append(row := [])
        row.append(number)
    longest = max(sum(len(texts[i]) for i in row) for row in rows)
    ids, owner, places = (torch.full((len(rows), longest), value) for value in (pad_id, -1, 0))
    for at, row in enumerate(rows):
        start = 0
        for number in row:
            stop = start + len(texts[number])
            ids[at, start:stop] = torch.tensor(texts[number])
            owner[at, start:stop], places[at, start:stop] = number, torch.arange(stop - start)
            start = stop
    return ids, owner, places


WAYS = {
    "as it is": Step,
    "clipping in one call": ForeachClipping,
    "AdamW list by list": ForeachAdamW,
    "clipping in AdamW": ClippingInAdamW,
    "bf16 copy of the weights": Bf16Copy,
    "occurring words only": OccurringWordsOnly,
    "first token only": FirstTokenOnly,
    "texts packed into rows": Packed,
    "compiled": Compiled,
}
