"""Is the winner real? What new seeds of the best configurations say, in numbers and in words. Pure.

The winner is the one that the search named, before any new seed was trained: so each comparison with another one is
fixed beforehand, and correcting for how many there are is all that honesty asks for. Two configurations are compared by
Welch's t-test (Welch 1947): of the tests that are used for runs with different seeds it keeps its error rate best at
five seeds and finds most (Colas, Sigaud & Oudeyer 2019, "A Hitchhiker's Guide to Statistical Comparisons of
Reinforcement Learning Algorithms"); an exact permutation test has no p below 0.008 there, and none below 0.1 with three
seeds. The p values are corrected after Holm (1979). Where no seed changed anything, there is no spread to go by, and
the permutation test of `comparison` decides. Why seeds at all: Bouthillier et al. 2021 (MLSys), and decision 0005.

Values are of the objective's metric with new seeds. Test rows tell how good the winner is, never which one it is: to
choose by them would make them rows of the search.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hpo_service.core import student
from hpo_service.core.comparison import Floats, compare_groups, holm

ALPHA = 0.05
LEVEL = 0.95
POWER = 0.8
FEWEST = 3
"""With two seeds the t distribution has one degree of freedom and no difference shows that is not absurdly large."""
MOST_EXACT = 200_000
Kind = Literal["open", "untold", "alone", "real", "noise", "luck"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Values over seeds: mean, sample standard deviation, and the mean's 95 % interval (None for fewer than two)."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Against:
    """The winner against another configuration: `difference` is the winner's mean minus the other's, in the metric's
    own direction; `p` two-sided, `corrected` for how many others there are."""

    trial: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    corrected: float | None = None
    ahead: bool = False  # whether the winner's mean is the better one


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A configuration: the trial that the search knew it by, and what its new seeds came to. `failed` and `open` count
    seeds without a value; `cost` is micro-dollars a seed, None before the first."""

    trial: int
    values: tuple[float, ...]
    failed: int = 0
    open: int = 0
    cost: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What it comes to. `kind`: open (nothing yet), untold (too few seeds), alone (nothing to compare with), real,
    noise, luck. `words` is one sentence; `notes` are what else a reader should know."""

    kind: Kind
    words: str
    going: bool
    against: tuple[Against, ...]
    within: tuple[int, ...]  # trials that the winner cannot be told from
    better: tuple[int, ...]  # trials that are better than it
    cheapest: int | None  # of the winner and those that it cannot be told from, where their costs differ
    detectable: float | None  # the difference that so many seeds would have shown four times in five
    notes: tuple[str, ...]


def spread(values: Sequence[float]) -> Spread | None:
    """Of finite values; None where there are none. The interval is Student's."""
    if not values:
        return None
    found = np.asarray(values, dtype=np.float64)
    mean, n = float(found.mean()), len(values)
    if n < 2:
        return Spread(n=n, mean=mean, sd=None, low=None, high=None)
    sd = _sd(found)
    half = student.quantile((1 + LEVEL) / 2, n - 1) * sd / math.sqrt(n)
    return Spread(n=n, mean=mean, sd=sd, low=mean - half, high=mean + half)


def optimism(searched: float, confirmed: float, *, maximize: bool) -> float:
    """By how much the value that the search saw is better than what new seeds average; below 0 where it is worse."""
    return searched - confirmed if maximize else confirmed - searched


def against(trial: int, winner: Sequence[float], other: Sequence[float], *, maximize: bool) -> Against:
    """The winner against one other configuration; p is None where one of them has fewer than `FEWEST` values."""
    a, b = np.asarray(winner, dtype=np.float64), np.asarray(other, dtype=np.float64)
    difference = float(a.mean() - b.mean())
    ahead = difference > 0 if maximize else difference < 0
    if min(a.size, b.size) < FEWEST:
        return Against(trial=trial, difference=difference, low=None, high=None, p=None, ahead=ahead)
    half, p = _welch(a, b, difference)
    return Against(trial=trial, difference=difference, low=difference - half, high=difference + half, p=p, ahead=ahead)


def verdict(winner: Tried, others: Sequence[Tried], *, metric: str, maximize: bool) -> Verdict:
    """What the new seeds say about the search's winner. `others` in the search's order."""
    able = [one for one in others if winner.values and one.values]
    raw = [against(one.trial, winner.values, one.values, maximize=maximize) for one in able]
    found = tuple(
        Against(
            trial=one.trial, difference=one.difference, low=one.low, high=one.high, p=one.p, corrected=p,
            ahead=one.ahead,
        )
        for one, p in zip(raw, holm([one.p for one in raw]), strict=True)
    )  # fmt: skip
    everybody = [winner, *others]
    sure = [one for one in found if one.corrected is not None and one.corrected < ALPHA]
    better = tuple(one.trial for one in sure if not one.ahead)
    within = tuple(one.trial for one in found if one.corrected is not None and one.corrected >= ALPHA)
    kind = _kind(winner, found, better=better, within=within)
    going = any(one.open for one in everybody)
    costs = [(one.cost, place, one.trial) for place, one in enumerate(everybody)
             if one.cost is not None and one.trial in (winner.trial, *within)]  # fmt: skip
    return Verdict(
        kind=kind,
        words=("So far: " if going and kind not in ("open", "untold") else "") + _words(kind, winner, found, within),
        going=going,
        against=found,
        within=within,
        better=better,
        cheapest=min(costs)[2] if within and len({cost for cost, _, _ in costs}) > 1 else None,
        detectable=_detectable(everybody, comparisons=len(others)) if others else None,
        notes=tuple(_notes(kind, winner, others, found, metric=metric)),
    )


def unkept(trial: int, bound: str, violations: Sequence[float | None]) -> list[str]:
    """What to note of a configuration whose seeds break a bound by so much (None: not known); nothing where all keep
    it."""
    seeds = len(violations)
    broken = sum(by is not None and by > 0 for by in violations)
    unknown = sum(by is None for by in violations)
    notes = [f"Trial {trial} breaks {bound} with {broken} of {seeds} seeds."] if broken else []
    if unknown:
        notes.append(f"Whether trial {trial} keeps {bound} is not known of {unknown} of {seeds} seeds.")
    return notes


def _kind(winner: Tried, found: Sequence[Against], *, better: Sequence[int], within: Sequence[int]) -> Kind:
    if not winner.values:
        return "open"
    if len(winner.values) < FEWEST:
        return "untold"
    if not found:
        return "alone"
    if all(one.corrected is None for one in found):
        return "untold"
    if better:
        return "luck"
    return "noise" if within else "real"


def _words(kind: Kind, winner: Tried, found: Sequence[Against], within: Sequence[int]) -> str:
    name = f"trial {winner.trial}"
    if kind == "open":
        return f"No new seed of the winner, {name}, has a value yet."
    if kind == "untold":
        count = min([len(winner.values), *(FEWEST - 1 for one in found if one.corrected is None)])
        seeds = "One seed tells" if count == 1 else f"{count} seeds tell"
        return f"{seeds} nothing: the spread of so few is not known. Confirm with five."
    if kind == "alone":
        return f"The winner, {name}, was trained again with new seeds; there was nothing to compare it with."
    sure = [one for one in found if one.corrected is not None and one.corrected < ALPHA]
    if kind == "luck":
        ahead = sorted((one for one in sure if not one.ahead), key=lambda one: one.corrected or 0.0)
        verb = "is" if len(ahead) == 1 else "are"
        return f"The winner, {name}, was luck: {_trials([o.trial for o in ahead])} {verb} better ({_most(ahead)})."
    beaten = [one for one in sure if one.ahead]
    if kind == "real":
        return f"The winner is real: {name} is better than {_trials([o.trial for o in beaten])} ({_most(beaten)})."
    but = f"; better than {_trials([o.trial for o in beaten])} ({_most(beaten)})" if beaten else ""
    return f"The winner, {name}, is within noise of {_trials(within)}: choose by cost{but}."


def _notes(kind: Kind, winner: Tried, others: Sequence[Tried], found: Sequence[Against], *, metric: str) -> list[str]:
    everybody, notes = [winner, *others], []
    for one in everybody:
        if one.failed:
            seeds = one.failed + len(one.values) + one.open
            notes.append(
                f"Trial {one.trial} failed with {one.failed} of {seeds} seeds; its mean is of those that did not."
            )
    if kind == "noise":
        ahead = [one.trial for one in found if not one.ahead and one.difference != 0]
        if ahead:
            verb = "averages" if len(ahead) == 1 else "average"
            notes.append(f"{_trials(ahead).capitalize()} {verb} better than the winner; that could be luck.")
    tested = [one for one in everybody if len(one.values) >= 2]
    if tested and all(len(set(one.values)) == 1 for one in tested):
        notes.append(
            f"No seed changed {metric}: does the training use its seed? What is compared is one value of each."
        )
    if kind in ("real", "noise", "luck") and min(len(one.values) for one in everybody if one.values) < 5:
        notes.append("With fewer than five seeds only large differences show.")
    return notes


def _trials(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    shown = [str(n) for n in numbers[:6]]
    rest = len(numbers) - len(shown)
    last = f"{rest} more" if rest else shown.pop()
    return f"trials {', '.join(shown)} and {last}"


def _most(found: Sequence[Against]) -> str:
    """The largest corrected p of several."""
    p = max((one.corrected for one in found if one.corrected is not None), default=1.0)
    digits = 3 if round(p, 2) == ALPHA else 2  # 0.0496 is not 0.05
    said = "p < 0.001" if p < 0.001 else f"p = {p:.{digits}g}"
    return said if len(found) == 1 else said.replace("p =", "p ≤")


def _welch(a: Floats, b: Floats, difference: float) -> tuple[float, float]:
    """Half the width of Welch's interval, and his p."""
    spreads = [_sd(v) for v in (a, b)]
    unit = max(spreads) or 1.0  # squares of very large or small numbers would be none
    parts = [(sd / unit) ** 2 / v.size for sd, v in zip(spreads, (a, b), strict=True)]
    scale = math.sqrt(sum(parts))
    if scale == 0:  # no spread at all: only how the values can be shared out remains
        exact = math.comb(a.size + b.size, a.size) <= MOST_EXACT
        p = 1.0 if difference == 0 else compare_groups(a, b).p if exact else 0.0
        return 0.0, 1.0 if p is None else p
    shares = [part / scale**2 for part in parts]
    freedom = 1 / sum(share**2 / (v.size - 1) for share, v in zip(shares, (a, b), strict=True))
    half = student.quantile((1 + LEVEL) / 2, freedom) * scale * unit
    return half, student.two_sided_p(difference / unit / scale, freedom)


def _sd(values: Floats) -> float:
    """The sample standard deviation; exactly 0 where all are equal, and right for numbers of any size."""
    scale = float(np.ptp(values))
    return 0.0 if scale == 0 else float(((values - values.mean()) / scale).std(ddof=1)) * scale


def _detectable(everybody: Sequence[Tried], *, comparisons: int) -> float | None:
    """The difference of two means that would have been called real four times in five: (t(1 - α/2m) + t(0.8)) · s ·
    √(2/n), with the pooled spread s (Cohen 1988, §2.4, Student's in place of the normal distribution)."""
    groups = [np.asarray(one.values, dtype=np.float64) for one in everybody if len(one.values) >= FEWEST]
    if len(groups) < 2:
        return None
    n = min(group.size for group in groups)
    freedom = sum(group.size - 1 for group in groups)
    unit = max(map(_sd, groups)) or 1.0
    pooled = math.sqrt(sum((g.size - 1) * (_sd(g) / unit) ** 2 for g in groups) / freedom) * unit
    reach = student.quantile(1 - ALPHA / 2 / comparisons, 2 * (n - 1)) + student.quantile(POWER, 2 * (n - 1))
    return reach * pooled * math.sqrt(2 / n)


def pairs(seeds: int, configurations: int) -> list[tuple[int, int]]:
    """(seed, configuration) of every trial of a confirmation, in their order: all configurations with the first seed
    first, so that one that is stopped early has tried them all about equally often."""
    return list(itertools.product(range(seeds), range(configurations)))
