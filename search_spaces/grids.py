"""Discrete scales: values that can be counted, and their places on the unit interval.

Here: pure arithmetic on bounds that have already been checked. Not here: checks of a definition.
Each value owns a bin of [0, 1] and `to_unit` names a point inside that bin, so that a uniform number
draws every value with its bin's width: equal widths on linear scales, widths in log on log scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from search_spaces.errors import SpaceError, nearest
from search_spaces.scales import FloatArray, parse_number


def _bin(u: float, count: int) -> int:
    return max(0, min(count - 1, int(u * count)))


def _places(*numbers: float) -> int:
    """How many decimal places write all of the numbers exactly as they print."""
    return max(0, *(-int(Decimal(repr(number)).as_tuple().exponent) for number in numbers))


def _scaled(number: float, places: int) -> int:
    """number * 10**places, exactly, for a number that needs no more places than that."""
    return int(Fraction(repr(number)) * Fraction(10) ** places)


def step_count(low: float, high: float, step: float) -> int:
    """How many values low + k*step are <= high, in decimal arithmetic (0.1, 0.2, 0.3 are three)."""
    places = _places(low, high, step)
    return (_scaled(high, places) - _scaled(low, places)) // _scaled(step, places) + 1


@dataclass(frozen=True)
class StepScale:
    """The values low + k*step, k = 0 … count-1; whole numbers or decimals, linear or logarithmic.

    Decimals are added as decimals: 0.1 + 2*0.1 is 0.3. On the log scale the bins' edges lie half a
    step from the values; the lowest edge is the first value itself where half a step could reach zero.
    """

    low: float
    step: float
    count: int
    log: bool = False
    whole: bool = False
    numeric = True
    ordered = True

    @cached_property
    def _decimal(self) -> tuple[int, int, int]:
        """low and step as whole numbers of units, and how many units make 1 (a power of ten)."""
        places = _places(self.low, self.step)
        return _scaled(self.low, places), _scaled(self.step, places), int(10**places)

    @cached_property
    def _edges(self) -> tuple[float, float]:
        half = self.step / 2
        bottom = self.low - half if self.low >= self.step else self.low
        return math.log(bottom), math.log(self.at(self.count - 1) + half)

    def at(self, k: int) -> Any:
        """Value number k."""
        low, step, unit = self._decimal
        return low + k * step if self.whole else (low + k * step) / unit

    def parse(self, value: object) -> Any:
        number = parse_number(value)
        k = round((number - self.low) / self.step)
        found = self.at(max(0, min(self.count - 1, k)))
        slack = 0.0 if self.whole else 1e-9 * self.step
        if abs(found - number) > slack:
            raise SpaceError(
                f"the value must be one of {self.at(0)!r}, {self.at(0)!r} + {self.step!r}, …, "
                f"{self.at(self.count - 1)!r}",
                value=value,
                remedy=f"the nearest is {found!r}",
            )
        return found

    def to_unit(self, value: Any) -> float:
        if self.log:
            bottom, top = self._edges
            return min(1.0, max(0.0, (math.log(value) - bottom) / (top - bottom)))
        k = round((value - self.low) / self.step)
        return float((k + 0.5) / self.count)

    def from_unit(self, u: float) -> Any:
        if not self.log:
            return self.at(_bin(u, self.count))
        bottom, top = self._edges
        x = math.exp(bottom + min(1.0, max(0.0, u)) * (top - bottom))
        return self.at(max(0, min(self.count - 1, round((x - self.low) / self.step))))

    def coordinate(self, value: Any) -> float:
        return float(value)

    def coordinates(self, u: FloatArray) -> FloatArray:
        if self.log:
            bottom, top = self._edges
            k = np.rint((np.exp(bottom + u * (top - bottom)) - self.low) / self.step)
        else:
            k = np.floor(u * self.count)
        return self.coordinates_at(np.clip(k, 0, self.count - 1))

    def coordinates_at(self, k: FloatArray) -> FloatArray:
        """Coordinates of the values numbered k; bit for bit those of `at` unless steps have > 22 places."""
        low, step, unit = self._decimal
        found: FloatArray = (float(low) + k * float(step)) / float(unit)
        return found


@dataclass(frozen=True)
class PowerScale:
    """The powers of two 2**first … 2**(first+count-1), equally likely."""

    first: int
    count: int
    numeric = True
    ordered = True

    def at(self, k: int) -> int:
        """Value number k."""
        return 1 << (self.first + k)

    def parse(self, value: object) -> int:
        number = parse_number(value)
        if number < 1 or number != int(number) or int(number) & (int(number) - 1):
            raise SpaceError("the value must be a power of two", value=value)
        if not self.at(0) <= number <= self.at(self.count - 1):
            raise SpaceError(f"the value must lie in [{self.at(0)}, {self.at(self.count - 1)}]", value=value)
        return int(number)

    def to_unit(self, value: int) -> float:
        return (value.bit_length() - 1 - self.first + 0.5) / self.count

    def from_unit(self, u: float) -> int:
        return self.at(_bin(u, self.count))

    def coordinate(self, value: int) -> float:
        return float(value)

    def coordinates(self, u: FloatArray) -> FloatArray:
        return self.coordinates_at(np.clip(np.floor(u * self.count), 0, self.count - 1))

    def coordinates_at(self, k: FloatArray) -> FloatArray:
        """Coordinates of the values numbered k."""
        found: FloatArray = np.exp2(self.first + k)
        return found


def scalar_key(value: Any) -> tuple[str, Any]:
    """What makes two JSON scalars the same value: True is not 1, but 1.0 is 1."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, (int, float)):
        return ("number", value)
    return (type(value).__name__, value)


@dataclass(frozen=True)
class ListScale:
    """Listed values, equally likely; `ranked` when their order carries meaning."""

    values: tuple[Any, ...]
    ranked: bool = False

    @cached_property
    def _index(self) -> dict[tuple[str, Any], int]:
        return {scalar_key(value): k for k, value in enumerate(self.values)}

    @property
    def count(self) -> int:
        return len(self.values)

    @cached_property
    def numeric(self) -> bool:
        """All values are numbers that a float tells apart, and no rank overrides their size."""
        numbers = all(scalar_key(v)[0] == "number" and abs(v) <= 2**53 for v in self.values)
        return numbers and not self.ranked

    @property
    def ordered(self) -> bool:
        return self.ranked or self.numeric

    def at(self, k: int) -> Any:
        """Value number k."""
        return self.values[k]

    def position(self, value: Any) -> int:
        """The number of a listed value."""
        return self._index[scalar_key(value)]

    def parse(self, value: object) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        known = None
        if value is None or isinstance(value, (bool, int, float, str)):
            known = self._index.get(scalar_key(value))
        if known is None:
            raise SpaceError(
                "the value must be one of the listed ones",
                value=value,
                remedy=nearest(value, [str(v) for v in self.values[:1_000]]),
            )
        return self.values[known]

    def to_unit(self, value: Any) -> float:
        return (self.position(value) + 0.5) / self.count

    def from_unit(self, u: float) -> Any:
        return self.values[_bin(u, self.count)]

    def coordinate(self, value: Any) -> float:
        return float(value) if self.numeric else float(self.position(value))

    def coordinates(self, u: FloatArray) -> FloatArray:
        return self.coordinates_at(np.clip(np.floor(u * self.count), 0, self.count - 1))

    def coordinates_at(self, k: FloatArray) -> FloatArray:
        """Coordinates of the values numbered k."""
        if not self.numeric:
            return k
        found: FloatArray = np.array([float(v) for v in self.values])[k.astype(np.int64)]
        return found


DiscreteScale = StepScale | PowerScale | ListScale
