"""ONNX files in pieces, so that graphs which share weights share their bytes: a file is the pieces one after another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

LEAST = 4096  # bytes of a weight that is a piece of its own
LARGEST_HALF = float(np.finfo(np.float16).max)  # a weight with larger numbers keeps its 32 bits


class Pieces:
    """The pieces of several ONNX files.

    Attributes:
        of: name of a graph -> the names of its pieces in order, for `model.json`.
        tensors: the pieces: bytes (n,) uint8, or weights (n,) of 32 bits, or of 16 which the page makes 32 of.
    """

    def __init__(self, protos: Mapping[str, Any], *, half: bool = False):
        self.tensors: dict[str, np.ndarray] = {}
        self.names: dict[bytes, str] = {}
        self.of = {name: self.cut(proto, half) for name, proto in protos.items()}

    def cut(self, proto: Any, half: bool) -> list[str]:
        content, found, at = proto.SerializeToString(), [], 0
        for start, raw in places(content, {w.raw_data for w in weights(proto.graph)}):
            values = np.frombuffer(raw, "<f4")
            fits = half and np.abs(values).max() < LARGEST_HALF
            found += [self.keep(content[at:start]), self.keep(raw, values.astype("<f2") if fits else values)]
            at = start + len(raw)
        return [*found, self.keep(content[at:])]

    def keep(self, content: bytes, values: np.ndarray | None = None) -> str:
        """The name of a piece."""
        if content not in self.names:
            self.names[content] = f"onnx.{len(self.names)}"
            self.tensors[self.names[content]] = np.frombuffer(content, np.uint8) if values is None else values
        return self.names[content]


def weights(graph: Any) -> Iterator[Any]:
    """Large tensors of 32 bits in a graph, and in the loops within it."""
    for each in [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]:
        if each.data_type == each.FLOAT and len(each.raw_data) >= LEAST:
            yield each
    for node in graph.node:
        for a in node.attribute:
            if a.HasField("g"):
                yield from weights(a.g)


def places(content: bytes, parts: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The places of parts in a content, in order and without overlaps."""
    found = sorted((match.start(), part) for part in parts for match in re.finditer(re.escape(part), content))
    end = 0
    for start, part in found:
        if start >= end:
            yield start, part
            end = start + len(part)
