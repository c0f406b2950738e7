"""What charts of one study ask of single trials: why they are where they are, what they had reported by a level, and
which attempts ran when. Bounded reads, as columns. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, text

from hpo_service.core.events import MethodsChosen
from hpo_service.core.launches import FUSED
from hpo_service.errors import NotFound
from hpo_service.store.database import Database
from hpo_service.store.mapping import attempt_row
from hpo_service.store.rows import AttemptRow
from hpo_service.store.tables import CHOSEN, LANES, attempts, events, reports, trials
from hpo_service.store.tx import to_datetime

_ATTEMPT = [
    attempts.c[name]
    for name in (
        "trial", "fence", "state", "outcome", "worker_id", "client_id", "node", "device", "launch", "lane", "width",
        "method", "from_resource", "resumed_from", "resource", "opened_at", "started_at", "reported_at", "ended_at",
    )
]  # fmt: skip


def reasons(db: Database, study_id: str, numbers: Sequence[int]) -> dict[int, str]:
    """Why each of the trials is in its state, as stored last."""
    c = trials.c
    with db.read() as tx:
        rows = tx.all(select(c.number, c.reason).where(c.study_id == study_id, tx.among(c.number, numbers)))
    return {row.number: row.reason for row in rows}


def report_count(db: Database, study_id: str, number: int) -> int:
    """How many reports one trial has."""
    r = reports.c
    with db.read() as tx:
        statement = select(func.count()).where(r.study_id == study_id, r.trial == number)
        return int(tx.execute(statement).scalar() or 0)


def values(db: Database, study_id: str, numbers: Sequence[int]) -> Sequence[Sequence[Any]]:
    """The trials' reports of the first objective as columns: trial, step, fence, resource, value (None where missing or
    not finite); by trial, step and fence."""
    r = reports.c
    statement = select(r.trial, r.step, r.fence, r.resource, r.value).where(r.study_id == study_id)
    with db.read() as tx:
        rows = tx.all(statement.where(tx.among(r.trial, numbers)).order_by(r.trial, r.step, r.fence))
    return list(zip(*rows, strict=True)) if rows else [()] * 5


def attempts_before(db: Database, study_id: str, until_us: int | None, limit: int) -> tuple[list[Row[Any]], int]:
    """The newest attempts that were opened before `until_us` (None: all), newest first, at most `limit`; and the time
    by the database's clock, microseconds since 1970."""
    c = attempts.c
    statement = select(*_ATTEMPT).where(c.study_id == study_id)
    if until_us is not None:
        statement = statement.where(c.opened_at < until_us)
    with db.read() as tx:
        rows = tx.all(statement.order_by(c.opened_at.desc(), c.trial.desc(), c.fence.desc()).limit(limit))
        return list(rows), tx.now


def open_attempts(db: Database, study_id: str, limit: int) -> list[Row[Any]]:
    """The study's open attempts by trial number, at most `limit`, in the same columns."""
    c = attempts.c
    statement = select(*_ATTEMPT).where(c.study_id == study_id, c.state == "open").order_by(c.trial)
    with db.read() as tx:
        return list(tx.all(statement.limit(limit)))


def launch_of(db: Database, study_id: str, trial: int, fence: int) -> list[AttemptRow]:
    """The attempts that were sent to a worker together with this one, itself among them, by lane and time. Raises
    NotFound. What a plain launch holds was opened in one transaction, at one moment, which is how they are found; lanes
    of a fused one may have been filled later."""
    c = attempts.c
    with db.read() as tx:
        mine = tx.first(select(attempts).where(c.study_id == study_id, c.trial == trial, c.fence == fence))
        if mine is None:
            raise NotFound(f"trial {trial} of study {study_id} has no attempt {fence}", remedy="leave the fence out")
        if not mine.launch:
            return [attempt_row(mine)]
        together = text(LANES) if mine.method == FUSED else c.opened_at == mine.opened_at
        statement = select(attempts).where(c.study_id == study_id, c.launch == mine.launch, together)
        rows = tx.all(statement.order_by(c.lane, c.opened_at, c.trial))
    return [attempt_row(row) for row in rows]


def methods_chosen(db: Database, study_id: str) -> list[tuple[int, datetime, MethodsChosen]]:
    """The study's choices of method as the log holds them, with sequence number and time, oldest first."""
    e = events.c
    statement = select(e.seq, e.at, e.payload).where(e.study_id == study_id, text(CHOSEN))
    with db.read() as tx:
        rows = tx.all(statement.order_by(e.seq))
    return [(row.seq, to_datetime(row.at), MethodsChosen.from_json(json.loads(row.payload))) for row in rows]


def worker_seconds(db: Database, study_id: str, numbers: Sequence[int], *, plain: bool) -> dict[int, float]:
    """Seconds of a worker that each of the trials took: those of its attempts, each divided by the lanes of its launch.
    `plain`: only of trials that never shared a launch."""
    c = attempts.c
    seconds = func.sum(c.seconds / c.width).label("seconds")
    statement = select(c.trial, seconds, func.max(c.width).label("width")).where(c.study_id == study_id)
    with db.read() as tx:
        rows = tx.all(statement.where(tx.among(c.trial, numbers)).group_by(c.trial))
    return {row.trial: float(row.seconds) for row in rows if row.width == 1 or not plain}
