"""Small looks over all studies at once: what live notices watch, and whether somebody leads what should run."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from hpo_service.core.states import StudyState
from hpo_service.store import migrate
from hpo_service.store.database import Database
from hpo_service.store.tables import reports, studies


@dataclass(frozen=True, kw_only=True, slots=True)
class Leadership:
    """Studies that a controller should lead: how many, how many none leads, and the soonest end of a lease."""

    studies: int
    without: int
    soonest_end_s: float | None  # seconds from now by the database's clock; negative: over


def heads(db: Database) -> dict[str, tuple[str, int]]:
    """Project and last sequence number by study id, deleted ones left out."""
    columns = (studies.c.id, studies.c.project, studies.c.last_seq)
    with db.read() as tx:
        return {r.id: (r.project, r.last_seq) for r in tx.all(select(*columns).where(studies.c.deleted_at.is_(None)))}


def leadership(db: Database) -> Leadership:
    """Who leads the running studies, external ones left out: those need no controller."""
    active = [StudyState.PREFLIGHT.value, StudyState.RUNNING.value]
    statement = select(studies.c.lease_expires_at).where(
        studies.c.state.in_(active), studies.c.deleted_at.is_(None), studies.c.external.is_(False)
    )
    with db.read() as tx:
        now = tx.now
        ends = [None if r.lease_expires_at is None else (r.lease_expires_at - now) / 1e6 for r in tx.all(statement)]
    held = [end for end in ends if end is not None and end > 0]
    known = [end for end in ends if end is not None]
    return Leadership(studies=len(ends), without=len(ends) - len(held), soonest_end_s=min(known, default=None))


def reports_stored(db: Database) -> int:
    """How many reports the database holds: a walk along an index, so not for every request."""
    with db.read() as tx:
        return int(tx.execute(select(func.count()).select_from(reports)).scalar_one())


def schema_is_current(db: Database) -> bool:
    """Whether the database answers and its schema is the one that this program knows. Raises Unavailable."""
    with db.read() as tx:
        return migrate.revision(tx.conn) == migrate.HEAD
