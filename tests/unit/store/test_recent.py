"""The memory of what this process wrote: gaps, late tellers, and its bound."""

from __future__ import annotations

from datetime import UTC, datetime

from hpo_service.core.events import EndingDeclared, Event, Reported, ReportRow
from hpo_service.store.recent import RecentEvents

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def event(seq: int, *, study: str = "a", reports: int = 1) -> Event:
    rows = tuple(ReportRow(trial=0, fence=1, step=n, resource=1.0, values=(0.5,)) for n in range(reports))
    return Event(study_id=study, seq=seq, payload=Reported(reports=rows), at=NOON)


def seqs(memory: RecentEvents, after: int, last: int, study: str = "a") -> list[int] | None:
    found = memory.between(study, after, last)
    return None if found is None else [e.seq for e in found]


def test_only_what_is_whole_is_given() -> None:
    memory = RecentEvents()
    memory.add([event(5), event(6), event(7)])
    assert seqs(memory, 4, 7) == [5, 6, 7]
    assert seqs(memory, 5, 6) == [6]
    assert seqs(memory, 7, 7) == []
    assert seqs(memory, 3, 7) is None
    assert seqs(memory, 4, 8) is None
    assert seqs(memory, 0, 1, "b") is None


def test_after_a_gap_it_begins_anew_and_late_tellers_are_ignored() -> None:
    memory = RecentEvents()
    memory.add([event(1), event(2)])
    memory.add([event(4)])
    memory.add([event(3)])
    assert seqs(memory, 3, 4) == [4]
    assert seqs(memory, 2, 4) is None


def test_kinds_that_may_read_back_otherwise_are_a_gap() -> None:
    memory = RecentEvents()
    memory.add([event(1), Event(study_id="a", seq=2, payload=EndingDeclared(reason="over"), at=NOON), event(3)])
    assert seqs(memory, 0, 3) is None
    assert seqs(memory, 2, 3) == [3]


def test_the_oldest_of_the_quietest_study_goes_first() -> None:
    memory = RecentEvents(most=10)
    memory.add([event(1, study="quiet", reports=2), event(2, study="quiet", reports=1)])
    memory.add([event(n, study="busy", reports=1) for n in range(1, 4)])
    assert seqs(memory, 0, 3, "busy") == [1, 2, 3]
    assert seqs(memory, 1, 2, "quiet") == [2]
    assert seqs(memory, 0, 2, "quiet") is None
    memory.add([event(n, study="busy", reports=1) for n in range(4, 20)])
    assert seqs(memory, 1, 2, "quiet") is None
    assert seqs(memory, 14, 19, "busy") == [15, 16, 17, 18, 19]
    assert seqs(memory, 13, 19, "busy") is None
