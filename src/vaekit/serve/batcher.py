"""A thread that moves all tasks of a model forward that wait. Under load what goes through a graph together grows by itself; a task that
comes alone waits for nobody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np

from vaekit.errors import kept_notes
from vaekit.runtime.folder import ROWS, Folder
from vaekit.runtime.tasks import Ask, Task

TOGETHER = 256  # tasks that are moved forward at once: bounds memory


class Full(Exception):  # noqa: N818
    """The error when as many tasks wait as may wait."""


@dataclass(eq=False)
class Job:
    """A task that is under way.

    Attributes:
        future: of the loop, where its result is awaited. large: whether it is about many rows. ask: what it asks next.
        value, error: its result, when it has one. notes: what was said on the way.
    """

    task: Task
    future: asyncio.Future[Any]
    large: bool = False
    ask: Ask | None = None
    value: Any = None
    error: BaseException | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def graph(self) -> str:
        """The graph that it asks."""
        assert self.ask
        return self.ask[0]

    @property
    def rows(self) -> int:
        """The number of rows that it asks about."""
        assert self.ask
        return max((len(values) for values in self.ask[1].values() if np.ndim(values)), default=1)

    def move(self, found: Any = None) -> bool:
        """Move it forward. Returns whether it asks for more."""
        try:
            with kept_notes() as notes:
                self.ask = self.task.send(found)
            more = True
        except StopIteration as end:
            self.value, more = end.value, False
        except Exception as e:
            self.error, more = e, False
        self.notes += notes
        return more


class Batcher:
    """Runs the tasks of one model.

    Args:
        folder: of the model. most: how many tasks may be under way.
        measured: called after each run of a graph, with the number of requests that went through it together, and the seconds.
    """

    def __init__(self, folder: Folder, most: int = 256, measured: Callable[[int, float], None] = lambda *_: None):
        self.folder, self.most, self.measured = folder, most, measured
        self.under_way = 0
        self._new: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def check_room(self) -> None:
        """`Full` if as many tasks wait as may wait."""
        if self.under_way >= self.most:
            raise Full

    async def do(self, task: Task, rows: int = 1) -> tuple[Any, list[str]]:
        """The result of a task about this many rows, and the notes that it made. `Full` if too many tasks wait."""
        self.check_room()
        self.under_way += 1
        job = Job(task, asyncio.get_running_loop().create_future(), rows > ROWS)
        self._new.put(job)
        return await job.future, job.notes

    def close(self) -> None:
        """End the thread when what is under way is done."""
        self._new.put(None)
        self._thread.join()

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        asking: list[Job] = []
        large: list[Job] = []  # which begin one by one: to prepare their rows takes long
        while True:
            fresh = list(self._taken(wait=not asking and not large, most=TOGETHER - len(asking)))
            if None in fresh:
                return
            large += [job for job in fresh if job and job.large]
            begins, large = [job for job in fresh if job and not job.large] + large[:1], large[1:]
            done: list[Job] = []
            self._sort([(job, None) for job in begins], asking, done)
            self._tell(done)
            by_graph: dict[str, list[Job]] = {}
            for job in asking:
                by_graph.setdefault(job.graph, []).append(job)
            asking = []
            for graph, those in by_graph.items():
                now, later = self._turn(those)
                asking += later
                done = []
                self._sort(self._found(graph, now, done), asking, done)
                self._tell(done)

    def _turn(self, jobs: list[Job]) -> tuple[list[Job], list[Job]]:
        """Those whose turn it is, and the others: the one that waits for longest, and then the smallest, as many rows as fit. Those
        that nobody waits for any more cost nothing."""
        rows, now, later = 0, list[Job](), list[Job]()
        for job in [jobs[0], *sorted(jobs[1:], key=lambda job: job.rows)]:
            fits = not now or rows + job.rows <= ROWS
            rows += job.rows * fits
            (now if fits else later).append(job)
        return now, later

    def _taken(self, wait: bool, most: int) -> Iterator[Job | None]:
        if wait:
            yield self._new.get()
        while not self._new.empty() and most > 0:
            yield self._new.get()
            most -= 1

    def _sort(self, moves: list[tuple[Job, Any]], asking: list[Job], done: list[Job]) -> None:
        for job, found in moves:
            if not self._gone(job, done):
                (asking if job.move(found) else done).append(job)

    def _found(self, graph: str, those: list[Job], done: list[Job]) -> list[tuple[Job, Any]]:
        """What a graph gives for each job. If it fails for all together, they are run one by one, and who is to blame is done."""
        those = [job for job in those if not self._gone(job, done)]
        if not those:
            return []
        asked = [job.ask[1] for job in those if job.ask]
        begin = time.perf_counter()
        try:
            found = list(zip(those, self.folder.run_together(graph, asked), strict=True))
        except Exception as e:  # onnxruntime's errors share no other base
            if len(those) > 1:
                return [each for job in those for each in self._found(graph, [job], done)]
            those[0].error = e
            done.append(those[0])
            return []
        self.measured(len(those), time.perf_counter() - begin)
        return found

    def _gone(self, job: Job, done: list[Job]) -> bool:
        """Whether whoever asked no longer waits; then the job is done."""
        if gone := job.future.cancelled():
            done.append(job)
        return gone

    def _tell(self, done: list[Job]) -> None:
        if done:
            done[0].future.get_loop().call_soon_threadsafe(self._settle, done)

    def _settle(self, done: list[Job]) -> None:
        self.under_way -= len(done)
        for job in done:
            if job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.value)
