"""What the newest events of a study say, by index look-ups however long the log is. Writes nothing."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import bindparam, select

from hpo_service.core.events import Decided
from hpo_service.store.database import Database
from hpo_service.store.tables import events, reports, studies
from hpo_service.store.tx import to_datetime_or_none

LOOKED_AT = 2_000
"""How many of the newest events are searched for a decision: one follows a few batches of reports."""


# Built once, for pages ask every second.
_E, _R = events.c, reports.c
_LAST = select(studies.c.last_seq).where(studies.c.id == bindparam("wanted")).scalar_subquery()
_DECISION = (
    select(_E.payload)
    .where(_E.study_id == bindparam("wanted"), _E.seq > _LAST - LOOKED_AT, _E.kind == Decided.kind)
    .order_by(_E.seq.desc())
    .limit(1)
)
_REPORT = select(_R.at).where(_R.study_id == bindparam("wanted")).order_by(_R.seq.desc()).limit(1)


def decision_reason(db: Database, study_id: str) -> str | None:
    """Why the study's algorithm last decided as it did: the reason of the newest decision's last proposal."""
    with db.read() as tx:
        payload = tx.conn.execute(_DECISION, {"wanted": study_id}).scalar()
    proposals = json.loads(payload)["proposals"] if payload else []
    return str(proposals[-1]["reason"]) if proposals else None


def last_report_at(db: Database, study_id: str) -> datetime | None:
    """When the study's newest report came."""
    with db.read() as tx:
        return to_datetime_or_none(tx.conn.execute(_REPORT, {"wanted": study_id}).scalar())
