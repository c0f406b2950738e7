"""One trial stopped by hand: a decision like the algorithm's own, made by a user.

Only what is at nobody's disposal can be stopped so: a running trial, which ends at its next report, and an enqueued
one that has not begun. A paused or interrupted trial is the algorithm's: it may have promised it a place already.
"""

from __future__ import annotations

from sqlalchemy import select

from hpo_service.core.events import Decided
from hpo_service.core.proposals import Stop
from hpo_service.core.states import TERMINAL_TRIAL, TrialState
from hpo_service.errors import Conflict, NotFound
from hpo_service.store import eventlog, idempotency
from hpo_service.store.committing import commit_locked
from hpo_service.store.database import Database
from hpo_service.store.rows import Remember
from hpo_service.store.tables import trials
from hpo_service.store.tx import Tx

BY_HAND = "user"
"""The algorithm that such decisions name."""


def stop_trial(db: Database, study_id: str, number: int, reason: str, *, remember: Remember | None = None) -> None:
    """Decide that the trial ends. Again, while it is ending: nothing more. Raises Conflict where it has ended or is
    not to be stopped in its state, NotFound."""

    def work(tx: Tx) -> None:
        if idempotency.claim(tx, remember) is not None:
            return
        study = eventlog.lock_study(tx, study_id)
        t = trials.c
        row = tx.first(select(t.state, t.fence, t.stop_reason).where(t.study_id == study_id, t.number == number))
        if row is None:
            raise NotFound(f"study {study_id} has no trial {number}", remedy="list them with `hpo trials`")
        state = TrialState(row.state)
        _check(number, state, interrupted=state is TrialState.WAITING and row.fence > 0)
        if row.stop_reason is None:
            event = Decided(
                decision=study.decision + 1,
                observed_seq=study.last_seq,
                algorithm=BY_HAND,
                algorithm_version=1,
                proposals=(Stop(trial=number, reason=reason),),
            )
            commit_locked(tx, study, event, {}, epoch=0)
        idempotency.keep(tx, remember, {})

    db.run_write("stopping.stop_trial", work)


def _check(number: int, state: TrialState, *, interrupted: bool) -> None:
    if state in TERMINAL_TRIAL:
        raise Conflict(f"only a trial that has not ended can be stopped, but trial {number} is {state.value}")
    if state is TrialState.PAUSED or interrupted:
        what = "was interrupted and waits to go on" if interrupted else "is paused between two segments"
        raise Conflict(
            f"a trial is stopped while it runs, or before it was started, but trial {number} {what}",
            remedy="stop it when it runs again",
        )
