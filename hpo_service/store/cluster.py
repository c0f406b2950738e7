"""What runs in all studies together, what failed last, how busy workers were: look-ups by index. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text

from hpo_service.store.database import Database
from hpo_service.store.tables import FAILED, IMPORTED, attempts, studies
from hpo_service.store.tx import Tx, to_datetime

MAX_OPEN = 5_000
RECENT = 300
"""So many of a study's newest attempts are looked at for how busy its workers were."""
MAX_ENDED = 50
LOOKED_AT = 500
"""So many of the newest failures are looked at for those of one project."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """An open attempt. `worker_id` is None until a worker takes it up; external ones have a `client_id`."""

    study_id: str
    trial: int
    fence: int
    worker_id: str | None
    client_id: str | None
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    study_id: str
    study_name: str
    trial: int
    fence: int
    at: datetime
    worker_id: str | None
    failure: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Busy:
    """When workers trained, microseconds since 1970, within a window in which no attempt is missing."""

    since: int
    until: int
    spans: dict[str, list[tuple[int, int]]]


def running(db: Database, ids: Sequence[str]) -> list[Running]:
    """The open attempts of these studies, at most `MAX_OPEN`, by study and trial."""
    a = attempts.c
    columns = (a.study_id, a.trial, a.fence, a.worker_id, a.client_id, a.started_at, a.opened_at)
    with db.read() as tx:
        wanted = select(*columns).where(tx.among(a.study_id, ids), text("state = 'open'"))
        rows = tx.all(wanted.order_by(a.study_id, a.trial).limit(MAX_OPEN))
    return [
        Running(
            study_id=r.study_id,
            trial=r.trial,
            fence=r.fence,
            worker_id=r.worker_id,
            client_id=r.client_id,
            since=to_datetime(r.started_at if r.started_at is not None else r.opened_at),
        )
        for r in rows
    ]


def failures(db: Database, *, project: str | None = None, most: int = 20) -> list[Failure]:
    """The attempts that failed or were lost last, newest first: of every study, or of one project's among the newest
    few hundred."""
    a, s = attempts.c, studies.c
    columns = (a.study_id, a.trial, a.fence, a.ended_at, a.worker_id, a.outcome, a.failure, a.reason)
    here = (text(FAILED), a.ended_at.is_not(None), a.method != IMPORTED)
    newest = select(*columns).where(*here).order_by(a.ended_at.desc()).limit(LOOKED_AT)
    inner = newest.subquery()
    statement = select(inner, s.name).join(studies, s.id == inner.c.study_id).where(s.deleted_at.is_(None))
    if project is not None:
        statement = statement.where(s.project == project)
    with db.read() as tx:
        rows = tx.all(statement.order_by(inner.c.ended_at.desc(), inner.c.study_id, inner.c.trial).limit(most))
    return [
        Failure(
            study_id=r.study_id,
            study_name=r.name,
            trial=r.trial,
            fence=r.fence,
            at=to_datetime(r.ended_at),
            worker_id=r.worker_id,
            failure=r.failure or r.outcome,
            reason=r.reason,
        )
        for r in rows
    ]


def busy(db: Database, ids: Sequence[str], *, window: timedelta) -> Busy:
    """When workers trained lately, for these studies and for those that ended meanwhile. The window begins later where
    there were very many attempts."""
    s = studies.c
    with db.read() as tx:
        until = tx.now
        since = until - int(window.total_seconds() * 1e6)
        just_ended = tx.all(select(s.id).where(s.ended_at > since, s.deleted_at.is_(None)).limit(MAX_ENDED))
        spans: dict[str, list[tuple[int, int]]] = {}
        rows = []
        for study_id in dict.fromkeys([*ids, *(row.id for row in just_ended)]):
            mine, complete = _recent(tx, study_id)
            since = max(since, complete)
            rows += mine
    for worker, first, last in rows:
        begin, end = max(first, since), until if last is None else min(last, until)
        if end > begin:
            spans.setdefault(worker, []).append((begin, end))
    return Busy(since=min(since, until), until=until, spans=spans)


def _recent(tx: Tx, study_id: str) -> tuple[list[tuple[str, int, int | None]], int]:
    """The newest attempts that a worker took up (worker, start, end), and from when on none is missing."""
    a = attempts.c
    columns = select(a.worker_id, a.started_at, a.ended_at, a.opened_at).where(a.study_id == study_id)
    newest = tx.all(columns.order_by(a.opened_at.desc()).limit(RECENT))
    still = tx.all(columns.where(text("state = 'open'")).limit(MAX_OPEN))
    complete = newest[-1].opened_at if len(newest) == RECENT else 0
    begun = {
        (r.worker_id, r.started_at, r.ended_at)
        for r in (*newest, *still)
        if r.worker_id is not None and r.started_at is not None
    }
    return list(begun), complete
