"""What external workers told and what those who ask hold, of one study, in one transaction: many clients at once.

Not here: what telling means (its caller turns it into items), how expired trials are adopted (`external`), and what is
started (`committing`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, or_, select

from hpo_service.core.states import StudyState, TrialState
from hpo_service.errors import Conflict, FenceRefused, HpoError, NotFound
from hpo_service.store import eventlog, opening
from hpo_service.store.collecting import collect_locked
from hpo_service.store.database import Database
from hpo_service.store.mapping import attempt_row, report_record, study_row
from hpo_service.store.rows import AttemptRow, Collected, CollectItem, OpenAttempt, ReportRecord, StudyRow
from hpo_service.store.tables import attempts, reports, studies, trials
from hpo_service.store.tx import Tx, to_datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A told attempt as it stands: `last` is its newest report, `next_step` the first step that the trial has not."""

    attempt: AttemptRow
    last: ReportRecord | None
    next_step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """Something told about the attempt (trial, fence). `items` says what it means to what is known, at a moment; it may
    raise an HpoError, which is its client's alone."""

    trial: int
    fence: int
    items: Callable[[StudyRow, Known, datetime], Sequence[CollectItem]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What became of something told: `error` refuses it, `results` are those of its items."""

    error: HpoError | None = None
    results: Sequence[Collected] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """A study once everything told was stored. `held`: the open attempts of those who ask, by client. `adopters`: the
    clients for whom trials of silent ones, or interrupted ones, may wait."""

    study: StudyRow
    now: datetime
    heard: Sequence[Heard] = ()
    held: Mapping[str, list[OpenAttempt]] = field(default_factory=dict)
    adopters: frozenset[str] = frozenset()


def gather(db: Database, study_id: str, *, tellings: Sequence[Telling], clients: Collection[str]) -> Gathered:
    """Store what was told, each item alone accepted or refused, and look up what the clients hold.

    `tellings` are about different trials. Raises NotFound.
    """
    if tellings:
        return db.run_write("asking.gather", lambda tx: _hear(tx, study_id, tellings, clients))
    with db.read() as tx:
        return _standing(tx, study_id, clients, heard=())


def require_external(study: StudyRow) -> None:
    """Raises Conflict where the study trains on our own workers."""
    if not study.external:
        raise Conflict(
            f"study {study.id} trains on the service's own workers",
            remedy="set trainer: {external: true} to train yourself",
        )


def _hear(tx: Tx, study_id: str, tellings: Sequence[Telling], clients: Collection[str]) -> Gathered:
    study = study_row(eventlog.lock_study(tx, study_id))
    known = _known(tx, study_id, tellings)
    now = to_datetime(tx.now)
    errors: list[HpoError | None] = []
    items: list[CollectItem] = []
    bounds: list[tuple[int, int]] = []
    for telling in tellings:
        error, mine = _items(study, telling, known, now)
        errors.append(error)
        bounds.append((len(items), len(items) + len(mine)))
        items += mine
    results = collect_locked(tx, items)
    heard = [
        Heard(error=error, results=results[start:stop])
        for error, (start, stop) in zip(errors, bounds, strict=True)
    ]  # fmt: skip
    return _standing(tx, study_id, clients, heard=heard)


def _items(
    study: StudyRow, telling: Telling, known: Mapping[int, Mapping[int, Known]], now: datetime
) -> tuple[HpoError | None, Sequence[CollectItem]]:
    of_trial = known.get(telling.trial, {})
    newest = max(of_trial, default=0)
    try:
        require_external(study)
        if telling.fence not in of_trial:
            raise NotFound(
                f"trial {telling.trial} has no attempt {telling.fence}", remedy=f"its newest attempt is {newest}"
            )
        if telling.fence < newest:
            raise FenceRefused(
                f"trial {telling.trial} has the newer attempt {newest}, but this is about {telling.fence}",
                remedy="give the trial up: another worker has it",
            )
        return None, telling.items(study, of_trial[telling.fence], now)
    except HpoError as error:
        return error, ()


def _known(tx: Tx, study_id: str, tellings: Sequence[Telling]) -> dict[int, dict[int, Known]]:
    """By trial and fence, the attempts of the told trials; what their reports say only for those that are told of."""
    a = attempts.c
    told = {telling.trial: telling.fence for telling in tellings}
    statement = select(attempts).where(a.study_id == study_id, tx.among(a.trial, told))
    found: dict[int, dict[int, Known]] = {}
    for row in tx.all(statement):
        last = _last(tx, row) if told[row.trial] == row.fence else None
        step = 0 if last is None else last.step + 1
        if last is None and row.fence > 1:
            step = _next_step(tx, row)
        found.setdefault(row.trial, {})[row.fence] = Known(attempt=attempt_row(row), last=last, next_step=step)
    return found


def _last(tx: Tx, row: Row[Any]) -> ReportRecord | None:
    if row.last_step is None:
        return None
    c = reports.c
    mine = (c.study_id == row.study_id, c.trial == row.trial, c.fence == row.fence, c.step == row.last_step)
    found = tx.first(select(reports).where(*mine))
    return None if found is None else report_record(found)


def _next_step(tx: Tx, row: Row[Any]) -> int:
    c = reports.c
    newest = tx.execute(select(func.max(c.step)).where(c.study_id == row.study_id, c.trial == row.trial)).scalar()
    return 0 if newest is None else int(newest) + 1


def _standing(tx: Tx, study_id: str, clients: Collection[str], *, heard: Sequence[Heard]) -> Gathered:
    row = tx.first(_STUDY.where(studies.c.id == study_id))
    if row is None:
        raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
    study = study_row(row)
    held: dict[str, list[OpenAttempt]] = {client: [] for client in clients}
    adopters: frozenset[str] = frozenset()
    if clients and study.external:
        mine, silent = _open(tx, study_id, clients)
        owners = {(r.trial, r.fence): r.client_id for r in mine}
        for attempt in opening.load_open(tx, study_id, keys=owners) if owners else ():
            held[owners[attempt.trial, attempt.fence]].append(attempt)
        if study.state is StudyState.RUNNING:
            waits = study.counts[TrialState.WAITING.value] > 0 and _interrupted(tx, study_id)
            adopters = frozenset(c for c in clients if waits or any(r.client_id != c for r in silent))
    return Gathered(study=study, now=to_datetime(tx.now), heard=heard, held=held, adopters=adopters)


_STUDY: Select[Any] = select(studies).where(studies.c.deleted_at.is_(None))


def _open(tx: Tx, study_id: str, clients: Collection[str]) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """The clients' open attempts, and those whose lease has expired, whosever they are."""
    a = attempts.c
    statement = select(a.trial, a.fence, a.client_id, a.lease_expires_at).where(
        a.study_id == study_id,
        a.state == "open",
        or_(tx.among(a.client_id, clients), a.lease_expires_at <= tx.now),
    )
    rows = tx.all(statement)
    silent = [r for r in rows if r.lease_expires_at is not None and r.lease_expires_at <= tx.now]
    return [r for r in rows if r.client_id in clients], silent


def _interrupted(tx: Tx, study_id: str) -> bool:
    t = trials.c
    waiting = (t.study_id == study_id, t.state == TrialState.WAITING.value, t.fence > 0)
    return tx.first(select(t.number).where(*waiting).limit(1)) is not None
