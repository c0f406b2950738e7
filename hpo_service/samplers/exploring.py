"""Exploring: a configuration changed a little, for a trial that goes on from another one's weights.

Jaderberg et al. 2017 (Population Based Training of Neural Networks), section 3: each parameter is drawn anew with some
probability, else perturbed by a factor of 0.8 or 1.2. Here: what that means on each parameter's own scale. Not here:
who is copied, and when.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from search_spaces import SearchSpace, SpaceError
from search_spaces.grids import StepScale
from search_spaces.parameters import BaseParameter, Choice, Constant, Normal, Ordinal, PowerOfTwo

FACTORS = (0.8, 1.2)
LEAST = 0.1
"""On a linear scale a step is a fifth of the value, counted as at least this part of the range and at most the whole of
it (of two sigma, where there are no ends): a multiple of zero is zero, and 0.9 times 1.2 is beyond [0.85, 0.95]."""
TRIES = 32


def explore(
    space: SearchSpace, params: Mapping[str, Any], rng: np.random.Generator, *, names: Collection[str], resample: float
) -> dict[str, Any]:
    """`params` with each of `names` drawn anew with probability `resample`, else perturbed. What a changed value makes
    active is drawn; what it makes inactive is left out. Where 32 tries are all forbidden, `params` as they are."""
    for _ in range(TRIES):
        changed = {
            name: _changed(space.parameters[name], value, rng, resample=resample) if name in names else value
            for name, value in sorted(params.items())
        }
        try:
            return space.validate_params(_completed(space, changed, rng))
        except SpaceError:
            continue
    return dict(params)


def _changed(parameter: BaseParameter, value: Any, rng: np.random.Generator, *, resample: float) -> Any:
    """Takes exactly three numbers from `rng`, whatever the parameter is."""
    anew, fresh, up = rng.random() < resample, parameter.sample(rng), bool(rng.random() < 0.5)
    return fresh if anew else perturbed(parameter, value, up=up)


def perturbed(parameter: BaseParameter, value: Any, *, up: bool) -> Any:
    """The value moved a step up or down on its scale, within its bounds.

    Real numbers are multiplied by 1.2 or 0.8; on a linear scale they move by 0.02 to 0.2 of the range. Numbers on a
    grid go to the nearest point of it, but at least one on. Powers of two and ordered values go to their neighbour.
    Choices, which have no neighbours, and constants stay.
    """
    scale = parameter.scale
    if isinstance(parameter, Choice | Constant):
        return value
    if isinstance(parameter, Ordinal | PowerOfTwo):
        values = parameter.grid(2)
        return values[_within(values.index(value) + (1 if up else -1), len(values))]
    moved = _moved(parameter, float(value), up=up)
    if isinstance(scale, StepScale):
        here = round((float(value) - scale.low) / scale.step)
        there = round((moved - scale.low) / scale.step)
        there = there if there != here else here + (1 if up else -1)
        return scale.at(_within(there, scale.count))
    low, high = parameter.from_unit(0.0), parameter.from_unit(1.0)
    return parameter.parse(min(max(float(f"{moved:.12g}"), low), high))


def _moved(parameter: BaseParameter, value: float, *, up: bool) -> float:
    """The value times a factor, in effect."""
    size = abs(value)
    if not parameter.logarithmic:
        span = 2 * parameter.sigma if isinstance(parameter, Normal) else _range(parameter)
        size = min(max(size, LEAST * span), span)
    return value + (FACTORS[up] - 1.0) * size


def _range(parameter: BaseParameter) -> float:
    return float(parameter.from_unit(1.0)) - float(parameter.from_unit(0.0))


def _within(index: int, count: int) -> int:
    return min(max(index, 0), count - 1)


def _completed(space: SearchSpace, values: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The active ones of these values, and a draw of whatever else is active beside them."""
    active = space.active(values)
    known = {name: value for name, value in values.items() if name in active}
    if active <= known.keys():
        return known
    return {**space.sample(rng, given=known), **known}
