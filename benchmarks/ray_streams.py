"""What Ray asks of the process that leads many workers, as a child process: waiting for their streams, and their items.

A controller waits on one stream per worker. Here one actor holds as many answers open as there would be streams, which
costs the waiting process the same; items come from one stream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from benchmarks import children
from hpo_service.executors.ray_reader import SLICE_S

ITEMS = 2000
PAYLOAD = 500
"""Bytes of an item: about a batch of two reports."""


def answer(*, streams: Sequence[int], seconds: float) -> dict[str, Any]:
    """`{"waiting": CPU share of waiting by number of streams, "item_ms": CPU milliseconds of reading one item}`."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        return {"waiting": {str(count): _waiting(count, seconds) for count in streams}, "item_ms": 1e3 * _item()}
    finally:
        ray.shutdown()


class Silent:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self._done = asyncio.Event()

    async def wait(self) -> None:
        await self._done.wait()

    async def ready(self) -> None:
        """Returns."""


class Talking:
    """Streams items as fast as it can."""

    def run(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * PAYLOAD


def _waiting(count: int, seconds: float) -> float:
    """CPU seconds per second of waiting for one of `count` answers in slices, as the executor's reader does."""
    silent: Any = ray.remote(Silent)
    actor = silent.options(max_concurrency=count + 1, num_cpus=0).remote()
    ray.get(actor.ready.remote())
    awaited = [actor.wait.remote() for _ in range(count)]
    ray.wait(awaited, num_returns=1, timeout=1.0)
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        ray.wait(awaited, num_returns=1, timeout=SLICE_S)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    ray.kill(actor)
    return share


def _item() -> float:
    """CPU seconds of the process that reads one item of a stream."""
    talking: Any = ray.remote(Talking)
    actor = talking.options(num_cpus=0).remote()
    for _ in range(2):  # the first time warms
        cpu = time.process_time()
        for reference in actor.run.options(num_returns="streaming").remote(ITEMS):
            ray.get(reference)
    return (time.process_time() - cpu) / ITEMS


if __name__ == "__main__":
    children.serve(answer)
