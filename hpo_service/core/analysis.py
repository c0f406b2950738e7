"""What readers ask of finished work: best so far, convergence, comparisons. Pure functions over plain columns.

Not here: anything that reads a store. Values that are missing, NaN or infinite never count as best.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_service.core.values import is_better

Point = tuple[int, float | None, float]  # (trial number, value, resource reached)


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Best value so far by trial number: one entry per improvement, so both columns are short."""

    trials: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A study in numbers. `median_final` is over the trials at the highest resource reached."""

    trials: int
    valued: int
    best_trial: int | None
    best_value: float | None
    best_resource: float | None
    median_final: float | None
    converged_at: int | None  # the trial from which 99 % of the whole improvement was there


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One path where documents differ, with the value of each (None where it is missing)."""

    path: str
    values: tuple[Any, ...]


def best_so_far(points: Iterable[Point], *, maximize: bool) -> Series:
    """Improvements in trial order; a value at a higher resource beats every one at a lower."""
    trials: list[int] = []
    values: list[float] = []
    best: tuple[float, float] | None = None
    for number, value, resource in sorted(points, key=lambda point: point[0]):
        if value is None or not math.isfinite(value):
            continue
        further = best is None or resource > best[1]
        better = best is not None and resource == best[1] and is_better(value, best[0], maximize=maximize)
        if further or better:
            best = (value, resource)
            trials.append(number)
            values.append(value)
    return Series(trials=tuple(trials), values=tuple(values))


def at_highest(points: Iterable[Point]) -> list[tuple[int, float]]:
    """Trials with a finite value at the highest resource that any of those reached."""
    finite = [(n, v, r) for n, v, r in points if v is not None and math.isfinite(v)]
    top = max((r for _, _, r in finite), default=0.0)
    return [(n, v) for n, v, r in finite if r == top]


def converged_at(series: Series, *, share: float = 0.99) -> int | None:
    """The first trial from which `share` of the way from the first to the last best value was covered."""
    if not series.values:
        return None
    first, last = series.values[0], series.values[-1]
    for number, value in zip(series.trials, series.values, strict=True):
        if abs(value - first) >= share * abs(last - first) and abs(last - value) <= (1 - share) * abs(last - first):
            return number
    return series.trials[-1]


def summarize(points: Iterable[Point], *, maximize: bool) -> Summary:
    """The numbers by which studies are compared."""
    listed = list(points)
    final = at_highest(listed)
    best = min(final, key=lambda item: (-item[1] if maximize else item[1], item[0]), default=None)
    reached = [r for n, _, r in listed if best is not None and n == best[0]]
    return Summary(
        trials=len(listed),
        valued=sum(v is not None and math.isfinite(v) for _, v, _ in listed),
        best_trial=best[0] if best else None,
        best_value=best[1] if best else None,
        best_resource=reached[0] if reached else None,
        median_final=statistics.median(value for _, value in final) if final else None,
        converged_at=converged_at(best_so_far(listed, maximize=maximize)),
    )


def differences(documents: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Where study definitions differ, by dotted path, sorted. Lists are compared as wholes."""
    flat = [dict(_flatten(document, "")) for document in documents]
    found = []
    for path in sorted(set().union(*flat)) if flat else ():
        values = tuple(one.get(path) for one in flat)
        if any(value != values[0] for value in values[1:]):
            found.append(Difference(path=path, values=values))
    return found


def _flatten(document: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in document.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, path)
        else:
            yield path, value
