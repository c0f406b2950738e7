"""Trial values and the best trial of a study, kept up to date batch by batch. Pure, but for one look-up of the best.

A trial's value is that of its last report or of its best one (`objective.at`); of a step that several attempts
reported, the newest attempt's report counts. The best trial is the one with the best finite value among those at the
highest resource reached; failed trials do not rank; ties go to the smaller number. Where there are constraints, those
that keep them all come first, then those that break them least, then those of which that is not known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select

from hpo_service.core import values
from hpo_service.core.constraints import Constraint, total
from hpo_service.core.values import ValueKind
from hpo_service.store.tables import trials
from hpo_service.store.tx import Tx

Number = float | str
"""A value as JSON holds it: a number, or one of the three words."""
_KINDS = {
    "NaN": ValueKind.NAN.value,
    "Infinity": ValueKind.PLUS_INFINITY.value,
    "-Infinity": ValueKind.MINUS_INFINITY.value,
}
FINITE = ValueKind.FINITE.value


@dataclass(frozen=True, slots=True)
class Goals:
    """What collecting needs of a definition's objectives."""

    metric: str  # of the first objective
    metrics: tuple[str, ...]  # of every objective
    maximize: bool
    best: Mapping[str, bool]  # objectives whose value is that of the best report: metric → maximize
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def load(cls, document: str, constraints: str | None = None) -> Goals:
        objectives = json.loads(document)
        bounds = tuple(Constraint.model_validate(one) for one in json.loads(constraints or "[]"))
        best = {o["metric"]: o["direction"] == "maximize" for o in objectives if o["at"] == "best"}
        metrics = tuple(str(o["metric"]) for o in objectives)
        return cls(metrics[0], metrics, objectives[0]["direction"] == "maximize", best, bounds)

    @property
    def more(self) -> bool:
        """Whether there is more than one value to a trial."""
        return len(self.metrics) > 1 or bool(self.constraints)

    def others(self, metrics: Mapping[str, Number]) -> list[Number | None]:
        """Of a trial's metrics the values of the objectives after the first, and those that are bounded."""
        return [metrics.get(name) for name in (*self.metrics[1:], *(c.metric for c in self.constraints))]

    def violation(self, metrics: Mapping[str, Number]) -> float | None:
        """By how much a trial with these metrics breaks the constraints; None without any, or where it is not known."""
        if not self.constraints:
            return None
        found = total(self.constraints, [c.violation(number(metrics.get(c.metric))) for c in self.constraints])
        return None if math.isinf(found) else found


def jsonable(metrics: Mapping[str, float]) -> dict[str, Number]:
    """The metrics as JSON holds them."""
    isfinite = math.isfinite
    return {name: float(value) if isfinite(value) else values.to_json(float(value)) for name, value in metrics.items()}


def number(value: Number | None) -> float:
    """The float of a value; NaN where there is none."""
    if type(value) is float:
        return value
    return math.nan if value is None else values.from_json(value)


def columns(value: Number | None) -> tuple[str | None, float | None]:
    """Kind and number of a value, both None where there is none."""
    if value is None:
        return None, None
    if isinstance(value, str):
        return _KINDS[value], None
    return FINITE, value


def improves(value: Number, than: Number | None, *, maximize: bool) -> bool:
    """Whether a report's value replaces the best one so far; the first one always does."""
    if than is None:
        return True
    return values.is_better(values.from_json(value), values.from_json(than), maximize=maximize)


@dataclass(slots=True)
class Best:
    """The best trial so far."""

    trial: int | None
    value: float | None
    resource: float | None
    maximize: bool
    violation: float | None = None  # as the tables have it
    stale: bool = False  # the best one fell: look it up again

    @classmethod
    def of(cls, study: Row[Any], goals: Goals) -> Best:
        return cls(study.best_trial, study.best_value, study.best_resource, goals.maximize, study.best_violation)

    def consider(self, trial: int, value: float | None, resource: float, violation: float | None = None) -> None:
        """Take in a trial's new standing; `value` is None where it does not rank."""
        if trial == self.trial:
            if value is None or self._fell(value, resource, violation):
                self.stale = True
            self.value, self.resource, self.violation = value, resource, violation
        elif value is not None and self._beats(trial, value, resource, violation):
            self.trial, self.value, self.resource, self.violation = trial, value, resource, violation

    def _fell(self, value: float, resource: float, violation: float | None) -> bool:
        if violation != self.violation:
            return _least(violation) > _least(self.violation)
        if resource < (self.resource or 0.0):
            return True
        if self.value is None or resource != self.resource or value == self.value:
            return False
        return (value < self.value) is self.maximize

    def _beats(self, trial: int, value: float, resource: float, violation: float | None) -> bool:
        if self.trial is None or self.value is None or self.resource is None:
            return True
        if violation != self.violation:
            return _least(violation) < _least(self.violation)
        if resource != self.resource:
            return resource > self.resource
        if value != self.value:
            return (value > self.value) is self.maximize
        return trial < self.trial


def _least(violation: float | None) -> float:
    return math.inf if violation is None else violation


def ranking(tx: Tx, study_id: str, *, constrained: bool) -> tuple[float | None, Sequence[ColumnElement[bool]]]:
    """The least violation of the trials that rank (None: without constraints, or where none is known), and the
    conditions for the trials that have it."""
    c = trials.c
    ranks = (c.study_id == study_id, c.sort_value.is_not(None))
    if not constrained:
        return None, ranks
    least = tx.execute(select(func.min(c.violation)).where(*ranks, c.violation.is_not(None))).scalar()
    return least, (*ranks, c.violation.is_(None) if least is None else c.violation == least)


def look_up_best(tx: Tx, study_id: str, *, maximize: bool, constrained: bool = False) -> Best:
    """The best trial by the table, three index look-ups; four where there are constraints."""
    c = trials.c
    violation, ranks = ranking(tx, study_id, constrained=constrained)
    resource = tx.execute(select(func.max(c.resource)).where(*ranks)).scalar()
    if resource is None:
        return Best(None, None, None, maximize)
    level = (*ranks, c.resource == resource)
    extreme = func.max(c.sort_value) if maximize else func.min(c.sort_value)
    value = tx.execute(select(extreme).where(*level)).scalar_one()
    trial = tx.execute(select(func.min(c.number)).where(*level, c.sort_value == value)).scalar_one()
    return Best(int(trial), float(value), float(resource), maximize, violation)
