"""Learning from rows that stay in their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from vaekit.errors import note
from vaekit.settings.parse import size_text
from vaekit.training.data import Data
from vaekit.training.stream import Streamed


def stays(X: Any, memory: int) -> bool:
    """Whether rows are read as they are needed: they lie in files, and take more than half of the memory."""
    return len(getattr(X, "groups", ())) > 0 and X.nbytes > memory / 2


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

    rows = Streamed(load, X.groups, memory, X.fingerprint, known)
    note(
        f"the {len(rows):,} rows stay in their files: {min(rows.window, len(rows)):,} at a time are read and shuffled, within --memory "
        f"{size_text(memory)}"
    )
    return rows
