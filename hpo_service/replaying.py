"""The log folded again: would the algorithm, as it is now, decide what it decided then? Reads; writes nothing.

Each decision names how far its log had been observed; the fold is brought there and asked again, with as many slots as
the decision used. What users decided (a trial stopped by hand) is taken in and not asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo_service import algorithms
from hpo_service.core import proposals as proposals_module
from hpo_service.core.algorithm import Algorithm
from hpo_service.core.definition import parse
from hpo_service.core.events import Decided, Event, StudyCreated
from hpo_service.core.proposals import Continue, Start
from hpo_service.errors import Conflict
from hpo_service.store import decisions
from hpo_service.store.database import Database

SHOWN = 20
"""The most differing decisions that are told in full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A decision that would be another one now. `stored` and `now` are proposals as JSON; `cause` is in words."""

    decision: int
    seq: int
    stored: tuple[Mapping[str, Any], ...]
    now: tuple[Mapping[str, Any], ...]
    cause: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "decision": self.decision,
            "seq": self.seq,
            "stored": [dict(p) for p in self.stored],
            "now": [dict(p) for p in self.now],
            "cause": self.cause,
        }


@dataclass(kw_only=True, slots=True)
class Replayed:
    """What came of it. `decisions` were asked again, holding `proposals`; `by_hand` were users'."""

    algorithm: str
    version: int
    events: int = 0
    decisions: int = 0
    by_hand: int = 0
    proposals: int = 0
    differing: int = 0
    differences: list[Difference] = field(default_factory=list)  # the first `SHOWN`

    @property
    def same(self) -> bool:
        return self.differing == 0

    def to_json(self) -> dict[str, Any]:
        return {
            "same": self.same,
            "algorithm": self.algorithm,
            "version": self.version,
            "events": self.events,
            "decisions": self.decisions,
            "by_hand": self.by_hand,
            "proposals": self.proposals,
            "differing": self.differing,
            "differences": [d.to_json() for d in self.differences],
        }


def replay(db: Database, study_id: str, *, seen: Callable[[int], None] | None = None) -> Replayed:
    """Fold the study's log and ask at every decision again. `seen(seq)` is told how far it came. Takes what deciding
    took the first time: for a model and many trials that may be minutes. Raises NotFound; Conflict for a log that does
    not begin with a definition."""
    pending = decisions.each_decision(db, study_id)
    following = _next(pending)
    algorithm: Algorithm | None = None
    found: Replayed | None = None
    asked: list[Mapping[str, Any]] = []
    for event in decisions.each_event(db, study_id):
        if algorithm is None or found is None:
            algorithm, found = _begin(event)
        payload = event.payload
        if isinstance(payload, Decided) and following is not None:  # None: decided since this began
            _compare(found, event, payload, asked)
            following, asked = _next(pending), []
        algorithm.observe(event)
        found.events += 1
        if following is not None and following.observed_seq == event.seq:
            asked = _asked(algorithm, following) if following.algorithm == found.algorithm else []
        if seen is not None:
            seen(event.seq)
    if found is None:
        raise Conflict(f"the log of study {study_id} is empty")
    return found


def _next(pending: Iterator[Event]) -> Decided | None:
    event = next(pending, None)
    return event.payload if event is not None and isinstance(event.payload, Decided) else None


def _begin(event: Event) -> tuple[Algorithm, Replayed]:
    if not isinstance(event.payload, StudyCreated):
        raise Conflict(f"the log of study {event.study_id} does not begin with its definition")
    algorithm = algorithms.build(parse(event.payload.definition), event.payload.picked)
    return algorithm, Replayed(algorithm=algorithm.name, version=algorithm.version)


def _asked(algorithm: Algorithm, stored: Decided) -> list[Mapping[str, Any]]:
    """What it proposes now for as many slots as the decision filled. Cohorts come whole, so `most` bounds them too."""
    slots = sum(isinstance(p, Start | Continue) for p in stored.proposals)
    return [proposals_module.to_json(p) for p in algorithm.propose(slots, most=slots)]


def _compare(found: Replayed, event: Event, stored: Decided, asked: list[Mapping[str, Any]]) -> None:
    if stored.algorithm != found.algorithm:
        found.by_hand += 1
        return
    found.decisions += 1
    found.proposals += len(stored.proposals)
    was = [proposals_module.to_json(p) for p in stored.proposals]
    if was == asked:
        return
    found.differing += 1
    if len(found.differences) < SHOWN:
        cause = ""
        if stored.algorithm_version != found.version:
            cause = (
                f"decided by version {stored.algorithm_version} of {found.algorithm}; this is version {found.version}"
            )
        found.differences.append(
            Difference(decision=stored.decision, seq=event.seq, stored=tuple(was), now=tuple(asked), cause=cause)
        )
