"""The width at which attempts really train, where their launch was too wide for the memory. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hpo_service.store import eventlog
from hpo_service.store.database import Database
from hpo_service.store.tables import attempts
from hpo_service.store.tx import Tx


def narrow_attempts(db: Database, study_id: str, keys: Sequence[tuple[int, int]], *, width: int) -> None:
    """Note that these attempts, by trial and fence, go on as lanes of a program of `width`."""

    def work(tx: Tx) -> None:
        eventlog.lock_studies(tx, [study_id])
        tx.update(attempts, ("study_id", "trial", "fence"), ("width",), [(width, study_id, *key) for key in keys])

    db.run_write("narrowing.narrow_attempts", work)
