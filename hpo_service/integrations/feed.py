"""A study's event log as batches of what moved: trials as they stand, and every metric that was reported.

Read over REST, once or following; bounded by `MOST_TRIALS` and `MOST_POINTS` whatever the study's size. A batch is true
up to its `seq`: whoever keeps that number can go on from there. Nothing is written to the service. Not here: where
batches are sent (`sending` and the module of each tool).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hpo_service.client import Study
from hpo_service.client.operations import list_page
from hpo_service.client.protocol import address
from hpo_service.client.results import Event, Report, StudySnapshot, TrialSnapshot
from hpo_service.core import values
from hpo_service.errors import Unavailable

PAGE = 128  # events of one request, at most; fewer where they tell of many trials or reports
ROWS = 4_000  # about so many of these should come with one request
MOST_TRIALS = 1_000  # a batch is given when it names so many trials
MOST_POINTS = 20_000  # or holds so many reports
SPAN = 1_000  # trials of one look-up, at most
NUMBERS = 400  # of them by their numbers, which stand in the address
POLL_S = 2.0
PATIENCE_S = 600.0  # how long a server that is away is waited for, while following
TERMINAL = frozenset({"finished", "stopped", "failed"})


@dataclass(frozen=True, slots=True)
class Point:
    """One report: every metric of a trial at a step."""

    trial: int
    fence: int
    step: int
    resource: float
    metrics: Mapping[str, float]
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the events after `after` up to `seq` say.

    `trials` are those that moved, by number, as they stand now, without those that had ended before; `begun` those
    whose first attempt was opened in these events, `ended` those that came to their final state in them: each trial in
    one batch. `points` come in the order of the log.
    """

    after: int
    seq: int
    study: StudySnapshot
    trials: tuple[TrialSnapshot, ...]
    begun: frozenset[int]
    ended: frozenset[int]
    points: tuple[Point, ...]

    def points_of(self) -> dict[int, list[Point]]:
        """The points by trial."""
        found: dict[int, list[Point]] = {}
        for point in self.points:
            found.setdefault(point.trial, []).append(point)
        return found


@dataclass
class _Window:
    """Events gathered for one batch."""

    after: int
    seq: int
    at: datetime | None = None
    moved: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    imported: set[int] = field(default_factory=set)  # over before they came: their own times are older than the event
    points: list[Point] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.moved) >= MOST_TRIALS or len(self.points) >= MOST_POINTS

    def take(self, event: Event) -> int:
        """Adds an event; returns how many rows it had."""
        self.seq, self.at = event.seq, event.at
        named = list(trials_of(event.payload))
        self.moved.update(named)
        if event.kind == "decided":
            self.begun.update(one["trial"] for one in event.payload.get("proposals", ()) if one.get("kind") == "start")
        if event.kind == "trials_imported":
            self.imported.update(named)
            self.begun.update(named)
        if event.kind == "reported":
            self.points += [_point(row, event.at) for row in event.payload.get("reports", ())]
        return len(named)


class Feed:
    """The log of one study, from any position."""

    def __init__(self, study: Study, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.study = study
        self._sleep = sleep
        self._page = 8  # grows and shrinks with what events hold
        self._last: tuple[int, datetime | None] = (0, None)

    def batches(self, after: int, *, follow: bool = False, poll_s: float = POLL_S) -> Iterator[Batch]:
        """Batches from the position `after`; with `follow` until the study has ended, else up to now.

        A server that is away is waited for while following, at most `PATIENCE_S`.
        """
        away_since: float | None = None
        while True:
            try:
                ended = self.study.refresh().ended  # before reading: what it says is in the log then
                batch = self.read(after)
                away_since = None
            except Unavailable:
                away_since = time.monotonic() if away_since is None else away_since
                if not follow or time.monotonic() - away_since > PATIENCE_S:
                    raise
                self._sleep(poll_s)
                continue
            if batch is not None:
                after = batch.seq
                yield batch
            elif ended or not follow:
                return
            else:
                self._sleep(poll_s)

    def read(self, after: int) -> Batch | None:
        """The batch after a position; None where the log ends there."""
        window = _Window(after, after)
        while not window.full:
            asked = min(self._page, PAGE)
            page = self.study.event_log(window.seq, limit=asked, metrics=True)
            rows = sum(window.take(event) for event in page)
            self._page = max(1, asked // 2) if rows > ROWS else asked * 2
            if len(page) < asked:
                break
        if window.seq == after:
            return None
        while window.full and (next_ones := self.study.event_log(window.seq, limit=1, metrics=True)):
            if next_ones[0].at != window.at:
                break
            window.take(next_ones[0])  # of the same transaction: a trial's last attempt and its end belong together
        return self._batch(window)

    def _batch(self, window: _Window) -> Batch:
        before = self._told_at(window.after)
        came = window.imported
        trials = [one for one in self.trials(window.moved) if one.number in came or not _ended_by(one, before)]
        self._last = (window.seq, window.at)
        return Batch(
            after=window.after,
            seq=window.seq,
            study=self.study.info,
            trials=tuple(trials),
            begun=frozenset(window.begun),
            ended=frozenset(one.number for one in trials if one.number in came or _ended_by(one, window.at)),
            points=tuple(window.points),
        )

    def _told_at(self, seq: int) -> datetime | None:
        """When the event of that number came; None before the first."""
        if seq == 0:
            return None
        if self._last[0] != seq:
            self._last = (seq, next((one.at for one in self.study.event_log(seq - 1, limit=1)), None))
        return self._last[1]

    def trials(self, numbers: Collection[int]) -> tuple[TrialSnapshot, ...]:
        """Trials as they stand, by number."""
        wanted = set(numbers)
        place = address("studies", self.study.id, "trials")
        found: list[TrialSnapshot] = []
        for filter in look_ups(sorted(wanted)):
            page = self.study._run(list_page(self.study, place, cursor=None, limit=SPAN, filter=filter))
            found += [TrialSnapshot.parse(item) for item in page.items if item["number"] in wanted]
        return tuple(sorted(found, key=lambda one: one.number))

    def reports(self, number: int) -> list[Report]:
        """A trial's whole curve: per step the newest attempt's report."""
        return self.study.trial(number).reports()

    def url(self, number: int) -> str:
        """The page of a trial."""
        return f"{self.study.url}/trials/{number}"


def _ended_by(trial: TrialSnapshot, moment: datetime | None) -> bool:
    """Whether the trial had come to its final state by then, by the database's clock."""
    if trial.state not in TERMINAL or moment is None:
        return False
    return trial.ended_at is None or trial.ended_at <= moment


def look_ups(numbers: Sequence[int]) -> Iterator[str]:
    """Filters that together find the trials of these rising numbers, each at most `SPAN` trials: a range where they lie
    close together, else their numbers, `NUMBERS` of them at most."""
    start = 0
    while start < len(numbers):
        first = numbers[start]
        end = bisect_left(numbers, first + SPAN, start)
        if numbers[end - 1] - first < 2 * (end - start):
            yield f"number>={first} number<={numbers[end - 1]}"
        else:
            end = min(end, start + NUMBERS)
            yield "number:" + ",".join(map(str, numbers[start:end]))
        start = end


def trials_of(payload: Mapping[str, Any]) -> Iterable[int]:
    """The trials that an event names, of whatever kind: `trial` of objects in a list, the first of rows in one."""
    for rows in payload.values():
        for row in rows if isinstance(rows, list | tuple) else ():
            if isinstance(row, Mapping) and isinstance(row.get("trial"), int):
                yield row["trial"]
            elif isinstance(row, list | tuple) and row and isinstance(row[0], int):
                yield row[0]


def _point(row: Any, at: datetime | None) -> Point:
    metrics = {name: values.from_json(value) for name, value in row[5].items()}
    return Point(trial=row[0], fence=row[1], step=row[2], resource=float(row[3]), metrics=metrics, at=at)
