"""The average of the weights over the last steps, beside the weights that are trained: a calmer model of the same run.

After Polyak & Juditsky, *Acceleration of Stochastic Approximation by Averaging* (1992). Taught in notebook 01.
"""

import contextlib
from collections.abc import Iterator

import torch


class AveragedWeights:
    """A second copy of the parameters that training changes: each step moves it a little towards where they are then.

    With `decay` d, the weights of n steps ago count d**n: 0.99 looks back over about a hundred steps. At first the
    pretrained weights would count for too long, so that the early steps move the average further.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        self.decay = decay
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.average = [parameter.detach().clone() for parameter in self.trained]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after `step` (from 0)."""
        torch._foreach_lerp_(self.average, self.trained, 1 - min(self.decay, (1 + step) / (10 + step)))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block, let the model have the average; after it, what was trained."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for parameter, average in zip(self.trained, self.average, strict=True):
            parameter.data, average.data = average.data, parameter.data

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the average as a checkpoint holds it."""
        return {f"average.{number}": tensor for number, tensor in enumerate(self.average)}

    @torch.no_grad()
    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take the average from a checkpoint's tensors, as `tensors` names them."""
        for number, average in enumerate(self.average):
            average.copy_(tensors[f"average.{number}"])
