"""A space made of the configurations that were tried, where nobody wrote it down; and conditions that they obey.

What is guessed is told: bounds are those of the values seen. Not here: any tool's files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpo_service.errors import InvalidInput
from hpo_service.foreign.history import OldTrial, is_finite
from search_spaces import BaseParameter, Choice, Constant, Integer, LogInteger, LogUniform, SearchSpace, Uniform
from search_spaces.errors import SpaceError, shorten
from search_spaces.grids import scalar_key
from search_spaces.space import NAME

DECADES = 100
"""Positive numbers whose largest is so many times the smallest were drawn on a logarithmic scale, as a rule."""
MAX_PARENT_VALUES = 100
MAX_CHOICES = 1_000


def inferred(configurations: Sequence[Mapping[str, Any]], notes: list[str]) -> dict[str, BaseParameter]:
    """A parameter for each name, from the values seen."""
    seen: dict[str, list[Any]] = {}
    for params in configurations:
        for name, value in params.items():
            seen.setdefault(name, []).append(value)
    found = {name: _parameter(values) for name, values in seen.items()}
    for name, parameter in found.items():
        notes.append(f"space.{name}: guessed from {len(seen[name])} values: {_told(parameter)}")
        if parameter.cardinality == MAX_CHOICES and isinstance(parameter, Choice):
            notes.append(f"space.{name}: only {MAX_CHOICES} of its texts are in the space; name fewer parameters")
    return found


def _parameter(values: Sequence[Any]) -> BaseParameter:
    distinct = list({scalar_key(value): value for value in values}.values())
    if len(distinct) == 1:
        return Constant(distinct[0])
    if all(is_finite(value) for value in distinct):
        low, high = min(distinct), max(distinct)
        wide = low > 0 and high / low >= DECADES
        if all(isinstance(value, int) or float(value).is_integer() for value in distinct):
            return (LogInteger if wide else Integer)(int(low), int(high))
        return (LogUniform if wide else Uniform)(float(low), float(high))
    return Choice(sorted(distinct, key=lambda value: (type(value).__name__, str(value)))[:MAX_CHOICES])


def _told(parameter: BaseParameter) -> str:
    written = {key: value for key, value in parameter.to_dict().items() if key != "default"}
    return ", ".join(f"{key} {shorten(value)}" for key, value in written.items())


def with_conditions(
    parameters: Mapping[str, BaseParameter], configurations: Sequence[Mapping[str, Any]], notes: list[str]
) -> dict[str, BaseParameter]:
    """The parameters with a `when` for each that some configurations lack, where one other's values say in which."""
    found = dict(parameters)
    conditional = [name for name in parameters if any(name not in params for params in configurations)]
    always = [name for name in parameters if name not in conditional]
    for name in conditional:
        told = next((one for parent in always if (one := _values_with(name, parent, configurations))), None)
        if told is None:
            notes.append(f"space.{name}: some trials lack it, and no other parameter says which; here all have it")
            continue
        parent, values = told
        definition = {**found[name].to_dict(), "when": {parent: values if len(values) > 1 else values[0]}}
        found[name] = type(found[name])(**definition)
        notes.append(f"space.{name}: there when {parent} is {shorten(values)}, as in every trial seen")
    return found


def _values_with(name: str, parent: str, configurations: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]] | None:
    """The parent's values beside which the parameter is there, where it is never missing beside one of them."""
    there: dict[tuple[str, Any], Any] = {}
    lacking: set[tuple[str, Any]] = set()
    for params in configurations:
        key = scalar_key(params[parent])
        if name in params:
            there[key] = params[parent]
        else:
            lacking.add(key)
    if not there or not lacking or lacking & set(there) or len(there) + len(lacking) > MAX_PARENT_VALUES:
        return None
    if (len(there) + len(lacking)) * 2 > len(configurations):
        return None  # nearly every trial has a value of its own: that says nothing
    return parent, sorted(there.values(), key=lambda value: (type(value).__name__, str(value)))


def space_of(parameters: Mapping[str, BaseParameter]) -> SearchSpace:
    """The space of the parameters. Raises InvalidInput where there are too many of them, say."""
    try:
        return SearchSpace.from_definition(parameters)
    except SpaceError as error:
        raise InvalidInput(str(error), remedy="give a space of your own: --definition study.yaml") from None


def legal_names(names: Iterable[str], notes: list[str]) -> dict[str, str]:
    """Each name with what it is called here: signs that our names do not have become an underscore."""
    found: dict[str, str] = {}
    taken = set(names)
    for name in dict.fromkeys(names):
        legal = name
        if not NAME.match(name):
            legal = re.sub(r"[^A-Za-z0-9_.\-]", "_", name)[:120]
            legal = legal if NAME.match(legal) else f"p_{legal}"
            while legal in taken:
                legal += "_"
            taken.add(legal)
            notes.append(f"space.{legal}: is {shorten(name)} there")
        found[name] = legal
    return found


def renamed_legally(trials: Sequence[OldTrial], notes: list[str]) -> list[OldTrial]:
    """The trials with legal names of parameters."""
    legal = legal_names([name for trial in trials for name in trial.params], notes)
    if all(name == known for known, name in legal.items()):
        return list(trials)
    return [replace(t, params={legal[name]: value for name, value in t.params.items()}) for t in trials]
