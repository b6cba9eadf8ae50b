"""Resumable training state in one safetensors file: tensors as tensors, all else as JSON in the file's header."""

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from helpers.exceptions import SettingError
from helpers.files import atomic_path
from helpers.models.batches import EncodedTexts
from helpers.models.classifier import label_names, pooling_of

STATE, BEST = "state.safetensors", "best.safetensors"


@dataclass
class TrainingState:
    """How far a run has come. With weights, optimizer and random numbers it is all that `fit` needs to go on."""

    settings: dict  # the configuration and a digest of data and labels: a checkpoint fits only the same ones
    epoch: int = 0  # finished epochs
    step: int = 0  # finished optimizer steps
    step_losses: list[float] = field(default_factory=list)
    history: list[dict] = field(default_factory=list)
    train_seconds: float = 0.0
    scaler: dict = field(default_factory=dict)  # fp16 loss scale
    finished: bool = False  # trained to the end: only the best weights are left on disk

    def start_step(self) -> None:
        """Start the clock: between start and end of a step, `train_seconds` lacks the time of day."""
        self.train_seconds -= time.perf_counter()

    def finish_step(self, loss: float) -> None:
        """Note the loss of the step that was taken, and stop the clock."""
        self.train_seconds += time.perf_counter()
        self.step += 1
        self.step_losses.append(loss)


def describe_run(classifier, train: EncodedTexts, validation: EncodedTexts, loss_function) -> dict:
    """Return what a checkpoint must agree on besides the configuration: kind of model, labels, data; and the loss."""
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    return {
        "model": f"{classifier.config.model_type} of {parameters} parameters, {pooling_of(classifier)} pooling",
        "labels": label_names(classifier),
        "train data": _digest(train),
        "validation data": _digest(validation),
        "loss": getattr(loss_function, "name", getattr(loss_function, "__qualname__", "")),
        "first weights": _digest_weights(classifier),
        **({"prompt": classifier.prompt.fill("{text}")} if hasattr(classifier, "prompt") else {}),
    }


def _digest_weights(classifier) -> str:
    """Return a short fingerprint of what training begins with: the first numbers of every tensor that it changes."""
    trained = (parameter.detach().flatten()[:64] for parameter in classifier.parameters() if parameter.requires_grad)
    numbers = [part.float().cpu().numpy() for part in trained]
    return hashlib.sha256(np.concatenate([*numbers, np.zeros(0, np.float32)]).tobytes()).hexdigest()[:16]


def _digest(encoded: EncodedTexts) -> str:
    """Return a short fingerprint of token ids, lengths and labels, to tell one dataset from another."""
    digest = hashlib.sha256(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in encoded.input_ids]).tobytes())
    digest.update(encoded.lengths.tobytes())
    digest.update(np.ascontiguousarray(encoded.labels).tobytes())
    return digest.hexdigest()[:16]


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of the parameters that training changes, and of the buffers; frozen weights need no copy.
    The state of a 4-bit model also holds the scales of its frozen weights: these are neither."""
    changing = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    changing |= {name for name, _ in model.named_buffers()}
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items() if name in changing}


def write_weights(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors atomically as safetensors."""
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)


def save_checkpoint(folder: Path, state: TrainingState, accelerator, model, optimizer) -> None:
    """Write the state to `folder` from the main process; the previous one stays until the new one is complete."""
    random_states = {"cpu": gather_object([torch.get_rng_state()])}
    if torch.cuda.is_available():
        random_states["cuda"] = gather_object([torch.cuda.get_rng_state()])
    if not accelerator.is_main_process:
        return
    tensors = {f"model.{name}": value for name, value in trained_weights(accelerator.unwrap_model(model)).items()}
    for number, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{slot}": value.cpu() for slot, value in slots.items()}
    for kind, values in random_states.items():
        tensors |= {f"random.{kind}.{number}": value for number, value in enumerate(values)}
    state.scaler = accelerator.scaler.state_dict() if accelerator.scaler else {}
    write_weights(folder / STATE, tensors, {"state": json.dumps(vars(state))})


def finish_checkpoint(folder: Path, state: TrainingState) -> None:
    """Leave of a run that was trained to its end the state and the best weights: what else it takes is large, and done."""
    state.finished = True
    for leftover in folder.glob(".*"):  # half a file of a run that was killed while it wrote
        leftover.unlink()
    write_weights(folder / STATE, {}, {"state": json.dumps(vars(state))})


def load_checkpoint(folder: Path, settings: dict, accelerator, model, optimizer) -> tuple[TrainingState, dict]:
    """Restore model, optimizer and random numbers from `folder`; return the state and the best weights so far.
    Without a checkpoint, and for a run that was trained to its end with other settings, the state is that of a run that
    has not begun. Raises `ValueError` when the checkpoint was written with other settings (but `max_tokens`, which a lack
    of memory asks to lower), cannot be read, or is seen by some of the processes only: these would wait for ever.
    """
    seen = accelerator.reduce(torch.tensor(float((folder / STATE).exists()), device=accelerator.device), "sum")
    if 0 < seen < accelerator.num_processes:
        raise SettingError(
            f"{folder} is there for {seen:.0f} of {accelerator.num_processes} processes: let all machines share the "
            "disk that COURSE_RUNS names."
        )
    if not seen:
        return TrainingState(settings), {}
    state, tensors, best = _read_checkpoint(folder)
    differing = [key for key in settings if key != "max_tokens" and settings[key] != state.settings.get(key)]
    if state.finished:
        return (TrainingState(settings), {}) if differing else (state, best)
    # A loss that failed, as in notebook 01, may be mended; the weights are replaced by the checkpoint's in any case.
    differing = [name for name in differing if name not in ("loss", "first weights")]
    if differing:
        raise SettingError(
            f"{folder} holds an unfinished run with other settings ({', '.join(differing)}): give this one another "
            "run_name, set them back, or pass resume=False to throw the unfinished run away."
        )
    model_state, optimizer_state, random_states = (
        {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        for prefix in ("model.", "optimizer.", "random.")
    )
    accelerator.unwrap_model(model).load_state_dict(model_state, strict=False)
    slots: dict[int, dict] = {}
    for name, value in optimizer_state.items():
        number, slot = name.split(".")
        slots.setdefault(int(number), {})[slot] = value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    _restore_random_numbers(random_states, accelerator)
    if accelerator.scaler and state.scaler:  # empty if the run began in another precision: the scale is found anew
        accelerator.scaler.load_state_dict(state.scaler)
    return state, best


def _read_checkpoint(folder: Path) -> tuple[TrainingState, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    file = folder / STATE
    try:
        with safe_open(file, "pt") as header:
            state = TrainingState(**json.loads(header.metadata()["state"]))
        tensors = load_file(file)
        file = folder / BEST
        return state, tensors, load_file(file) if state.history else {}
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise SettingError(f"{file} is not a readable checkpoint: pass resume=False to start over.") from error


def _restore_random_numbers(states: dict[str, torch.Tensor], accelerator) -> None:
    """Go on with this process's random numbers; those of a process or a device that the run did not have start anew."""
    own = accelerator.process_index
    if f"cpu.{own}" in states:
        torch.set_rng_state(states[f"cpu.{own}"])
    if torch.cuda.is_available() and f"cuda.{own}" in states:
        torch.cuda.set_rng_state(states[f"cuda.{own}"])
