"""Which checkpoints are let go, and when. The rules are written here and nowhere else:

- a trial keeps its newest two checkpoints (should the newest be damaged, the one before serves);
- in a population (pbt) one that another trial begins with is kept until that one has a checkpoint of its own, or is
  over; and a trial that is not over keeps the newest one of its attempts before, for others to begin with meanwhile;
- a stopped or failed trial keeps none, unless it is its study's best;
- a finished trial keeps them as long as its study exists;
- paused and waiting trials of an ended study keep them for the declared retention, so that a raised budget goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, not_, or_, select

from hpo_service.core.states import ENDED_STUDY, TERMINAL_TRIAL, TrialState
from hpo_service.store import blobstore
from hpo_service.store.database import Database
from hpo_service.store.tables import checkpoints, studies, trials
from hpo_service.store.tx import Tx

KEPT = 2
OVER = sorted(state.value for state in TERMINAL_TRIAL)
POPULATION = '%"name":"pbt"%'
"""As definitions are stored. A study that is named so keeps a checkpoint more of each trial, which does no harm."""


def let_go(db: Database, *, retention_s: float, limit: int = 1000) -> list[str]:
    """Forget up to `limit` checkpoints that no rule keeps; the paths of their files, which are the caller's to
    remove. Cheap where there are none: it reads before it writes."""
    with db.read() as tx:
        if not _candidates(tx, retention_s, 1):
            return []

    def work(tx: Tx) -> list[str]:
        found = _candidates(tx, retention_s, limit)
        by_study: dict[str, list[tuple[int, int, int, str]]] = defaultdict(list)
        for row in found:
            by_study[row.study_id].append((row.trial, row.fence, row.step, row.digest))
        for study_id, old in sorted(by_study.items()):
            blobstore.remove(tx, study_id, old)
        return [row.path for row in found]

    return db.run_write("retention.let_go", work)


def _candidates(tx: Tx, retention_s: float, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` rows (study_id, trial, fence, step, digest, path) that no rule keeps."""
    c, t, s = checkpoints.c, trials.c, studies.c
    newer = checkpoints.alias("newer")
    is_newer = or_(newer.c.fence > c.fence, and_(newer.c.fence == c.fence, newer.c.step > c.step))
    same_trial = and_(newer.c.study_id == c.study_id, newer.c.trial == c.trial)
    superseded = select(func.count()).select_from(newer).where(same_trial, is_newer).scalar_subquery() >= KEPT
    out = [TrialState.STOPPED.value, TrialState.FAILED.value]
    is_best = and_(s.best_trial.is_not(None), s.best_trial == c.trial)
    lost = and_(tx.among(t.state, out), not_(is_best))
    resting = [TrialState.PAUSED.value, TrialState.WAITING.value]
    ended = tx.among(s.state, [state.value for state in ENDED_STUDY])
    expired = and_(tx.among(t.state, resting), ended, s.ended_at < tx.now - int(retention_s * 1e6))
    going_on = not_(tx.among(t.state, OVER))
    wanted = and_(s.definition.like(POPULATION), or_(_begun_with(tx), and_(_of_attempts_before(), going_on)))
    statement = (
        select(c.study_id, c.trial, c.fence, c.step, c.digest, c.path)
        .join(trials, and_(t.study_id == c.study_id, t.number == c.trial))
        .join(studies, s.id == c.study_id)
        .where(or_(expired, and_(or_(superseded, lost), not_(wanted))))
        .limit(limit)
    )
    return tx.all(statement)


def _begun_with(tx: Tx) -> ColumnElement[bool]:
    """Of a checkpoint: whether a trial that is not over, and has none of its own, goes on from it."""
    c, child, own = checkpoints.c, trials.alias("child"), checkpoints.alias("own")
    has_own = exists().where(own.c.study_id == child.c.study_id, own.c.trial == child.c.number)
    begins = and_(
        child.c.study_id == c.study_id,
        child.c.parent == c.trial,
        child.c.parent_resource == c.resource,
        not_(tx.among(child.c.state, OVER)),
    )
    return exists().where(begins, not_(has_own)).correlate(checkpoints)


def _of_attempts_before() -> ColumnElement[bool]:
    """Of a checkpoint: whether it is the newest of its trial's attempts before the newest one."""
    c, t, later = checkpoints.c, trials.c, checkpoints.alias("later")
    newer = or_(later.c.fence > c.fence, and_(later.c.fence == c.fence, later.c.step > c.step))
    between = exists().where(later.c.study_id == c.study_id, later.c.trial == c.trial, later.c.fence < t.fence, newer)
    return and_(c.fence < t.fence, not_(between.correlate(checkpoints, trials)))
