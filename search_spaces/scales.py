"""Continuous scales: how a value of a real parameter lies on the unit interval.

Here: pure arithmetic on bounds that have already been checked. Not here: checks of a definition,
Pydantic, random numbers. A draw from a scale is `from_unit` of a uniform number.

What comes out of `from_unit` is rounded to a decimal lattice far below anything that training can
notice (12 digits; 6 digits of sigma for the normal ones). That is what makes the two directions
exact inverses for every value drawn, and for every value that a person writes: without it, floating
point cannot tell all values of [-1, 1] apart by their place in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from search_spaces.errors import SpaceError

FloatArray = npt.NDArray[np.float64]
DIGITS = 12
SIGMA_DIGITS = 6
SIGMAS = 6.0
TINY = 1e-300

_bell = NormalDist()


class Scale(Protocol):
    """What a parameter needs of its scale. Values passed in have been through `parse`.

    `count` is the number of values, None for a continuum; `numeric` says whether `coordinate` is the
    number itself (else it is the position among the values, and `ordered` says if that means anything).
    """

    @property
    def count(self) -> int | None: ...
    @property
    def numeric(self) -> bool: ...
    @property
    def ordered(self) -> bool: ...
    def parse(self, value: object) -> Any: ...
    def to_unit(self, value: Any) -> float: ...
    def from_unit(self, u: float) -> Any: ...
    def coordinate(self, value: Any) -> float: ...
    def coordinates(self, u: FloatArray) -> FloatArray: ...


def parse_number(value: object) -> float:
    """A finite float from a JSON number (or a number of NumPy's); anything else is refused."""
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise SpaceError("the value must be a number", value=value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpaceError("the value must be a finite number", value=value)
    return number


def _within(value: object, low: float, high: float) -> float:
    number = parse_number(value)
    if not low <= number <= high:
        raise SpaceError(f"the value must lie in [{low!r}, {high!r}]", value=value)
    return number


def _clip(x: float, low: float, high: float) -> float:
    return low if x < low else high if x > high else x


def _snap(x: float, low: float, high: float, places: int) -> float:
    """x rounded to that many places; the end itself where less than half a last digit would part them."""
    half = 0.5 * 10.0**-places
    found = round(x, places) + 0.0  # never -0.0
    return low if found - low < half else high if high - found < half else found


def significant(x: float, digits: int) -> float:
    """The float nearest to x that has at most that many significant decimal digits."""
    return float(f"{x:.{digits - 1}e}")


@dataclass(frozen=True)
class _Continuum:
    """What all continuous scales share: no count, and numbers as coordinates."""

    low: float
    high: float
    count = None
    numeric = True
    ordered = True

    def parse(self, value: object) -> float:
        return _within(value, self.low, self.high)

    def coordinate(self, value: float) -> float:
        return value


@dataclass(frozen=True)
class LinearScale(_Continuum):
    """u = (x - low) / (high - low)."""

    @cached_property
    def _places(self) -> int | None:
        """Decimal places kept; None where the range is so narrow that floats are exact as they are."""
        span = self.high - self.low
        if span < max(abs(self.low), abs(self.high)) / 100:
            return None
        return DIGITS - math.floor(math.log10(span))

    def to_unit(self, value: float) -> float:
        return _clip((value - self.low) / (self.high - self.low), 0.0, 1.0)

    def from_unit(self, u: float) -> float:
        if u <= TINY or u >= 1.0:
            return self.low if u <= TINY else self.high
        x = self.low + u * (self.high - self.low)
        if self.low == 0.0:
            x = significant(x, DIGITS)
        elif self._places is not None:
            return _snap(x, self.low, self.high, self._places)
        return _clip(x, self.low, self.high)

    def coordinates(self, u: FloatArray) -> FloatArray:
        return self.low + u * (self.high - self.low)


@dataclass(frozen=True)
class LogScale(_Continuum):
    """u = log(x / low) / log(high / low); low > 0."""

    @cached_property
    def _narrow(self) -> bool:
        return self.high - self.low < self.low / 100

    @cached_property
    def _width(self) -> float:
        if self._narrow:
            return math.log1p((self.high - self.low) / self.low)
        return math.log(self.high) - math.log(self.low)

    def to_unit(self, value: float) -> float:
        if self._narrow:
            u = math.log1p((value - self.low) / self.low) / self._width
        else:
            u = (math.log(value) - math.log(self.low)) / self._width
        return _clip(u, 0.0, 1.0)

    def from_unit(self, u: float) -> float:
        if u <= 0.0 or u >= 1.0:
            return self.low if u <= 0.0 else self.high
        if self._narrow:
            x = self.low + self.low * math.expm1(u * self._width)
        else:
            x = significant(math.exp(math.log(self.low) + u * self._width), DIGITS)
        return _clip(x, self.low, self.high)

    def coordinates(self, u: FloatArray) -> FloatArray:
        return self.low * np.exp(u * self._width)


def _phi(z: float) -> float:
    """The standard normal distribution function; relative precision is kept in the lower tail."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


@cache
def _quantiles() -> tuple[FloatArray, FloatArray]:
    """The distribution function at 1,201 even places within six sigma, and those places."""
    z = np.linspace(-SIGMAS, SIGMAS, 1_201)
    return np.array([_phi(float(one)) for one in z]), z


@dataclass(frozen=True)
class NormalScale:
    """u = the normal distribution function, truncated to [low, high] and to six sigma.

    `low` and `high` bound what is legal (infinite where not given). Drawn values lie within six sigma
    of mu besides (all but 2e-9 of the mass); legal values beyond that have u = 0 or 1.
    """

    mu: float
    sigma: float
    low: float = -math.inf
    high: float = math.inf
    count = None
    numeric = True
    ordered = True

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return (
            max((self.low - self.mu) / self.sigma, -SIGMAS),
            min((self.high - self.mu) / self.sigma, SIGMAS),
        )

    @cached_property
    def _mirrored(self) -> bool:
        """In the upper tail the arithmetic runs on the mirrored lower one, where floats are dense."""
        return self._ends[0] >= 0.0

    @cached_property
    def _masses(self) -> tuple[float, float]:
        a, b = self._ends
        return (_phi(-b), _phi(-a)) if self._mirrored else (_phi(a), _phi(b))

    @cached_property
    def _places(self) -> int:
        a, b = self._ends
        return SIGMA_DIGITS - math.floor(math.log10(self.sigma * min(1.0, b - a)))

    def parse(self, value: object) -> float:
        return _within(value, self.low, self.high)

    def to_unit(self, value: float) -> float:
        a, b = self._ends
        z = _clip((value - self.mu) / self.sigma, a, b)
        bottom, top = self._masses
        u = (_phi(-z if self._mirrored else z) - bottom) / (top - bottom)
        return _clip(1.0 - u if self._mirrored else u, 0.0, 1.0)

    def exact(self, u: float) -> float:
        """The quantile at u before rounding."""
        a, b = self._ends
        bottom, top = self._masses
        p = bottom + (1.0 - u if self._mirrored else u) * (top - bottom)
        z = _bell.inv_cdf(p)
        return self.mu + self.sigma * _clip(-z if self._mirrored else z, a, b)

    def from_unit(self, u: float) -> float:
        a, b = self._ends
        if u <= 0.0 and a > -SIGMAS:
            return self.low
        if u >= 1.0 and b < SIGMAS:
            return self.high
        return _snap(self.exact(_clip(u, 0.0, 1.0)), self.low, self.high, self._places)

    def coordinate(self, value: float) -> float:
        return value

    def coordinates(self, u: FloatArray) -> FloatArray:
        """Quantiles interpolated between 1,201 exact ones: bulk draws need few digits."""
        bottom, top = self._masses
        z = np.interp(bottom + (1.0 - u if self._mirrored else u) * (top - bottom), *_quantiles())
        return self.mu + self.sigma * np.clip(-z if self._mirrored else z, *self._ends)


@dataclass(frozen=True)
class LogNormalScale:
    """u = the normal distribution function of log(x), truncated to six sigma."""

    mu: float
    sigma: float
    count = None
    numeric = True
    ordered = True

    @cached_property
    def _log(self) -> NormalScale:
        return NormalScale(self.mu, self.sigma)

    @cached_property
    def _digits(self) -> int:
        return SIGMA_DIGITS - math.floor(math.log10(self.sigma))

    def parse(self, value: object) -> float:
        number = parse_number(value)
        if number <= 0.0:
            raise SpaceError("the value must be > 0", value=value)
        return number

    def to_unit(self, value: float) -> float:
        return self._log.to_unit(math.log(value))

    def from_unit(self, u: float) -> float:
        return significant(math.exp(self._log.exact(_clip(u, 0.0, 1.0))), self._digits)

    def coordinate(self, value: float) -> float:
        return value

    def coordinates(self, u: FloatArray) -> FloatArray:
        found: FloatArray = np.exp(self._log.coordinates(u))
        return found
