"""How trackers follow a training, by `track=["mlflow"]`.

A tracker works in a thread of its own, so training does not wait for it. A tracker that fails becomes one note, and training goes on.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from vaekit.errors import UserError, note
from vaekit.files import read_text, write_text
from vaekit.training.trackers import FAILED, KILLED, TRACKERS, About, End, Row, Tracker, ready

log = logging.getLogger(__name__)

TRACKING = "tracking.json"  # in a run's folder
OPENING, CLOSING, LOST = (
    90.0,
    600.0,
    20.0,
)  # seconds: MLflow's first database takes 10, a large model takes long to send


class Line(Thread):
    """A tracker in a thread of its own. It continues after a fault, so that the run is closed if that is possible at all."""

    def __init__(self, tracker: Tracker, begin: Callable[[], str]):
        super().__init__(name=tracker.label, daemon=True)  # a server that does not answer must not hold the program
        self.tracker, self.begin = tracker, begin
        self.rows: deque[Row] = deque()
        self.work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.opened, self.identity = Event(), ""
        self.fault: Exception | None = None
        self.told = False

    def run(self) -> None:
        self._try(self._begin)
        self.opened.set()
        for work in iter(self.work.get, None):
            self._try(work)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as e:  # whatever a tracker raises
            self.fault = self.fault or e

    def _begin(self) -> None:
        self.identity = self.begin()

    def wait_until_open(self) -> None:
        if not self.opened.wait(OPENING):
            raise TimeoutError(f"it did not answer for {OPENING:.0f} seconds")
        if self.fault:
            raise self.fault

    def put(self, row: Row) -> None:
        """Log the metrics of an epoch, with all others that wait."""
        self.rows.append(row)
        self.work.put(self._log)

    def _log(self) -> None:
        if rows := [self.rows.popleft() for _ in range(len(self.rows))]:
            self.tracker.log(rows)

    def leave(self, last: Callable[[], object]) -> None:
        """Do what waits and then `last`."""
        self.work.put(last)
        self.work.put(None)

    def close(self, last: Callable[[], object]) -> None:
        """Close the line, and wait for it."""
        self.leave(last)
        try:
            self.join(1.0)
            if self.is_alive():
                log.info("waiting for %s; Ctrl-C goes on without it", self.tracker.label)
                self.join(LOST if self.fault else CLOSING)
            if self.is_alive():
                self.fault = self.fault or TimeoutError("it does not answer")
        except KeyboardInterrupt:
            self.fault = InterruptedError("stopped by Ctrl-C before it had everything")
        self.tell()

    def tell(self) -> None:
        """Say once that the tracker was lost."""
        if self.fault and not self.told:
            self.told = True
            note(f"{self.tracker.label} lost track of this run, and training goes on without it: {reason(self.fault)}")


class Tracking:
    """The trackers of one training: a watcher (see `vaekit.training`), and a context that closes them however training ends.

    names: of `TRACKERS`. UserError if one of them cannot be used.
    """

    def __init__(self, names: Sequence[str]):
        self.trackers = dict(zip(dict.fromkeys(names), ready(names), strict=True))
        self.lines: list[Line] = []
        self.end = End()
        self.folder: Path | None = None

    def open(self, about: About, resume: bool) -> None:
        """Begin to track, or go on in the tracked runs that the folder knows. UserError if a tracker does not answer."""
        self.folder = about.folder
        path = self.folder and self.folder / TRACKING
        kept = read_ids(path) if path and resume else {}
        for name, tracker in self.trackers.items():
            tracker.adopt()
            line = Line(tracker, partial(tracker.open, about, kept.get(name)))
            line.start()
            try:
                line.wait_until_open()
            except BaseException as e:
                line.leave(partial(tracker.close, End()))  # should it open later
                if not isinstance(e, Exception):
                    raise
                raise UserError(
                    f"cannot track by {tracker.label}: {reason(e)}. Mend that, or leave {name} out of track"
                ) from e
            self.lines.append(line)
            kept[name] = line.identity
        if path and any(kept.values()):
            write_text(path, json.dumps({name: each for name, each in kept.items() if each}) + "\n")

    def step(self, state: Any, progress: float, terms: dict[str, float]) -> None: ...

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        for line in self.lines:
            if line.fault:
                line.tell()
            else:
                line.put((time.time(), row))

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind:
            stopped = issubclass(kind, (KeyboardInterrupt, SystemExit))
            self.end = End(KILLED if stopped else FAILED, [str(error)] if str(error) else [kind.__name__])
        for line in self.lines:
            line.close(partial(line.tracker.close, self.end))


def add(folder: Path, names: Sequence[str], numbers: Mapping[str, float], verdict: str, files: Sequence[Path]) -> None:
    """Add what was found after training, such as a report, to the tracked runs of a run's folder."""
    kept = read_ids(folder / TRACKING)
    for name in names:
        if name in kept:
            tracker = TRACKERS[name]()
            line = Line(tracker, str)
            line.start()
            line.close(partial(tracker.add, kept[name], numbers, verdict, files))


def read_ids(path: Path) -> dict[str, str]:
    """The identities of tracked runs by tracker; none if the file is not there or is not such a file."""
    try:
        return {name: each for name, each in json.loads(read_text(path)).items() if isinstance(each, str)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def reason(error: Exception) -> str:
    """An error of a tracker in a line."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
