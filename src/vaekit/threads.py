"""Work on all cores, for functions of libraries that let other threads run meanwhile: Arrow, Pillow and FFmpeg do."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

AHEAD = 4  # results per core that may wait until they are taken: what they hold stays bounded


class OnAllCores:
    """What a function makes of each item, in order. The first error is raised where its result would be."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]):
        self.function, self.items = function, items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        cores = os.cpu_count() or 1
        waiting: deque[Future[Any]] = deque()
        pool = ThreadPoolExecutor(cores)
        try:
            for item in self.items:
                if len(waiting) == AHEAD * cores:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(self.function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
