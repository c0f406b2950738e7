"""What the newest events of a study say, by index look-ups however long the log is. Writes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select

from hpo_service.core.events import Decided
from hpo_service.store.database import Database
from hpo_service.store.tables import events, reports, studies
from hpo_service.store.tx import to_datetime_or_none

LOOKED_AT = 2_000
"""How many of the newest events are searched for a decision: one follows a few batches of reports."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse:
    decision_reason: str | None  # of the newest decision's last proposal; None where there is none
    last_report_at: datetime | None


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


def pulse(db: Database, study_id: str) -> Pulse:
    """Why the study's algorithm last decided as it did, and when the last report came."""
    given = {"wanted": study_id}
    with db.read() as tx:
        payload = tx.conn.execute(_DECISION, given).scalar()
        at = tx.conn.execute(_REPORT, given).scalar()
    proposals = json.loads(payload)["proposals"] if payload else []
    reason = str(proposals[-1]["reason"]) if proposals else None
    return Pulse(decision_reason=reason, last_report_at=to_datetime_or_none(at))
