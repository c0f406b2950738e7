"""Interrupted trials: which they are, and their new attempts under the next fence with the same target."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select

from hpo_service.core.events import AttemptChange, AttemptsReopened
from hpo_service.core.states import AttemptState, StudyState, TrialState
from hpo_service.errors import Conflict
from hpo_service.store import eventlog, opening
from hpo_service.store.committing import check_decision, move_trials
from hpo_service.store.database import Database
from hpo_service.store.mapping import attempt_row, unlimited
from hpo_service.store.opening import Opening
from hpo_service.store.rows import AttemptRow, OpenAttempt, Placement
from hpo_service.store.tables import attempts, trials
from hpo_service.store.tx import Tx


def interrupted(db: Database, study_id: str) -> list[int]:
    """Waiting trials that were started before, by number: they go on before anything new is started."""
    c = trials.c
    statement = select(c.number).where(c.study_id == study_id, c.state == TrialState.WAITING.value, c.fence > 0)
    with db.read() as tx:
        return [row.number for row in tx.all(statement.order_by(c.number))]


def last_placements(db: Database, study_id: str) -> dict[int, Placement]:
    """Where the newest attempt of every interrupted trial was placed, by trial: its launch, lane, width and method."""
    t, a = trials.c, attempts.c
    newest = (a.study_id == t.study_id) & (a.trial == t.number) & (a.fence == t.fence)
    statement = (
        select(t.number, a.launch, a.lane, a.width, a.method)
        .join(attempts, newest)
        .where(t.study_id == study_id, t.state == TrialState.WAITING.value, t.fence > 0)
        .order_by(t.number)
    )
    with db.read() as tx:
        return {
            row.number: Placement(launch=row.launch, lane=row.lane, width=row.width, method=row.method)
            for row in tx.all(statement)
        }


def never_begun(db: Database, study_id: str, numbers: Sequence[int]) -> list[int]:
    """Those of these trials whose newest attempt no worker had taken up, by number."""
    t, a = trials.c, attempts.c
    newest = (a.study_id == t.study_id) & (a.trial == t.number) & (a.fence == t.fence)
    statement = select(t.number).join(attempts, newest).where(t.study_id == study_id, a.started_at.is_(None))
    with db.read() as tx:
        rows = tx.all(statement.where(tx.among(t.number, numbers)).order_by(t.number)) if numbers else []
    return [row.number for row in rows]


def open_attempts(db: Database, study_id: str) -> list[AttemptRow]:
    """The study's open attempts, by trial."""
    a = attempts.c
    statement = select(attempts).where(a.study_id == study_id, a.state == AttemptState.OPEN.value)
    with db.read() as tx:
        return [attempt_row(row) for row in tx.all(statement.order_by(a.trial))]


def reopen(
    db: Database, study_id: str, numbers: Sequence[int], *, epoch: int, placements: Mapping[int, Placement]
) -> list[OpenAttempt]:
    """Open new attempts of interrupted trials, in the order given. Raises DecisionMoved when the epoch moved, Conflict
    where a trial does not wait or the study is not running, NotFound."""

    def work(tx: Tx) -> list[OpenAttempt]:
        study = eventlog.lock_study(tx, study_id)
        check_decision(study, epoch=epoch, decision=None)
        return list(reopen_locked(tx, study, numbers, placements, epoch=epoch))

    return db.run_write("decisions.reopen", work)


def reopen_locked(
    tx: Tx, study: Row[Any], numbers: Sequence[int], placements: Mapping[int, Placement], *, epoch: int
) -> tuple[OpenAttempt, ...]:
    """`reopen` inside a transaction that holds the study's row."""
    if not numbers:
        return ()
    if study.state != StudyState.RUNNING:
        raise Conflict(
            f"attempts are opened only while a study is running, but study {study.id} is {study.state}",
            remedy="resume the study",
        )
    c = trials.c
    rows = {
        row.number: row
        for row in tx.all(select(trials).where(c.study_id == study.id, tx.among(c.number, numbers), c.fence > 0))
    }
    missing = [n for n in numbers if n not in rows]
    if missing:
        raise Conflict(f"only interrupted trials are opened again, but got {missing[:5]}", remedy="read them again")
    openings = [_opening(rows[n]) for n in numbers]
    updates = [(TrialState.RUNNING.value, o.fence, rows[o.trial].attempts + 1, study.id, o.trial) for o in openings]
    waiting = sum(rows[n].state == TrialState.WAITING.value for n in numbers)
    if waiting != len(numbers):
        raise Conflict(f"only waiting trials are opened again, but {len(numbers) - waiting} of {len(numbers)} are not")
    move_trials(tx, ("state", "fence", "attempts"), updates, TrialState.RUNNING)
    opened = opening.open_all(tx, study.id, openings, placements)
    changes = tuple(
        AttemptChange(
            trial=o.trial,
            fence=o.fence,
            target=o.target,
            from_resource=o.from_resource,
            worker=placements[o.trial].client_id if o.trial in placements else None,
        )
        for o in opened
    )
    add = {"waiting": -len(opened), "running": len(opened), "open_attempts": len(opened)}
    eventlog.append(tx, study.id, (AttemptsReopened(attempts=changes),), add=add, epoch=epoch)
    return opened


def _opening(row: Row[Any]) -> Opening:
    return Opening(
        trial=row.number,
        fence=row.fence + 1,
        params=json.loads(row.params),
        target=unlimited(row.target),
        horizon=unlimited(row.horizon),
        parent=row.parent,
        parent_resource=row.parent_resource,
    )
