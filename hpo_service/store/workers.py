"""The workers that controllers see, for people to look at. Nothing is decided by these rows."""

from __future__ import annotations

import json

from sqlalchemy import delete, select, true

from hpo_service.store.database import Database
from hpo_service.store.rows import WorkerRow
from hpo_service.store.tables import workers as table
from hpo_service.store.tx import Tx, clean, dump, to_datetime, utc_us

_COLUMNS = ("id", "node", "state", "device", "cpu", "gpu", "detail", "controller", "seen_at")
_CONFLICT = "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{c} = excluded.{c}" for c in _COLUMNS[1:])


def see_worker(db: Database, worker: WorkerRow) -> None:
    """Write how a worker stands; one that is gone is removed."""

    def work(tx: Tx) -> None:
        if worker.state == "gone":
            tx.execute(delete(table).where(table.c.id == worker.id))
            return
        row = (
            clean(worker.id), clean(worker.node), worker.state, clean(worker.device), worker.cpu, worker.gpu,
            dump(dict(worker.detail)), worker.controller, utc_us(worker.seen_at),
        )  # fmt: skip
        tx.insert(table, _COLUMNS, [row], conflict=_CONFLICT)

    db.run_write("workers.see", work)


def workers(db: Database) -> list[WorkerRow]:
    """Every known worker, by node and id."""
    with db.read() as tx:
        rows = tx.all(select(table).order_by(table.c.node, table.c.id))
    return [
        WorkerRow(
            id=r.id,
            node=r.node,
            state=r.state,
            device=r.device,
            cpu=r.cpu,
            gpu=r.gpu,
            detail=json.loads(r.detail),
            controller=r.controller,
            seen_at=to_datetime(r.seen_at),
        )
        for r in rows
    ]


def forget_workers(db: Database, controller: str | None) -> None:
    """Remove the workers that `controller` had seen; None: everybody's, for a caller who knows that no other lives."""
    db.run_write("workers.forget", lambda tx: _forget(tx, controller))


def _forget(tx: Tx, controller: str | None) -> None:
    mine = true() if controller is None else table.c.controller == controller
    tx.execute(delete(table).where(mine))
