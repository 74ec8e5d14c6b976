"""Work on all cores, for functions of libraries that let other threads run meanwhile: Arrow, Pillow and FFmpeg do."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

AHEAD = 2  # tasks per core whose results may wait until they are taken: what they hold stays bounded


class OnAllCores:
    """The results of a function for each item, in order, computed on all cores. The first error is raised where the result of its task
    would be.

    at_once: items of a task; several, where one takes less time than it takes to hand it over. waiting: the most tasks whose results
    may wait; None: two for each core. ahead: whether they are done while the caller does something else. If not, they are done when a
    result is asked for: one on each core.
    """

    def __init__(
        self, function: Callable[[Any], Any], items: Sequence[Any], at_once: int = 1, waiting: int | None = None,
        ahead: bool = True,
    ):  # fmt: skip
        self.function, self.items, self.at_once, self.waiting, self.ahead = function, items, at_once, waiting, ahead

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        if len(self.items) <= self.at_once:  # a single task needs no other thread
            yield from self._task(self.items)
            return
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        most = self.waiting or AHEAD * cores
        waiting: deque[Future[list[Any]]] = deque()

        def taken(all_but: int) -> Iterator[Any]:
            if not self.ahead:
                wait(waiting)
            while len(waiting) > all_but:
                yield from waiting.popleft().result()

        pool = ThreadPoolExecutor(cores, initializer=alone)
        try:
            for start in range(0, len(self.items), self.at_once):
                if len(waiting) == (most if self.ahead else min(most, cores)):
                    yield from taken(most - 1 if self.ahead else 0)
                waiting.append(pool.submit(self._task, self.items[start : start + self.at_once]))
            yield from taken(0)
        finally:
            pool.shutdown(cancel_futures=True)

    def _task(self, items: Sequence[Any]) -> list[Any]:
        return [self.function(item) for item in items]


def alone() -> None:
    """Make PyTorch compute in the present thread alone: on all cores it would be in the way of training."""
    libraries().limit(limits=1, user_api="openmp")


@cache
def libraries() -> ThreadpoolController:
    """The libraries of this process that compute on several cores."""
    return ThreadpoolController()
