"""All metrics of the reports that a stretch of the log tells of, for those who copy a study elsewhere.

The log itself carries the objectives alone, for folds need no more. Read only; one statement.
"""

from __future__ import annotations

import json
from typing import Any

from hpo_service.store.database import Database

ReportKey = tuple[int, int, int]  # trial, fence, step

_METRICS = (
    "SELECT trial, fence, step, metrics FROM reports WHERE study_id = ? AND seq BETWEEN ? AND ? "
    "ORDER BY seq, trial, fence, step"
)


def metrics_between(db: Database, study_id: str, first_seq: int, last_seq: int) -> dict[ReportKey, dict[str, Any]]:
    """By (trial, fence, step) the metrics of every report that the events from `first_seq` to `last_seq` (both
    included) tell of, as they are stored: numbers, or the words for those that are not finite."""
    with db.read() as tx:
        return {
            (trial, fence, step): json.loads(document)
            for trial, fence, step, document in tx.raw(_METRICS, study_id, first_seq, last_seq)
        }
