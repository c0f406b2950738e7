"""How trials of a structure are trained: the event that says so in a study's log, and what was measured earlier.

The log alone decides; the table `calibrations` only spares later studies the measuring. What a key is made of is for
the controller to say.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import select

from hpo_service.core.events import MethodsChosen
from hpo_service.store import eventlog
from hpo_service.store.committing import check_decision
from hpo_service.store.database import Database
from hpo_service.store.tables import calibrations as table
from hpo_service.store.tx import Tx, dump

_COLUMNS = ("key", "at", "document")
_CONFLICT = "ON CONFLICT (key) DO UPDATE SET at = excluded.at, document = excluded.document"


def choose_methods(
    db: Database,
    study_id: str,
    chosen: MethodsChosen,
    *,
    epoch: int,
    measured: Mapping[str, Mapping[str, Any]] | None = None,
) -> int:
    """Write the methods into the study's log; its newest sequence number. `measured` (key → document) is kept for later
    studies. A decision under way is not disturbed. Raises DecisionMoved when the epoch moved, NotFound."""
    kept = {key: dump(dict(document)) for key, document in (measured or {}).items()}

    def work(tx: Tx) -> int:
        study = eventlog.lock_study(tx, study_id)
        check_decision(study, epoch=epoch, decision=None)
        tx.insert(table, _COLUMNS, [(key, tx.now, kept[key]) for key in sorted(kept)], conflict=_CONFLICT)
        return eventlog.append(tx, study_id, (chosen,), epoch=epoch)

    return db.run_write("methods.choose", work)


def measured_earlier(db: Database, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """What was kept under these keys, by key."""
    if not keys:
        return {}
    with db.read() as tx:
        rows = tx.all(select(table.c.key, table.c.document).where(tx.among(table.c.key, keys)))
    return {row.key: json.loads(row.document) for row in rows}
