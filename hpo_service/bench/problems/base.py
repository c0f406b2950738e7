"""What a search is measured on: a space, the learning curve of any of its configurations, and the scale of its values.

Pure but for what a loader has read before. Not here: files, methods, budgets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces import SearchSpace

Floats = npt.NDArray[np.float64]
Curves = Callable[[Mapping[str, Any]], Floats]
"""A configuration's values after resource 1, 2, … `max_resource`; NaN where it diverged."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search on another problem found: (configuration, value, resource), value None where it failed."""

    title: str
    maximize: bool
    trials: tuple[tuple[Mapping[str, Any], float | None, float], ...]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A search problem. `space` and `forbid` are a study definition's space document and its forbidden combinations,
    `max_resource` the epochs of one full training.

    `best` and `median` are the scale of regret: the best value known, and the median of random configurations'
    values. `speed` gives a configuration's seconds per epoch, in units of the mean configuration's. `fails_after` tells
    after how many epochs a configuration's training raises, None where it never does. `variant` is what makes the
    problem harder than the one of the same name, if it is. `identity` tells it from others of the same name, and from
    itself with other data; empty where a name says it all.
    """

    collection: str
    name: str
    space: Mapping[str, Any]
    max_resource: int
    maximize: bool
    best: float
    median: float
    curves: Curves
    speed: Callable[[Mapping[str, Any]], float] = lambda params: 1.0
    fails_after: Callable[[Mapping[str, Any]], int | None] = lambda params: None
    variant: str = ""
    identity: str = ""
    forbid: Sequence[Mapping[str, Any]] = ()
    elsewhere: tuple[Found, ...] = field(default=(), repr=False, compare=False)  # searches on other problems
    _known: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)

    @property
    def title(self) -> str:
        """How results name it: `collection/name`."""
        return f"{self.collection}/{self.name}"

    @property
    def search_space(self) -> SearchSpace:
        """The space that searches draw from."""
        return SearchSpace.from_definition(self.space, self.forbid)

    def curve(self, params: Mapping[str, Any]) -> Floats:
        """The configuration's values, shape (max_resource,); the same array again for the same configuration."""
        key = repr(sorted(params.items()))
        if key not in self._known:
            if len(self._known) >= 5_000:
                self._known.clear()
            self._known[key] = self.curves(params)
        return self._known[key]

    def regret(self, value: float | None) -> float:
        """(best - value) / (best - median), clipped to [0, 1]; 1 where there is no value."""
        if value is None or not math.isfinite(value):
            return 1.0
        return min(1.0, max(0.0, (self.best - value) / (self.best - self.median)))
