"""Checkpoints of many lanes, stored on a thread of its own while the worker trains on.

What is put in comes out in order: a checkpoint's answer, and whatever is to be said after it, only once it is durable.
How a checkpoint is written is in `workers.checkpoints`.
"""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from workers.checkpoints import Request, save_many
from workers.contract import CheckpointRef

_SYNCING = 8  # threads that only wait for the disk
_AT_ONCE = 64  # files that are open at the same time


@dataclass(frozen=True, slots=True)
class _Job:
    request: Request
    done: Callable[[CheckpointRef | Exception], None]


class Saver:
    """Stores checkpoints in the background. Threads start with the first job and end with `close`."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def save(self, request: Request, done: Callable[[CheckpointRef | Exception], None]) -> None:
        """Store a checkpoint; `done` is called on the saver's thread with what is stored or why it is not."""
        self._put(_Job(request, done))

    def then(self, action: Callable[[], None]) -> None:
        """Call `action` on the saver's thread once everything that was put in before is over."""
        self._put(action)

    def wait(self) -> None:
        """Return when everything that was put in is over."""
        over = threading.Event()
        self.then(over.set)
        over.wait()

    def close(self) -> None:
        """Finish what was put in, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join()

    def _put(self, job: _Job | Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="hpo-save", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        with ThreadPoolExecutor(_SYNCING, thread_name_prefix="hpo-sync") as pool:
            while self._carry_on(pool):
                pass

    def _carry_on(self, pool: ThreadPoolExecutor) -> bool:
        """The next jobs; False after the last. While it waits nothing holds on to those before."""
        batch = [self._jobs.get()]
        while len(batch) < _AT_ONCE and batch[-1] is not None and not self._jobs.empty():
            batch.append(self._jobs.get())
        _carry_out([job for job in batch if job is not None], pool)
        return batch[-1] is not None


def _carry_out(batch: list[_Job | Callable[[], None]], pool: ThreadPoolExecutor) -> None:
    saves = [job for job in batch if isinstance(job, _Job)]
    answers = iter(_stored([job.request for job in saves], pool))
    for job in batch:
        try:
            if isinstance(job, _Job):
                job.done(next(answers))
            else:
                job()
        except Exception:  # a fault of ours: what waits behind it must not wait for ever
            traceback.print_exc()


def _stored(requests: Sequence[Request], pool: ThreadPoolExecutor) -> list[CheckpointRef | Exception]:
    try:
        return save_many(requests, lambda act, items: _in_parts(act, items, pool))
    except Exception as error:  # no memory, no threads left: none of them is stored, and each must be told
        traceback.print_exc()
        return [error] * len(requests)


def _in_parts(act: Callable[[Any], Any], items: Iterable[Any], pool: ThreadPoolExecutor) -> list[Any]:
    """`act` of every item, a part of them on each thread: handing over single items costs more than a small sync."""
    every = list(items)
    parts = [every[i::_SYNCING] for i in range(min(_SYNCING, len(every)))]
    done = list(pool.map(lambda part: [act(item) for item in part], parts))
    return [done[i % _SYNCING][i // _SYNCING] for i in range(len(every))]
