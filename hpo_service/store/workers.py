"""The workers that controllers see, for people to look at. Nothing is decided by these rows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import delete, select, true

from hpo_service.store.database import Database
from hpo_service.store.rows import WorkerRow
from hpo_service.store.tables import workers as table
from hpo_service.store.tx import Tx, clean, dump, to_datetime, utc_us

_COLUMNS = ("id", "node", "state", "device", "cpu", "gpu", "detail", "controller", "seen_at")
_CONFLICT = "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{c} = excluded.{c}" for c in _COLUMNS[1:])


def see_workers(db: Database, seen: Sequence[WorkerRow]) -> None:
    """Write how workers stand, all in one transaction; those that are gone are removed. Of several rows of one worker
    the last counts."""
    newest = {clean(worker.id): worker for worker in seen}
    gone = [name for name, worker in newest.items() if worker.state == "gone"]
    rows = [
        (
            name, clean(worker.node), worker.state, clean(worker.device), worker.cpu, worker.gpu,
            dump(dict(worker.detail)), worker.controller, utc_us(worker.seen_at),
        )
        for name, worker in newest.items()
        if worker.state != "gone"
    ]  # fmt: skip

    def work(tx: Tx) -> None:
        if gone:
            tx.execute(delete(table).where(tx.among(table.c.id, gone)))
        tx.insert(table, _COLUMNS, rows, conflict=_CONFLICT)

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
