"""The device, the precision and the profile that suit the machine, and the memory that was used at most."""

import contextlib
import warnings
from pathlib import Path

import pytest
import torch
from tiny import tf32_is_on

from helpers.device import (
    Device,
    autocast,
    fast_matmul,
    find_device,
    peak_memory_bytes,
    pick_bulk_device,
    pick_profile,
    reset_peak_memory,
)

GPU, CPU = (Device(kind, "test", "no", "eager") for kind in ("cuda", "cpu"))


@pytest.mark.parametrize("precision", ["bf16", "fp16", "no"])
def test_explicit_precision_overrules_the_hardware(precision):
    assert find_device(precision).precision == precision


def test_automatic_device_is_one_that_computes():
    device = find_device()
    assert device.kind in ("cuda", "mps", "cpu") and device.precision in ("bf16", "fp16", "no")
    with autocast(device):
        product = torch.ones(4, 4, device=device.kind) @ torch.ones(4, 4, device=device.kind)
    assert product.sum().item() == 64


@pytest.mark.parametrize("precision", ["fp32", "BF16", "", None])
def test_unknown_precision_is_refused_with_the_choices(precision):
    with pytest.raises(ValueError, match=r"precision=.* is unknown: use 'auto', 'bf16', 'fp16' or 'no'"):
        find_device(precision)


@pytest.mark.parametrize(
    "capabilities, precision",
    [({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "no"), ({}, "no")],
)
def test_processor_without_bf16_units_computes_in_fp32(capabilities, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    device = find_device()
    assert (device.kind, device.precision, device.attention) == ("cpu", precision, "eager")


@pytest.mark.parametrize("bf16, precision", [(True, "bf16"), (False, "fp16")])
def test_gpu_without_bf16_units_computes_in_fp16(bf16, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert find_device() == Device("cuda", "a GPU", precision, "sdpa")


@pytest.mark.parametrize("kind, asked, bf16, expected", [
    ("cuda", "no", True, "bf16"), ("cuda", "no", False, "no"), ("cuda", "fp16", True, "fp16"), ("cpu", "no", True, "no"),
])  # fmt: skip
def test_many_texts_are_computed_in_bf16_where_a_gpu_has_it_and_fp32_was_meant(
    kind, asked, bf16, expected, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    device = Device(kind, "here", asked, "sdpa")
    assert pick_bulk_device(device) == Device(kind, "here", expected, "sdpa")


@pytest.mark.parametrize(
    "precision, words",
    [("no", "fp32"), ("bf16", "bf16 mixed precision"), ("fp16", "fp16 mixed precision with loss scaling")],
)
def test_device_is_printed_in_words(precision, words):
    assert str(Device("cuda", "Tesla T4", precision, "sdpa")) == f"Tesla T4 (cuda), {words}, sdpa attention"


@pytest.mark.parametrize("precision, dtype", [("bf16", torch.bfloat16), ("fp16", torch.float16), ("no", torch.float32)])
def test_autocast_sets_the_dtype_of_matrix_products(precision, dtype):
    matrix = torch.ones(4, 4)
    with autocast(Device("cpu", "a CPU", precision, "eager")):
        assert (matrix @ matrix).dtype == dtype
    assert (matrix @ matrix).dtype == torch.float32


def test_autocast_without_a_device_is_fp32():
    with autocast(None):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize("device, fast", [(GPU, True), (CPU, False)], ids=["gpu", "cpu"])
@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_tf32_is_on_inside_the_block_on_a_gpu_and_afterwards_off_again(device, fast, error):
    # PyTorch 2.9 warns of the names that it has replaced.
    with warnings.catch_warnings(), pytest.raises(error) if error else contextlib.nullcontext():
        warnings.simplefilter("error")
        with fast_matmul(device), fast_matmul(device):  # `predict_file` around `Predictor.predict`
            assert tf32_is_on() == fast
            if error:
                raise error
    assert not tf32_is_on()
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("value", ["high", "highest"])
def test_tf32_that_somebody_chose_stays_as_chosen(value):
    """By the name of all versions."""
    torch.set_float32_matmul_precision(value)
    try:
        with fast_matmul(GPU):
            assert tf32_is_on()
        assert torch.get_float32_matmul_precision() == value
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="PyTorch 2.9 brought this name")
@pytest.mark.parametrize("place", [torch.backends.cuda.matmul, torch.backends], ids=["matmul", "all"])
@pytest.mark.parametrize("value", ["tf32", "ieee"])
def test_tf32_that_somebody_chose_by_its_new_name_stays_as_chosen(place, value):
    """PyTorch then refuses to read it by its old name."""
    torch.backends.cuda.matmul.fp32_precision = "none"  # what the place above it says
    place.fp32_precision = value
    try:
        with fast_matmul(GPU):
            assert tf32_is_on()
        assert tf32_is_on() == (value == "tf32")
        assert place.fp32_precision == value
    finally:
        place.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "none"


@pytest.mark.parametrize(
    "asked, cuda, picked",
    [("auto", True, "gpu"), ("auto", False, "laptop"), ("laptop", True, "laptop"), ("gpu", False, "gpu")],
)
def test_profile_follows_the_hardware_unless_asked_for(asked, cuda, picked, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert pick_profile(asked) == picked


def test_unknown_profile_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="profile='colab' is unknown: use one of auto, laptop, gpu"):
        pick_profile("colab")


def test_peak_memory_of_the_process_is_in_bytes():
    pytest.importorskip("resource")
    device = Device("cpu", "a CPU", "no", "eager")
    reset_peak_memory(device)
    assert 50e6 < peak_memory_bytes(device) < 1e12  # torch alone takes more than 50 MB


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can reset a process's peak")
def test_peak_memory_of_the_process_is_measured_from_the_reset_on():
    device = Device("cpu", "a CPU", "no", "eager")
    block = torch.ones(50_000_000)  # 200 MB
    before = peak_memory_bytes(device)
    del block
    reset_peak_memory(device)
    assert peak_memory_bytes(device) < before - 150e6
    torch.ones(25_000_000)
    assert peak_memory_bytes(device) < before - 50e6
