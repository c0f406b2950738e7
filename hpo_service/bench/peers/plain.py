"""Spaces for libraries that know ranges, logarithms, whole numbers and categories, and nothing else.

Parameters in the encoding that Optuna's samplers get (`search_spaces.convert.optuna`), without needing Optuna's own
types; `decode` there turns values back, and leaves out parameters that turn out inactive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search_spaces import SearchSpace
from search_spaces.convert.optuna import to_optuna


@dataclass(frozen=True, slots=True)
class Range:
    """Real or `whole` numbers from `low` to `high`, both possible, on a logarithmic scale where `log`."""

    low: float
    high: float
    log: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class Category:
    """One of the texts, in no order."""

    values: tuple[str, ...]


def plain(space: SearchSpace) -> dict[str, Range | Category]:
    """Every parameter but the constants. Steps other than 1 are lost: `decode` goes to the nearest value below."""
    return {name: _plain(distribution) for name, distribution in to_optuna(space).items()}


def _plain(given: Any) -> Range | Category:
    if hasattr(given, "choices"):
        return Category(tuple(given.choices))
    return Range(given.low, given.high, bool(given.log), type(given).__name__ == "IntDistribution")
