"""The matrix products of one training step and nothing else, through `torch.mm` into memory that is already there."""

from __future__ import annotations

import torch
from common import HIDDEN, IN, LATENT, job, run_for

LAYERS = [(IN, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, IN)]


def main() -> None:
    given = job()
    dtype = getattr(torch, given["dtype"])
    products = []
    for i, (inputs, outputs) in enumerate(LAYERS):
        x, w = torch.randn(given["batch"], inputs, dtype=dtype), torch.randn(outputs, inputs, dtype=dtype)
        g = torch.randn(given["batch"], outputs, dtype=dtype)
        products.append((x, w.t(), torch.empty_like(g)))  # forward
        products.append((g.t(), x, torch.empty_like(w)))  # gradient of the weight
        if i:
            products.append((g, w, torch.empty_like(x)))  # gradient of the input

    def hundred_steps() -> int:
        for _ in range(100):
            for a, b, out in products:
                torch.mm(a, b, out=out)
        return 100 * given["batch"]

    run_for(given["seconds"], hundred_steps)


main()
