"""The user's functions at work. A row that one of them fails on is left out, with its reason; the others count."""

from __future__ import annotations

import copy
import importlib.util
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches

HANGS = 10  # time-outs in a row, with no row that worked between them, before the search gives up
STARTING = 60.0  # seconds that a process may take until it has the functions
FAILS = (Exception, SystemExit)  # what a function may raise


@dataclass(frozen=True)
class Own:
    """A function of the user's. It takes rows (n, ...) in their own form.

    Args:
        function: itself; None: it is loaded from a file.
        place: what messages call it; of a file, FILE.py:NAME.
    """

    function: Callable[[Any], Any] | None
    place: str

    @classmethod
    def of(cls, given: str | Callable[[Any], Any]) -> Own:
        """UserError for a file that is not there."""
        if callable(given):
            return cls(given, getattr(given, "__name__", type(given).__name__))
        file = given.rpartition(":")[0]
        if not Path(file).is_file():
            raise UserError(f"{given}: there is no file {file}")
        return cls(None, given)

    def load(self, modules: dict[Path, ModuleType]) -> Callable[[Any], Any]:
        """The function. modules: files that are loaded already, to which this one is added: functions of one file share what it holds.
        UserError for a file that cannot be run, or has no such function."""
        if self.function is not None:
            return self.function
        file, _, name = self.place.rpartition(":")
        path = Path(file).resolve()
        if path not in modules:
            modules[path] = module_of(path)
        found = getattr(modules[path], name, None)
        if not callable(found):
            known = [each for each, value in vars(modules[path]).items() if callable(value) and each[0] != "_"]
            raise UserError(f"{file} has no function {name!r}{near_matches(name, known)}")
        return found


def module_of(path: Path) -> ModuleType:
    """A file of Python, run. UserError where that fails."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # for what it imports from beside it
    try:
        spec.loader.exec_module(module)
    except FAILS as error:
        raise UserError(f"{path} cannot be run: {reason(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


class Here:
    """The functions in this process, where nothing ends one that hangs."""

    def __init__(self, functions: Sequence[Own]):
        modules = dict[Path, ModuleType]()
        self.functions = [each.load(modules) for each in functions]

    def __call__(self, rows: Any) -> list[np.ndarray]:
        """The result of each function for rows. It may change them: it has a copy."""
        return [np.asarray(function(copy.deepcopy(rows)), dtype=np.float64) for function in self.functions]

    def close(self) -> None: ...

    def evaluate(self, rows: Any, failed: Counter[str]) -> list[tuple[slice, list[Any]]]:
        """The results of the functions for rows: pieces of them with their results. failed: how many rows failed, by the reason."""
        found = []
        left = deque([slice(0, len(rows))])
        while left:
            part = left.popleft()
            try:
                found.append((part, self(rows[part])))
            except FAILS as error:
                left.extendleft(reversed(one_by_one(part, reason(error), failed)))
        return found


def one_by_one(part: slice, why: str, failed: Counter[str]) -> list[slice]:
    """The tries that follow when some rows failed together: each row alone; a row that failed alone is given up."""
    if part.stop - part.start == 1:
        failed[why] += 1
        return []
    return [slice(i, i + 1) for i in range(part.start, part.stop)]


# -- in other processes ------------------------------------------------------------------------------------------------


def serve(connection: Connection, functions: Sequence[Own]) -> None:
    """A process that answers rows with results, until its parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its generation first
    try:
        here = Here(functions)
    except Exception as error:
        connection.send(("unusable", str(error) if isinstance(error, UserError) else reason(error)))
        return
    connection.send(("ready", None))
    while True:
        try:
            rows = connection.recv()
        except EOFError:
            return
        try:
            answer: tuple[str, Any] = "found", here(rows)
        except FAILS as error:
            answer = "failed", reason(error)
        connection.send(answer)


class Worker:
    """A process with the functions."""

    def __init__(self, functions: Sequence[Own]):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        os.environ.update(dict.fromkeys(before, "1"))
        try:
            self.process = context.Process(target=serve, args=(theirs, functions), daemon=True)
            self.process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        theirs.close()
        self.part: slice | None = None
        self.until = time.monotonic() + STARTING
        self.ready = False

    def ask(self, rows: Any, part: slice, timeout: float) -> None:
        self.part, self.until = part, time.monotonic() + timeout
        self.connection.send(rows[part])

    def answer(self) -> tuple[str, Any]:
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return "died", f"its process ended with {self.process.exitcode}"

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class Pool:
    """The functions in processes of their own, each of which has `timeout` seconds for the rows that it gets."""

    def __init__(self, functions: Sequence[Own], workers: int, timeout: float):
        self.functions, self.timeout, self.hangs = list(functions), timeout, 0
        self.workers = [Worker(self.functions) for _ in range(workers)]

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers = []

    def evaluate(self, rows: Any, failed: Counter[str]) -> list[tuple[slice, list[Any]]]:
        """As `Here.evaluate`. UserError where nothing can be asked of the functions any more."""
        size = -(-len(rows) // len(self.workers))
        left = deque(slice(i, min(i + size, len(rows))) for i in range(0, len(rows), size))
        found: list[tuple[slice, list[Any]]] = []
        while left or any(worker.part for worker in self.workers):
            for worker in self.workers:
                if left and worker.ready and worker.part is None:
                    worker.ask(rows, left.popleft(), self.timeout)
            waited = [worker for worker in self.workers if worker.part or not worker.ready]
            soon = max(0.0, min(worker.until for worker in waited) - time.monotonic())
            told = wait([worker.connection for worker in waited], soon)
            for worker in waited:
                if worker.connection in told:
                    self._heard(worker, left, found, failed)
                elif time.monotonic() >= worker.until:
                    self._hung(worker, left, failed)
        return sorted(found, key=lambda each: each[0].start)

    def _heard(self, worker: Worker, left: deque[slice], found: list[Any], failed: Counter[str]) -> None:
        what, value = worker.answer()
        part, worker.part = worker.part, None
        if what == "unusable" or (what == "died" and part is None):
            raise UserError(value if what == "unusable" else f"the functions cannot be loaded: {value}")
        if what == "ready":
            worker.ready = True
            return
        assert part is not None
        if what == "found":
            self.hangs = 0
            found.append((part, value))
            return
        if what == "died":
            self._replace(worker)
        left.extend(one_by_one(part, value, failed))

    def _hung(self, worker: Worker, left: deque[slice], failed: Counter[str]) -> None:
        names = " or ".join(each.place for each in self.functions)
        if worker.part is None:
            raise UserError(f"{names} was not loaded within {STARTING:g} s: look at what runs as its file is imported")
        self.hangs += 1
        if self.hangs == HANGS:
            raise UserError(
                f"{names} hangs: {HANGS} calls in a row took longer than {self.timeout:g} s; give a longer --timeout"
            )
        left.extend(one_by_one(worker.part, f"it took longer than {self.timeout:g} s", failed))
        self._replace(worker)

    def _replace(self, worker: Worker) -> None:
        worker.end()
        self.workers[self.workers.index(worker)] = Worker(self.functions)
