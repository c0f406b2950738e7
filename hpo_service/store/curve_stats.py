"""What the curves of a page's trials come to: first, last, best, lowest and highest value per metric. Writes nothing.

Counted is the canonical curve, per step the newest attempt's report. A curve without a report of the metric has none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from hpo_service.core import values
from hpo_service.store.database import Database
from hpo_service.store.tables import reports

MAX_REPORTS = 200_000
"""So many reports are read for one page: the trials beyond them have no statistics, rather than the page no answer."""
CHUNK = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveStats:
    """`first` and `last` may be NaN or infinite; the others are None where no value is finite. `best` is None where
    nobody knows whether more or less of the metric is better."""

    first: float
    last: float
    best: float | None
    min: float | None
    max: float | None


def curve_stats(
    db: Database, study_id: str, numbers: Sequence[int], metrics: Mapping[str, bool | None]
) -> dict[int, dict[str, CurveStats]]:
    """Statistics by trial and metric. `metrics` says of each whether more is better, None: unknown. Trials without
    reports, and those that would take the reading past `MAX_REPORTS`, are left out."""
    if not numbers or not metrics:
        return {}
    c = reports.c
    found: dict[int, dict[str, CurveStats]] = {}
    curve: list[Any] = []
    seen = 0
    with db.read() as tx:
        statement = select(c.trial, c.step, c.fence, c.metrics).where(
            c.study_id == study_id, tx.among(c.trial, numbers)
        )
        ordered = statement.order_by(c.trial, c.step, c.fence).execution_options(yield_per=CHUNK)
        for row in tx.conn.execute(ordered):
            if curve and curve[-1].trial != row.trial:
                found[curve[-1].trial] = _stats(curve, metrics)
                curve = []
            elif curve and curve[-1].step == row.step:
                curve.pop()  # an older attempt's report of this step
            curve.append(row)
            seen += 1
            if seen > MAX_REPORTS:
                return found
    if curve:
        found[curve[-1].trial] = _stats(curve, metrics)
    return found


def _stats(curve: Sequence[Any], metrics: Mapping[str, bool | None]) -> dict[str, CurveStats]:
    series: dict[str, list[float]] = {name: [] for name in metrics}
    for row in curve:
        document = json.loads(row.metrics)
        for name, column in series.items():
            if name in document:
                column.append(values.from_json(document[name]))
    return {name: of(column, maximize=metrics[name]) for name, column in series.items() if column}


def of(series: Sequence[float], *, maximize: bool | None) -> CurveStats:
    """The statistics of one curve with at least one value."""
    finite = [value for value in series if math.isfinite(value)]
    low, high = min(finite, default=None), max(finite, default=None)
    best = None if maximize is None else high if maximize else low
    return CurveStats(first=series[0], last=series[-1], best=best, min=low, max=high)
