"""What exercises do with a function that a learner wrote: put it to work on a small model, and return what came of it.

Each takes the learner's function and the arguments of a case in `data/exercises.toml`, and returns numbers to compare;
None where the function returned None, which means that it was not tried.
"""

from collections import OrderedDict
from queue import Queue

import numpy as np
import torch
from torch import nn


def find_interval(function) -> list[float] | None:
    """Return low and high, to one digit, of `function(labels, predictions, emotion, generator)` on 240 texts.

    24 of them have the emotion, number 1; 12 of these are found, and 23 others are called so. So recall is 0.5, precision
    0.34, accuracy 0.85, and the ends of their intervals lie amid the tenths, where the luck of the draws does not reach.
    """
    labels = np.repeat([1, 0], [24, 216])
    predictions = np.repeat([1, 0, 1, 0], [12, 12, 23, 193])
    found = function(labels, predictions, 1, np.random.default_rng(0))
    return None if found is None else np.round(found, 1).tolist()


def pool_padded_batch(function, side: str) -> list[float] | None:
    """Return the vectors that a learner's `function(hidden, mask)` takes from two texts, of two and of four tokens, padded
    on `side` ("right" or "left"), one after the other. Token k of text t is the vector [t, k]; padding is [-1, -1] on the
    right, [-2, -2] on the left. Raises `ValueError` for a result that is not one vector per text."""
    short, long = [[1, 1], [1, 2]], [[2, 1], [2, 2], [2, 3], [2, 4]]
    text = short + 2 * [[-1, -1]] if side == "right" else 2 * [[-2, -2]] + short
    mask = [[1, 1, 0, 0] if side == "right" else [0, 0, 1, 1], [1] * 4]
    vectors = function(torch.tensor([text, long], dtype=torch.float32), torch.tensor(mask))
    if vectors is None:
        return None
    if tuple(vectors.shape) != (2, 2):
        raise ValueError(f"two texts of width 2 need vectors of shape (2, 2), not {tuple(vectors.shape)}")
    return vectors.flatten().tolist()


def attend_with_mask(function, real: list[int]) -> list[float] | None:
    """Return what each real token gathers by attention with the mask that a learner's `function(real)` returns. All scores
    are equal, so that it is the mean of what the mask lets it see: the token in place j holds the value 2**j."""
    mask = function(real)
    if mask is None:
        return None
    scores = torch.zeros(len(real), len(real)).masked_fill(~torch.as_tensor(mask, dtype=torch.bool), -1e9)
    gathered = torch.softmax(scores, dim=-1) @ 2.0 ** torch.arange(len(real))
    return gathered[torch.tensor(real, dtype=torch.bool)].tolist()


def pool_padded(function, hidden: list, mask: list) -> list[float] | None:
    """Return what the learner's `pool(hidden, mask)` makes of a batch `(batch, length, hidden)` that holds padding."""
    pooled = function(torch.tensor(hidden), torch.tensor(mask))
    return None if pooled is None else pooled.flatten().tolist()


def accumulate_gradients(function, sizes: list[int]) -> list[float] | None:
    """Return the gradient that the learner's `accumulate(net, passes)` leaves behind for a batch of four rows, which it
    gets in passes of so many rows."""
    net = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(net.weight)
    inputs, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [1.0, 3.0]]), torch.tensor([0, 1, 1, 0])
    function(net, list(zip(inputs.split(sizes), labels.split(sizes), strict=True)))
    return None if net.weight.grad is None else net.weight.grad.flatten().tolist()


def train_with_loss(function, smoothing: float, steps: int) -> list[float] | None:
    """Return the losses of so many steps of plain gradient descent with the learner's `loss(logits, labels, smoothing)`."""
    inputs, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), torch.tensor([0, 1, 2])
    weight, losses = torch.eye(2, 3, requires_grad=True), []
    for _ in range(steps):
        loss = function(inputs @ weight, labels, smoothing)
        if loss is None:
            return None
        (gradient,) = torch.autograd.grad(loss, weight)
        weight = (weight - gradient).detach().requires_grad_()
        losses.append(loss.item())
    return losses


def find_temperature(function, scale: float, candidates: list[float]) -> float | None:
    """Return the temperature that the learner's `function(logits, labels, candidates)` chooses for 400 answers whose logits
    are `scale` times as large as they should be: their labels are drawn by the probabilities that the logits had before."""
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(400, 2))
    chance = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    labels = (draw.random(400) < chance).astype(int)
    found = function(scale * logits, labels, np.array(candidates))
    return None if found is None else float(found)


def train_with_doubt(function, doubt: list[float], steps: int) -> list[float] | None:
    """Return the losses of so many steps of plain gradient descent with the learner's `loss(logits, labels, doubt)` on
    three texts, the doubts of whose labels are given."""
    return train_with_loss(lambda logits, labels, _: function(logits, labels, torch.tensor(doubt)), 0.0, steps)


def weigh_decisions(function, weight: list[float]) -> list[float] | None:
    """Return the loss of four decisions by the learner's `weighted_loss(logits, labels, weight)`, and its gradient."""
    logits = torch.tensor([[1.0, -2.0], [0.5, 0.0]], requires_grad=True)
    loss = function(logits, torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor(weight))
    if loss is None:
        return None
    (gradient,) = torch.autograd.grad(loss, logits)
    return [loss.item(), *gradient.flatten().tolist()]


def cross_validate_parts(function, sizes: list[int]) -> list[int] | None:
    """Return what the learner's `cross_validate(parts, train, score)` did with parts of so many rows: how many scores it
    returned, how many models it trained, how many rows were scored, and how many of them their model had seen."""
    parts = np.split(np.random.default_rng(0).permutation(sum(sizes)), np.cumsum(sizes)[:-1])
    models, scored, seen = [], set(), 0

    def train(rows):
        models.append(set(np.asarray(rows).tolist()))
        return models[-1]

    def score(model, rows):
        nonlocal seen
        rows = set(np.asarray(rows).tolist())
        scored.update(rows)
        seen += len(rows & model)
        return float(len(scored))

    scores = function(parts, train, score)
    return None if scores is None else [len(set(scores)), len(models), len(scored), seen]


def tune_out_of_fold(function, part: list[int]) -> list[int] | None:
    """Return the calls of the learner's `call_out_of_fold(labels, scores, part, best_cut)` for eight rows in such parts.
    `best_cut` is the mean of the lowest true and the highest false score, so that every row it gets moves it."""
    labels = np.array([1, 0, 1, 0, 1, 0, 1, 0])
    scores = np.array([0.65, 0.6, 0.95, 0.15, 0.5, 0.7, 0.2, 0.4])

    def best_cut(labels, scores):
        return (scores[labels == 1].min() + scores[labels == 0].max()) / 2

    called = function(labels, scores, np.array(part), best_cut)
    return None if called is None else np.asarray(called).astype(int).tolist()


def train_adapter(function, rank: int, steps: int) -> list[float] | None:
    """Return the losses of so many steps of plain gradient descent on a and b, where the learner's
    `lora_forward(x, w, a, b, alpha)` makes the outputs of a frozen layer with an adapter; the first one begins at b = 0."""
    x, wanted = torch.tensor([[1.0, 0.0], [1.0, 2.0]]), torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]])
    frozen, first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), torch.linspace(-0.2, 0.3, 2 * rank)
    thin = first.reshape(rank, 2).requires_grad_(), torch.zeros(3, rank, requires_grad=True)
    losses = []
    for _ in range(steps):
        outputs = function(x, frozen, *thin, 4.0)
        if outputs is None:
            return None
        loss = ((outputs - wanted) ** 2).mean()
        gradients = torch.autograd.grad(loss, thin)
        thin = tuple((t - 0.5 * g).detach().requires_grad_() for t, g in zip(thin, gradients, strict=True))
        losses.append(loss.item())
    return losses


def answer_merged(function, rank: int) -> list[float] | None:
    """Return what the matrix of the learner's `merge(w, a, b, alpha)` makes of one text of width 2, with alpha = 4."""
    frozen, first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), torch.arange(2.0 * rank).reshape(rank, 2)
    merged = function(frozen, first, torch.ones(3, rank), 4.0)
    return None if merged is None else (torch.tensor([[1.0, 2.0]]) @ merged.T).flatten().tolist()


def step_prepared(function) -> list[int] | None:
    """Return which parts of a small model a step of AdamW moved after the learner's `prepare(net)`, 1 or 0 each: the layer's
    own weight, its A, its B, the head. B is not zero any more, so that A can move, and weight decay moves all it is given."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.A = nn.Parameter(torch.eye(2)), nn.Parameter(torch.ones(1, 2))
            self.B = nn.Parameter(torch.ones(2, 1))

        def forward(self, x):
            return x @ self.weight.T + x @ self.A.T @ self.B.T

    torch.manual_seed(0)
    net = function(nn.Sequential(OrderedDict(layer=Layer(), head=nn.Linear(2, 1))))
    if net is None:
        return None
    before = {name: values.detach().clone() for name, values in net.named_parameters()}
    optimizer = torch.optim.AdamW(
        [p for p in net.parameters() if p.requires_grad] or [torch.zeros(1)], weight_decay=0.1
    )
    loss = net(torch.tensor([[1.0, 2.0]])).sum()
    if loss.requires_grad:
        loss.backward()
    optimizer.step()
    moved = {name: not torch.equal(values, before[name]) for name, values in net.named_parameters()}
    return [int(moved[name]) for name in ("layer.weight", "layer.A", "layer.B", "head.weight")]


def multiply_restored(function, outlier: float) -> list[float] | None:
    """Return what a text's vector gives with the matrix that the learner's `function(matrix)` restores from eight bits,
    to three digits. The matrix has one weight of the size `outlier`, in its first column."""
    matrix = np.array([[outlier, 0.04, -0.03], [0.02, -0.01, 0.05]])
    restored = function(matrix)
    return None if restored is None else np.round(np.array([0.0, 1.0]) @ restored, 3).tolist()


def serve_queue(function, texts: int, most: int) -> list[int] | None:
    """Return what the learner's `serve_waiting(waiting, model, most)` did with so many waiting texts: the number of passes,
    the texts of the largest one, the labels returned, and how many of them are in their place."""
    waiting, passes = Queue(), []
    for number in range(texts):
        waiting.put(f"text {number}")

    def model(batch):
        passes.append(len(batch))
        return [f"label of {text}" for text in batch]

    labels = function(waiting, model, most)
    if labels is None:
        return None
    right = sum(label == f"label of text {place}" for place, label in enumerate(labels))
    return [len(passes), max(passes, default=0), len(labels), right]
