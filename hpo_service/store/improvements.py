"""How each study's best trial came about: one row per transaction that changed it, with what had been spent by then.

A best that fell (its trial failed, or reported something worse) is a change too; where no trial ranks any more the row
names none, and so it does where the best trial breaks a constraint. `collecting` appends in the transaction that
changes the best; here nothing else is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, or_, select

from hpo_service.store.database import Database
from hpo_service.store.rows import Improvement
from hpo_service.store.tables import improvements as table
from hpo_service.store.tx import Tx, to_datetime

_COLUMNS = (
    "study_id", "seq", "trial", "value", "resource", "at", "spent_resource", "cost_microdollars", "ended",
)  # fmt: skip
_ENDED = ("finished", "stopped", "failed")


def append(tx: Tx, study: Row[Any], seq: int, *, best: Mapping[str, Any], add: Mapping[str, float]) -> None:
    """Write that the best is now `best`, under the transaction's last event `seq`; nothing where `best` is empty.
    `study` is the row as it was locked, `add` what the transaction adds to its columns."""
    if not best:
        return
    shown = _shown(best["best_trial"], best["best_value"], best["best_resource"], best.get("best_violation", 0.0))
    if shown == _shown(study.best_trial, study.best_value, study.best_resource, _violation(study)):
        return
    row = (
        study.id, seq, *shown, tx.now,
        study.resource + add.get("resource", 0.0), study.cost_microdollars + int(add.get("cost_microdollars", 0)),
        sum(getattr(study, state) + int(add.get(state, 0)) for state in _ENDED),
    )  # fmt: skip
    tx.insert(table, _COLUMNS, [row])


def _violation(study: Row[Any]) -> float | None:
    violation: float | None = 0.0 if study.constraints is None else study.best_violation
    return violation


def _shown(
    trial: int | None, value: float | None, resource: float | None, violation: float | None
) -> tuple[int | None, float | None, float | None]:
    """What counts as best of those columns: only what keeps the constraints."""
    return (trial, value, resource) if violation == 0 else (None, None, None)


def improvements(db: Database, study_id: str, after_seq: int = 0) -> list[Improvement]:
    """The study's changes of its best after event `after_seq`, oldest first; empty for an unknown study."""
    return improvements_of(db, (study_id,), after_seq=after_seq)[study_id]


def improvements_of(db: Database, ids: Sequence[str], *, after_seq: int = 0) -> dict[str, list[Improvement]]:
    """The same of many studies, in one question."""
    found: dict[str, list[Improvement]] = {study_id: [] for study_id in ids}
    c = table.c
    statement = select(table).where(c.seq > after_seq).order_by(c.study_id, c.seq)
    with db.read() as tx:
        few = c.study_id == ids[0] if len(ids) == 1 else tx.among(c.study_id, ids)
        for row in tx.all(statement.where(few)):
            found[row.study_id].append(_improvement(row))
    return found


def sparklines(db: Database, ids: Sequence[str], *, most: int = 40) -> dict[str, list[tuple[datetime, float | None]]]:
    """When each study's best changed and to which value: at most `most` changes, the first and the last among them."""
    c = table.c
    place = func.row_number().over(partition_by=c.study_id, order_by=c.seq) - 1
    count = func.count().over(partition_by=c.study_id)
    found: dict[str, list[tuple[datetime, float | None]]] = {study_id: [] for study_id in ids}
    with db.read() as tx:
        rows = select(c.study_id, c.seq, c.at, c.value, place.label("place"), count.label("n"))
        r = rows.where(tx.among(c.study_id, ids)).subquery().c
        step = most - 2  # of the rows between: one wherever the running share of `step` reaches a whole number
        moved = r.place * step // r.n != (r.place - 1) * step // r.n
        kept = or_(r.place == 0, r.place == r.n - 1, moved)
        for row in tx.all(select(r.study_id, r.at, r.value).where(kept).order_by(r.study_id, r.seq)):
            found[row.study_id].append((to_datetime(row.at), row.value))
    return found


def _improvement(r: Row[Any]) -> Improvement:
    return Improvement(
        seq=r.seq,
        trial=r.trial,
        value=r.value,
        resource=r.resource,
        at=to_datetime(r.at),
        spent_resource=r.spent_resource,
        cost_microdollars=r.cost_microdollars,
        ended=r.ended,
    )
