"""What the service counts, for Prometheus."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LEVEL = 0.05
RECENT = 1000  # rows that drift is measured on
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The figures of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "vaekit_requests", "Requests that were answered.", ["model", "operation", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "vaekit_request_seconds", "From the head of a request to its answer.", ["model", "operation"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.together = Histogram(
            "vaekit_batch_requests", "Requests that went through a graph together.", ["model"],
            buckets=[2**i for i in range(9)], registry=self.registry,
        )  # fmt: skip
        self.computing = Counter("vaekit_graph_seconds", "Time within graphs.", ["model"], registry=self.registry)
        self.waiting = Gauge("vaekit_under_way", "Requests that are under way.", ["model"], registry=self.registry)
        self.odd = Gauge(
            "vaekit_odd_share", f"Share of the last {RECENT} rows that came in whose p-value is below {LEVEL}: about {LEVEL} "
            "while they are like those of training.", ["model"], registry=self.registry,
        )  # fmt: skip
        self.rated = Counter(
            "vaekit_rated_rows", "Rows that came in and got a p-value.", ["model"], registry=self.registry
        )

    def of(self, model: str, operation: str) -> Callable[[int, float], None]:
        """Make a function that counts a request of this operation, by its status and its seconds."""
        seconds = self.seconds.labels(model, operation)
        counters: dict[int, Any] = {}

        def count(status: int, took: float) -> None:
            if status not in counters:
                counters[status] = self.requests.labels(model, operation, str(status))
            counters[status].inc()
            seconds.observe(took)

        return count

    def graphs(self, model: str) -> Callable[[int, float], None]:
        """Make a function that counts a run of a graph, by its requests and its seconds."""
        together, computing = self.together.labels(model), self.computing.labels(model)

        def count(requests: int, took: float) -> None:
            together.observe(requests)
            computing.inc(took)

        return count

    def drift(self, model: str) -> Callable[[Any], None]:
        """Make a function that takes the p-values of rows that came in."""
        odd, rated, recent = self.odd.labels(model), self.rated.labels(model), deque[bool](maxlen=RECENT)
        odd.set(float("nan"))

        def count(p: Any) -> None:
            recent.extend(bool(each < LEVEL) for each in p)
            odd.set(sum(recent) / len(recent))
            rated.inc(len(p))

        return count

    def text(self) -> bytes:
        return generate_latest(self.registry)
