"""The canonical curve of one trial: per step the report of the newest attempt. Nothing here knows studies."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left

from hpo_service.core.values import is_better


class Curve:
    """Reports of one trial by step, in columns. A report replaces one of the same step unless its fence is older."""

    __slots__ = ("fences", "resources", "steps", "values")

    def __init__(self) -> None:
        self.steps = array("q")
        self.fences = array("q")
        self.resources = array("d")
        self.values = array("d")

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, *, step: int, fence: int, resource: float, value: float) -> None:
        """Take one report in. O(1) for the usual one, which comes after all others."""
        if not self.steps or step > self.steps[-1]:
            self.steps.append(step)
            self.fences.append(fence)
            self.resources.append(resource)
            self.values.append(value)
            return
        at = bisect_left(self.steps, step)
        if self.steps[at] != step:
            self.steps.insert(at, step)
            self.fences.insert(at, fence)
            self.resources.insert(at, resource)
            self.values.insert(at, value)
        elif fence >= self.fences[at]:
            self.fences[at], self.resources[at], self.values[at] = fence, resource, value

    def last(self) -> float | None:
        """The value of the largest step; it may be NaN or infinite."""
        return self.values[-1] if self.values else None

    def best(self, *, maximize: bool) -> float | None:
        """The best finite value; the last value where none is finite."""
        best: float | None = None
        for value in self.values:
            if is_better(value, best, maximize=maximize):
                best = value
        return self.last() if best is None else best

    def mean(self) -> float | None:
        """The running mean of the finite values, None where there is none."""
        finite = [value for value in self.values if math.isfinite(value)]
        return math.fsum(finite) / len(finite) if finite else None
