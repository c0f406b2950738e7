"""What a controller does with the open attempts of a study whose lease it just took."""

from __future__ import annotations

from collections import Counter

from hpo_service.controller.flights import Flights
from hpo_service.core.cost import Prices
from hpo_service.core.definition import parse
from hpo_service.store import collecting, decisions
from hpo_service.store.database import Database
from hpo_service.store.rows import AttemptRow, EndedItem, StudyRow
from workers.contract import FUSED, AttemptKey, Outcome

GONE = "the controller that had placed it is gone; it goes on from its last checkpoint"


def interrupt_strangers(db: Database, row: StudyRow, flights: Flights, prices: Prices) -> int:
    """Close every open attempt that is not ours, so that its trial is placed again; how many there were.

    The trial is not to blame, nor is its worker: this is no loss against the study's `retries`. What an attempt trained
    is charged: until the last sign of life of the controller that had placed it, which may be gone for days; lanes of a
    launch share that.
    """
    resources = parse(row.definition).resources
    strangers = [
        a
        for a in decisions.open_attempts(db, row.id)
        if flights.get(AttemptKey(study_id=row.id, trial=a.trial, fence=a.fence)) is None
    ]
    if not strangers:
        return 0
    alive = max(max(a.opened_at, a.started_at or a.opened_at, a.reported_at or a.opened_at) for a in strangers)

    lanes = Counter(a.launch for a in strangers if a.method == FUSED)

    def seconds(attempt: AttemptRow) -> float:
        return (alive - attempt.started_at).total_seconds() if attempt.started_at else 0.0

    def charged(attempt: AttemptRow) -> float:
        return seconds(attempt) / max(1, lanes[attempt.launch])

    collecting.collect(
        db,
        [
            EndedItem(
                study_id=row.id,
                trial=a.trial,
                fence=a.fence,
                outcome=Outcome.PAUSED.value,
                resource=a.resource,
                seconds=seconds(a),
                reason=GONE,
                cost_microdollars=prices.charge(charged(a), cpu=resources.cpu, gpu=resources.gpu),
            )
            for a in strangers
        ],
    )
    return len(strangers)
