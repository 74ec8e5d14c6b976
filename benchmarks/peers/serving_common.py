"""What the servers share: the model, whose calls may take longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaekit.runtime import Runtime, load
from vaekit.runtime.folder import Folder


def model(given: Mapping[str, Any]) -> Runtime:
    slow_down(given["ms"])
    return load(given["folder"])


def slow_down(ms: float) -> None:
    """Let each call of a graph take these milliseconds more, one call after another and without the interpreter: as if a device
    of its own computed it."""
    run, device = Folder.run, threading.Lock()

    def slow(self: Folder, graph: str, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with device:
            time.sleep(ms / 1e3)
            return run(self, graph, given)

    if ms:
        Folder.run = slow  # type: ignore[method-assign]
