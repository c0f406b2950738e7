"""Could the difference between studies be luck? Intervals and exact tests over their final values. Pure, no randomness.

A study's final value is the best of the n trials that reached its highest resource. How good the best of n is depends
on n and on luck (Dodge et al. 2019, "Show Your Work", EMNLP; Bouthillier et al. 2021, "Accounting for Variance in ML
Benchmarks", MLSys). The interval is that of the bootstrap (Efron 1979) carried to infinitely many resamples, where it
has a closed form: the best of n draws with replacement is at most the k-th smallest value with probability (k / n)^n.
It never lies beyond the best that was found, so its near end is what it tells: a study of as many trials would have
come at least so far. What it cannot see is that trials of one search are not independent: only replicates with other
seeds show the luck of a whole search, and groups of them are compared by a permutation test over their finals.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
FEWEST = 4
"""Of three trials even the worst is the best of a resample too often for an interval of 95 %."""
REPLICATES = 3
"""So many studies that differ only in their seed are compared as a group."""
_TOP = 64
"""Values that are the best of a resample with a probability below exp(-64) are left out."""
_SAME = frozenset({"name", "notes", "tags", "project", "seed"})


@dataclass(frozen=True, slots=True)
class Final:
    """The best value among `n` trials; the interval is None where there are too few."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """`difference` is a minus b, in the metric's own direction; `p` is two-sided, None where nothing can be tested."""

    difference: float
    low: float | None
    high: float | None
    p: float | None


def final(values: Floats, *, maximize: bool) -> Final | None:
    """The best of the values with its 95 % bootstrap interval; None where there are none."""
    if not values.size:
        return None
    best, weights = _best_of_resample(values, maximize=maximize)
    value = float(best[0])
    if values.size < FEWEST:
        return Final(value, None, None, int(values.size))
    low, high = _interval(best, weights)
    return Final(value, low, high, int(values.size))


def compare_finals(a: Floats, b: Floats, *, maximize: bool) -> Outcome | None:
    """Two studies by their trials' values: how far apart their bests are, and the chance of so much, or more, if the
    trials had been shared out between them at random. None where one has no value."""
    if not a.size or not b.size:
        return None
    (best_a, weights_a), (best_b, weights_b) = (_best_of_resample(v, maximize=maximize) for v in (a, b))
    difference = float(best_a[0] - best_b[0])
    low = high = None
    if min(a.size, b.size) >= FEWEST:
        apart = np.subtract.outer(best_a, best_b).ravel()
        low, high = _interval(apart, np.multiply.outer(weights_a, weights_b).ravel())
    return Outcome(difference, low, high, _chance_of_bests(a, b, maximize=maximize))


def compare_groups(a: Floats, b: Floats) -> Outcome:
    """Two groups of replicates by their finals: the difference of means with Welch's 95 % interval, and the exact
    permutation test of it (Fisher 1935; Pitman 1937)."""
    difference = float(a.mean() - b.mean())
    half = _welch(a, b)
    return Outcome(difference, difference - half, difference + half, _permuted(a, b))


def smallest_p(a: int, b: int) -> float:
    """The smallest p that a permutation test of groups of these sizes can give."""
    return (2 if a == b else 1) / math.comb(a + b, a)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """The p values, corrected for how many there are (Holm 1979); None stays None."""
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    found: list[float | None] = [None] * len(ps)
    highest = 0.0
    for place, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        found[i] = highest
    return found


def groups(documents: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Indexes of the documents that differ only in seed, name, notes, tags and project, in order of appearance."""
    found: list[tuple[dict[str, Any], list[int]]] = []
    for index, document in enumerate(documents):
        rest = {name: value for name, value in document.items() if name not in _SAME}
        mine = next((members for other, members in found if other == rest), None)
        if mine is None:
            found.append((rest, [index]))
        else:
            mine.append(index)
    return [members for _, members in found]


def _best_of_resample(values: Floats, *, maximize: bool) -> tuple[Floats, Floats]:
    """The values that the best of a resample may have, best first, and with which probability."""
    ordered = np.sort(values)[::-1] if maximize else np.sort(values)
    n = ordered.size
    kept = min(n, _TOP)
    at_most = np.exp(n * np.log1p(-np.arange(kept) / n))  # that the best is this value or a worse one
    weights = at_most - np.append(at_most[1:], 0.0)
    found: Floats = ordered[:kept]
    return found, weights


def _interval(values: Floats, weights: Floats) -> tuple[float, float]:
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order])
    tail = (1 - LEVEL) / 2
    low, high = np.searchsorted(share, (tail * share[-1], (1 - tail) * share[-1]))
    return float(values[order[low]]), float(values[order[min(high, values.size - 1)]])


def _chance_of_bests(a: Floats, b: Floats, *, maximize: bool) -> float:
    """Exact: the bests are at least so far apart just when all values nearer to the best of all are on one side."""
    pooled = np.concatenate([a, b]) if maximize else -np.concatenate([a, b])
    top = pooled.max()
    apart = abs(float((a.max() - b.max()) if maximize else (a.min() - b.min())))
    near = int(np.count_nonzero(top - pooled < apart * (1 - 1e-12)))
    return min(1.0, _all_in(near, a.size, b.size) + _all_in(near, b.size, a.size))


def _all_in(near: int, side: int, other: int) -> float:
    """The chance that `near` given values all fall to the side of `side` places."""
    if near > side:
        return 0.0
    total = side + other
    return math.exp(sum(math.log(side - i) - math.log(total - i) for i in range(near)))


def _permuted(a: Floats, b: Floats) -> float:
    """The share of all ways to part the finals into groups of these sizes whose means differ at least as much."""
    pooled = np.concatenate([a, b])
    chosen = np.array(list(itertools.combinations(range(pooled.size), a.size)))
    sums = pooled[chosen].sum(axis=1)
    apart = np.abs(sums / a.size - (pooled.sum() - sums) / b.size)
    seen = abs(float(a.mean() - b.mean()))
    slack = 1e-9 * (float(np.abs(pooled).max()) or 1.0)
    return float(np.mean(apart >= seen - slack))


def _welch(a: Floats, b: Floats) -> float:
    """Half the width of Welch's interval for the difference of two means."""
    scale = float(np.ptp(a) + np.ptp(b))
    if scale == 0:
        return 0.0
    parts = [float((v / scale).var(ddof=1)) / v.size for v in (a, b)]  # scaled, for squares of squares leave the range
    spread = sum(parts)
    if not 0 < spread < math.inf:  # values at the end of the range: nothing can be said
        return math.inf
    freedom = spread**2 / sum(part**2 / (v.size - 1) for part, v in zip(parts, (a, b), strict=True))
    return _t_quantile(freedom) * math.sqrt(spread) * scale


def _t_quantile(freedom: float) -> float:
    """Where Student's t lies with 95 % on both sides of zero: with t = √f tan θ its density is that of cos^(f-1) θ."""
    angle = np.linspace(0.0, math.pi / 2, 20_001)
    density = np.cos(angle) ** (freedom - 1)
    share = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    found = float(np.interp(LEVEL, share / share[-1], angle))
    return math.sqrt(freedom) * math.tan(found)
