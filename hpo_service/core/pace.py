"""How fast a study goes, what of its budget is used, and how long it may still take. Pure: counters in, numbers out.

The estimate is a plain one: what is left, divided by the rate of the last minutes. It knows nothing of targets or
patience, which may end a study any moment, nor of trials that get longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpo_service.core.definition import Budget

SHORTEST_S = 20.0
"""Over a shorter time a rate is chance."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A study's counters at a moment (seconds since 1970)."""

    at: float
    done: int = 0  # trials at rest: finished, stopped, failed, paused
    resource: float = 0.0
    dollars: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """What a study does in an hour, measured over `seconds`."""

    trials: float
    resource: float
    dollars: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Spent:
    """One bound of a budget. `used` is None where only the algorithm knows; `limit` too, where that is a rule."""

    name: str
    used: float | None
    limit: float | None
    unit: str


def rate(since: Mark, now: Mark) -> Rate | None:
    """The rates between two moments; None where they are too close. Counters that fell count as standing still."""
    seconds = now.at - since.at
    if seconds < SHORTEST_S:
        return None
    per_hour = 3600 / seconds
    return Rate(
        trials=max(now.done - since.done, 0) * per_hour,
        resource=max(now.resource - since.resource, 0.0) * per_hour,
        dollars=max(now.dollars - since.dollars, 0.0) * per_hour,
        seconds=seconds,
    )


def budget_rows(budget: Budget, now: Mark, *, started: int, hours: float, best: float | None) -> list[Spent]:
    """Every bound that the budget sets, with what is used of it; `started` trials count against `budget.trials`."""
    rows = (
        ("trials", float(started), budget.trials, "trials"),
        ("resource", now.resource, budget.resource, "resource"),
        ("hours", hours, budget.hours, "h"),
        ("dollars", now.dollars, budget.dollars, "$"),
        ("patience", None, None if budget.patience == "auto" else budget.patience, "trials without improvement"),
        ("target", best, budget.target, "objective"),
    )
    found = [Spent(name, used, float(limit), unit) for name, used, limit, unit in rows if limit is not None]
    if budget.patience == "auto":
        found.append(Spent("patience", None, None, "until going on is not worth its cost"))
    return found


def time_left_s(
    budget: Budget,
    now: Mark,
    found: Rate | None,
    *,
    hours: float,
    trials: float | None,
    resource: float | None,
) -> float | None:
    """Seconds until the first bound ends the study; None where no bound can be foreseen.

    `trials` and `resource` are what the study's plan comes to; where the plan knows the resource, that alone says how
    far the study is, for trials come to rest in bursts.
    """
    left: list[float] = []
    if budget.hours is not None:
        left.append((budget.hours - hours) * 3600)
    if found is not None:
        if budget.dollars is not None:
            left.append(_until(budget.dollars - now.dollars, found.dollars))
        if resource is not None:
            left.append(_until(resource - now.resource, found.resource))
        elif trials is not None:
            left.append(_until(trials - now.done, found.trials))
    finite = [seconds for seconds in left if math.isfinite(seconds)]
    return max(min(finite), 0.0) if finite else None


def _until(rest: float, per_hour: float) -> float:
    return rest / per_hour * 3600 if per_hour > 0 else math.inf
