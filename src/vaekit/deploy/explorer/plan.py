"""ONNX graphs as lists of steps for the page's own engine, which needs no WebAssembly: small networks without convolutions.

`plain-ops.json`, which is built with the page, has the names of the operations that the engine knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaekit.deploy.explorer.page import built

WHOLE = np.iinfo(np.int32)


class Plan:
    """The steps of several graphs, and their weights: each once, whichever graphs use it.

    Attributes:
        graphs: name -> {"nodes", "inputs", "outputs"}, for `model.json`.
        weights: name -> values: float32, int32 or bool.
    """

    def __init__(self, protos: Mapping[str, Any]):
        self.weights: dict[str, np.ndarray] = {}
        self.names: dict[tuple[Any, ...], str] = {}
        self.graphs = {name: self.steps(proto) for name, proto in protos.items()}

    def steps(self, proto: Any) -> dict[str, Any]:
        """Those of one `onnx.ModelProto`."""
        from onnx import numpy_helper

        graph = proto.graph
        kept = {each.name: self.keep(numpy_helper.to_array(each)) for each in graph.initializer}
        nodes = [
            {
                "op": node.op_type,
                "in": [kept.get(name, name) for name in node.input],
                "out": list(node.output),
                "attrs": {k: v for a in node.attribute for k, v in attribute(a).items()},
            }
            for node in graph.node
        ]
        inputs = [each.name for each in graph.input if each.name not in kept]
        return {"nodes": nodes, "inputs": inputs, "outputs": [each.name for each in graph.output]}

    def keep(self, values: np.ndarray) -> str:
        """The name of a weight with these values."""
        values = narrowed(values)
        key = values.dtype.str, values.shape, values.tobytes()
        if key not in self.names:
            self.names[key] = f"weights.{len(self.weights)}"
            self.weights[self.names[key]] = values
        return self.names[key]


def fits(protos: Mapping[str, Any]) -> bool:
    """Whether the page's engine knows all operations of these graphs."""
    known = set(json.loads(built("plain-ops.json")))
    return all(node.op_type in known and not node.domain for p in protos.values() for node in p.graph.node)


def narrowed(values: np.ndarray) -> np.ndarray:
    """Values in the types that the engine has. Whole numbers beyond 32 bits stand for "to the end"."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    return values if values.dtype == bool else values.clip(WHOLE.min, WHOLE.max).astype(np.int32)


def attribute(given: Any) -> dict[str, Any]:
    """An attribute of a node as plain values. Constants of all forms become value, dtype and shape."""
    from onnx import helper, numpy_helper

    value = helper.get_attribute_value(given)
    if given.name.startswith("value"):
        is_tensor = given.type == given.TENSOR
        array = narrowed(numpy_helper.to_array(value) if is_tensor else np.asarray(value))
        dtype = {"f": "f32", "i": "i32", "b": "bool"}[array.dtype.kind]
        return {"value": array.ravel().tolist(), "dtype": dtype, "shape": list(array.shape)}
    return {given.name: value.decode() if isinstance(value, bytes) else list(value) if is_list(value) else value}


def is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)
