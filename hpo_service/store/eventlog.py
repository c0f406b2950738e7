"""The log's writing half: events are appended in the transaction that changes the tables. `logreading` reads them.

A `reported` event holds only its number of rows; the values lie in `reports`.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, select

from hpo_service.core.events import SCHEMA_VERSION, Decided, Event, Payload, Reported
from hpo_service.errors import NotFound
from hpo_service.store.tables import events, studies
from hpo_service.store.tx import PG_NOW, Tx, dump, to_datetime

_COLUMNS = ("study_id", "seq", "kind", "schema_version", "epoch", "decision", "observed_seq", "at", "payload")
_ONE = (studies.c.id == bindparam("wanted"), studies.c.deleted_at.is_(None))
_LOCK_ONE = select(studies).where(*_ONE).with_for_update()
_NAMES = tuple(column.name for column in studies.columns)
_named: Any = namedtuple  # its names are the table's
_Study = _named("_Study", _NAMES)
_LOCK_ONE_PG = (
    f"SELECT {', '.join(_NAMES)}, {PG_NOW} AS database_now FROM studies WHERE id = ? AND deleted_at IS NULL FOR UPDATE"
)


def lock_studies(tx: Tx, ids: Iterable[str]) -> dict[str, Any]:
    """The studies' rows, locked in the order of their ids: every verb that writes rows of a study does this first.
    Asked for again, they are given as this transaction has changed them since."""
    wanted = sorted(set(ids))
    if all(name in tx.locked for name in wanted):
        return {name: tx.locked[name] for name in wanted}
    found: Sequence[Any]
    if len(wanted) == 1 and not tx.sqlite:
        found = tx.text(_LOCK_ONE_PG, wanted[0])
        if found:
            tx.told_now(found[0].database_now)
    elif len(wanted) == 1:
        found = tx.conn.execute(_LOCK_ONE, {"wanted": wanted[0]}).all()
    else:
        statement = select(studies).where(tx.among(studies.c.id, wanted), studies.c.deleted_at.is_(None))
        found = tx.all(statement.order_by(studies.c.id).with_for_update())
    rows = {row.id: _Study._make(row[: len(_NAMES)]) for row in found}
    tx.locked |= rows
    return rows


def lock_study(tx: Tx, study_id: str) -> Any:
    """One study's row, locked. Raises NotFound."""
    row = lock_studies(tx, (study_id,)).get(study_id)
    if row is None:
        raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
    return row


def append_once(tx: Tx) -> None:
    """Have this transaction write its events, and what they change in the studies that it holds, once, at its end. It
    changes those studies by `append` alone, and knows them by `Tx.locked` alone."""
    tx.moved = {}


def append(
    tx: Tx,
    study_id: str,
    payloads: Sequence[Payload],
    *,
    add: Mapping[str, float] | None = None,
    put: Mapping[str, Any] | None = None,
    epoch: int = 0,
) -> int:
    """Give the payloads the next sequence numbers and write them, adding `add` to and putting `put` into the study's
    columns in the same statement. Of a `Reported` payload the number of its rows is written, which its caller writes
    into `reports`. Returns the last number."""
    grown = {name: amount for name, amount in (add or {}).items() if amount}
    grown["last_seq"] = len(payloads)
    late = tx.moved is not None and study_id in tx.locked
    last = (_advance_held if late else _advance)(tx, study_id, grown, put or {})
    rows, at = [], to_datetime(tx.now)
    for seq, payload in enumerate(payloads, start=last - len(payloads) + 1):
        decided = payload if isinstance(payload, Decided) else None
        document = {"count": len(payload.reports)} if isinstance(payload, Reported) else payload.to_json()
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
        tx.appended.append(Event(study_id=study_id, seq=seq, payload=payload, at=at, epoch=epoch))
    if late:
        tx.events += rows
    else:
        tx.insert(events, _COLUMNS, rows)
    return last


def _advance_held(tx: Tx, study_id: str, add: Mapping[str, float], put: Mapping[str, Any]) -> int:
    """Change the study's columns in memory: nobody else can."""
    assert tx.moved is not None
    if not tx.moved:
        tx.at_end.append(functools.partial(_write_held, tx))
    row = tx.locked[study_id]
    changed = {**{name: getattr(row, name) + amount for name, amount in add.items()}, **put}
    tx.locked[study_id] = row._replace(**changed)
    tx.moved.setdefault(study_id, set()).update(changed)
    return int(changed["last_seq"])


def _write_held(tx: Tx) -> None:
    for study_id, moved in (tx.moved or {}).items():
        row, names = tx.locked[study_id], tuple(sorted(moved))
        sql = f"UPDATE studies SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?"
        tx.write(sql, *(getattr(row, name) for name in names), study_id)
    tx.insert(events, _COLUMNS, tx.events)
    tx.moved, tx.events = {}, []


def _advance(tx: Tx, study_id: str, add: Mapping[str, float], put: Mapping[str, Any]) -> int:
    """Change the study's columns in one statement, written out here for it runs in every transaction."""
    mark = "?" if tx.sqlite else "%s"
    sets = [f"{name} = {name} + {mark}" for name in add] + [f"{name} = {mark}" for name in put]
    whole = "*" if study_id in tx.locked else "last_seq"
    sql = f"UPDATE studies SET {', '.join(sets)} WHERE id = {mark} RETURNING {whole}"
    row = tx.conn.exec_driver_sql(sql, (*add.values(), *put.values(), study_id)).one()
    if study_id in tx.locked:
        tx.locked[study_id] = row
    return int(row.last_seq)
