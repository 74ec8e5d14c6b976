"""Which devices this machine can compute on."""

from __future__ import annotations

import torch

from vaekit.errors import UserError


def devices() -> list[str]:
    """Names of the devices that this machine can compute on, the CPU first."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def most_bits(device: torch.device) -> torch.dtype:
    """The type of numbers to add up many of: 64 bits, where the device has them."""
    return torch.float32 if device.type == "mps" else torch.float64


def chosen_device(name: str) -> torch.device:
    """The device of this name; "auto" is the first GPU where there is one, else the CPU. UserError where it is not there."""
    there = devices()
    if name == "auto":
        return torch.device(there[min(1, len(there) - 1)])
    if name == "cuda":
        name = "cuda:0"  # a device without a number is no place that CUDA can make current
    if name in there:
        return torch.device(name)
    raise UserError(f"device={name!r} is not on this machine: choose from {', '.join(['auto', *there])}")
