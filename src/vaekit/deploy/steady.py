"""Graphs whose answer for a row does not depend, to the last bit, on the rows beside it.

On one thread most kernels of onnxruntime treat all rows alike. Two sorts do not. A sum over the last axis adds in an order that depends
on where in memory the row begins. And some functions, which are computed for several numbers at once, round the last few numbers of a
tensor in another way than the others. So such a sum becomes a product with ones, and such a tensor gets a tail that nobody reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

WIDTH = 16  # numbers that a processor computes at once, at most
TAILED = {"Celu", "Cos", "Elu", "Log", "Mish", "Selu", "Sin", "Softplus"}
SUMS = {"ReduceSum", "ReduceMean"}


def steady(proto: Any) -> Any:
    """Replace these nodes in an `onnx.ModelProto`, and return it."""
    import onnx

    graph = proto.graph
    kinds, shapes, values = {}, {}, {}
    for info in (*onnx.shape_inference.infer_shapes(proto).graph.value_info, *graph.input):
        tensor = info.type.tensor_type
        kinds[info.name] = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shapes[info.name] = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    for each in (*graph.initializer, *(n for n in graph.node if n.op_type == "Constant")):
        name, tensor = (each.output[0], each.attribute[0].t) if hasattr(each, "output") else (each.name, each)
        values[name] = tensor
    nodes = list[Any]()
    for node in graph.node:
        shape, kind = shapes.get(node.input[0] if node.input else "", []), kinds.get((*node.input, "")[0])
        make = Nodes(node, kind)
        if kind in (np.float32, np.float64) and None in shape:
            if node.op_type in TAILED and math.prod(n or 1 for n in shape) % WIDTH:
                make.tailed()
            elif node.op_type in SUMS:
                axes = onnx.numpy_helper.to_array(values[node.input[1]])
                keep = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
                make.summed(shape, sorted(int(a) % len(shape) for a in axes), bool(keep))
        nodes += make.made or [node]
    del graph.node[:]
    graph.node.extend(nodes)
    return proto


class Nodes:
    """The nodes that take the place of a node. made: none, if the node may stay."""

    def __init__(self, node: Any, kind: Any):
        self.node, self.kind, self.made = node, kind, list[Any]()

    def add(self, op: str, *inputs: Any, last: bool = False, **attributes: Any) -> str:
        """Add a node; return the name of its output. inputs: names, or arrays that are constant."""
        import onnx

        names = []
        for each in inputs:
            if isinstance(each, np.ndarray):
                each = self.add("Constant", value=onnx.numpy_helper.from_array(each))
            names.append(each)
        out = self.node.output[0]
        name = out if last else f"{out}.steady{len(self.made)}"
        self.made.append(onnx.helper.make_node(op, names, [name], name=name, **attributes))
        return name

    def tailed(self) -> None:
        x = self.node.input[0]
        flat = self.add("Reshape", x, np.array([-1]))
        longer = self.add("Concat", flat, np.ones(WIDTH, self.kind), axis=0)
        found = self.add(self.node.op_type, longer, **{a.name: a.f for a in self.node.attribute})
        cut = self.add("Slice", found, np.array([0]), np.array([-WIDTH]), np.array([0]))
        self.add("Reshape", cut, self.add("Shape", x), last=True)

    def summed(self, shape: Sequence[int | None], axes: list[int], keep: bool) -> None:
        inner = list(trailing(axes, len(shape)))
        size = math.prod(shape[a] or 0 for a in inner)
        if not inner or not size or not size % WIDTH:
            return
        outer, x, mean = axes[: -len(inner)], self.node.input[0], self.node.op_type == "ReduceMean"
        if outer:
            x = self.add(self.node.op_type, x, np.array(outer), keepdims=1)
        if len(inner) > 1:
            x = self.add("Reshape", x, np.array([0] * inner[0] + [size]))
        total = self.add("MatMul", x, np.full((size, 1), 1 / size if mean else 1, self.kind))
        if keep:
            self.add("Unsqueeze", total, np.array(inner[1:], np.int64), last=True)
        else:
            self.add("Squeeze", total, np.array([*outer, inner[0]]), last=True)


def trailing(axes: Sequence[int], rank: int) -> Iterator[int]:
    """Those of the axes that are the last ones without a gap, in order."""
    return (a for a in axes if all(b in axes for b in range(a, rank)))
