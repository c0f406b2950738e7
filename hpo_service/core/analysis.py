"""What readers ask of several studies: best so far, and where definitions differ. Pure functions over plain columns.

Not here: anything that reads a store. Values that are missing, NaN or infinite never count as best.
"""

from __future__ import annotations

import math
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
