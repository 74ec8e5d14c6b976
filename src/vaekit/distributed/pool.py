"""Processes that make the parts of a folder. One that dies is replaced, and its part is made again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from vaekit.distributed.parts import Parts
from vaekit.distributed.work import SLICE
from vaekit.errors import UserError, tell

TRIES = 3  # workers that a part may cost
STARTING = -1  # what a worker is at before its first part


class Worker:
    """A process. Its messages go to `heard`, and None when it has ended. part: the part that it works on."""

    def __init__(self, about: str, heard: SimpleQueue[tuple[Worker, dict[str, Any] | None]]):
        self.part, self.said = STARTING, tempfile.TemporaryFile()  # noqa: SIM115  until `end`
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vaekit.distributed.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.said, env={**os.environ, **alone}, text=True, start_new_session=True,  # Ctrl-C is for the parent
        )  # fmt: skip
        threading.Thread(target=self.listen, args=(heard,), daemon=True).start()
        self.write(about)

    def listen(self, heard: SimpleQueue[tuple[Worker, dict[str, Any] | None]]) -> None:
        with suppress(ValueError):  # a line that was cut as the process ended
            for line in self.process.stdout or ():
                heard.put((self, json.loads(line)))
        heard.put((self, None))

    def write(self, line: str) -> None:
        assert self.process.stdin
        with suppress(OSError):  # it has ended, which the other thread tells
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def make(self, part: int) -> None:
        self.part = part
        self.write(str(part))

    def reason(self) -> str:
        """Why it died, in words."""
        code = self.process.wait()
        self.said.seek(0)
        last = self.said.read().decode(errors="replace").strip().splitlines()[-1:]
        if code == -signal.SIGKILL or "MemoryError" in "".join(last):
            return "out of memory, most likely: use fewer --workers"
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return ": ".join([how, *last])

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for each in (self.process.stdin, self.process.stdout, self.said):
            with suppress(OSError):
                each.close()  # type: ignore[union-attr]


def make_parts(parts: Parts, about: Mapping[str, Any], workers: int) -> Iterator[None]:
    """Make the parts that are missing, with this many workers. Yields once for every 1024 rows of a part that are done.

    about: see `vaekit.distributed.worker`.

    Raises:
        UserError: a row cannot be worked on, a part cannot be written, or one has cost three workers.
    """
    left, told, died, seen = deque(parts.left), json.dumps(about), Counter[int](), Counter[int]()
    heard: SimpleQueue[tuple[Worker, dict[str, Any] | None]] = SimpleQueue()
    busy = {Worker(told, heard) for _ in range(min(workers, len(left)))}
    now, notes = Counter[int](), set[str]()  # rows of a part, in the present try
    try:
        while busy:
            worker, said = heard.get()
            if worker not in busy:  # it was told to end
                continue
            if said is None:
                busy.remove(worker)
                part, why = worker.part, worker.reason()
                worker.end()
                if part == STARTING or not parts.path(part).exists():
                    died[part] += 1
                    left.extendleft({part} - {STARTING})
                if died[part] == TRIES:
                    raise UserError(f"{where(parts, part)}: {TRIES} workers died, the last one by {why}")
                if left:
                    busy.add(Worker(told, heard))
            elif "error" in said:
                place = "" if worker.part == STARTING else f"{where(parts, worker.part)}: "
                raise UserError(f"{place}{said['error']}")
            elif "ready" in said and left:
                died[STARTING] = 0
                worker.make(left.popleft())
                now[worker.part] = 0
            elif "ready" in said:
                busy.remove(worker)
                worker.end()
            elif "rows" in said:
                now[worker.part] += said["rows"]
                for _ in range(now[worker.part] // SLICE - seen[worker.part]):
                    seen[worker.part] += 1
                    yield
            else:
                tell(text for text in said["notes"] if text not in notes)
                notes.update(said["notes"])
    finally:
        for worker in busy:
            worker.end()


def where(parts: Parts, part: int) -> str:
    """A part in words."""
    if part == STARTING:
        return "the workers do not start"
    start, stop = parts.span(part)
    return f"part {part} (rows {start} to {stop - 1})"
