"""Configurations as Optuna's models take them: parameters as distributions, trials as rows of numbers.

A row is made once per trial and version of the space, so a draw gathers rows instead of making them. Imports Optuna:
import it lazily. Not here: which trials a model is given (`levels`), the models (`optuna_models`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search_spaces import BaseParameter, Choice, SearchSpace, SpaceError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
MAX_INDEXED = 10_000
"""Ordered parameters with more values than that are continuous to a model."""
optuna.logging.set_verbosity(optuna.logging.ERROR)  # its advice is for people who call it themselves


class Encoding:
    """A space's parameters as distributions: listed ones by index, ordered ones by rank, the others by `to_unit`.

    Constants are left out: there is nothing to learn about them.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.distributions: dict[str, BaseDistribution] = {
            name: _distribution(space.parameters[name])
            for name in space.names
            if space.parameters[name].cardinality != 1
        }
        self._columns = {name: column for column, name in enumerate(self.distributions)}

    def columns(self, names: Iterable[str]) -> list[int]:
        """Where their codes stand in a row (see `Codes`)."""
        return [self._columns[name] for name in names]

    def encode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that are in the configuration and legal in this space."""
        found: dict[str, Any] = {}
        for name in self.distributions:
            if name in params:
                try:
                    found[name] = self.code(name, params[name])
                except SpaceError:
                    continue
        return found

    def encode_whole(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Every parameter: inactive ones at their center. None where one is illegal in this space."""
        known = self.encode(params)
        if any(name in params and name not in known for name in self.distributions):
            return None
        return {
            name: known[name] if name in known else self.code(name, self.space.parameters[name].center)
            for name in self.distributions
        }

    def decode(self, name: str, code: Any) -> Any:
        """The value of a code."""
        parameter = self.space.parameters[name]
        if isinstance(self.distributions[name], FloatDistribution):
            return parameter.from_unit(float(code))
        return parameter.from_unit((int(code) + 0.5) / (parameter.cardinality or 1))

    def code(self, name: str, value: Any) -> Any:
        """The code of a legal value."""
        parameter = self.space.parameters[name]
        place = parameter.to_unit(value)
        if isinstance(self.distributions[name], FloatDistribution):
            return place
        count = parameter.cardinality or 1
        return min(count - 1, int(place * count))


def _distribution(parameter: BaseParameter) -> BaseDistribution:
    count = parameter.cardinality
    if count is not None and (isinstance(parameter, Choice) or not parameter.scale.ordered):
        return CategoricalDistribution(tuple(range(count)))
    logarithmic = getattr(parameter.scale, "log", False)
    if count is None or count > MAX_INDEXED or logarithmic:
        return FloatDistribution(0.0, 1.0)
    return IntDistribution(0, count - 1)


class Codes:
    """The codes of trials, a row each in the order of `Encoding.distributions`. `whole`: inactive parameters are at
    their center, and a trial that the space does not allow any more has no row; else both are NaN."""

    def __init__(self, encoding: Encoding, *, whole: bool) -> None:
        self._encoding = encoding
        self._whole = whole
        self._rows = np.zeros((0, len(encoding.distributions)))  # by trial number
        self._made = np.zeros(0, dtype=np.bool_)

    def row(self, params: Mapping[str, Any]) -> Floats | None:
        """The row of a configuration; None where it has none."""
        codes = self._encoding.encode_whole(params) if self._whole else self._encoding.encode(params)
        if codes is None:
            return None
        return np.array([codes.get(name, np.nan) for name in self._encoding.distributions], dtype=np.float64)

    def of(self, numbers: Integers, params: Callable[[int], Mapping[str, Any]]) -> Floats:
        """The rows of these trials, shape (trials, parameters). One that has none is all NaN."""
        if len(numbers) and (most := int(numbers.max())) >= len(self._made):
            rows, made = self._rows, self._made
            self._rows = np.full((2 * most + 1, rows.shape[1]), np.nan)
            self._made = np.zeros(len(self._rows), dtype=np.bool_)
            self._rows[: len(rows)], self._made[: len(made)] = rows, made
        for number in numbers[~self._made[numbers]].tolist():
            row = self.row(params(number))
            if row is not None:
                self._rows[number] = row
            self._made[number] = True
        found: Floats = self._rows[numbers]
        return found
