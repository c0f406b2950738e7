"""Search spaces as Optuna's distributions, with an exact round trip of configurations.

Here: the internal encoding that Optuna's samplers work on, and both directions. Not here: samplers.
Order is kept wherever values have one: powers of two become their exponents, ordinals and decimal
steps become positions, normal ones become places on the unit interval. Constants are left out.
Optuna itself is imported only when distributions are asked for: it is a heavy, optional package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.errors import SpaceError, nearest
from search_spaces.grids import ListScale, PowerScale, StepScale
from search_spaces.parameters import BaseParameter, Constant, Ordinal
from search_spaces.scales import LinearScale, LogScale
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def to_optuna(space: SearchSpace) -> dict[str, BaseDistribution]:
    """A distribution for each parameter but the constants, conditional ones included.

    uniform, loguniform → Float; integer, log_integer → Int; power_of_two → Int of the exponent;
    ordinal, quniform → Int of the position; qloguniform → Float of the place in log; choice →
    Categorical of its values as JSON text (Optuna takes True for 1); normal, lognormal → Float in [0, 1].
    """
    return {
        name: _distribution(parameter)
        for name, parameter in space.parameters.items()
        if not isinstance(parameter, Constant)
    }


def _distribution(parameter: BaseParameter) -> BaseDistribution:
    from optuna.distributions import (  # optional and slow to import
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    scale = parameter.scale
    if isinstance(scale, LinearScale | LogScale):
        return FloatDistribution(scale.low, scale.high, log=isinstance(scale, LogScale))
    if isinstance(scale, PowerScale):
        return IntDistribution(scale.first, scale.first + scale.count - 1)
    if isinstance(scale, StepScale) and scale.whole:
        last = scale.at(scale.count - 1)
        return IntDistribution(int(scale.low), last, log=scale.log, step=int(scale.step))
    if isinstance(scale, StepScale) and not scale.log:
        return IntDistribution(0, scale.count - 1)
    if isinstance(parameter, Ordinal):
        return IntDistribution(0, len(parameter.values) - 1)
    if isinstance(scale, ListScale):
        return CategoricalDistribution([_text(value) for value in scale.values])
    return FloatDistribution(0.0, 1.0)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def encode(space: SearchSpace, params: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration in the encoding of `to_optuna`; constants are dropped.

    Raises SpaceError for a name or value that the space does not have.
    """
    found: dict[str, Any] = {}
    for name, value in params.items():
        parameter = _known(space, name)
        if not isinstance(parameter, Constant):
            try:
                found[name] = _encode(parameter, parameter.parse(value))
            except SpaceError as error:
                raise error.under(f"params.{name}") from None
    return found


def _encode(parameter: BaseParameter, value: Any) -> Any:
    scale = parameter.scale
    if isinstance(scale, LinearScale | LogScale):
        return value
    if isinstance(scale, PowerScale):
        return int(value).bit_length() - 1
    if isinstance(scale, StepScale) and scale.whole:
        return value
    if isinstance(scale, StepScale) and not scale.log:
        return round((value - scale.low) / scale.step)
    if isinstance(scale, ListScale):
        return scale.position(value) if isinstance(parameter, Ordinal) else _text(value)
    return parameter.to_unit(value)


def decode(space: SearchSpace, internal: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that an encoding of Optuna's stands for: active parameters and constants only.

    Values of parameters that turn out inactive are dropped; an active one that is missing raises
    SpaceError. `decode(space, encode(space, params)) == params` for every configuration whose normal and
    lognormal values were drawn from the space (others of these come back within their last digits).
    """
    for name in internal:
        _known(space, name)
    values: dict[str, Any] = {}
    coordinates: dict[str, float] = {}
    for name in space.rules.order:
        if not space.rules.holds(name, coordinates):
            continue
        parameter = space.parameters[name]
        values[name] = _decode(parameter, _given(parameter, name, internal))
        coordinates[name] = parameter.scale.coordinate(values[name])
    return {name: values[name] for name in space.parameters if name in values}


def _given(parameter: BaseParameter, name: str, internal: Mapping[str, Any]) -> Any:
    if isinstance(parameter, Constant):
        return None
    if name not in internal:
        raise SpaceError("an active parameter needs a value", got="nothing", path=f"params.{name}")
    return internal[name]


def _decode(parameter: BaseParameter, value: Any) -> Any:
    scale = parameter.scale
    if isinstance(parameter, Constant):
        return parameter.value
    if isinstance(scale, LinearScale | LogScale):
        return min(scale.high, max(scale.low, float(value)))
    if isinstance(scale, PowerScale):
        return scale.parse(2 ** int(value))
    if isinstance(scale, StepScale) and scale.whole:
        return scale.parse(int(value))
    if isinstance(scale, StepScale) and not scale.log:
        return scale.at(int(value))
    if isinstance(scale, ListScale):
        return scale.at(int(value)) if isinstance(parameter, Ordinal) else scale.parse(json.loads(value))
    return parameter.from_unit(float(value))


def _known(space: SearchSpace, name: str) -> BaseParameter:
    parameter = space.parameters.get(name)
    if parameter is None:
        raise SpaceError(
            "the name must be a parameter of the space",
            value=name,
            path=f"params.{name}"[:128],
            remedy=nearest(name, space.parameters),
        )
    return parameter
