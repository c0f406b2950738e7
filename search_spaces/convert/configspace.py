"""Search spaces as ConfigSpace's `ConfigurationSpace` (1.2), and back, with conditions and forbidden combinations.

Here: parameters and both directions. Not here: how conditions and clauses are translated (`configspace_rules`).
ConfigSpace is imported only when a space is to be made for it. The original definition travels in the space's `meta`:
a space that comes back unchanged is the very same, a changed one is read by what it says.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from search_spaces.convert import configspace_rules as rules
from search_spaces.convert.losses import at, check_drop, impossible, refuse_extras, values_of
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
    Ordinal,
    PowerOfTwo,
    QUniform,
    Uniform,
)
from search_spaces.scales import SIGMAS
from search_spaces.space import SearchSpace

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

TOOL = "ConfigSpace"
META = "search_spaces"


def to_configspace(space: SearchSpace, *, drop: Collection[str] = (), seed: int | None = None) -> ConfigurationSpace:
    """The space for SMAC and its relatives. Values are the same on both sides.

    power_of_two, quniform and stepped integers become ordinals; a normal without bounds gets those of six sigma. Raises
    SpaceError, naming the parameter, for lognormal and qloguniform ones, and for a `forbid` or condition that
    ConfigSpace cannot say.
    """
    from ConfigSpace import ConfigurationSpace  # optional

    given_up = check_drop(drop)
    refuse_extras(space, TOOL, given_up, knows=("default", "conditions", "forbid"))
    made = ConfigurationSpace(name="search_space", seed=seed, meta={META: space.to_json()})
    for name, parameter in space.parameters.items():
        with at(name):
            made.add(_hyperparameter(name, parameter, default="default" not in given_up))
    if "conditions" not in given_up:
        for name in space.rules.order:
            parameter = space.parameters[name]
            if parameter.when is not None:
                with at(f"{name}.when"):
                    made.add(rules.to_condition(made, space, name, parameter.when))
    if "forbid" not in given_up:
        for number, clause in enumerate(space.forbid):
            with rules.at_clause(number):
                made.add(rules.to_forbidden(made, space, clause))
    return made


def _hyperparameter(name: str, parameter: BaseParameter, *, default: bool) -> Any:
    from ConfigSpace import hyperparameters as hp

    given: dict[str, Any] = {"default_value": parameter.default} if default and parameter.has_default else {}
    if isinstance(parameter, Uniform | LogUniform):
        log = isinstance(parameter, LogUniform)
        return hp.UniformFloatHyperparameter(name, parameter.low, parameter.high, log=log, **given)
    if isinstance(parameter, LogInteger) or (isinstance(parameter, Integer) and parameter.step == 1):
        log = isinstance(parameter, LogInteger)
        return hp.UniformIntegerHyperparameter(name, parameter.low, parameter.high, log=log, **given)
    if isinstance(parameter, Choice):
        return hp.CategoricalHyperparameter(name, list(parameter.values), **given)
    if isinstance(parameter, Ordinal | PowerOfTwo | QUniform | Integer):
        return hp.OrdinalHyperparameter(name, values_of(parameter, TOOL), **given)
    if isinstance(parameter, Normal):
        reach = SIGMAS * parameter.sigma
        low = parameter.mu - reach if parameter.low is None else parameter.low
        high = parameter.mu + reach if parameter.high is None else parameter.high
        return hp.NormalFloatHyperparameter(name, parameter.mu, parameter.sigma, low, high, **given)
    if isinstance(parameter, Constant):
        return hp.Constant(name, parameter.value)
    raise impossible(parameter, TOOL, "use loguniform")


def from_configspace(space: ConfigurationSpace) -> SearchSpace:
    """The space of a `ConfigurationSpace`; defaults are those that it states.

    Raises SpaceError, naming the parameter, for what cannot be carried: beta distributions, integers and logarithms of
    normal ones, weights, conditions that join different parents by "or", values that are no JSON scalars.
    """
    original = _original(space)
    if original is not None:
        return original
    found: dict[str, BaseParameter] = {}
    for name, hyperparameter in dict(space).items():
        with at(name):
            found[name] = _parameter(hyperparameter)
    whens = rules.whens(space, SearchSpace.from_definition(found))
    for name, when in whens.items():
        definition = {**found[name].to_dict(), "when": when}
        found[name] = type(found[name])(**definition)
    return SearchSpace.from_definition(found, rules.clauses(space))


def _original(space: ConfigurationSpace) -> SearchSpace | None:
    """The definition that it was made from, where nothing was changed since."""
    written = (space.meta or {}).get(META)
    if not isinstance(written, str):
        return None
    try:
        original = SearchSpace.from_json(written)
        again = to_configspace(original)
    except SpaceError:
        return None
    return original if _same(again, space) else None


def _same(one: ConfigurationSpace, other: ConfigurationSpace) -> bool:
    def facts(space: ConfigurationSpace) -> str:
        document = space.to_serialized_dict()
        lists = [sorted(json.dumps(item, sort_keys=True, default=repr) for item in document[key]) for key in (
            "hyperparameters", "conditions", "forbiddens")]  # fmt: skip
        return json.dumps(lists)

    return facts(one) == facts(other)


def _parameter(given: Any) -> BaseParameter:
    kind = type(given).__name__
    default: dict[str, Any] = {"default": scalar(given.default_value)}
    if kind == "UniformFloatHyperparameter":
        return (LogUniform if given.log else Uniform)(float(given.lower), float(given.upper), **default)
    if kind == "UniformIntegerHyperparameter":
        return (LogInteger if given.log else Integer)(int(given.lower), int(given.upper), **default)
    if kind == "CategoricalHyperparameter":
        weights = None if given.weights is None else {float(weight) for weight in given.weights}
        if weights is not None and len(weights) > 1:
            raise SpaceError(
                "the values of a choice are equally likely", got=f"weights {list(given.weights)}",
                remedy="remove the weights",
            )  # fmt: skip
        return Choice([scalar(value) for value in given.choices], **default)
    if kind == "OrdinalHyperparameter":
        return Ordinal([scalar(value) for value in given.sequence], **default)
    if kind == "Constant":
        return Constant(scalar(given.value))
    if kind == "NormalFloatHyperparameter" and not given.log:
        low, high = float(given.lower), float(given.upper)
        return Normal(float(given.mu), float(given.sigma), low=low, high=high, **default)
    shown = kind + (" with log" if getattr(given, "log", False) else "")
    raise SpaceError(
        "there is nothing like this hyperparameter here", got=shown,
        remedy=_REMEDIES.get(kind, "use a uniform one"),
    )  # fmt: skip


_REMEDIES = {
    "BetaFloatHyperparameter": "use a uniform or normal one over the same bounds",
    "BetaIntegerHyperparameter": "use a uniform integer over the same bounds",
    "NormalIntegerHyperparameter": "use a normal float and round it in the training code, or a uniform integer",
    "NormalFloatHyperparameter": "use a uniform float with log",
}
