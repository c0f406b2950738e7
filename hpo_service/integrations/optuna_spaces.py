"""Optuna distributions of the values that people know, for a study that is read in Optuna.

Not the encoding of `search_spaces.convert.optuna`: that one is for samplers, where a power of two is its exponent and
a choice is JSON text. Here values stay as they are; where Optuna has no such distribution the nearest one stands in,
and a note says so. Optuna itself is imported by the caller and handed in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.grids import ListScale, PowerScale, StepScale
from search_spaces.parameters import BaseParameter, Constant
from search_spaces.scales import LinearScale, LogScale
from search_spaces.space import SearchSpace

SCALARS = (bool, int, float, str, type(None))


@dataclass
class Distributions:
    """What Optuna is told of each parameter; `notes` has what it cannot be told. `as_text` names the parameters whose
    values are written as JSON text."""

    by_name: dict[str, Any] = field(default_factory=dict)
    as_text: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, space: SearchSpace, module: Any) -> Distributions:
        """The distributions of a space; `module` is `optuna.distributions`."""
        found = cls()
        for name, parameter in space.parameters.items():
            found.by_name[name] = found._of(name, parameter, module)
        return found

    def keep_choices(self, earlier: Mapping[str, Any]) -> None:
        """Takes over the choices that a parameter had when the export began: Optuna allows no others later on."""
        for name, before in earlier.items():
            now: Any = self.by_name.get(name)
            if hasattr(before, "choices") and (not hasattr(now, "choices") or now.choices != before.choices):
                self.notes.append(f"{name}: Optuna keeps the choices that the study began with: {list(before.choices)}")
                self.by_name[name] = before

    def place(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """A configuration as Optuna holds it: values, their distributions, and what fits into none of them."""
        values: dict[str, Any] = {}
        used: dict[str, Any] = {}
        left: dict[str, Any] = {}
        for name, value in params.items():
            told = json.dumps(value) if name in self.as_text else value
            distribution = self.by_name.get(name)
            if distribution is None or (hasattr(distribution, "choices") and not _among(told, distribution.choices)):
                left[name] = value
            else:
                values[name], used[name] = told, _wide_enough(distribution, told)
        return values, used, left

    def _of(self, name: str, parameter: BaseParameter, module: Any) -> Any:
        if isinstance(parameter, Constant):
            return module.CategoricalDistribution([self._scalar(name, [parameter.value])[0]])
        scale = parameter.scale
        if isinstance(scale, LinearScale | LogScale):
            return module.FloatDistribution(scale.low, scale.high, log=isinstance(scale, LogScale))
        if isinstance(scale, PowerScale):
            self.notes.append(f"{name}: Optuna has no powers of two; written as whole numbers on a logarithmic scale")
            return module.IntDistribution(scale.at(0), scale.at(scale.count - 1), log=True)
        if isinstance(scale, StepScale):
            return self._stepped(name, scale, module)
        if isinstance(scale, ListScale):
            return module.CategoricalDistribution(self._scalar(name, list(scale.values)))
        low, high = parameter.from_unit(0.0), parameter.from_unit(1.0)
        self.notes.append(f"{name}: Optuna has no {parameter.to_dict()['type']}; written as a range of real numbers")
        return module.FloatDistribution(low, high, log=parameter.to_dict()["type"] == "lognormal" and low > 0)

    def _stepped(self, name: str, scale: StepScale, module: Any) -> Any:
        last = scale.at(scale.count - 1)
        if scale.whole:
            return module.IntDistribution(
                int(scale.low), int(last), log=scale.log, step=1 if scale.log else int(scale.step)
            )
        if scale.log:
            self.notes.append(f"{name}: Optuna has no steps on a logarithmic scale; written without the step")
            return module.FloatDistribution(scale.low, last, log=True)
        return module.FloatDistribution(scale.low, last, step=scale.step)

    def _scalar(self, name: str, values: list[Any]) -> list[Any]:
        """The values as Optuna's choices: itself, or JSON text where they are lists or equal each other in Python."""
        plain = all(isinstance(value, SCALARS) for value in values)
        if plain and len({value if value is not None else "None" for value in values}) == len(values):
            return values
        self.as_text.add(name)
        self.notes.append(f"{name}: Optuna cannot hold these values apart; written as JSON text")
        return [json.dumps(value) for value in values]


def _among(value: Any, choices: Any) -> bool:
    return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in choices)


def _wide_enough(distribution: Any, value: Any) -> Any:
    """The distribution, its range stretched to a value that the space no longer has."""
    if hasattr(distribution, "choices") or distribution.low <= value <= distribution.high:
        return distribution
    low, high = min(distribution.low, value), max(distribution.high, value)
    return type(distribution)(low, high, log=distribution.log and low > 0)
