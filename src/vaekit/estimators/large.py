"""Learning from rows that stay in their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from vaekit.errors import note
from vaekit.settings.parse import size_text
from vaekit.sources.stored import Stored
from vaekit.training.data import Data
from vaekit.training.stream import Streamed


def opened(X: Any, memory: int, seed: int) -> tuple[Any, Any]:
    """Rows to learn a schema from; and X itself, where it lies in files and takes more than half of the memory, so that its rows are read
    as they are needed. None where all are in memory."""
    if len(getattr(X, "groups", ())) and X.nbytes > memory / 2:
        return X.sample(seed), X
    return X[:] if isinstance(X, Stored) else X, None


def held(kind: Any, rows: Any, known: Mapping[str, Tensor], seed: int) -> Data:
    """Rows in memory, packed for training. The arguments are those of `streamed`."""
    x, mask = kind.pack(rows, jitter=np.random.default_rng(seed))
    return Data(x, mask, known)


def streamed(kind: Any, X: Any, known: Mapping[str, Tensor], memory: int, seed: int) -> Streamed:
    """Rows X, which are a `Frame` or `Stored`, as training reads them.

    Args:
        kind: the schema. known: conditions, packed, each (N, ...). seed: of what is drawn as rows are packed.
    """
    ends = np.cumsum(X.groups).tolist()

    def load(i: int) -> Data:
        x, mask = kind.pack(kind.take(X.group(i)), jitter=np.random.default_rng([seed, i]))
        if mask is not None and x.ndim == 2 and (short := kind.event_shape[0] - x.shape[1]) > 0:
            x, mask = F.pad(x, (0, short)), F.pad(mask, (0, short))  # texts are as wide as the longest of their group
        return Data(x, mask, {name: v[ends[i] - X.groups[i] : ends[i]] for name, v in known.items()})

    rows = Streamed(load, X.groups, memory, X.fingerprint, known, getattr(X, "remote", False))
    note(
        f"the {len(rows):,} rows stay in their files: {min(rows.window, len(rows)):,} at a time are read and shuffled, within --memory "
        f"{size_text(memory)}"
    )
    return rows
