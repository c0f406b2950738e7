"""How each study's best trial came about: one row per transaction that changed it, with what had been spent by then.

A best that fell (its trial failed, or reported something worse) is a change too; where no trial ranks any more the row
names none. `collecting` appends in the transaction that changes the best; here nothing else is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select

from hpo_service.store.database import Database
from hpo_service.store.rows import Improvement
from hpo_service.store.tables import improvements as table
from hpo_service.store.tx import Tx, to_datetime

_COLUMNS = (
    "study_id", "seq", "trial", "value", "resource", "at", "spent_resource", "cost_microdollars", "ended",
)  # fmt: skip
_ENDED = ("finished", "stopped", "failed")


def append(tx: Tx, study: Row[Any], seq: int, *, best: Mapping[str, Any], add: Mapping[str, float]) -> None:
    """Write that the best is now `best`, under the transaction's last event `seq`. `study` is the row as it was locked,
    `add` what the transaction adds to its columns."""
    row = (
        study.id, seq, best["best_trial"], best["best_value"], best["best_resource"], tx.now,
        study.resource + add.get("resource", 0.0), study.cost_microdollars + int(add.get("cost_microdollars", 0)),
        sum(getattr(study, state) + int(add.get(state, 0)) for state in _ENDED),
    )  # fmt: skip
    tx.insert(table, _COLUMNS, [row])


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
