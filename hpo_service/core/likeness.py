"""How alike two spaces are, parameter by parameter, and one study's configurations in terms of another's space. Pure.

Parameters are the same where they have the same name, the same kind of values (numbers, or listed ones) and ranges
that overlap. Not here: which studies are looked at (`store.warm_starts`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces import BaseParameter, Choice, SearchSpace, SpaceError

PLACES = 33
"""A range is looked at in so many places of its own scale."""
LEAST_OVERLAP = 0.1
"""Ranges that share less than that tell nothing about each other."""

Floats = npt.NDArray[np.float64]


def overlaps(own: SearchSpace, past: SearchSpace) -> dict[str, float]:
    """The shared tuned parameters: the part of both ranges together that they have in common, in (0, 1]."""
    found = {}
    for name in own.names:
        parameter = own.parameters[name]
        if parameter.cardinality == 1 or name not in past.parameters:
            continue
        overlap = _overlap(parameter, past.parameters[name])
        if overlap >= LEAST_OVERLAP:
            found[name] = overlap
    return found


def likeness(own: SearchSpace, past: SearchSpace) -> float:
    """The overlaps' sum by the number of parameters that either space tunes, 0 to 1 (1: the same space)."""
    tuned = {name for space in (own, past) for name in space.names if space.parameters[name].cardinality != 1}
    return math.fsum(overlaps(own, past).values()) / len(tuned) if tuned else 0.0


def translated(params: Mapping[str, Any], shared: Mapping[str, Any], own: SearchSpace) -> dict[str, Any] | None:
    """What a past configuration says of `own`'s parameters, of those in `shared`; a number beyond this space's range is
    its end. None where a listed value is unknown here, or where nothing is left."""
    found: dict[str, Any] = {}
    for name in shared:
        if name not in params:
            continue
        value = _nearest(own.parameters[name], params[name])
        if value is None:
            return None
        found[name] = value
    return found or None


def completed(params: Mapping[str, Any], own: SearchSpace) -> dict[str, Any] | None:
    """A whole configuration of `own` with these values: what they do not say is at its default or in the middle. None
    where that is forbidden."""
    places = point(params, own)
    for column, name in enumerate(own.names):
        if math.isnan(places[column]):
            parameter = own.parameters[name]
            places[column] = parameter.to_unit(parameter.center)
    try:
        found = own.from_unit(places)
        return None if own.is_forbidden(found) else found
    except SpaceError:
        return None


def point(params: Mapping[str, Any], own: SearchSpace) -> Floats:
    """Shape (d,), columns as `own.names`: places in the unit cube, NaN for what is not said or not legal here."""
    places = np.full(len(own.names), np.nan)
    for column, name in enumerate(own.names):
        if name in params:
            value = _nearest(own.parameters[name], params[name])
            if value is not None:
                places[column] = own.parameters[name].to_unit(value)
    return places


def unordered(own: SearchSpace) -> npt.NDArray[np.bool_]:
    """Shape (d,): the parameters whose values have no order."""
    return np.array([_listed(own.parameters[name]) for name in own.names], dtype=np.bool_)


def _listed(parameter: BaseParameter) -> bool:
    return isinstance(parameter, Choice) or not parameter.scale.ordered


def _overlap(own: BaseParameter, past: BaseParameter) -> float:
    if _listed(own) != _listed(past):
        return 0.0
    mine, theirs = _values(own), _values(past)
    if _listed(own) or not all(map(_is_number, (*mine, *theirs))):
        common = len([value for value in mine if value in theirs])
        return common / (len(mine) + len(theirs) - common)
    inside = _share(mine, theirs)
    return 0.0 if inside == 0.0 else 1.0 / (1.0 / inside + 1.0 / max(_share(theirs, mine), 1.0 / PLACES) - 1.0)


def _values(parameter: BaseParameter) -> list[Any]:
    count = parameter.cardinality
    places = min(count or PLACES, PLACES) if not _listed(parameter) else count or PLACES
    return [parameter.from_unit((place + 0.5) / places) for place in range(places)]


def _share(values: list[Any], of: list[Any]) -> float:
    """The part of the values that lies in the others' range."""
    known = sorted(map(float, of))
    low, high = (2 * known[0] - known[1], 2 * known[-1] - known[-2]) if len(known) > 1 else (known[0], known[0])
    return sum(low <= float(value) <= high for value in values) / len(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nearest(parameter: BaseParameter, value: Any) -> Any:
    """The parameter's value that is nearest, or None for a listed one that it does not have."""
    try:
        return parameter.from_unit(parameter.to_unit(value))
    except SpaceError:
        if _listed(parameter) or not _is_number(value):
            return None
    low, high = parameter.from_unit(0.0), parameter.from_unit(1.0)
    if not (_is_number(low) and _is_number(high)):
        return None
    if value <= low or value >= high:
        return low if value <= low else high
    least, most = 0.0, 1.0  # between two values that it has: by halving, for values grow with their places
    for _ in range(40):
        middle = (least + most) / 2
        least, most = (middle, most) if parameter.from_unit(middle) <= value else (least, middle)
    return parameter.from_unit(least)
