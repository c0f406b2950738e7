"""The log's reading half: events for programs that fold or stream them, entries for people. `eventlog` writes.

The values of a `reported` event lie in `reports` and are joined here. A fold that asks of each attempt only how far it
came gets its newest report alone: that is a tenth of the rows and less, and the fold is the same.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from hpo_service.core import values
from hpo_service.core.events import PAYLOADS, SCHEMA_VERSION, Decided, Event, Reported, ReportRow
from hpo_service.errors import Conflict, NotFound
from hpo_service.store.database import Database
from hpo_service.store.tables import events
from hpo_service.store.turns import Read
from hpo_service.store.tx import Tx, to_datetime

PAGE = 256
"""Events that are read at once; an event may tell of a thousand reports."""
_HEAD = "SELECT last_seq, objectives, constraints FROM studies WHERE id = ? AND deleted_at IS NULL"
_AFTER = (
    "SELECT seq, kind, schema_version, epoch, at, payload FROM events "
    "WHERE study_id = ? AND seq > ? AND seq <= ?{more} ORDER BY seq LIMIT ?"
)
_REPORTS = (
    "SELECT seq, at, trial, fence, step, resource, value_kind, value{metrics} FROM reports "
    "WHERE study_id = ? AND seq BETWEEN ? AND ? ORDER BY seq, trial, fence, step"
)
_MORE = ", COALESCE(standing, metrics)"
"""Reports from before there were standings have their metrics alone."""
_LAST = "(SELECT last_seq FROM studies WHERE id = ?)"
_OPEN = (
    f"SELECT r.seq, r.at, r.trial, r.fence, r.step, r.resource, r.value_kind, r.value{{metrics}}, true, {_LAST} "
    "FROM attempts AS a JOIN reports AS r ON r.study_id = a.study_id AND r.trial = a.trial AND r.fence = a.fence "
    "WHERE a.study_id = ? AND a.state = 'open'"
)
_COLUMNS = f"resource, value_kind, value{{metrics}}, false, {_LAST} FROM reports WHERE study_id = ?"
_NEWEST_SQLITE = f"{_OPEN} UNION ALL SELECT seq, at, trial, fence, max(step), {_COLUMNS} GROUP BY trial, fence"
_NEWEST_POSTGRESQL = (
    f"{_OPEN} UNION ALL (SELECT DISTINCT ON (trial, fence) seq, at, trial, fence, step, {_COLUMNS} "
    "ORDER BY trial DESC, fence DESC, step DESC)"
)
"""One statement, for a statement sees one moment: the reports of open attempts, the newest one of every attempt, and
with each row the end of the log. SQLite gives the columns of the row that has the greatest step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry of the log for people to read; programs that fold need `Event`."""

    seq: int
    kind: str
    at: datetime
    epoch: int
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Head:
    """How far the log of a study reaches, and the metrics of its objectives after the first and of its constraints."""

    study_id: str
    last_seq: int
    others: tuple[str, ...]


def load_events(db: Database, study_id: str, after_seq: int = 0, limit: int | None = None) -> list[Event]:
    """The study's events after `after_seq`, oldest first. Raises NotFound; Conflict for a newer kind of envelope."""
    with db.read() as tx:
        head = _head(tx, study_id)
        if head.last_seq <= after_seq:
            return []
        last = head.last_seq if limit is None else min(head.last_seq, after_seq + limit)
        return db.recent.between(study_id, after_seq, last) or _page(tx, head, after_seq, last, last - after_seq)


def each_decision(db: Database, study_id: str) -> Iterator[Event]:
    """The study's decisions alone, oldest first, read piece by piece. Raises NotFound."""
    with db.read() as tx:
        head = _head(tx, study_id)
    yield from _pages(db, head, 0, head.last_seq, more=f" AND kind = '{Decided.kind}'")


def each_event(db: Database, study_id: str, after_seq: int = 0, *, curves: bool = True) -> Iterator[Event]:
    """The same, read piece by piece up to where the log ends now. Without `curves` a fold's whole log: all reports are
    left out but those of open attempts and the newest one of every other, and `reported` events without any."""
    with db.read() as tx:
        head = _head(tx, study_id)
        recent = db.recent.between(study_id, after_seq, head.last_seq)
        told = None if curves or recent is not None else _newest(tx, head)
        few = recent is None and told is None and head.last_seq - after_seq < PAGE
        if few:
            recent = _page(tx, head, after_seq, head.last_seq, PAGE)
    if recent is not None:
        yield from recent
    elif told is None:
        yield from _pages(db, head, after_seq, head.last_seq)
    else:
        last, reported = told
        others = _pages(db, head, after_seq, last, more=f" AND kind <> '{Reported.kind}'")
        yield from heapq.merge(others, reported, key=lambda event: event.seq)


def latest_entries(
    db: Database, study_id: str, *, before: int = 0, kinds: Sequence[str] = (), limit: int = 100
) -> list[Entry]:
    """The log before the sequence number `before` (0: from its end), newest first, of the given kinds (none given: of
    all), as it is stored: a `reported` entry holds only its `count`. Raises NotFound."""
    c = events.c
    with db.read() as tx:
        _head(tx, study_id)
        statement = select(events).where(c.study_id == study_id)
        if before:
            statement = statement.where(c.seq < before)
        if kinds:
            statement = statement.where(c.kind.in_(kinds))
        rows = tx.all(statement.order_by(c.seq.desc()).limit(limit))
    return [
        Entry(seq=r.seq, kind=r.kind, at=to_datetime(r.at), epoch=r.epoch, payload=json.loads(r.payload)) for r in rows
    ]


def _head(tx: Tx, study_id: str) -> _Head:
    rows = tx.text(_HEAD, study_id)
    if not rows:
        raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
    return _head_of(study_id, rows[0])


def _head_of(study_id: str, row: Any) -> _Head:
    others = [*json.loads(row.objectives)[1:], *json.loads(row.constraints or "[]")]
    return _Head(study_id, row.last_seq, tuple(str(o["metric"]) for o in others))


def reads_between(study: Any, after: int, last: int) -> tuple[Read, Read]:
    """Reads the log from `after` (exclusive) to `last`, for `between`. `study` is the study's row."""
    head = _head_of(study.id, study)
    return (
        (_AFTER.format(more=""), (head.study_id, after, last, last - after)),
        (_REPORTS.format(metrics=_MORE if head.others else ""), (head.study_id, after + 1, last)),
    )


def between(study: Any, rows: Sequence[Any], told: Sequence[Any]) -> list[Event]:
    """The events of what `reads_between` read."""
    head = _head_of(study.id, study)
    reports: dict[int, list[ReportRow]] = {row[0]: [] for row in rows}
    for row in told:
        reports[row[0]].append(_report(row, head))
    return [_event(head.study_id, tuple(row), reports) for row in rows]


def _pages(db: Database, head: _Head, after: int, last: int, *, more: str = "") -> Iterator[Event]:
    """The events from `after` (exclusive) to `last`, a page per transaction: what is in the log never changes."""
    while after < last:
        with db.read() as tx:
            found = _page(tx, head, after, last, PAGE, more=more)
        yield from found
        if len(found) < PAGE:
            return
        after = found[-1].seq


def _page(tx: Tx, head: _Head, after: int, last: int, limit: int, *, more: str = "") -> list[Event]:
    rows = list(tx.raw(_AFTER.format(more=more), head.study_id, after, last, limit))
    wanted = [row[0] for row in rows if row[1] == Reported.kind]
    reports: dict[int, list[ReportRow]] = {seq: [] for seq in wanted}
    if wanted:
        sql = _REPORTS.format(metrics=_MORE if head.others else "")
        for row in tx.raw(sql, head.study_id, wanted[0], wanted[-1]):
            reports[row[0]].append(_report(row, head))
    return [_event(head.study_id, row, reports) for row in rows]


def _newest(tx: Tx, head: _Head) -> tuple[int, list[Event]]:
    """The end of the log, and what a fold without curves needs to know of its reports."""
    sql = (_NEWEST_SQLITE if tx.sqlite else _NEWEST_POSTGRESQL).replace("{metrics}", _MORE if head.others else "")
    last = head.last_seq
    running: list[tuple[Any, ...]] = []
    newest: dict[tuple[int, int], tuple[Any, ...]] = {}
    for row in tx.raw(sql, *(head.study_id,) * 4):
        last = row[-1]
        if row[-2]:
            running.append(row)
        else:
            newest[row[2], row[3]] = row
    for row in running:
        newest.pop((row[2], row[3]), None)
    reports: dict[tuple[int, int], list[ReportRow]] = {}
    for row in (*newest.values(), *running):
        reports.setdefault((row[0], row[1]), []).append(_report(row, head))
    return last, [
        Event(study_id=head.study_id, seq=seq, at=to_datetime(at), payload=_canonical(told))
        for (seq, at), told in sorted(reports.items())
    ]


def _canonical(told: list[ReportRow]) -> Reported:
    return Reported(reports=tuple(sorted(told, key=lambda row: (row.trial, row.fence, row.step))))


def _report(row: Sequence[Any], head: _Head) -> ReportRow:
    _, _, trial, fence, step, resource, kind, number = row[:8]
    first = number if kind == "finite" else (math.nan if kind is None else values.join(kind, number))
    more = _others(row[8], head.others) if head.others else ()
    return ReportRow(trial=trial, fence=fence, step=step, resource=resource, values=(first, *more))


def _others(document: str, names: Sequence[str]) -> tuple[float, ...]:
    told = json.loads(document)
    found = told if isinstance(told, list) else [told.get(name) for name in names]
    return tuple(math.nan if value is None else values.from_json(value) for value in found)


def _event(study_id: str, row: tuple[Any, ...], reports: Mapping[int, Sequence[ReportRow]]) -> Event:
    seq, kind, version, epoch, at, document = row
    if version > SCHEMA_VERSION or kind not in PAYLOADS:
        raise Conflict(
            f"an event must be of a kind and version that this program knows, but event {seq} of study "
            f"{study_id} is {kind!r}, version {version}",
            remedy="upgrade hpo-service",
        )
    payload: Any
    if kind == Reported.kind:
        payload = Reported(reports=tuple(reports[seq]))
    else:
        payload = PAYLOADS[kind].from_json(json.loads(document))
    return Event(study_id=study_id, seq=seq, payload=payload, at=to_datetime(at), epoch=epoch, schema_version=version)
