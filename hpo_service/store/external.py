"""Verbs for external workers: their open attempts, adopting those whose client went silent, heartbeats.

An expired lease ends nothing by itself: the attempt stays its client's until another client adopts the trial, which
moves the fence. A client that was only late loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select, update

from hpo_service.core.states import TrialState
from hpo_service.store import eventlog, opening
from hpo_service.store.collecting import collect_locked
from hpo_service.store.database import Database
from hpo_service.store.reopening import reopen_locked
from hpo_service.store.rows import EndedItem, OpenAttempt, Placement
from hpo_service.store.tables import attempts, trials
from hpo_service.store.tx import Tx

SILENT = "its client went silent"


def client_attempts(db: Database, study_id: str, client_id: str) -> list[OpenAttempt]:
    """The client's open attempts, by trial."""
    with db.read() as tx:
        return list(opening.load_open(tx, study_id, client_id=client_id))


def adopt_expired(db: Database, study_id: str, client_id: str, n: int, lease_s: float) -> list[OpenAttempt]:
    """Give the client up to `n` trials that wait interrupted or whose client's lease expired, by number.

    The silent client's attempt ends as lost, which counts against the study's `retries`. Raises NotFound, and Conflict
    when the study is not running.
    """
    if n <= 0:
        return []

    def work(tx: Tx) -> list[OpenAttempt]:
        study = eventlog.lock_study(tx, study_id)
        a, t = attempts.c, trials.c
        silent = tx.all(
            select(a.trial, a.fence, a.resource, a.opened_at, a.reported_at)
            .where(a.study_id == study_id, a.state == "open", a.lease_expires_at <= tx.now)
            .where(or_(a.client_id.is_(None), a.client_id != client_id))
            .order_by(a.trial)
            .limit(n)
        )
        if silent:
            collect_locked(
                tx,
                [
                    EndedItem(
                        study_id=study_id,
                        trial=row.trial,
                        fence=row.fence,
                        outcome="lost",
                        resource=row.resource,
                        seconds=((row.reported_at or row.opened_at) - row.opened_at) / 1e6,
                        reason=SILENT,
                    )
                    for row in silent
                ],
            )
        waiting = select(t.number).where(t.study_id == study_id, t.state == TrialState.WAITING.value, t.fence > 0)
        numbers = [row.number for row in tx.all(waiting.order_by(t.number).limit(n))]
        placement = Placement(client_id=client_id, lease_s=lease_s, method="external")
        placements = {number: placement for number in numbers}
        return list(reopen_locked(tx, study, numbers, placements, epoch=study.epoch))

    return db.run_write("external.adopt", work)


def stop_marks(db: Database, study_id: str, numbers: Sequence[int]) -> dict[int, str]:
    """Why the algorithm wants no more of the trials `numbers`; those that go on are left out."""
    t = trials.c
    with db.read() as tx:
        marked = select(t.number, t.stop_reason).where(
            t.study_id == study_id, tx.among(t.number, numbers), t.stop_reason.is_not(None)
        )
        return {int(row.number): str(row.stop_reason) for row in tx.all(marked)}


def heartbeat(
    db: Database, study_id: str, client_id: str | None, keys: Sequence[tuple[int, int]] | None, lease_s: float
) -> list[tuple[int, int]]:
    """Prolong the leases of the open attempts (trial, fence) in `keys`, or of all of the client's where that is None or
    empty; the keys that are still open. One that is missing was adopted, or is over: its client gives it up."""
    wanted = set(keys or ())

    def work(tx: Tx) -> list[tuple[int, int]]:
        a = attempts.c
        statement = select(a.trial, a.fence).where(a.study_id == study_id, a.state == "open")
        if client_id is not None:
            statement = statement.where(a.client_id == client_id)
        if wanted:
            statement = statement.where(tx.among(a.trial, {trial for trial, _ in wanted}))
        found = [(int(r.trial), int(r.fence)) for r in tx.all(statement.order_by(a.trial).with_for_update())]
        held = [key for key in found if not wanted or key in wanted]
        tx.execute(
            update(attempts)
            .where(a.study_id == study_id, a.state == "open", tx.among(a.trial, [trial for trial, _ in held]))
            .values(lease_s=lease_s, lease_expires_at=tx.now + int(lease_s * 1e6))
        )
        return held

    return db.run_write("external.heartbeat", work)
