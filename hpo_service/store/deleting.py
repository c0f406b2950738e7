"""Deleting a study: a tombstone at once, the rows in bounded chunks, so that other writers get their turn."""

from __future__ import annotations

from sqlalchemy import delete, func, select, update

from hpo_service.errors import Conflict
from hpo_service.store import blobstore, eventlog
from hpo_service.store.database import Database
from hpo_service.store.tables import (
    artifacts,
    attempts,
    checkpoints,
    events,
    improvements,
    log_chunks,
    reports,
    reproductions,
    studies,
    study_tags,
    surrogate_views,
    trial_params,
    trial_tags,
    trial_values,
    trials,
)
from hpo_service.store.tx import Tx

CHUNK_TRIALS = 1000
_BY_TRIAL = (reproductions, reports, artifacts, log_chunks, trial_values, trial_params, trial_tags, attempts)


def delete_study(db: Database, study_id: str) -> list[str]:
    """Delete the study with everything of it; the paths of its checkpoints, which are the caller's to remove.

    Raises NotFound, and Conflict while attempts are open. The id stays as a tombstone and is never given again.
    """

    def bury(tx: Tx) -> list[str]:
        row = eventlog.lock_study(tx, study_id)
        if row.open_attempts:
            raise Conflict(
                f"a study is deleted only with no attempt open, but study {study_id} has {row.open_attempts}",
                remedy="stop it first",
            )
        tx.execute(update(studies).where(studies.c.id == study_id).values(deleted_at=tx.now))
        return _paths(tx, study_id)

    paths = db.run_write("studies.delete", bury)
    _purge(db, study_id)
    return paths


def delete_hidden(db: Database, study_id: str) -> None:
    """Remove what there is of a study that was hidden from its beginning: one whose restoring broke off."""
    with db.read() as tx:
        hidden = select(studies.c.id).where(studies.c.id == study_id, studies.c.deleted_at.is_not(None))
        there = tx.first(hidden.where(studies.c.purged.is_(False))) is not None
    if there:
        _purge(db, study_id)


def finish_deletions(db: Database) -> list[str]:
    """Go on with deletions that a crash interrupted; the paths of checkpoints that were left."""
    with db.read() as tx:
        left = tx.all(select(studies.c.id).where(studies.c.deleted_at.is_not(None), studies.c.purged.is_(False)))
        paths = [path for row in left for path in _paths(tx, row.id)]
    for row in left:
        _purge(db, row.id)
    return paths


def _paths(tx: Tx, study_id: str) -> list[str]:
    statement = select(checkpoints.c.path).where(checkpoints.c.study_id == study_id).order_by(checkpoints.c.path)
    return [row.path for row in tx.all(statement)]


def _purge(db: Database, study_id: str) -> None:
    while db.run_write("studies.delete.chunk", lambda tx: _purge_chunk(tx, study_id)):
        pass
    db.run_write("studies.delete.end", lambda tx: _purge_rest(tx, study_id))


def _purge_chunk(tx: Tx, study_id: str) -> bool:
    """Remove the trials with the smallest numbers and all their rows; False when there was none."""
    first = tx.execute(select(func.min(trials.c.number)).where(trials.c.study_id == study_id)).scalar()
    if first is None:
        return False
    until = first + CHUNK_TRIALS
    blobstore.remove_range(tx, study_id, first, until)
    for table in _BY_TRIAL:
        tx.execute(delete(table).where(table.c.study_id == study_id, table.c.trial < until))
    tx.execute(delete(trials).where(trials.c.study_id == study_id, trials.c.number < until))
    return True


def _purge_rest(tx: Tx, study_id: str) -> None:
    for table in (events, improvements, study_tags, surrogate_views):
        tx.execute(delete(table).where(table.c.study_id == study_id))
    emptied = {"purged": True, "definition": "{}", "tags": "[]", "notes": ""}
    tx.execute(update(studies).where(studies.c.id == study_id).values(emptied))
