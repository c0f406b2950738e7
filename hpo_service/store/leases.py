"""Leases of studies: who decides for a study, by the database's clock. The epoch counts the holders."""

from __future__ import annotations

from sqlalchemy import select, update

from hpo_service.core.states import ENDED_STUDY
from hpo_service.store.database import Database
from hpo_service.store.eventlog import lock_study
from hpo_service.store.tables import studies
from hpo_service.store.tx import Tx


def take_lease(db: Database, study_id: str, holder: str, ttl_s: float) -> int | None:
    """Lead the study for `ttl_s` seconds: its epoch, which counts up only when the holder changes; None while
    another holder's lease is valid. Raises NotFound. Cheap where another one leads: it reads before it writes."""
    with db.read() as tx:
        seen = tx.first(select(studies.c.lease_holder, studies.c.lease_expires_at).where(studies.c.id == study_id))
        if seen is not None and seen.lease_holder not in (None, holder) and (seen.lease_expires_at or 0) > tx.now:
            return None

    def work(tx: Tx) -> int | None:
        row = lock_study(tx, study_id)
        mine = row.lease_holder == holder
        held = row.lease_holder is not None and (row.lease_expires_at or 0) > tx.now
        if held and not mine:
            return None
        epoch = int(row.epoch) if mine else int(row.epoch) + 1
        tx.execute(
            update(studies)
            .where(studies.c.id == study_id)
            .values(lease_holder=holder, lease_expires_at=tx.now + int(ttl_s * 1e6), epoch=epoch)
        )
        return epoch

    return db.run_write("leases.take", work)


def renew_leases(db: Database, holder: str, ttl_s: float) -> set[str]:
    """Prolong every lease that `holder` still holds; the ids of those studies. One that expired and that nobody took
    since is still its holder's. Leases of ended studies are let go."""

    def work(tx: Tx) -> set[str]:
        mine = studies.c.lease_holder == holder
        ended = tx.among(studies.c.state, [state.value for state in ENDED_STUDY])
        statement = select(studies.c.id, ended.label("ended")).where(mine).order_by(studies.c.id).with_for_update()
        rows = tx.all(statement)
        over = [row.id for row in rows if row.ended]
        if over:
            tx.execute(update(studies).where(mine, tx.among(studies.c.id, over)).values(lease_expires_at=tx.now))
        kept = {row.id for row in rows if not row.ended}
        if kept:
            expiry = tx.now + int(ttl_s * 1e6)
            tx.execute(update(studies).where(mine, tx.among(studies.c.id, kept)).values(lease_expires_at=expiry))
        return kept

    return db.run_write("leases.renew", work)


def release_leases(db: Database, holder: str | None = None) -> None:
    """Let every lease of `holder` go at once; None: everybody's, for a caller who knows that no holder lives. The
    next holder, even the same one, gets a new epoch, so that one who lives after all writes in vain."""

    def work(tx: Tx) -> None:
        held = studies.c.lease_holder.is_not(None) if holder is None else studies.c.lease_holder == holder
        tx.all(select(studies.c.id).where(held).order_by(studies.c.id).with_for_update())
        tx.execute(update(studies).where(held).values(lease_holder=None, lease_expires_at=None))

    db.run_write("leases.release", work)
