"""What exercises do with a function that a learner wrote: put it to work on a small model, and return what came of it.

Each takes the learner's function and the arguments of a case in `data/exercises.toml`, and returns numbers to compare;
None where the function returned None, which means that it was not tried.
"""

import torch
from torch import nn


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
