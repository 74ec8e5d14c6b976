"""Arrays in a column: each row (of numbers, a picture, a clip) is a cell that holds its bytes, in C order and little-endian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def as_cells(rows: np.ndarray) -> Any:
    """Rows (N, ...) of numbers -> an Arrow array of N cells, which shares their memory where it can."""
    import pyarrow as pa

    rows = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
    width = rows.dtype.itemsize * math.prod(rows.shape[1:])
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows.reshape(-1))])


def from_cells(column: Any, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An Arrow column of cells -> rows (N, *shape). ValueError if the cells have another size."""
    import pyarrow as pa

    if not pa.types.is_fixed_size_binary(column.type):
        whole = np.frombuffer(b"".join(column.to_pylist()), np.uint8)
    else:
        width = column.type.byte_width
        chunks = [
            np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * width : (chunk.offset + len(chunk)) * width]
            for chunk in getattr(column, "chunks", [column])
        ]
        whole = chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, np.uint8), *chunks])
    values = whole.view(np.dtype(dtype).newbyteorder("<")).astype(np.dtype(dtype).newbyteorder("="), copy=False)
    return values.reshape(len(column), *shape)
