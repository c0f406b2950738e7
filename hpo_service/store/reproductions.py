"""Trials that are trained again from their records: who sees to which, and what came of it. Compares nothing.

A reproduction is waiting, running, done or failed. Whoever runs it holds a lease; where that lapses, another one takes
it up from the beginning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select, update

from hpo_service.errors import Conflict, NotFound
from hpo_service.store import eventlog, idempotency
from hpo_service.store.database import Database
from hpo_service.store.rows import Remember
from hpo_service.store.studies import new_id
from hpo_service.store.tables import IMPORTED, attempts, reports, reproductions, studies, trials
from hpo_service.store.tx import Tx, clean, dump, to_datetime, to_datetime_or_none

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_OPEN = (WAITING, RUNNING)
_COLUMNS = ("id", "study_id", "trial", "state", "asked_by", "asked_at")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReproductionRow:
    """A trial that is, or was, trained again. `document` is what was compared (see `workers.comparison`)."""

    id: str
    study_id: str
    trial: int
    state: str
    asked_by: str
    asked_at: datetime
    ended_at: datetime | None
    losses: int  # workers that were lost over it
    seconds: float
    cost_microdollars: int
    reason: str  # why it failed
    document: Mapping[str, Any] | None


def ask(
    db: Database, study_id: str, number: int, *, asked_by: str, remember: Remember | None = None
) -> ReproductionRow:
    """Ask for a trial to be trained again. One that is under way for it already is returned in its stead.

    Raises NotFound; Conflict while an attempt of the trial is open, and where it has no report that could be compared.
    """

    def work(tx: Tx) -> str:
        done = idempotency.claim(tx, remember)
        if done is not None:
            return str(done["id"])
        eventlog.lock_study(tx, study_id)
        r = reproductions.c
        mine = (r.study_id == study_id, r.trial == number)
        under_way = tx.first(select(r.id).where(*mine, r.state.in_(_OPEN)))
        if under_way is None:
            _check(tx, study_id, number)
            made = new_id("r")
            tx.insert(reproductions, _COLUMNS, [(made, study_id, number, WAITING, clean(asked_by), tx.now)])
        else:
            made = str(under_way.id)
        idempotency.keep(tx, remember, {"id": made})
        return made

    return get(db, db.run_write("reproductions.ask", work))


def _check(tx: Tx, study_id: str, number: int) -> None:
    t, a = trials.c, attempts.c
    if tx.first(select(t.number).where(t.study_id == study_id, t.number == number)) is None:
        raise NotFound(f"study {study_id} has no trial {number}", remedy="list them with `hpo trials`")
    rows = tx.all(select(a.state, a.client_id, a.method).where(a.study_id == study_id, a.trial == number))
    if any(row.state == "open" for row in rows):
        raise Conflict(
            f"a trial is reproduced when none of its attempts is open, but trial {number} is in training",
            remedy="wait until it ends, or pause the study",
        )
    if any(row.method == IMPORTED for row in rows):
        raise Conflict(
            f"only what a worker of this service trained can be trained again, but trial {number} was imported",
            remedy="retry it, or enqueue its configuration: that is a trial of its own",
        )
    if any(row.client_id is not None for row in rows):
        raise Conflict(
            f"only what a worker of this service trained can be trained again, but trial {number} was trained by a "
            "client of its own",
            remedy="train it there",
        )
    c = reports.c
    if tx.first(select(c.step).where(c.study_id == study_id, c.trial == number).limit(1)) is None:
        raise Conflict(
            f"a trial is reproduced by comparing its reports, but trial {number} has none",
            remedy="choose a trial that was trained",
        )


def get(db: Database, reproduction_id: str) -> ReproductionRow:
    """One reproduction. Raises NotFound."""
    with db.read() as tx:
        row = tx.first(select(reproductions).where(reproductions.c.id == reproduction_id))
    if row is None:
        raise NotFound(f"there is no reproduction {reproduction_id!r}", remedy="list those of its trial")
    return _row(row)


def of_trial(db: Database, study_id: str, number: int, *, limit: int = 100) -> list[ReproductionRow]:
    """The trial's reproductions, newest first."""
    r = reproductions.c
    statement = select(reproductions).where(r.study_id == study_id, r.trial == number)
    with db.read() as tx:
        return [_row(row) for row in tx.all(statement.order_by(r.asked_at.desc(), r.id).limit(limit))]


def take(db: Database, holder: str, *, lease_s: float, most: int) -> list[ReproductionRow]:
    """Lead at most `most` more reproductions, the oldest first: those that wait, and those whose holder is gone."""
    if most <= 0:
        return []
    with db.read() as tx:
        if not tx.all(_free(tx, most)):
            return []

    def work(tx: Tx) -> list[ReproductionRow]:
        rows = tx.all(_free(tx, most).with_for_update(skip_locked=True))
        expiry = tx.now + int(lease_s * 1e6)
        ids = [row.id for row in rows]
        taken = {"state": RUNNING, "holder": holder, "lease_expires_at": expiry}
        tx.execute(update(reproductions).where(tx.among(reproductions.c.id, ids)).values(taken))
        return [_row(row) for row in rows]

    return db.run_write("reproductions.take", work)


def _free(tx: Tx, most: int) -> Any:
    r = reproductions.c
    lapsed: ColumnElement[bool] = r.lease_expires_at <= tx.now
    free = or_(r.state == WAITING, (r.state == RUNNING) & or_(r.lease_expires_at.is_(None), lapsed))
    living = select(studies.c.id).where(studies.c.id == r.study_id, studies.c.deleted_at.is_(None)).exists()
    return select(reproductions).where(r.state.in_(_OPEN), free, living).order_by(r.asked_at, r.id).limit(most)


def renew(db: Database, holder: str, ids: Sequence[str], *, lease_s: float) -> set[str]:
    """Prolong the leases; the ids that are still this holder's. The others are somebody else's, or gone."""
    if not ids:
        return set()

    def work(tx: Tx) -> set[str]:
        r = reproductions.c
        mine = (tx.among(r.id, ids), r.holder == holder, r.state == RUNNING)
        kept = {row.id for row in tx.all(select(r.id).where(*mine))}
        tx.execute(update(reproductions).where(*mine).values(lease_expires_at=tx.now + int(lease_s * 1e6)))
        return kept

    return db.run_write("reproductions.renew", work)


def give_back(db: Database, holder: str, ids: Sequence[str], *, lost: bool = False, cost_microdollars: int = 0) -> None:
    """Let go of what is not over: it is taken up again from its beginning. `lost`: its worker was, after so much."""

    def work(tx: Tx) -> None:
        r = reproductions.c
        mine = (tx.among(r.id, ids), r.holder == holder, r.state == RUNNING)
        spent = r.cost_microdollars + cost_microdollars
        freed = {
            "state": WAITING,
            "holder": None,
            "lease_expires_at": None,
            "losses": r.losses + int(lost),
            "cost_microdollars": spent,
        }
        tx.execute(update(reproductions).where(*mine).values(freed))

    db.run_write("reproductions.give_back", work)


def end(
    db: Database,
    holder: str,
    reproduction_id: str,
    *,
    document: Mapping[str, Any] | None,
    reason: str = "",
    seconds: float = 0.0,
    cost_microdollars: int = 0,
) -> bool:
    """Store what was compared or, without a document, why it failed; False where somebody else leads it by now."""

    def work(tx: Tx) -> bool:
        r = reproductions.c
        ended = {
            "state": FAILED if document is None else DONE,
            "document": None if document is None else dump(dict(document)),
            "reason": clean(reason),
            "seconds": seconds,
            "cost_microdollars": r.cost_microdollars + cost_microdollars,
            "ended_at": tx.now,
            "holder": None,
            "lease_expires_at": None,
        }
        mine = (r.id == reproduction_id, r.holder == holder, r.state == RUNNING)
        return bool(tx.execute(update(reproductions).where(*mine).values(ended)).rowcount)

    return db.run_write("reproductions.end", work)


def _row(r: Row[Any]) -> ReproductionRow:
    return ReproductionRow(
        id=r.id,
        study_id=r.study_id,
        trial=r.trial,
        state=r.state,
        asked_by=r.asked_by,
        asked_at=to_datetime(r.asked_at),
        ended_at=to_datetime_or_none(r.ended_at),
        losses=r.losses,
        seconds=r.seconds,
        cost_microdollars=r.cost_microdollars,
        reason=r.reason,
        document=None if r.document is None else json.loads(r.document),
    )
