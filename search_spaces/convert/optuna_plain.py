"""Search spaces as Optuna's distributions of the values themselves, and back: what Optuna's storages hold.

`optuna` beside it encodes values for Optuna's samplers; here a value is the same on both sides. Optuna's samplers and
studies are no business of this module.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.convert.losses import at, check_drop, impossible, listed, refuse_extras
from search_spaces.errors import SpaceError
from search_spaces.fields import scalar
from search_spaces.grids import step_count
from search_spaces.parameters import (
    BaseParameter,
    Choice,
    Constant,
    Integer,
    LogInteger,
    LogUniform,
    QUniform,
    Uniform,
)
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TOOL = "Optuna"


def to_distributions(space: SearchSpace, *, drop: Collection[str] = ()) -> dict[str, BaseDistribution]:
    """A distribution for each parameter, constants included (a single value).

    Raises SpaceError, naming the parameter, for what Optuna has not: defaults, conditions (its spaces are defined by
    running), forbidden combinations and ordered values, unless `drop` names them; normal and lognormal ones, and
    logarithmic steps.
    """
    given_up = check_drop(drop)
    refuse_extras(space, TOOL, given_up)
    found: dict[str, BaseDistribution] = {}
    for name, parameter in space.parameters.items():
        with at(name):
            found[name] = distribution_of(parameter, drop=given_up)
    return found


def distribution_of(parameter: BaseParameter, *, drop: frozenset[str] = frozenset()) -> BaseDistribution:
    """One parameter's distribution, whatever its default and condition. Raises SpaceError where Optuna has none."""
    from optuna.distributions import (  # optional and slow to import
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(parameter, Uniform | LogUniform):
        return FloatDistribution(parameter.low, parameter.high, log=isinstance(parameter, LogUniform))
    if isinstance(parameter, QUniform):
        return _stepped(parameter)
    if isinstance(parameter, Integer):
        return IntDistribution(parameter.low, parameter.scale.from_unit(1.0), step=parameter.step)
    if isinstance(parameter, LogInteger):
        return IntDistribution(parameter.low, parameter.high, log=True)
    if isinstance(parameter, Constant | Choice):
        values = list(parameter.values) if isinstance(parameter, Choice) else [parameter.value]
        if len(set(values)) < len(values):
            raise impossible(parameter, TOOL, "write the values as texts: Optuna takes true for 1")
        return CategoricalDistribution(values)
    return CategoricalDistribution(listed(parameter, TOOL, drop))


def _stepped(parameter: QUniform) -> BaseDistribution:
    from optuna.distributions import FloatDistribution

    last = parameter.scale.from_unit(1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it lowers `high` where its own sums do not hit it
        made = FloatDistribution(parameter.low, last, step=parameter.step)
    if made.high != last or step_count(parameter.low, last, parameter.step) != parameter.cardinality:
        raise impossible(parameter, TOOL, "write low, high and step with fewer digits")
    return made


def from_distributions(distributions: Mapping[str, BaseDistribution]) -> SearchSpace:
    """The space of Optuna's distributions, deprecated ones included; one with a single value is a constant.

    Raises SpaceError, naming the parameter, for choices that are no JSON scalars.
    """
    found: dict[str, BaseParameter] = {}
    for name, distribution in distributions.items():
        with at(name):
            found[name] = parameter_of(distribution)
    return SearchSpace.from_definition(found)


def parameter_of(distribution: BaseDistribution) -> BaseParameter:
    """The parameter of one distribution. Raises SpaceError for choices that are no JSON scalars."""
    known: Any = distribution
    if hasattr(known, "choices"):
        return _choice(list(known.choices))
    whole = type(known).__name__.startswith("Int")
    low, high, log = known.low, known.high, bool(known.log)
    step = known.step if known.step is not None else None
    if low == high or (step is not None and step_count(low, high, step) == 1):
        return Constant(low)
    if whole:
        return LogInteger(low, high) if log else Integer(low, high, step or 1)
    if step is not None:
        return QUniform(low, high, step)
    return LogUniform(low, high) if log else Uniform(low, high)


def _choice(choices: list[Any]) -> BaseParameter:
    values = []
    for value in choices:
        try:
            values.append(scalar(value))
        except SpaceError:
            raise SpaceError(
                "a choice must be a JSON scalar (text, number, true, false or null)",
                value=value,
                remedy="name it by a text, and look it up in the objective",
            ) from None
    return Constant(values[0]) if len(values) == 1 else Choice(values)
