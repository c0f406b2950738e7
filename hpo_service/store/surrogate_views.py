"""The newest picture of each study's surrogate, as one JSON document, for people to look at.

Whoever decides for a study writes it, beside its decisions; nothing is decided by it, and it is no part of the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from hpo_service.store import eventlog
from hpo_service.store.database import Database
from hpo_service.store.tables import surrogate_views as table
from hpo_service.store.tx import Tx, dump, to_datetime

_COLUMNS = ("study_id", "seq", "at", "document")
_CONFLICT = (
    "ON CONFLICT (study_id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])
    + " WHERE surrogate_views.seq <= excluded.seq"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredView:
    """A picture with the log position that it was made at."""

    seq: int
    at: datetime
    document: Mapping[str, Any]


def put_view(db: Database, study_id: str, *, seq: int, document: Mapping[str, Any]) -> None:
    """Keep the picture in place of an older one; a newer one stays. Raises NotFound for a study that is deleted."""
    text = dump(document)

    def work(tx: Tx) -> None:
        eventlog.lock_study(tx, study_id)
        tx.insert(table, _COLUMNS, [(study_id, seq, tx.now, text)], conflict=_CONFLICT)

    db.run_write("surrogate_views.put", work)


def view(db: Database, study_id: str) -> StoredView | None:
    """The study's newest picture; None before there is one."""
    with db.read() as tx:
        row = tx.first(select(table).where(table.c.study_id == study_id))
    return None if row is None else StoredView(seq=row.seq, at=to_datetime(row.at), document=json.loads(row.document))
