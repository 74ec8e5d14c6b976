"""Modules of PyTorch as ONNX graphs, by PyTorch's own exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaekit.errors import UserError, extra_needed

TOLERANCE = 1e-5  # of a value, beside its size and the size of the others
Inputs = Mapping[str, Tensor]


def needed() -> Any:
    """The package onnx. UserError where it, or one that it works with, is missing."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as e:
        raise extra_needed("onnx", e.name or "onnx") from e
    return onnx


def traced(module: nn.Module, given: Inputs, dynamic: Mapping[str, Mapping[int, str]], outputs: Sequence[str]) -> Any:
    """A module as an `onnx.ModelProto`.

    Args:
        module: called with a dict of tensors by name; gives a dict with the names `outputs`.
        given: an example, whose dynamic dimensions are 2 or more: 0 and 1 are taken for constants.
        dynamic: dimensions that are free, by name of the input: {dimension: its name}.

    Raises:
        UserError: ONNX cannot express it.
    """
    named = {d: torch.export.Dim(d, min=3) for free in dynamic.values() for d in free.values()}
    free = {name: {i: named[d] for i, d in dynamic.get(name, {}).items()} for name in given}
    try:
        with quiet(), torch.no_grad():
            plain = {f"input{i}": name for i, name in enumerate(given)}  # the exporter makes code of them
            exported = torch.export.export(
                Named(module, plain), ({own: given[name] for own, name in plain.items()},),
                dynamic_shapes=({own: free[name] for own, name in plain.items()},), strict=False,
            )  # fmt: skip
            program = torch.onnx.export(
                exported, input_names=list(given), output_names=list(outputs), custom_translation_table=TRANSLATIONS,
                dynamo=True, verbose=False,
            )  # fmt: skip
    except Exception as e:  # the exporter's errors share no base
        raise UserError(f"ONNX cannot express it: {reason(e)}") from e
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:
        node.ClearField("metadata_props")  # the lines of code it comes from, with paths of this machine
        node.ClearField("doc_string")
    return proto


class Named(nn.Module):
    """A module that is called with a dict, by other names. names: these, and the module's own."""

    def __init__(self, module: nn.Module, names: Mapping[str, str]):
        super().__init__()
        self.module, self.names = module, names

    def forward(self, given: Inputs) -> dict[str, Tensor]:
        return self.module({name: given[own] for own, name in self.names.items()})


def reason(e: BaseException) -> str:
    """The first telling line of an error that has another one as its cause."""
    while e.__cause__ is not None:
        e = e.__cause__
    lines = [line.strip() for line in str(e).splitlines() if line.strip()]
    return f"{type(e).__name__}: {lines[0][:200]}" if lines else type(e).__name__


def differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The distance of a graph's outputs from what they should be, by name: the largest difference, beside the size of the value and of all."""
    off = {}
    for name, wanted in expected.items():
        a, b = np.asarray(found[name], np.float64), np.asarray(wanted, np.float64)
        if a.shape != b.shape:
            off[name] = math.inf
            continue
        size = np.abs(b) + (np.sqrt(np.square(b).mean()) if b.size else 0.0)
        off[name] = (
            float((np.abs(a - b) / np.maximum(size, 1e-30)).max(initial=0.0)) if np.isfinite(a).all() else math.inf
        )
    return off


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporter prints and warns about things that users cannot change."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.fx.experimental", "torch.export")
    ]
    levels = [logger.level for logger in loggers]
    said = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


# -- what the exporter does not know -----------------------------------------------------------------------------------


def ndtr(x: Any) -> Any:
    """The Normal's cumulative probability, (1 + erf(x / sqrt 2)) / 2: onnxruntime's erf takes float32 only."""
    import onnxscript

    op: Any = onnxscript.opset18
    erf = op.Erf(op.Cast(x, to=onnxscript.FLOAT.dtype) * op.Constant(value_float=0.5**0.5))
    return op.CastLike((erf + op.Constant(value_float=1.0)) * op.Constant(value_float=0.5), x)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^x): onnxruntime's own takes float32 only."""
    import onnxscript

    op: Any = onnxscript.opset18
    if x.dtype != onnxscript.ir.DataType.DOUBLE:
        return op.Softplus(x)
    one = op.CastLike(op.Constant(value_float=1.0), x)
    return op.Relu(x) + op.Log(one + op.Exp(-op.Abs(x)))


def searchsorted(edges: Any, x: Any, **options: Any) -> Any:
    """The number of edges (C, K) below each of x (C, N): (C, N)."""
    import onnxscript

    op: Any = onnxscript.opset18
    below = op.Less(op.Unsqueeze(edges, op.Constant(value_ints=[1])), op.Unsqueeze(x, op.Constant(value_ints=[2])))
    return op.ReduceSum(op.Cast(below, to=onnxscript.INT64.dtype), op.Constant(value_ints=[2]), keepdims=0)


def cdist(a: Any, b: Any, p: float = 2.0, compute_mode: Any = None) -> Any:
    """Euclidean distances of points a (N, D) and b (M, D): (N, M)."""
    import onnxscript

    op: Any = onnxscript.opset18
    apart = op.Sub(op.Unsqueeze(a, op.Constant(value_ints=[1])), op.Unsqueeze(b, op.Constant(value_ints=[0])))
    return op.ReduceL2(apart, op.Constant(value_ints=[2]), keepdims=0)


TRANSLATIONS: dict[Any, Any] = {
    torch.ops.aten._cdist_forward.default: cdist,
    torch.ops.aten.special_ndtr.default: ndtr,
    torch.ops.aten.softplus.default: softplus,
    torch.ops.aten.searchsorted.Tensor: searchsorted,
}
