"""What exercises do with a function that a learner wrote: put it to work on a small model, and return what came of it.

Each takes the learner's function and the arguments of a case in `data/exercises.toml`, and returns numbers to compare;
None where the function returned None, which means that it was not tried.
"""

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
