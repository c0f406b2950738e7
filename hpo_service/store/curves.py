"""Learning curves of many trials as columns, downsampled on the server. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Row, select

from hpo_service.core import values
from hpo_service.errors import NotFound
from hpo_service.store.database import Database
from hpo_service.store.tables import reports, studies, trials
from hpo_service.store.tx import Tx


def canonical(rows: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Of rows ordered by (trial,) step and fence, per step the newest attempt's."""
    kept: list[Row[Any]] = []
    for row in rows:
        if kept and kept[-1].step == row.step and kept[-1].trial == row.trial:
            kept[-1] = row
        else:
            kept.append(row)
    return kept


def curves(
    db: Database,
    study_id: str,
    metric: str,
    *,
    numbers: Sequence[int],
    max_points: int = 200,
) -> dict[str, Any]:
    """The canonical curves of `metric`: {"metric", "trials": [{"number", "state", "bracket", "rung", "reason",
    "horizon", "resource": […], "value": […]}], "shown", "of"}; values as JSON holds them.

    Shown are those of the trials `numbers` that reported the metric; `of` is how many trials the study has. A curve has
    at most `max_points` points, its first and last among them.
    Raises NotFound.
    """
    with db.read() as tx:
        columns = (studies.c.objectives, studies.c.next_trial)
        study = tx.first(select(*columns).where(studies.c.id == study_id, studies.c.deleted_at.is_(None)))
        if study is None:
            raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
        objective = json.loads(study.objectives)[0]
        chosen = _chosen(tx, study_id, numbers)
        r = reports.c
        value_of, held = (_own, (r.value_kind, r.value)) if metric == objective["metric"] else (_other, (r.metrics,))
        statement = select(r.trial, r.fence, r.step, r.resource, *held).where(
            r.study_id == study_id, tx.among(r.trial, [row.number for row in chosen])
        )
        by_trial: dict[int, list[Row[Any]]] = {row.number: [] for row in chosen}
        for row in canonical(tx.all(statement.order_by(r.trial, r.step, r.fence))):
            by_trial[row.trial].append(row)
    shown = [_curve(row, by_trial[row.number], lambda r: value_of(r, metric), max_points) for row in chosen]
    shown = [curve for curve in shown if curve["resource"]]
    return {"metric": metric, "trials": shown, "shown": len(shown), "of": int(study.next_trial)}


def _chosen(tx: Tx, study_id: str, numbers: Sequence[int]) -> Sequence[Row[Any]]:
    c = trials.c
    statement = select(c.number, c.state, c.bracket, c.rung, c.reason, c.horizon).where(c.study_id == study_id)
    return tx.all(statement.where(tx.among(c.number, numbers)).order_by(c.number))


def _own(row: Row[Any], _: str) -> float | str | None:
    """The first objective's value, which has columns of its own: nothing is to be read from text."""
    if row.value_kind == "finite" or row.value_kind is None:
        return row.value  # type: ignore[no-any-return]
    return values.to_json(values.join(row.value_kind, None))


def _other(row: Row[Any], metric: str) -> float | str | None:
    return json.loads(row.metrics).get(metric)  # type: ignore[no-any-return]


def _curve(
    trial: Row[Any], rows: Sequence[Row[Any]], value_of: Callable[[Row[Any]], float | str | None], max_points: int
) -> dict[str, Any]:
    resource: list[float] = []
    value: list[float | str] = []
    for row in rows:
        found = value_of(row)
        if found is not None:
            resource.append(row.resource)
            value.append(found)
    picked = sample(value, max_points)
    return {
        "number": trial.number,
        "state": trial.state,
        "bracket": trial.bracket,
        "rung": trial.rung,
        "reason": trial.reason,
        "horizon": trial.horizon,
        "resource": [resource[i] for i in picked],
        "value": [value[i] for i in picked],
    }


def sample(series: Sequence[float | str], most: int) -> list[int]:
    """At most `most` indexes of the series: first, last, and of each stretch between its lowest and highest point, so
    that no spike is lost. What is not finite counts as highest."""
    n = len(series)
    if n <= most:
        return list(range(n))
    if most < 4:
        return [0, n - 1][: max(most, 1)]
    picked = {0, n - 1}
    stretches = (most - 2) // 2

    heights = [values.rank_key(values.from_json(value), maximize=False) for value in series]
    for k in range(stretches):
        first, until = 1 + k * (n - 2) // stretches, 1 + (k + 1) * (n - 2) // stretches
        stretch = range(first, until)
        picked |= {min(stretch, key=heights.__getitem__), max(stretch, key=heights.__getitem__)}
    return sorted(picked)
