"""The thread that reads workers' streams and answers: one for all of them. Decides nothing.

A stream is waited for like any other reference. New ones are noticed within `SLICE_S`: a waiting `ray.wait` is cut into
slices, for nothing else can interrupt it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from hpo_service.executors.ray_flights import Flight
from hpo_service.executors.ray_workers import PooledWorker

SLICE_S = 0.02
TICK_S = 0.2
log = logging.getLogger(__name__)


class Reader:
    """Calls `read(worker, flight, value)`, `broke(worker, flight, error)` and, now and then, `tick(silent flights)`.

    With a flight the value is a batch of its stream; without, the answer of the worker. All calls come from the
    reader's thread; `add`, `remove` and `knows` may be called from any.
    """

    def __init__(
        self,
        ray: Any,
        read: Callable[[PooledWorker, Flight | None, Any], None],
        broke: Callable[[PooledWorker, Flight | None, Exception | None], None],
        tick: Callable[[set[Flight]], None],
    ) -> None:
        self._ray = ray
        self._read = read
        self._broke = broke
        self._tick = tick
        self._awaited: dict[Any, tuple[PooledWorker, Flight | None]] = {}
        self._lock = threading.Lock()
        self._added = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="ray-reader", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        self._added.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=10.0)

    def add(self, awaited: Any, worker: PooledWorker, flight: Flight | None) -> None:
        """Wait for this stream (with its flight) or answer (without) from now on."""
        with self._lock:
            self._awaited[awaited] = (worker, flight)
        self._added.set()

    def remove(self, awaited: Any) -> None:
        """Wait for it no longer; unknown ones are ignored."""
        with self._lock:
            self._awaited.pop(awaited, None)

    def knows(self, awaited: Any) -> bool:
        """Whether it is waited for."""
        with self._lock:
            return awaited in self._awaited

    def _loop(self) -> None:
        ticked = 0.0
        while not self._stopped.is_set():
            with self._lock:
                awaited = dict(self._awaited)
            self._added.clear()
            ready = self._wait(list(awaited))
            for reference in ready:
                self._guarded_take(reference, *awaited[reference])
            if time.monotonic() - ticked >= TICK_S:
                heard = set(ready)
                self._guarded_tick({f for r, (_, f) in awaited.items() if f is not None and r not in heard})
                ticked = time.monotonic()

    def _wait(self, references: list[Any]) -> list[Any]:
        if not references:
            self._added.wait(TICK_S)
            return []
        try:
            ready, _ = self._ray.wait(references, num_returns=1, timeout=SLICE_S)
            if ready and len(references) > 1:  # whoever else is ready: one busy stream must not hide the others
                ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        except Exception:
            log.exception("waiting for the workers failed; trying again")
            self._stopped.wait(TICK_S)
            return []
        return list(ready)

    def _guarded_take(self, reference: Any, worker: PooledWorker, flight: Flight | None) -> None:
        """What cannot be understood costs its worker, and never the thread."""
        try:
            self._take(reference, worker, flight)
        except Exception as error:
            log.exception("a message of %s could not be taken", worker.worker_id)
            self.remove(reference)
            self._broke(worker, flight, error)

    def _take(self, reference: Any, worker: PooledWorker, flight: Flight | None) -> None:
        try:
            value = self._ray.get(reference if flight is None else next(reference))
        except StopIteration:
            self.remove(reference)
            self._broke(worker, flight, None)
        except Exception as error:  # whatever Ray raises: the worker is of no more use
            self.remove(reference)
            self._broke(worker, flight, error)
        else:
            if flight is None:
                self.remove(reference)
            self._read(worker, flight, value)

    def _guarded_tick(self, silent: set[Flight]) -> None:
        """The thread must survive a cluster that does not answer for a while."""
        try:
            self._tick(silent)
        except Exception:
            log.exception("watching the workers failed; trying again")
