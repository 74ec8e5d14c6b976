"""What no step can be faster than: its matrix products alone, into memory that is already there, or Adam alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from common import HIDDEN, IN, LATENT, job, run_for, wait_for

LAYERS = [(IN, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, IN)]
STEPS = 100


def products(given: dict[str, Any], device: str) -> Callable[[], None]:
    tensor: dict[str, Any] = {"dtype": getattr(torch, given["dtype"]), "device": device}
    work = []
    for i, (inputs, outputs) in enumerate(LAYERS):
        x, w = torch.randn(given["batch"], inputs, **tensor), torch.randn(outputs, inputs, **tensor)
        g = torch.randn(given["batch"], outputs, **tensor)
        work.append((x, w.t(), torch.empty_like(g)))  # forward
        work.append((g.t(), x, torch.empty_like(w)))  # gradient of the weight
        if i:
            work.append((g, w, torch.empty_like(x)))  # gradient of the input

    def step() -> None:
        for a, b, out in work:
            torch.mm(a, b, out=out)

    return step


def adam(device: str) -> Callable[[], None]:
    """Adam on as many numbers as there are weights, in one piece: it reads four and writes three of each."""
    flat = torch.nn.Parameter(torch.randn(sum(a * b + b for a, b in LAYERS), device=device))
    flat.grad = torch.randn_like(flat)
    return torch.optim.Adam([flat], 1e-9, fused=True, capturable=device == "cuda").step


def main() -> None:
    given = job()
    device = given["device"]
    step = products(given, device) if "dtype" in given else adam(device)
    if device == "cuda":
        step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        step = graph.replay

    def steps() -> int:
        for _ in range(STEPS):
            step()
        return STEPS * given["batch"]

    run_for(given["seconds"], steps, wait_for(device))


main()
