"""What this process has just written to the logs, kept in memory so that its folds need not read it back.

Sequence numbers have no gaps, so they tell whether anybody else wrote in between: then the database is read. Only
committed events come here, and only kinds that are the same when they are read back.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable

from hpo_service.core.events import AttemptsEnded, AttemptsReopened, Decided, Event, Reported

MOST = 50_000
"""How much is kept of all studies together: reports, proposals and endings."""


class RecentEvents:
    """The newest events of the studies that this process writes, each study's without gaps."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._weight = 0
        self._studies: OrderedDict[str, deque[Event]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, events: Iterable[Event]) -> None:
        """Take in what a transaction committed, in its order."""
        with self._lock:
            for event in events:
                self._add(event)
            while self._weight > self._most and self._studies:
                study_id, found = next(iter(self._studies.items()))
                self._weight -= _weight(found.popleft())
                if not found:
                    del self._studies[study_id]

    def between(self, study_id: str, after: int, last: int) -> list[Event] | None:
        """The study's events from `after` (exclusive) to `last`; None where they are not all here."""
        with self._lock:
            found = self._studies.get(study_id)
            if not found or found[0].seq > after + 1 or found[-1].seq < last:
                return None
            first = found[0].seq
            return [found[seq - first] for seq in range(after + 1, last + 1)]

    def _add(self, event: Event) -> None:
        found = self._studies.get(event.study_id)
        if found and event.seq <= found[-1].seq:
            return  # another thread's later transaction told first; what is here begins after this one
        if found and event.seq > found[-1].seq + 1:
            self._drop(event.study_id)
            found = None
        if not isinstance(event.payload, Decided | Reported | AttemptsEnded | AttemptsReopened):
            self._drop(event.study_id)
            return
        if found is None:
            found = self._studies[event.study_id] = deque()
        found.append(event)
        self._weight += _weight(event)
        self._studies.move_to_end(event.study_id)

    def _drop(self, study_id: str) -> None:
        self._weight -= sum(_weight(event) for event in self._studies.pop(study_id, ()))


def _weight(event: Event) -> int:
    payload = event.payload
    if isinstance(payload, Reported):
        return 1 + len(payload.reports)
    if isinstance(payload, Decided):
        return 1 + len(payload.proposals)
    return 1 + len(payload.attempts) if isinstance(payload, AttemptsEnded | AttemptsReopened) else 1
