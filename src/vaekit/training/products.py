"""Products of matrices of 32 bits on a CPU.

PyTorch computes them with MKL, which is half as fast as oneDNN on processors of other makers than its own. It takes oneDNN only where fewer
bits would do. Where oneDNN has no use for fewer bits, it computes with all of them.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import torch

mkldnn: Any = torch.backends.mkldnn  # oneDNN by its old name
_one_at_a_time = threading.Lock()
_within: list[Any] = []  # what was set before, once for each context that is open


class quick_products:  # noqa: N801  # as torch.no_grad
    """A context in which oneDNN computes the products of 32 bits of the whole process, if it does so to 32 bits."""

    def __enter__(self) -> None:
        with _one_at_a_time:
            _within.append(mkldnn.matmul.fp32_precision if not _within else _within[0])
            if are_exact():
                mkldnn.matmul.fp32_precision = "bf16"

    def __exit__(self, *exc: object) -> None:
        with _one_at_a_time:
            before = _within.pop()
            if not _within:
                mkldnn.matmul.fp32_precision = before


class inference(torch.no_grad):  # noqa: N801
    """A context or decorator for the use of models: no gradients, and `quick_products`."""

    def __enter__(self) -> None:
        super().__enter__()
        self.products = quick_products()
        self.products.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self.products.__exit__(*exc)
        super().__exit__(*exc)


@cache
def are_exact() -> bool:
    """Whether oneDNN keeps 32 bits where it may use fewer: a trial, against 64 bits."""
    if not mkldnn.is_available():
        return False
    a, b = (torch.rand(64, 256, generator=torch.Generator().manual_seed(i)) for i in range(2))
    before = mkldnn.matmul.fp32_precision
    try:
        mkldnn.matmul.fp32_precision = "bf16"
        error = (torch.mm(a, b.T).double() - a.double() @ b.double().T).abs().max()
    finally:
        mkldnn.matmul.fp32_precision = before
    return bool(error < 1e-3)  # of sums of about 64, where 32 bits are off by 1e-4 at most, and bfloat16 by 0.1
