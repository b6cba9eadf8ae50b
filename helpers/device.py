"""Which accelerator, which precision, which attention kernel: decided here, once, from the hardware."""

import contextlib
import dataclasses
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

PROFILES = ("auto", "laptop", "gpu")
PRECISIONS = ("auto", "bf16", "fp16", "no")


@dataclass(frozen=True)
class Device:
    """What the course computes on.

    `kind` is "cuda", "mps" or "cpu"; `precision` is what Accelerate calls `mixed_precision`
    ("bf16", "fp16" or "no"); `attention` is the `attn_implementation` that is fastest here for short texts.
    """

    kind: str
    name: str
    precision: str
    attention: str

    def __str__(self) -> str:
        words = {"no": "fp32", "bf16": "bf16 mixed precision", "fp16": "fp16 mixed precision with loss scaling"}
        return f"{self.name} ({self.kind}), {words[self.precision]}, {self.attention} attention"


def find_device(precision: str = "auto") -> Device:
    """Return the best device of this machine, with the precision its hardware is built for.

    bf16 has the range of fp32, so it needs no loss scaling; a T4 has no bf16 units, hence fp16 there; a CPU
    without bf16 instructions only emulates them, and is faster in fp32. Set `precision` to overrule.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown: use 'auto', 'bf16', 'fp16' or 'no' (which means fp32).")
    if torch.cuda.is_available():
        best = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        kind, name, attention = "cuda", torch.cuda.get_device_name(), "sdpa"
    elif torch.backends.mps.is_available():
        best, kind, name, attention = "no", "mps", "Apple GPU", "sdpa"
    else:
        # Fused attention on CPU has a slow backward pass at 20 to 40 tokens; plain matrix products win there.
        best = "bf16" if cpu_has_bf16() else "no"
        kind, name, attention = "cpu", _cpu_name(), "eager"
    return Device(kind, name, best if precision == "auto" else precision, attention)


def cpu_has_bf16() -> bool:
    """Return whether this CPU multiplies bf16 matrices in hardware (AMX or AVX-512 BF16)."""
    capabilities = _cpu_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def autocast(device: Device | None):
    """Return the context in which forward passes run in `device`'s mixed precision; without a device, in fp32."""
    if device is None or device.precision == "no":
        return contextlib.nullcontext()
    return torch.autocast(device.kind, dtype={"bf16": torch.bfloat16, "fp16": torch.float16}[device.precision])


def pick_bulk_device(device: Device) -> Device:
    """Return `device` with the precision for many texts at once: on a GPU with bf16 units bf16, where fp32 was meant."""
    best = find_device()
    wanted = device.kind == best.kind == "cuda" and device.precision == "no" and best.precision == "bf16"
    return dataclasses.replace(device, precision="bf16") if wanted else device


@contextlib.contextmanager
def fast_matmul(device: Device | None) -> Iterator[None]:
    """Let fp32 matrix products on a GPU run as TF32 inside the block; on a CPU, or without a device of PyTorch's, do nothing.

    TF32 has the range of fp32, but ten bits of mantissa instead of 23: about three digits, several times as fast. The
    setting is the whole process's, and afterwards what it was.
    """
    if device is None or device.kind != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    # PyTorch 2.9 renamed it, and refuses to read the old name, or `get_float32_matmul_precision`, where the new one is set.
    name, fast = ("fp32_precision", "tf32") if hasattr(matmul, "fp32_precision") else ("allow_tf32", True)
    before = getattr(matmul, name)
    setattr(matmul, name, fast)
    try:
        yield
    finally:
        setattr(matmul, name, before)


def pick_profile(profile: str = "auto") -> str:
    """Return "laptop" or "gpu"; "auto" means gpu where CUDA is available."""
    if profile not in PROFILES:
        raise ValueError(f"profile={profile!r} is unknown: use one of {', '.join(PROFILES)}.")
    if profile != "auto":
        return profile
    return "gpu" if torch.cuda.is_available() else "laptop"


def reset_peak_memory(device: Device) -> None:
    """Start a new measurement of peak memory where that can be done: on CUDA, and on Linux; elsewhere do nothing."""
    if device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):  # no such file elsewhere; not allowed in some containers
            Path("/proc/self/clear_refs").write_text("5")  # see "man 5 proc": resets the process's peak


def peak_memory_bytes(device: Device) -> int | None:
    """Return the peak in bytes since the reset: of GPU allocations, or of this whole process on a CPU.

    The process figure includes Python, the libraries and all that is loaded; `None` where unknown (Windows). Where the
    peak cannot be reset (macOS), it is the highest since the process began.
    """
    if device.kind == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows has no `resource`
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _cpu_name() -> str:
    name = _cpu_capabilities().get("cpu_name") or platform.processor() or platform.machine()
    return f"{str(name).strip()}, {os.cpu_count()} cores"


def _cpu_capabilities() -> dict:
    return getattr(torch.cpu, "get_capabilities", dict)()  # older versions of PyTorch cannot tell
