"""What trials have to keep to beside being good: bounds on metrics, and by how much a trial breaks them.

Pure numbers. Who ranks by them: `history` (folds), `store.scoring` (tables); rule and source: `total`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hpo_service.errors import FieldProblem

MOST = 16
"""Constraints of one study, at most."""
LEAST_PART, MOST_PART = 1e-300, 1e300
"""What one broken constraint adds to a total lies between: what is broken is never 0, nor what is known infinite."""


class Constraint(BaseModel):
    """A bound on a metric that a trial has to keep. Judged by the trial's value of that metric: the newest one that was
    reported; of an objective by its `at`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: Annotated[str, Field(min_length=1, max_length=200)]
    at_most: float | None = Field(default=None, description="The metric may not be more than this.")
    at_least: float | None = Field(default=None, description="The metric may not be less than this.")

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if self.at_most is None and self.at_least is None:
            raise ValueError(
                f"a constraint has exactly one of at_most and at_least, but {self.metric!r} has neither; add one"
            )
        if self.at_most is not None and self.at_least is not None:
            raise ValueError(
                f"a constraint has exactly one of at_most and at_least, but {self.metric!r} has both; keep one"
            )
        return self

    @property
    def bound(self) -> float:
        """Either bound."""
        return self.at_least if self.at_least is not None else float(self.at_most or 0.0)

    @property
    def scale(self) -> float:
        """What violations are divided by before they are added up: the size of the bound, 1 where that is 0."""
        return abs(self.bound) or 1.0

    def violation(self, value: float | None) -> float | None:
        """By how much `value` breaks the bound, in the metric's own units: above 0 broken, otherwise kept; None where
        the value is missing or not finite."""
        if value is None or not math.isfinite(value):
            return None
        return value - self.bound if self.at_least is None else self.bound - value

    def __str__(self) -> str:
        return f"{self.metric} {'at most' if self.at_least is None else 'at least'} {self.bound:g}"


def total(constraints: Sequence[Constraint], violations: Sequence[float | None]) -> float:
    """One number to rank by: 0 where every constraint is kept; the sum of what is broken, each by its `scale`, where
    less is better and all are behind what is feasible (Deb 2000, "An efficient constraint handling method for genetic
    algorithms", section 3). What is not known adds nothing to what is broken; where nothing is known to be broken, and
    something is not known, infinity."""
    known = math.fsum(
        min(max(violation / constraint.scale, LEAST_PART), MOST_PART)
        for constraint, violation in zip(constraints, violations, strict=True)
        if violation is not None and violation > 0
    )
    if known > 0:
        return known
    return math.inf if any(violation is None for violation in violations) else 0.0


def of(document: Mapping[str, Any]) -> tuple[Constraint, ...]:
    """The constraints of a definition that is stored and so well formed."""
    return tuple(Constraint.model_validate(one) for one in document.get("constraints", ()))


def judged(constraints: Sequence[Constraint], values: Mapping[str, float]) -> dict[str, float | None]:
    """By metric how much a trial with these values breaks it, as `Constraint.violation`."""
    return {one.metric: one.violation(values.get(one.metric)) for one in constraints}


def breaks(constraints: Sequence[Constraint], values: Mapping[str, float]) -> str:
    """What a trial with these values breaks, and what is not known of it, in words that go on from its
    name; empty where it keeps everything."""
    found = judged(constraints, values)
    broken = [f"{metric} by {by:.4g}" for metric, by in found.items() if by is not None and by > 0]
    unknown = [metric for metric, by in found.items() if by is None]
    words = [f"breaks {' and '.join(broken)}"] if broken else []
    words += [f"has no value of {' and '.join(unknown)}"] if unknown else []
    return "; ".join(words)


def unreported(constraints: Sequence[Constraint], names: Sequence[str]) -> str:
    """In words which bounded metrics are not among the names that trials report; empty where all of them are."""
    missing = [one.metric for one in constraints if one.metric not in names]
    if not missing:
        return ""
    return (
        f"no trial has reported {' or '.join(missing)}: does the trainer report a metric of that name? "
        f"it reports {', '.join(names)}"
    )


def feasible(violation: float) -> bool | None:
    """Whether a trial of this `total` keeps every constraint; None where that is not known."""
    return None if math.isinf(violation) else violation == 0


def problems(
    constraints: Sequence[Constraint], objectives: Sequence[str], *, of_search: bool
) -> Iterator[FieldProblem]:
    """What is wrong with a study's constraints together, whose objectives have those metrics. `of_search`: the study
    chooses by what it sees, and so must not see test rows."""
    seen: set[str] = set()
    for place, constraint in enumerate(constraints):
        path, metric = f"constraints.{place}.metric", constraint.metric
        if metric in seen:
            rule = "constraints name distinct metrics"
            yield FieldProblem(path=path, rule=rule, value=metric, remedy="keep one of the two")
        seen.add(metric)
        if [metric] == list(objectives):
            rule = "the only objective needs no bound: the best trial is the one that goes furthest beyond it"
            remedy = "remove the constraint; budget.target ends the study when the objective reaches a value"
            yield FieldProblem(path=path, rule=rule, value=metric, remedy=remedy)
        if of_search and metric.startswith("test_"):
            rule = (
                "a search does not constrain a test metric: choosing by it would make the test rows part of the search"
            )
            remedy = f"constrain a validation metric such as val_{metric.removeprefix('test_')}"
            yield FieldProblem(path=path, rule=rule, value=metric, remedy=remedy)
