"""Device of tensors and precision of training."""

import logging
import multiprocessing
import re
import sys
from contextlib import AbstractContextManager, suppress
from functools import cache
from typing import Literal

import torch

from turnover.common.ranks import rank
from turnover.errors import RefusedInput

log = logging.getLogger("turnover")

Precision = Literal["float32", "bfloat16"]

# Processors on which training in bfloat16 was measured not to be several times as slow as in float32. Those of ARM are
# left out: they have such units too, but their backward pass was not measured.
_UNITS = ("amx_bf16", "avx512_bf16")


def resolve(name: str) -> torch.device:
    """Return the device of that name; `auto` is a GPU if there is one, else the CPU.

    Of several GPUs `auto` is the first one, but processes of a joblib sweep or of torchrun take one after another.

    Raises:
        RefusedInput: the machine has no such device.
    """
    if name == "auto":
        name = f"cuda:{_worker() % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type != "cuda":
            torch.zeros(1, device=device).item()  # not of a device that holds no numbers, either
    except Exception:  # every kind of device has its own
        raise RefusedInput(f"device = {name!r}: this machine has no such device; try auto or cpu") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RefusedInput(
            f"device = {name!r}: this machine has {torch.cuda.device_count()} CUDA devices; try auto or cpu"
        )
    return device


def _worker() -> int:
    """Return the number, from 0, of this process among those of a joblib sweep or of torchrun; 0 outside of one."""
    match = re.fullmatch(r"LokyProcess-(\d+)", multiprocessing.current_process().name)
    return int(match[1]) - 1 if match else rank()


def describe(device: torch.device) -> str:
    """Return a device's name, and for a GPU its model too."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def settle(precision: Precision | Literal["auto"], device: torch.device) -> Precision:
    """Return the precision to train in: `auto` is bfloat16 where the device has units for it, else float32.

    By name bfloat16 is taken everywhere; where it is slow, a warning is logged once.
    """
    if precision == "auto":
        return "bfloat16" if _has_bfloat16(device) else "float32"
    if precision == "bfloat16" and not _has_bfloat16(device):
        _warn_slow(device)
    return precision


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):  # which PyTorch does not let us name
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and any(torch.cpu.get_capabilities().get(name, False) for name in _UNITS)


@cache  # a sweep has many runs
def _warn_slow(device: torch.device) -> None:
    log.warning(
        "precision = 'bfloat16': %s has no units for it, so a step may take several times as long as in float32; "
        "'auto' takes what is fast where the training begins",
        describe(device),
    )


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Run forward passes inside in bfloat16 where PyTorch deems it safe; nothing changes for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def peak_memory(device: torch.device) -> dict[str, int]:
    """Return this process's peak memory in bytes: resident on the host, if available; allocated on a GPU."""
    peak = {}
    with suppress(ModuleNotFoundError):
        import resource  # of Unix alone

        peak["host"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if device.type == "cuda":
        peak["device"] = torch.cuda.max_memory_allocated(device)
    return peak
