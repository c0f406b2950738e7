"""Where external workers stand in line: what several ask and tell of one study at a time is served in one round.

While one round is under way, what arrives waits and shares the next one. After a round of several, those who were
answered come back at about the same time: the next one waits a moment for them. A single client never waits for a round
to fill. Here: queues and threads. What a round does is in `rounds`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hpo_service.api import rounds
from hpo_service.api.rounds import Given, Served, Wanted, Wish
from hpo_service.decider import Decider
from hpo_service.errors import HpoError, Unavailable
from hpo_service.store.asking import Heard, Telling
from hpo_service.store.database import Database
from hpo_service.store.rows import TrialRow

MOST = 256
"""Requests that one round serves at most."""
THREADS = 8
"""Studies that are served at the same time."""
MOMENT_S = 0.003
"""How long a round waits at most for as many requests as the one before it had."""
Told = tuple[TrialRow | None, Heard]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Request:
    what: Wish | Telling
    future: Future[Any] = field(default_factory=Future)


class Desk:
    """Serves wishes and tellings; thread-safe. Acknowledged means committed."""

    def __init__(self, db: Database, decider: Decider, *, threads: int = THREADS) -> None:
        self._db = db
        self._decider = decider
        self._count = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="desk")
        self._guard = threading.Condition()
        self._queues: dict[str, list[_Request]] = {}  # of the studies that are being served
        self._closed = False

    def ask(self, study_id: str, wish: Wish) -> Future[Given]:
        """The client's open trials, topped up."""
        return self._add(study_id, _Request(wish))

    def tell(self, study_id: str, telling: Telling) -> Future[Told]:
        """The told trial, or what refuses it."""
        return self._add(study_id, _Request(telling))

    def close(self) -> None:
        """Serve what waits, then end the threads."""
        with self._guard:
            self._closed = True
        self._threads.shutdown(wait=True)

    def _add(self, study_id: str, request: _Request) -> Future[Any]:
        with self._guard:
            if self._closed:
                raise Unavailable("the server is closing and serves nothing more", remedy="send it again")
            queue = self._queues.get(study_id)
            if queue is not None:
                queue.append(request)
                self._guard.notify_all()
                return request.future
            self._queues[study_id] = [request]
            self._threads.submit(self._run, study_id)
        return request.future

    def _run(self, study_id: str, last: int = 1) -> None:
        """Round after round, until nobody waits; where other studies wait for a thread, they have their turn first."""
        while self._anybody_waits(study_id, last):
            last = self._round(study_id)
            if self._goes_behind(study_id, last):
                return

    def _goes_behind(self, study_id: str, last: int) -> bool:
        """Queue the study behind those that wait for a thread; False where none does."""
        with self._guard:
            if self._closed or len(self._queues) <= self._count:
                return False
            self._threads.submit(self._run, study_id, last)
            return True

    def _anybody_waits(self, study_id: str, last: int) -> bool:
        """Whether there is to be another round. After one of `last` requests, as many are waited for, a moment long."""
        with self._guard:
            if last > 1:
                self._guard.wait_for(lambda: len(self._queues[study_id]) >= last, MOMENT_S)
            if self._queues[study_id]:
                return True
            del self._queues[study_id]
            return False

    def _take(self, study_id: str, *, apart: bool = False) -> list[_Request]:
        """The requests that are served next, in order: of two that tell of the same trial, the second one waits, and
        with `apart` so do wishes where there are tellings. From here on they cannot be taken back."""
        with self._guard:
            taken: list[_Request] = []
            left: list[_Request] = []
            told: set[int] = set()
            queue = self._queues[study_id]
            apart = apart and any(isinstance(request.what, Telling) for request in queue)
            for request in queue:
                trial = request.what.trial if isinstance(request.what, Telling) else None
                if len(taken) >= MOST or trial in told or (apart and trial is None):
                    left.append(request)
                    continue
                taken.append(request)
                if trial is not None:
                    told.add(trial)
            self._queues[study_id] = left
            return [request for request in taken if request.future.set_running_or_notify_cancel()]

    def _round(self, study_id: str) -> int:
        """Serve who waits when the round's turn comes; how many that were."""
        requests: list[_Request] = []

        def take(apart: bool) -> Wanted:
            requests.extend(self._take(study_id, apart=apart))
            return _wanted(requests)

        try:
            served = rounds.serve_waiting(self._db, self._decider, study_id, take)
        except BaseException as error:
            self._failed(study_id, requests or self._take(study_id), error)
        else:
            _answer(requests, served)
        return len(requests)

    def _serve_alone(self, study_id: str, request: _Request) -> None:
        wanted = _wanted([request])
        try:
            served = rounds.serve(
                self._db, self._decider, study_id, wishes=wanted.wishes, tellings=wanted.tellings
            )  # fmt: skip
        except BaseException as error:
            request.future.set_exception(error)
        else:
            _answer([request], served)

    def _failed(self, study_id: str, requests: Sequence[_Request], error: BaseException) -> None:
        """Where it was nobody's in particular, everybody is told; else each is served alone, so that one client's
        request does not take the others with it."""
        if len(requests) == 1 or isinstance(error, HpoError) or not isinstance(error, Exception):
            for request in requests:
                request.future.set_exception(error)
            return
        log.warning("study %s: %d requests are served one by one after %r", study_id, len(requests), error)
        for request in requests:
            self._serve_alone(study_id, request)


def _wanted(requests: Sequence[_Request]) -> Wanted:
    return Wanted(
        wishes=[request.what for request in requests if isinstance(request.what, Wish)],
        tellings=[request.what for request in requests if isinstance(request.what, Telling)],
    )


def _answer(requests: Sequence[_Request], served: Served) -> None:
    wishes, tellings = iter(served.wishes), iter(served.tellings)
    for request in requests:
        found = next(wishes if isinstance(request.what, Wish) else tellings)
        if isinstance(found, Exception):
            request.future.set_exception(found)
        else:
            request.future.set_result(found)
