"""What /metrics says, in Prometheus' text form. Counts come from the store's kept counters, never from scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Metrics:
    """The process's own registry: request durations as they happen, the database's counts when asked."""

    def __init__(self, count: Callable[[], list[Metric]]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "hpo_request_seconds",
            "Seconds from a request to the beginning of its response.",
            ("method", "route"),
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._answers = Counter(
            "hpo_responses", "Responses by status.", ("method", "route", "status"), registry=self._registry
        )
        self._registry.register(_Database(count))

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """One answered request. Routes are named by their template, so that ids make no series of their own."""
        template = route_template(scope)
        self._requests.labels(scope["method"], template).observe(seconds)
        self._answers.labels(scope["method"], template, str(status)).inc()

    def render(self) -> bytes:
        """Everything, in text form. Raises what the database raises."""
        return generate_latest(self._registry)


class _Database(Collector):
    def __init__(self, count: Callable[[], list[Metric]]) -> None:
        self._count = count

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._count()


def route_template(scope: Scope) -> str:
    """The path with its parameters' names in place of their values; "unknown" where no route matched."""
    if scope.get("route") is None:
        return "unknown"
    path: str = scope["path"]
    for name, value in (scope.get("path_params") or {}).items():
        path = path.replace(f"/{value}", f"/{{{name}}}", 1)
    return path
