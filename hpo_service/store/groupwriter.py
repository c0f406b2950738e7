"""Group commit: items of many threads go into the next transaction together. Acknowledged means committed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from hpo_service.errors import Unavailable
from hpo_service.store.collecting import collect
from hpo_service.store.database import Database
from hpo_service.store.rows import Collected, CollectItem

MOST_ITEMS = 2000


class GroupWriter:
    """A thread that collects. While one transaction commits, what arrives waits and shares the next one; a single
    caller never waits for a group to fill."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._ready = threading.Condition()
        self._queue: list[tuple[Sequence[CollectItem], Future[list[Collected]]]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="group-writer", daemon=True)
        self._thread.start()

    def submit(self, items: Sequence[CollectItem]) -> list[Collected]:
        """Collect the items; returns when they are committed. Raises what `collect` raises; Unavailable when closed."""
        if not items:
            return []
        future: Future[list[Collected]] = Future()
        with self._ready:
            if self._closed:
                raise Unavailable("the server is closing and stores nothing more", remedy="send it again")
            self._queue.append((items, future))
            self._ready.notify()
        return future.result()

    def close(self) -> None:
        """Store what was submitted, then end the thread."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: bool(self._queue) or self._closed)
                group = self._take()
            if not group:
                return
            self._commit(group)

    def _take(self) -> list[tuple[Sequence[CollectItem], Future[list[Collected]]]]:
        """The next group: at most `MOST_ITEMS` items, at least one submission."""
        size = count = 0
        for items, _ in self._queue:
            if count and size + len(items) > MOST_ITEMS:
                break
            size, count = size + len(items), count + 1
        group, self._queue = self._queue[:count], self._queue[count:]
        return group

    def _commit(self, group: Sequence[tuple[Sequence[CollectItem], Future[list[Collected]]]]) -> None:
        try:
            results = collect(self._db, [item for items, _ in group for item in items])
        except BaseException as error:
            for _, future in group:
                future.set_exception(error)
            return
        position = 0
        for items, future in group:
            future.set_result(results[position : position + len(items)])
            position += len(items)
