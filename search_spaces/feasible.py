"""Whether `forbid` leaves anything: exactly where the combinations can be counted, else by drawing.

Here: that one question, answered on arrays. Not here: the meaning of clauses (`rules`).
Only the parameters that `forbid` mentions, and their parents, matter. If they are discrete with at most
100,000 combinations, all are looked at; else 10,000 draws with a fixed seed are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from search_spaces.errors import SpaceError
from search_spaces.grids import DiscreteScale
from search_spaces.parameters import BaseParameter
from search_spaces.rules import Mask, Rules
from search_spaces.scales import FloatArray

MAX_EXACT = 100_000
DRAWS = 10_000
FIRST_DRAWS = 64


def check_feasible(parameters: Mapping[str, BaseParameter], rules: Rules) -> None:
    """Raise SpaceError if `forbid` leaves nothing."""
    if not rules.clauses:
        return
    mentioned = rules.ancestry(name for clause in rules.clauses for name in clause.names)
    narrow = rules.restricted(mentioned)
    count = combinations(parameters, narrow)
    if count is not None and count <= MAX_EXACT:
        if not exact(parameters, narrow).any():
            raise _nothing(f"all {count} combinations forbidden")
        return
    place = {name: k for k, name in enumerate(narrow.order)}
    for draws in (FIRST_DRAWS, DRAWS):
        if drawn(parameters, narrow, draws, _Streams(place, draws)).any():
            return
    raise _nothing(f"none of {DRAWS} draws allowed")


def _nothing(got: str) -> SpaceError:
    return SpaceError("forbid must leave something", got=got, path="forbid", remedy="remove or narrow a clause")


def combinations(parameters: Mapping[str, BaseParameter], rules: Rules) -> int | None:
    """The product of the numbers of values; None if one is continuous."""
    counts = [parameters[name].cardinality for name in rules.order]
    known = [count for count in counts if count is not None]
    return math.prod(known) if len(known) == len(counts) else None


def exact(parameters: Mapping[str, BaseParameter], rules: Rules) -> Mask:
    """The allowed ones of all combinations: one axis for each parameter with two or more values."""
    scales = {name: parameters[name].scale for name in rules.order}
    counts = {name: scale.count for name, scale in scales.items() if isinstance(scale, DiscreteScale)}
    axes = [name for name in rules.order if counts[name] > 1]

    def column(name: str) -> FloatArray:
        scale = scales[name]
        if not isinstance(scale, DiscreteScale):
            raise SpaceError("only discrete parameters can be counted", value=name)
        shape = [scale.count if axis == name else 1 for axis in axes]
        return scale.coordinates_at(np.arange(scale.count, dtype=np.float64)).reshape(shape)

    return rules.allowed(tuple(counts[name] for name in axes), column, rules.clauses)


@dataclass(frozen=True)
class _Streams:
    """Uniform numbers by name, each from a stream of its own: only what is asked for is drawn."""

    place: Mapping[str, int]
    draws: int

    def __call__(self, name: str) -> FloatArray:
        return np.random.default_rng([0, self.place[name]]).random(self.draws)


def drawn(
    parameters: Mapping[str, BaseParameter],
    rules: Rules,
    draws: int,
    places: Callable[[str], FloatArray],
) -> Mask:
    """The allowed ones of some draws; `places` gives a parameter's places in [0, 1], shape (draws,)."""

    def column(name: str) -> FloatArray:
        return parameters[name].scale.coordinates(places(name))

    return rules.allowed((draws,), column, rules.clauses)
