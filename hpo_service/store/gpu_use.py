"""What a study's attempts took of their GPUs: what sharing one is decided by. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, select

from hpo_service.core.gpu_sharing import Use
from hpo_service.store.database import Database
from hpo_service.store.tables import attempts, workers
from hpo_service.store.tx import Tx

LIMIT = 64


def gpu_uses(db: Database, study_id: str, limit: int = LIMIT) -> list[Use]:
    """Of the newest trials' attempts that had a worker to themselves and have ended, at most `limit`. Nothing where the
    GPU's memory is not known. A worker that is gone is taken to have had a GPU like the smallest one that is there."""
    a = attempts.c
    with db.read() as tx:
        rows = tx.all(
            select(a.worker_id, a.gpu_peak_memory_bytes, a.gpu_utilisation)
            .where(a.study_id == study_id, a.state == "closed", a.method == "plain", a.gpu_peak_memory_bytes > 0)
            .order_by(a.trial.desc(), a.fence.desc())
            .limit(limit)
        )
        memory = _memory(tx, {row.worker_id for row in rows if row.worker_id}) if rows else None
    if memory is None:
        return []
    return [
        Use(peak_bytes=row.gpu_peak_memory_bytes, memory_bytes=memory, utilisation=row.gpu_utilisation) for row in rows
    ]


def _memory(tx: Tx, names: set[str]) -> int | None:
    """The smallest memory of these workers' GPUs, in bytes; of all workers' where none of these is there any more."""
    w = workers.c
    mine = _smallest(tx.all(select(w.detail).where(tx.among(w.id, names)))) if names else None
    return mine if mine is not None else _smallest(tx.all(select(w.detail).where(w.gpu > 0)))


def _smallest(rows: Iterable[Row[Any]]) -> int | None:
    found = (json.loads(row.detail).get("gpu_memory_bytes") for row in rows)
    return min((int(memory) for memory in found if memory), default=None)
