"""Student's t distribution: how likely a value is to be exceeded, where a level lies. Pure, of the standard library.

The distribution function is the regularised incomplete beta function (DLMF 8.17.1), computed by its continued fraction
(DLMF 8.17.22) with Lentz's method (Press et al., Numerical Recipes, §5.2 and §6.4): ten digits and more.
"""

from __future__ import annotations

import math

_TINY = 1e-300
_CLOSE = 1e-15
_TURNS = 10_000


def two_sided_p(t: float, freedom: float) -> float:
    """The chance of a value at least as far from zero as `t`, with `freedom` > 0 degrees of freedom (any real number).
    An infinite `t` has none."""
    if math.isinf(t):
        return 0.0
    if math.isinf(freedom):
        return math.erfc(abs(t) / math.sqrt(2))
    squared = t * t
    if squared == 0:
        return 1.0
    return _incomplete_beta(freedom / (freedom + squared), squared / (freedom + squared), freedom / 2, 0.5)


def quantile(level: float, freedom: float) -> float:
    """The value below which a share `level` lies, 0 < level < 1; by halving, to the last digits."""
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, but got {level}; give for example 0.975")
    if level < 0.5:
        return -quantile(1 - level, freedom)
    wanted = 2 * (1 - level)
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > wanted and high < 1e150:
        low, high = high, high * 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if two_sided_p(middle, freedom) > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """I_x(a, b); `rest` is 1 - x, given apart for it may be far more exact than the difference."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(rest, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _TURNS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away(1 + term * d)
            c = _away(1 + term / c)
            found *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return found


def _away(value: float) -> float:
    """Not zero."""
    return value if abs(value) > _TINY else _TINY
