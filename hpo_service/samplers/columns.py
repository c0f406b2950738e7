"""A space's parameters as columns of the unit cube, by kind, for methods that vary points: categories, steps, the rest.

Here: which column is what, and the point of a configuration. The way back is the space's own `from_unit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces import Choice, SearchSpace, SpaceError

Floats = npt.NDArray[np.float64]
MAX_STEPS = 64
"""Ordered parameters with more values than that are continuous to what varies them."""


class Columns:
    """Columns as `space.names`. `categories` and `steps`: the places of the values of each such column, ascending;
    `continuous`: the others. Constants are none of these."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.categories: dict[int, Floats] = {}
        self.steps: dict[int, Floats] = {}
        self.continuous: list[int] = []
        for column, name in enumerate(space.names):
            parameter, count = space.parameters[name], space.parameters[name].cardinality
            if count == 1:
                continue
            unordered = isinstance(parameter, Choice) or not parameter.scale.ordered
            if count is None or (count > MAX_STEPS and not unordered):
                self.continuous.append(column)
                continue
            places = np.array(sorted(parameter.to_unit(value) for value in parameter.grid(2)))
            (self.categories if unordered else self.steps)[column] = places
        self.middles = np.array([space.parameters[n].to_unit(space.parameters[n].center) for n in space.names])

    @property
    def varied(self) -> int:
        """How many columns can be varied at all."""
        return len(self.categories) + len(self.steps) + len(self.continuous)

    def point(self, params: Mapping[str, Any]) -> Floats | None:
        """The point of a configuration, shape (columns,): inactive parameters at their middle. None where it is not
        legal in this space."""
        known = {name: value for name, value in params.items() if name in self.space.parameters}
        try:
            found = self.space.to_unit(known)
        except SpaceError:
            return None
        if self.space.active(known) != set(known):
            return None
        return np.where(np.isnan(found), self.middles, found)


def nearest(places: Floats, place: float) -> int:
    """The number of the value whose place is nearest."""
    return int(np.argmin(np.abs(places - place)))
