"""Keeping asked trials alive: which are open, what a heartbeat says, and the thread or task that sends it.

A trial that was asked for is leased; while a program trains it, heartbeats at a third of the lease keep it. Not here:
asking and telling (`asking`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Pulse:
    """The open trials of one client in one study: their fences, and which of them should stop. Thread-safe by lock."""

    study_id: str
    client_id: str
    lease_s: float
    open: dict[int, int] = field(default_factory=dict)
    stopped: set[tuple[int, int]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    keeper: Any = None  # the thread or task that beats, None when there is nothing to keep

    def hold(self, trial: int, fence: int) -> None:
        with self.lock:
            self.open[trial] = fence

    def let_go(self, trial: int) -> None:
        with self.lock:
            self.open.pop(trial, None)

    def stop(self, trial: int, fence: int) -> None:
        """The server wants no more of that attempt."""
        with self.lock:
            self.stopped.add((trial, fence))

    def held(self) -> list[tuple[int, int]]:
        """(trial, fence) of every open trial."""
        with self.lock:
            return sorted(self.open.items())

    def body(self) -> dict[str, Any]:
        """What a heartbeat says."""
        keys = [{"trial": trial, "fence": fence} for trial, fence in self.held()]
        return {"client_id": self.client_id, "trials": keys, "lease_s": self.lease_s}

    def heard(self, answer: Any) -> None:
        """Takes in a heartbeat's answer: a trial marked `stop`, or no longer held by this client, should stop."""
        for item in answer.get("trials", ()) if isinstance(answer, dict) else ():
            if isinstance(item, dict) and (item.get("stop") or item.get("status", "held") not in ("held", "open")):
                self.stop(int(item["trial"]), int(item["fence"]))


class ThreadKeeper:
    """Beats from a daemon thread until nothing is held any more."""

    def __init__(self, pulse: Pulse, beat: Callable[[], None]) -> None:
        self._pulse, self._beat = pulse, beat
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def ensure(self) -> None:
        """Starts the thread unless it runs."""
        with self._pulse.lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._loop, name="hpo-heartbeat", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        while not self._closed.wait(self._pulse.lease_s / 3):
            with self._pulse.lock:
                if not self._pulse.open:
                    self._thread = None
                    return
            self._beat()

    def close(self) -> None:
        """Ends the thread; waits for a beat under way."""
        self._closed.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)


class TaskKeeper:
    """Beats from an asyncio task until nothing is held any more."""

    def __init__(self, pulse: Pulse, beat: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._pulse, self._beat = pulse, beat
        self._task: asyncio.Task[None] | None = None

    def ensure(self) -> None:
        """Starts the task unless it runs."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._loop(), name="hpo-heartbeat")

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(self._pulse.lease_s / 3)
            if not self._pulse.open:
                return
            await self._beat()

    def close(self) -> None:
        """Ends the task."""
        if self._task is not None:
            self._task.cancel()
