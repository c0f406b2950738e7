"""The log: append events in the transaction that changes the tables, and load them back.

A `reported` event holds only its number of rows; the values lie in `reports` and are joined when loading.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, select

from hpo_service.core import values
from hpo_service.core.events import PAYLOADS, SCHEMA_VERSION, Decided, Event, Payload, Reported, ReportRow
from hpo_service.errors import Conflict, NotFound
from hpo_service.store.database import Database
from hpo_service.store.tables import events, reports, studies
from hpo_service.store.tx import Tx, dump, to_datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry of the log for people to read; programs that fold need `Event`."""

    seq: int
    kind: str
    at: datetime
    epoch: int
    payload: dict[str, Any]


_COLUMNS = ("study_id", "seq", "kind", "schema_version", "epoch", "decision", "observed_seq", "at", "payload")
PAGE = 20_000
_LOCK_ONE = select(studies).where(studies.c.id == bindparam("wanted"), studies.c.deleted_at.is_(None)).with_for_update()
_HEAD = select(studies.c.last_seq, studies.c.objectives).where(
    studies.c.id == bindparam("wanted"), studies.c.deleted_at.is_(None)
)
_AFTER = (
    select(events)
    .where(events.c.study_id == bindparam("wanted"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
)


def lock_studies(tx: Tx, ids: Iterable[str]) -> dict[str, Row[Any]]:
    """The studies' rows, locked in the order of their ids: every verb that writes rows of a study does this first."""
    wanted = sorted(set(ids))
    if len(wanted) == 1:
        return {row.id: row for row in tx.conn.execute(_LOCK_ONE, {"wanted": wanted[0]})}
    statement = select(studies).where(tx.among(studies.c.id, wanted), studies.c.deleted_at.is_(None))
    return {row.id: row for row in tx.all(statement.order_by(studies.c.id).with_for_update())}


def lock_study(tx: Tx, study_id: str) -> Row[Any]:
    """One study's row, locked. Raises NotFound."""
    row = lock_studies(tx, (study_id,)).get(study_id)
    if row is None:
        raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
    return row


def append(
    tx: Tx,
    study_id: str,
    payloads: Sequence[Payload],
    *,
    add: Mapping[str, float] | None = None,
    put: Mapping[str, Any] | None = None,
    epoch: int = 0,
    reported: int = 0,
) -> int:
    """Give the payloads the next sequence numbers and write them, adding `add` to and putting `put` into the study's
    columns in the same statement. A `Reported` payload is written as the number `reported`. Returns the last number."""
    grown = {name: amount for name, amount in (add or {}).items() if amount}
    last = _advance(tx, study_id, {**grown, "last_seq": len(payloads)}, put or {})
    rows = []
    for seq, payload in enumerate(payloads, start=last - len(payloads) + 1):
        decided = payload if isinstance(payload, Decided) else None
        document = {"count": reported} if isinstance(payload, Reported) else payload.to_json()
        rows.append(
            (
                study_id,
                seq,
                payload.kind,
                SCHEMA_VERSION,
                epoch,
                decided.decision if decided else None,
                decided.observed_seq if decided else None,
                tx.now,
                dump(document),
            )
        )
    tx.insert(events, _COLUMNS, rows)
    return int(last)


def _advance(tx: Tx, study_id: str, add: Mapping[str, float], put: Mapping[str, Any]) -> int:
    """Change the study's columns in one statement, written out here for it runs in every transaction."""
    mark = "?" if tx.sqlite else "%s"
    sets = [f"{name} = {name} + {mark}" for name in add] + [f"{name} = {mark}" for name in put]
    sql = f"UPDATE studies SET {', '.join(sets)} WHERE id = {mark} RETURNING last_seq"
    return int(tx.conn.exec_driver_sql(sql, (*add.values(), *put.values(), study_id)).scalar_one())


def load_events(db: Database, study_id: str, after_seq: int = 0, limit: int | None = None) -> list[Event]:
    """The study's events after `after_seq`, oldest first. Raises NotFound; Conflict for a newer kind of envelope."""
    with db.read() as tx:
        study = tx.conn.execute(_HEAD, {"wanted": study_id}).first()
        if study is None:
            raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
        if study.last_seq <= after_seq:
            return []
        statement = _AFTER if limit is None else _AFTER.limit(limit)
        rows = tx.conn.execute(statement, {"wanted": study_id, "after": after_seq}).all()
        batches = _report_rows(tx, study_id, rows, json.loads(study.objectives))
        return [_event(row, batches) for row in rows]


def latest_entries(
    db: Database, study_id: str, *, before: int = 0, kinds: Sequence[str] = (), limit: int = 100
) -> list[Entry]:
    """The log before the sequence number `before` (0: from its end), newest first, of the given kinds (none given: of
    all), as it is stored: a `reported` entry holds only its `count`. Raises NotFound."""
    c = events.c
    with db.read() as tx:
        if tx.conn.execute(_HEAD, {"wanted": study_id}).first() is None:
            raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
        statement = select(events).where(c.study_id == study_id)
        if before:
            statement = statement.where(c.seq < before)
        if kinds:
            statement = statement.where(c.kind.in_(kinds))
        rows = tx.all(statement.order_by(c.seq.desc()).limit(limit))
    return [
        Entry(seq=r.seq, kind=r.kind, at=to_datetime(r.at), epoch=r.epoch, payload=json.loads(r.payload)) for r in rows
    ]


def _event(row: Row[Any], batches: Mapping[int, list[ReportRow]]) -> Event:
    if row.schema_version > SCHEMA_VERSION or row.kind not in PAYLOADS:
        raise Conflict(
            f"an event must be of a kind and version that this program knows, but event {row.seq} of study "
            f"{row.study_id} is {row.kind!r}, version {row.schema_version}",
            remedy="upgrade hpo-service",
        )
    payload: Any
    if row.kind == Reported.kind:
        payload = Reported(reports=tuple(batches.get(row.seq, ())))
    else:
        payload = PAYLOADS[row.kind].from_json(json.loads(row.payload))
    return Event(
        study_id=row.study_id,
        seq=row.seq,
        payload=payload,
        at=to_datetime(row.at),
        epoch=row.epoch,
        schema_version=row.schema_version,
    )


def _report_rows(
    tx: Tx, study_id: str, rows: Sequence[Row[Any]], objectives: Sequence[Mapping[str, Any]]
) -> dict[int, list[ReportRow]]:
    """The reports of the `reported` events among `rows`, by sequence number, in canonical order."""
    wanted = [row.seq for row in rows if row.kind == Reported.kind]
    batches: dict[int, list[ReportRow]] = {seq: [] for seq in wanted}
    if not wanted:
        return batches
    others = [str(o["metric"]) for o in objectives[1:]]
    c = reports.c
    columns = [
        c.seq,
        c.trial,
        c.fence,
        c.step,
        c.resource,
        c.value_kind,
        c.value,
        *([c.metrics] if others else []),
    ]
    statement = (
        select(*columns)
        .where(c.study_id == study_id, c.seq.between(wanted[0], wanted[-1]))
        .order_by(c.seq, c.trial, c.fence, c.step)
    )
    for row in tx.conn.execute(statement.execution_options(yield_per=PAGE)):
        seq, trial, fence, step, resource, kind, number = row[:7]
        first = number if kind == "finite" else (math.nan if kind is None else values.join(kind, number))
        more = _others(row[7], others) if others else ()
        found = batches.get(seq)
        if found is not None:
            found.append(ReportRow(trial=trial, fence=fence, step=step, resource=resource, values=(first, *more)))
    return batches


def _others(document: str, names: Sequence[str]) -> tuple[float, ...]:
    metrics = json.loads(document)
    return tuple(values.from_json(metrics[n]) if n in metrics else math.nan for n in names)
