"""Numbers that may be NaN or infinite: how they are stored, compared and written as JSON."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any


class ValueKind(StrEnum):
    """What a stored number is; the number itself is stored only where the kind is FINITE."""

    FINITE = "finite"
    NAN = "nan"
    PLUS_INFINITY = "+inf"
    MINUS_INFINITY = "-inf"


_SPECIAL = {ValueKind.NAN: math.nan, ValueKind.PLUS_INFINITY: math.inf, ValueKind.MINUS_INFINITY: -math.inf}
_JSON = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def split(value: float) -> tuple[ValueKind, float | None]:
    """The kind and the stored number (None unless finite) of a float."""
    if math.isfinite(value):
        return ValueKind.FINITE, float(value)
    if math.isnan(value):
        return ValueKind.NAN, None
    return (ValueKind.PLUS_INFINITY if value > 0 else ValueKind.MINUS_INFINITY), None


def join(kind: str, number: float | None) -> float:
    """The float of a stored kind and number; inverse of `split`."""
    found = ValueKind(kind)
    if found is ValueKind.FINITE:
        if number is None:
            raise ValueError("a finite value needs its number, but got None")
        return number
    return _SPECIAL[found]


def to_json(value: float) -> float | str:
    """The value for JSON: NaN and infinities as "NaN", "Infinity", "-Infinity"."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def from_json(value: Any) -> float:
    """The float of a JSON number or of one of the three words; raises ValueError for anything else."""
    if isinstance(value, str) and value in _JSON:
        return _JSON[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f'a value must be a number, "NaN", "Infinity" or "-Infinity", but got {value!r}')
    return float(value)


def rank_key(value: float | None, *, maximize: bool, violation: float = 0.0) -> tuple[int, float]:
    """Sorts best first; infinities of the good sign count as diverged too: whatever is not finite ranks last. Before
    that, behind all that is feasible, comes what breaks constraints: the least `violation` (`constraints.total`) first,
    and then by value those of which that is not known yet (infinite): a metric may be measured at the end alone.
    """
    if value is None or not math.isfinite(value):
        return (3, 0.0)
    by_value = -value if maximize else value
    if math.isinf(violation):
        return (2, by_value)
    return (1, violation) if violation > 0 else (0, by_value)


def is_better(value: float, than: float | None, *, maximize: bool, min_delta: float = 0.0) -> bool:
    """Whether `value` improves on `than` by more than `min_delta`; a non-finite value never does."""
    if not math.isfinite(value):
        return False
    if than is None or not math.isfinite(than):
        return True
    return value > than + min_delta if maximize else value < than - min_delta
