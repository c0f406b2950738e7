"""Launches of one shape that wait for a worker: those of each study in order, the studies in turn. Knows no worker."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from workers.contract import Launch


class Queue:
    """A study that sends many launches at once keeps others waiting for one of them at most. What belongs to no trial
    (a preflight, a measurement) goes before its study's trials, for they wait for it."""

    def __init__(self) -> None:
        self._studies: OrderedDict[str, deque[tuple[float, Launch]]] = OrderedDict()  # in the order of their turns
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, launch: Launch, now: float) -> None:
        """Queue a launch."""
        study = self._studies.setdefault(_study(launch), deque())
        if launch.orders[0].preflight:
            study.appendleft((now, launch))
        else:
            study.append((now, launch))
        self._length += 1

    def take(self) -> Launch:
        """The launch whose turn it is. Raises KeyError where none waits."""
        study_id, queue = self._studies.popitem(last=False)
        _, launch = queue.popleft()
        if queue:
            self._studies[study_id] = queue
        self._length -= 1
        return launch

    def replace(self, old: Launch, new: Launch | None) -> None:
        """Put another launch of the study in the place of one that waits, or take it out."""
        study_id = _study(old)
        queue = self._studies[study_id]
        kept = [(since, new if launch is old else launch) for since, launch in queue]
        left = deque((since, launch) for since, launch in kept if launch is not None)
        self._length += len(left) - len(queue)
        if left:
            self._studies[study_id] = left
        else:
            del self._studies[study_id]

    def launches(self) -> Iterator[Launch]:
        """All that wait, study by study."""
        for queue in self._studies.values():
            for _, launch in queue:
                yield launch

    def since(self) -> float:
        """Since when the oldest one waits. Raises ValueError where none does."""
        return min(_oldest(queue) for queue in self._studies.values())


def _oldest(queue: deque[tuple[float, Launch]]) -> float:
    """Since when the oldest waits: the first, or the first behind what went before the trials."""
    oldest = queue[0][0]
    for since, launch in queue:
        oldest = min(oldest, since)
        if not launch.orders[0].preflight:
            break
    return oldest


def _study(launch: Launch) -> str:
    return launch.orders[0].key.study_id
