"""A whole training step recorded as a CUDA graph, once per length of its texts, then replayed by one launch.

A step of short texts is thousands of small kernels: the host needs several times as long to launch them as the GPU to run
them. A graph repeats the same kernels on the same memory; so every batch is padded to a length that was recorded, and
copied to where the recording read its own. What cannot be recorded is trained by the lines of `loop.fit`, one kernel at a
time. After PyTorch's notes, *CUDA semantics*, "CUDA Graphs". Taught in no notebook: nothing of it changes what is learnt.
"""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable
from itertools import chain

import numpy as np
import torch

from helpers.models.batches import collate
from helpers.models.frozen import count_frozen
from helpers.training.losses import compute_loss, default_loss

MULTIPLE = 8  # tokens: a few lengths stand for all, and at most seven tokens more per text are computed
FEWEST = 8  # steps of one length that pay for its recording, which takes as long as several of them
SHARE = 4  # of a pass's tokens, one part: recordings keep their memory, and the steps beside them need theirs


class RecordedSteps:
    """The steps of `run` (a `Session`) that a GPU replays: which, and the recording of each length so far."""

    def __init__(self, run):
        self.run = run
        self.lengths = pick_lengths(run.plan, run.train.lengths, run.config) if can_record(run) else frozenset()
        self._steps: dict[int, tuple[dict[str, torch.Tensor], Callable]] = {}
        if self.lengths:
            self.recorder = CudaRecorder()
            for group in run.optimizer.param_groups:  # a number would be recorded as it is: a tensor is read anew
                group["lr"] = torch.tensor(group["lr"], device=run.accelerator.device)

    def take_step(self, rows: np.ndarray) -> float | None:
        """Take the step of the batch `rows` and return its loss; or return None, having changed nothing.

        Where the loss is not finite, weights and optimizer stay as they were. The first step of all is not recorded:
        it creates the optimizer's state, which a recording would create again at every replay.
        """
        length = pad_length(rows, self.run.train.lengths)
        if len(rows) < self.run.config.batch_size or length not in self.lengths or not self.run.optimizer.state:
            return None
        batch = collate(self.run.train, rows, self.run.accelerator.device, length=length)
        if length not in self._steps and not self._record(length, batch):
            return None
        buffers, replay = self._steps[length]
        for name, values in batch.items():
            buffers[name].copy_(values)
        replay()
        return buffers["loss"].item()

    def release(self) -> None:
        """Give the recordings' memory back; from now on, no step is taken from one."""
        self.lengths = frozenset()
        self._steps.clear()

    def _record(self, length: int, batch: dict[str, torch.Tensor]) -> bool:
        """Record the step of texts of `length` and return True; if it cannot be recorded, say so and give up all."""
        buffers = {name: values.clone() for name, values in batch.items()}
        buffers["attention_mask"][:, -1] = 0  # warm up on the kernels for padded texts, which are those recorded
        buffers["loss"] = torch.zeros((), device=self.run.accelerator.device)
        optimizer = self.run.optimizer
        try:
            set_capturable(optimizer, True)
            replay = self.recorder.record(lambda: self._step(buffers), warm_up=lambda: self._warm_up(buffers))
        except RuntimeError as error:  # a lack of memory is one, too
            self.release()
            say_given_up(isinstance(error, torch.OutOfMemoryError))
            return False
        finally:  # nothing of a recording that failed half-way may be left for the next step
            set_capturable(optimizer, False)
            vars(optimizer.optimizer).pop("found_inf", None)
            optimizer.zero_grad()
        self._steps[length] = buffers, replay
        return True

    def _warm_up(self, buffers: dict[str, torch.Tensor]) -> None:
        """Compute gradients and forget them, without a trace in the random numbers: libraries set themselves up."""
        where = buffers["loss"].device
        with torch.random.fork_rng([where] if where.type == "cuda" else []):
            self.run.accelerator.backward(self._compute_loss(buffers))
        self.run.optimizer.zero_grad()

    def _compute_loss(self, buffers: dict[str, torch.Tensor]) -> torch.Tensor:
        return compute_loss(self.run.model, buffers, self.run.loss_function)

    def _step(self, buffers: dict[str, torch.Tensor]) -> None:
        """The lines of `loop.fit` for a batch of one pass, without a look at a number, for which a GPU would stop."""
        run = self.run
        loss = self._compute_loss(buffers)
        run.accelerator.backward(loss)
        buffers["loss"].copy_(loss.detach())
        # In place of `require_finite`: AdamW leaves out the step where this is 1, as it does for a loss scale too large.
        run.optimizer.optimizer.found_inf = (~torch.isfinite(loss.detach())).float()
        run.accelerator.clip_grad_norm_(run.model.parameters(), run.config.clip_norm)
        run.optimizer.step()
        run.optimizer.zero_grad()
        del run.optimizer.optimizer.found_inf


class CudaRecorder:
    """What only a GPU can do: record the kernels that a function launches. The graphs share their temporary memory."""

    def __init__(self):
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], None], *, warm_up: Callable[[], None]) -> Callable[[], None]:
        """Return a function that launches again what `work` launched. `work` itself computes nothing: its kernels are
        noted, not run. Raises `RuntimeError` if it waits for a result or copies from ordinary memory."""
        here, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            warm_up()
        here.wait_stream(self.stream)
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        before = generator.clone_state()
        try:
            with torch.cuda.stream(here), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                work()
        except BaseException:
            self._clean_up(generator, before)
            raise
        return graph.replay

    def _clean_up(self, generator: torch.Generator, before: torch.Generator) -> None:
        """Undo what a capture that failed leaves: its stream is left already (`here`, above), but random numbers and
        memory may still be those of a capture, because PyTorch ends them after the capture itself."""
        generator.graphsafe_set_state(before)
        with contextlib.suppress(RuntimeError, AttributeError):  # the first: it was ended; the second: another version
            torch._C._cuda_endAllocateToPool(generator.device.index, self.pool)
            torch._C._cuda_releasePool(generator.device.index, self.pool)


def can_record(run) -> bool:
    """Return whether one GPU takes the run's steps, with all weights trained as they are, by one of the course's losses.

    fp16 decides on the host whether a step is taken; a loss of somebody's own may change from step to step, or count
    its calls, and a recording would not; adapters, and passes computed a second time, have not been tried.
    """
    on_gpu = run.device.kind == "cuda" and run.device.precision != "fp16" and run.accelerator.num_processes == 1
    as_it_is = not hasattr(run.classifier, "peft_config") and all(
        parameter.dtype == torch.float32 for parameter in run.classifier.parameters()
    )
    again = any(getattr(module, "gradient_checkpointing", False) for module in run.classifier.modules())
    remembers = count_frozen(run.classifier) > 0  # and looks on the host what it has seen
    known_loss = run.loss_function is default_loss or hasattr(run.loss_function, "name")
    return on_gpu and as_it_is and not again and not remembers and known_loss


def pad_length(rows: np.ndarray, lengths: np.ndarray) -> int:
    """Return to how many tokens a batch is padded for a recording: a multiple of 8, but never beyond the longest text of
    all, which the model is known to read."""
    return min(-(-int(lengths[rows].max()) // MULTIPLE) * MULTIPLE, int(lengths.max()))


def pick_lengths(plan: list[list[np.ndarray]], lengths: np.ndarray, config) -> frozenset[int]:
    """Return the padded lengths of which a recording pays: full batches, often enough in the whole `plan`, so that a run
    that goes on picks the same, and with a `SHARE` of the tokens that memory allows a pass."""
    full = (rows for rows in chain.from_iterable(plan) if len(rows) == config.batch_size)
    counts = Counter(pad_length(rows, lengths) for rows in full)
    most = config.max_tokens // (SHARE * config.batch_size)
    return frozenset(length for length, count in counts.items() if count >= FEWEST and length <= most)


def set_capturable(optimizer, on: bool) -> None:
    """Tell PyTorch that the optimizer's step may be captured; it warns of a step that is taken otherwise while told so."""
    for group in optimizer.param_groups:
        group["capturable"] = on


@functools.cache  # so that it is said once
def say_given_up(no_memory: bool) -> None:
    """Print that steps are not replayed, and why."""
    why = "there is no memory for it" if no_memory else "it decides something on the host"
    print(f"Training: this model's step is not recorded as a CUDA graph ({why}); it only takes longer.", flush=True)
