"""What the servers share: the model, whose calls may take longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from vaekit.runtime import Runtime, folder, load


def model(given: Mapping[str, Any]) -> Runtime:
    slow_down(given["ms"])
    return load(given["folder"])


class Slow:
    """A session of onnxruntime whose calls take longer, one after another and without the interpreter: as if a device of its own
    computed them."""

    device = threading.Lock()

    def __init__(self, session: Any, ms: float):
        self.session, self.ms = session, ms

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run(self, *given: Any) -> Any:
        with self.device:
            time.sleep(self.ms / 1e3)
            return self.session.run(*given)


def slow_down(ms: float) -> None:
    """Let each call of a graph take these milliseconds more. It is done where a session is opened, so that no server has a way around it."""
    opened = folder.open_session
    if ms:
        folder.open_session = lambda *given: Slow(opened(*given), ms)
