"""A study's event log as batches of what moved: trials as they stand, and every metric that was reported.

Read over REST, once or following; bounded by `MOST_TRIALS` and `MOST_POINTS` whatever the study's size. A batch is true
up to its `seq`: whoever keeps that number can go on from there. Nothing is written to the service. Not here: where
batches are sent (`sending` and the module of each tool).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hpo_service.client import Study
from hpo_service.client.results import Event, Report, StudySnapshot, TrialSnapshot
from hpo_service.core import values
from hpo_service.errors import Unavailable

PAGE = 100  # events of one request
MOST_TRIALS = 1_000  # a batch is given when it names so many trials
MOST_POINTS = 20_000  # or holds so many reports
NUMBERS = 400  # trials of one look-up, whose numbers stand in the address
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

    `trials` are those that moved, by number, as they stand now; `begun` those whose first attempt was opened in these
    events, `ended` those that came to their final state in them. `points` come in the order of the log.
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
    points: list[Point] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.moved) >= MOST_TRIALS or len(self.points) >= MOST_POINTS

    def take(self, event: Event) -> None:
        self.seq, self.at = event.seq, event.at
        self.moved.update(trials_of(event.payload))
        if event.kind == "decided":
            self.begun.update(one["trial"] for one in event.payload.get("proposals", ()) if one.get("kind") == "start")
        if event.kind == "reported":
            self.points += [_point(row, event.at) for row in event.payload.get("reports", ())]


class Feed:
    """The log of one study, from any position."""

    def __init__(self, study: Study, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.study = study
        self._sleep = sleep

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
            page = self.study.event_log(window.seq, limit=PAGE, metrics=True)
            for event in page:
                window.take(event)
            if len(page) < PAGE:
                break
        if window.seq == after:
            return None
        trials = self.trials(window.moved)
        ended = {
            one.number
            for one in trials
            if one.state in TERMINAL and (not one.ended_at or not window.at or one.ended_at <= window.at)
        }
        return Batch(
            after=after,
            seq=window.seq,
            study=self.study.info,
            trials=trials,
            begun=frozenset(window.begun),
            ended=frozenset(ended),
            points=tuple(window.points),
        )

    def trials(self, numbers: Collection[int]) -> tuple[TrialSnapshot, ...]:
        """Trials as they stand, by number."""
        wanted = sorted(numbers)
        found: list[TrialSnapshot] = []
        for start in range(0, len(wanted), NUMBERS):
            names = ",".join(map(str, wanted[start : start + NUMBERS]))
            found += [trial.info for trial in self.study.trials(filter=f"number:{names}", limit=NUMBERS)]
        return tuple(sorted(found, key=lambda one: one.number))

    def reports(self, number: int) -> list[Report]:
        """A trial's whole curve: per step the newest attempt's report."""
        return self.study.trial(number).reports()

    def url(self, number: int) -> str:
        """The page of a trial."""
        return f"{self.study.url}/trials/{number}"


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
