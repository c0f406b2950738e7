"""The values at one resource level, by trial number and by rank, and which of them a model is fed. No model is here.

The written rule: of more values than its `limit`, a model gets the `best`, the `newest` of the others, and for the rest
an even spread over all others in the order of their numbers. Keeping values up costs a search and a shift each,
choosing a few passes over arrays, so that neither is felt at 100,000 results.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
SORTED_AT_ONCE = 64
"""From so many new values on, all are sorted again instead of each being put in its place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What a model is fed of many values: at most `limit`, of which so many are the best and the newest."""

    limit: int
    best: int
    newest: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Fed:
    """What a model is given of a level: trial numbers, ascending, and their values; NaN where a trial failed. `worst`
    is the worst finite value of the whole level, given or not."""

    numbers: Integers
    values: Floats
    worst: float

    @property
    def told(self) -> Floats:
        """The values with failed trials told as the worst finite one."""
        return np.where(np.isnan(self.values), self.worst, self.values)


class Level:
    """Values at one level. A trial's may be set again; None: it failed there."""

    def __init__(self, *, maximize: bool) -> None:
        self.finite = 0
        self._sign = -1.0 if maximize else 1.0
        self._numbers: list[int] = []  # ascending
        self._has = np.zeros(0, dtype=np.bool_)  # by trial number
        self._values = np.zeros(0)  # by trial number; NaN: failed
        self._keys = np.zeros(0)  # best first; failed trials rank last, ties go to the lower number
        self._ranked = np.zeros(0, dtype=np.int64)  # the trials of the keys
        self._count = 0  # keys in use
        self._new: list[int] = []  # trials without a key yet
        self._fed: dict[Rule, Fed] = {}  # until something changes

    def copy(self) -> Level:
        """A level of the same values that goes its own way."""
        other = Level(maximize=self._sign < 0)
        other.finite, other._count = self.finite, self._count
        other._numbers, other._new = list(self._numbers), list(self._new)
        other._has, other._values = self._has.copy(), self._values.copy()
        other._keys, other._ranked = self._keys.copy(), self._ranked.copy()
        return other

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, number: int) -> bool:
        return number < len(self._has) and bool(self._has[number])

    def items(self) -> Iterator[tuple[int, float | None]]:
        """All values, by trial number."""
        values = self._values[np.array(self._numbers, dtype=np.int64)].tolist()
        return ((n, None if math.isnan(value) else value) for n, value in zip(self._numbers, values, strict=True))

    def set(self, number: int, value: float | None) -> None:
        """The trial's value is known, or known anew."""
        if number >= len(self._has):
            self._has = _longer(self._has, number + 1)
            self._values = _longer(self._values, number + 1)
        if self._has[number]:
            self._forget(number)
        else:
            self._has[number] = True
            insort(self._numbers, number)
        self._values[number] = np.nan if value is None else value
        self.finite += value is not None
        self._new.append(number)
        self._fed.clear()

    def fed(self, rule: Rule, best: Iterable[int] | None = None) -> Fed:
        """What the rule gives a model. One of the level's values must be finite. `best`: who else than those with the
        best values counts as the best."""
        if best is not None:
            return self._given(rule, [number for number in best if number in self])
        if rule not in self._fed:
            self._fed[rule] = self._given(rule, None)
        return self._fed[rule]

    def _given(self, rule: Rule, best: Sequence[int] | None) -> Fed:
        self._place()
        first = self._ranked[: rule.best] if best is None else np.array(best[: rule.best], dtype=np.int64)
        numbers = np.array(self._numbers) if len(self) <= rule.limit else self._chosen(rule, first)
        worst = self._values[self._ranked[self.finite - 1]]
        return Fed(numbers=numbers, values=self._values[numbers], worst=float(worst))

    def _chosen(self, rule: Rule, best: Integers) -> Integers:
        chosen = np.zeros(len(self._has), dtype=np.bool_)
        chosen[best] = True
        newest = np.array(self._numbers[-(rule.best + rule.newest) :])
        others = newest[~chosen[newest]]
        chosen[others[len(others) - rule.newest :]] = True
        left = np.flatnonzero(self._has & ~chosen)
        room = rule.limit - int(chosen.sum())
        chosen[left[(2 * np.arange(room) + 1) * len(left) // (2 * room)]] = True
        return np.flatnonzero(chosen)

    def _forget(self, number: int) -> None:
        """Take the key of the trial's old value out."""
        self.finite -= not np.isnan(self._values[number])
        self._place()
        at = int(np.flatnonzero(self._ranked[: self._count] == number)[0])
        for column in (self._keys, self._ranked):
            column[at : self._count - 1] = column[at + 1 : self._count]
        self._count -= 1

    def _place(self) -> None:
        """Give the new trials their places in the ranking."""
        new, count = np.array(self._new, dtype=np.int64), self._count
        keys = self._sign * self._values[new]
        keys[np.isnan(keys)] = np.inf
        self._new.clear()
        if count + len(new) > len(self._keys):
            self._keys = _longer(self._keys, count + len(new))
            self._ranked = _longer(self._ranked, count + len(new))
        self._count += len(new)
        if len(new) >= SORTED_AT_ONCE:
            self._keys[count : self._count], self._ranked[count : self._count] = keys, new
            order = np.lexsort((self._ranked[: self._count], self._keys[: self._count]))
            self._keys[: self._count] = self._keys[order]
            self._ranked[: self._count] = self._ranked[order]
            return
        for key, number in zip(keys.tolist(), new.tolist(), strict=True):
            self._insert(key, number, count)
            count += 1

    def _insert(self, key: float, number: int, count: int) -> None:
        """Put one key among the first `count`."""
        first, past = np.searchsorted(self._keys[:count], key), np.searchsorted(self._keys[:count], key, "right")
        at = int(first + np.searchsorted(self._ranked[first:past], number))
        for column, value in ((self._keys, key), (self._ranked, number)):
            column[at + 1 : count + 1] = column[at:count]
            column[at] = value


def _longer(column: npt.NDArray[T], least: int) -> npt.NDArray[T]:
    """A copy with room for `least` items and as many again, zeros at its end."""
    longer = np.zeros(2 * least, dtype=column.dtype)
    longer[: len(column)] = column
    return longer
