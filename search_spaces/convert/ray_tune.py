"""Search spaces as Ray Tune's `param_space`, and back.

Here: both directions, over nested dictionaries, whose keys are joined by dots. Not here: searchers and results. Ray is
imported only when a space is to be made for it; one of Ray's is read by its attributes.

`tune.grid_search` is a choice whose notes say so: pair it with the algorithm `grid`, which tries every value. Ray
rounds a draw to the nearest multiple of q, which gives the two ends half the chance of the others; ours are equally
likely.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from search_spaces.convert.losses import at, check_drop, impossible, listed, refuse_extras
from search_spaces.errors import SpaceError
from search_spaces.fields import scalar
from search_spaces.parameters import (
    BaseParameter,
    Choice,
    Constant,
    Integer,
    LogInteger,
    LogUniform,
    Normal,
    QLogUniform,
    QUniform,
    Uniform,
)
from search_spaces.space import SearchSpace

TOOL = "Ray Tune"
GRID = "grid_search"


def to_ray_tune(space: SearchSpace, *, drop: Collection[str] = ()) -> dict[str, Any]:
    """The space as `param_space`; names with dots become nested dictionaries.

    Raises SpaceError, naming the parameter, for what Ray Tune has not: defaults, conditions, forbidden combinations
    and ordered values, unless `drop` names them ("default", "conditions", "forbid", "order"); lognormal and bounded
    normal ones, and steps that do not hit zero.
    """
    given_up = check_drop(drop)
    refuse_extras(space, TOOL, given_up)
    found: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        with at(name):
            _put(found, name, _domain(parameter, given_up))
    return found


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    place: Any = found
    for part in parents:
        place = place.setdefault(part, {}) if part else None
        if type(place) is not dict or GRID in place:
            raise SpaceError("a name with dots leads through dictionaries", value=name, remedy="rename it")
    if not last or last in place:
        raise SpaceError("a name with dots ends at a place of its own", value=name, remedy="rename it")
    place[last] = value


def _domain(parameter: BaseParameter, drop: frozenset[str]) -> Any:
    from ray import tune  # optional, and slow to import

    if isinstance(parameter, Constant):
        return parameter.value
    if isinstance(parameter, Choice):
        values = list(parameter.values)
        return tune.grid_search(values) if parameter.notes == GRID else tune.choice(values)
    if isinstance(parameter, Uniform):
        return tune.uniform(parameter.low, parameter.high)
    if isinstance(parameter, LogUniform):
        return tune.loguniform(parameter.low, parameter.high)
    if isinstance(parameter, LogInteger):
        return tune.lograndint(parameter.low, parameter.high + 1)
    if isinstance(parameter, Normal) and parameter.low is None and parameter.high is None:
        return tune.randn(parameter.mu, parameter.sigma)
    if isinstance(parameter, Integer) and parameter.step == 1:
        return tune.randint(parameter.low, parameter.high + 1)
    if isinstance(parameter, Integer | QUniform | QLogUniform) and _hits_zero(parameter):
        last = parameter.scale.from_unit(1.0)
        if isinstance(parameter, Integer):
            return tune.qrandint(parameter.low, last, parameter.step)
        make = tune.qloguniform if isinstance(parameter, QLogUniform) else tune.quniform
        return make(parameter.low, last, parameter.step)
    if isinstance(parameter, Normal):
        raise impossible(parameter, TOOL, "remove low and high: Ray Tune's normal has no bounds")
    if isinstance(parameter, QLogUniform):
        raise impossible(parameter, TOOL, "choose low and high as multiples of step")
    return tune.choice(listed(parameter, TOOL, drop))


def _hits_zero(parameter: Integer | QUniform | QLogUniform) -> bool:
    """Whether the values are multiples of the step, as Ray's are, and there are several."""
    return (parameter.cardinality or 0) > 1 and parameter.low == _multiple(parameter.low, parameter.step)


def _multiple(value: float, step: float) -> float:
    """The multiple of the step nearest to the value, counted in decimals: 3 * 0.1 is 0.3."""
    return float(round(value / step) * Decimal(repr(step)))


def from_ray_tune(param_space: Mapping[str, Any]) -> SearchSpace:
    """The space of a `param_space`.

    Keys of nested dictionaries are joined by dots. Raises SpaceError, naming the parameter, for what cannot be carried:
    `sample_from` and other functions, quantised normals and logarithmic integers, values that are no JSON scalars.
    """
    found: dict[str, BaseParameter] = {}
    _walk(param_space, "", found)
    return SearchSpace.from_definition(found)


def _walk(mapping: Mapping[str, Any], prefix: str, found: dict[str, BaseParameter]) -> None:
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if not isinstance(key, str) or "." in key:
            raise SpaceError(
                "a key is a text without dots, which join nested ones", value=key, path=f"space.{name}",
                remedy="rename it",
            )  # fmt: skip
        if isinstance(value, Mapping) and set(value) != {GRID}:
            _walk(value, f"{name}.", found)
            continue
        with at(name):
            found[name] = _parameter(value)


def _parameter(value: Any) -> BaseParameter:
    if isinstance(value, Mapping):
        return Choice(_scalars(value[GRID], "tune.grid_search"), notes=GRID)
    kind = _kind(value)
    if kind is None:
        return Constant(_scalar(value, "a fixed value"))
    if kind == "Function":
        raise SpaceError(
            "tune.sample_from runs code, which a definition cannot hold",
            value=value,
            remedy="use a distribution; for a value that hangs on others, conditions or code in the trainable",
        )
    if kind == "Categorical":
        values = _scalars(value.categories, "tune.choice")
        return Choice(values, notes=GRID) if type(value.sampler).__name__ == "Grid" else Choice(values)
    return _number(value, kind)


def _kind(value: Any) -> str | None:
    """The name of Ray's class, where it is one of its domains."""
    names = [cls.__name__ for cls in type(value).__mro__ if cls.__module__.startswith("ray.tune.search.sample")]
    return names[0] if "Domain" in names else None


def _number(domain: Any, kind: str) -> BaseParameter:
    sampler, step = domain.get_sampler(), None
    if type(sampler).__name__ == "Quantized":
        step, sampler = sampler.q, sampler.get_sampler()
    how = type(sampler).__name__.lstrip("_")
    if kind == "Float":
        if how == "Normal":
            return _normal(domain, sampler, step)
        return _real(float(domain.lower), float(domain.upper), step, log=how == "LogUniform")
    return _whole(int(domain.lower), int(domain.upper), step, log=how == "LogUniform")


def _normal(domain: Any, sampler: Any, step: float | None) -> BaseParameter:
    if step is not None:
        raise SpaceError("a normal parameter has no steps here", got=f"q={step!r}", remedy="use tune.randn or quniform")
    low, high = (bound if math.isfinite(bound) else None for bound in (float(domain.lower), float(domain.upper)))
    return Normal(float(sampler.mean), float(sampler.sd), low=low, high=high)


def _real(low: float, high: float, step: float | None, *, log: bool) -> BaseParameter:
    if low == high:
        return Constant(low)
    if step is None:
        return LogUniform(low, high) if log else Uniform(low, high)
    low, high = _multiple(low, step), _multiple(high, step)
    if low == high:
        return Constant(low)
    return QLogUniform(low, high, step) if log else QUniform(low, high, step)


def _whole(low: int, upper: int, step: int | None, *, log: bool) -> BaseParameter:
    """Ray leaves `upper` out, but where there are steps greater than 1."""
    step = 1 if step is None else int(step)
    if step > 1 and log:
        raise SpaceError(
            "a logarithmic integer has no steps here", got=f"q={step!r}", remedy="use tune.lograndint or choice"
        )
    first, last = low, upper - 1
    if step > 1:
        first, last = -(-low // step) * step, upper // step * step
    if first == last:
        return Constant(first)
    return LogInteger(first, last) if log else Integer(first, last, step)


def _scalars(values: Any, what: str) -> list[Any]:
    return [_scalar(value, f"a value of {what}") for value in values]


def _scalar(value: Any, what: str) -> Any:
    if _kind(value) is not None:
        raise SpaceError(f"{what} is no distribution itself", value=value, remedy="use conditions")
    try:
        return scalar(value)
    except SpaceError:
        raise SpaceError(
            f"{what} must be a JSON scalar (text, number, true, false or null)",
            value=value,
            remedy="name it by a text, and look it up in the trainable",
        ) from None
