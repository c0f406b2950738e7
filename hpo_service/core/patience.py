"""`patience: auto`: is what one more trial is expected to bring worth what it costs?

Drawing on from an unknown pile of boxes, each opened at a cost, the best rule stops once the expected improvement of
the best value by the next box is less than its cost (Weitzman, *Optimal Search for the Best Alternative*, 1979;
DeGroot, *Optimal Statistical Decisions*, 1970, section 13.5: for equal boxes this rule is optimal). Xie et al.,
*Cost-aware Stopping for Bayesian Optimization*, 2025, carry it over to models: stop where the model's expected
improvement is below the cost everywhere. Makarova et al., *Automatic Termination for Hyperparameter Optimization*
(AutoML 2022), add that a gain below the noise of the objective is none.

Here: the arithmetic, over plain numbers; scores are values with their sign turned so that more is better. Not here:
which trials count and in what order (`core.budget`), who models (`samplers`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEAST_TRIALS = 30
"""No study is judged before so many of its trials were."""
LEAST_VALUES = 10
"""Values at the highest resource from which a tail is estimated; with fewer the study goes on."""
AHEAD = 0.5
"""Where nobody said what a gain is worth, going on means half as much again as was done so far."""
SHARE = 0.04
"""Of the distance from the upper quartile of the first values to the best: half as much again that brings less is not
worth it. A quartile, for up to three quarters of all configurations may well diverge."""
FIRST = 20
"""So many first values tell where the search began."""
STALE, STALE_TRIALS = 0.02, 500
"""In any case a study of so many trials ends once its last improvement came in the first fiftieth of them: rare where
trials are alike, and sure to come some day."""
WITHOUT_VALUE = 100
"""So many trials none of which gave a value end a study."""
GAINS = 5
"""The mean of so many last expectations of a model counts."""
JUDGED = 10
"""So many of the best curves tell how much the objective jumps about."""
_SHAPES = np.linspace(-1.0, 0.0, 9)
_SCALES = np.exp(np.linspace(math.log(0.25), math.log(8.0), 25))
_FAR = 1e300
"""So many mean excesses away nothing is expected any more; infinity times the shape 0 would be no number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What the definition says: gains up to `min_delta` are none; `worth`: dollars for one unit of the objective."""

    min_delta: float = 0.0
    worth: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What the trials judged so far tell. `scores` are of those that came furthest, in the order of their numbers.

    `last`: the number of the newest judged trial; `trials`: how many were; `trainings`: as how many whole trainings
    they count; `dollars`: what they cost; `gains`: a model's last expectations, per whole training; `noise`: standard
    deviation of one value, None where it is not known; `adapts`: later configurations are better chosen than earlier.
    """

    metric: str
    last: int
    trials: int
    trainings: float
    dollars: float
    scores: Floats
    numbers: Sequence[int]
    gains: Sequence[float] = ()
    noise: float | None = None
    adapts: bool = False


def verdict(outlook: Outlook, terms: Terms) -> str | None:
    """Why going on is not worth it, with its figures; None while it is, or while nobody can tell."""
    if outlook.trials < LEAST_TRIALS:
        return None
    after = f"budget.patience: auto, after trial {outlook.last}"
    if not len(outlook.scores):
        return f"{after}: none of {outlook.trials} trials gave a value" if outlook.trials >= WITHOUT_VALUE else None
    found = _gain(outlook)
    if found is not None:
        gain, unit, done = found
        poor = _too_dear(outlook, terms, gain, done) or _too_little(outlook, terms, gain, unit, done)
        if poor is not None:
            return f"{after}: {poor}"
    return _stale(outlook, terms, after)


def _gain(outlook: Outlook) -> tuple[float, str, float] | None:
    """The gain expected of one more, one more what, and how many of them there were."""
    if len(outlook.gains) >= GAINS:
        return math.fsum(outlook.gains[-GAINS:]) / GAINS, "training", max(outlook.trainings, 1.0)
    recent, drawn = outlook.scores, outlook.trials
    if outlook.adapts:  # those before were drawn from another pile
        recent, drawn = recent[len(recent) // 2 :], drawn - drawn // 2
    if len(recent) < LEAST_VALUES:
        return None
    gain = expected_gain(recent, drawn, best=float(outlook.scores.max()))
    return gain, "trial", float(outlook.trials)


def _too_dear(outlook: Outlook, terms: Terms, gain: float, done: float) -> str | None:
    """Against its price, where both are known."""
    price = outlook.dollars / done
    if terms.worth is None or price <= 0 or gain * terms.worth > price:
        return None
    return (
        f"the next one is expected to improve {outlook.metric} by {gain:.3g}, worth ${gain * terms.worth:.2g} at "
        f"${terms.worth:g} per unit (budget.worth), and costs ${price:.2g}"
    )


def _too_little(outlook: Outlook, terms: Terms, gain: float, unit: str, done: float) -> str | None:
    """Against noise, `min_delta`, and, where nobody said what a gain is worth, what the search has brought so far."""
    more = max(1, math.ceil(AHEAD * done))
    span = float(outlook.scores.max() - np.quantile(outlook.scores[:FIRST], 0.75))
    floors = [(terms.min_delta, "budget.min_delta")]
    if outlook.noise is not None:
        floors.append((outlook.noise, "the noise at the end of the best curves"))
    if terms.worth is None or outlook.dollars <= 0:
        floors.append((SHARE * span, f"{100 * SHARE:g} % of what was gained on the best quarter of its first values"))
    least, name = max(floors)
    if gain * more > least:
        return None
    return (
        f"{more} more {unit}s, half as many again, are expected to improve {outlook.metric} by at most "
        f"{gain * more:.3g}, no more than {name}, {least:.3g}"
    )


def _stale(outlook: Outlook, terms: Terms, after: str) -> str | None:
    """That every study ends, whatever its values: the last improvement is long ago."""
    best, last = -math.inf, 0
    for score, number in zip(outlook.scores.tolist(), outlook.numbers, strict=True):
        if score > best + terms.min_delta:
            best, last = score, number
    if outlook.trials < STALE_TRIALS or last >= STALE * outlook.last:
        return None
    return f"{after}: no improvement by more than {terms.min_delta:g} since trial {last}"


def expected_gain(scores: Sequence[float] | Floats, drawn: int, *, best: float | None = None) -> float:
    """By how much the next of equal trials is expected to improve on the best score, in the objective's units.

    `scores`: what the trials that came far enough reached; `drawn`: how many trials that took; `best`: the best of all,
    where that is none of them. With F the distribution of a trial's score this is the integral of 1 - F from the best
    score on. The best quarter of the scores (5 to 30 of them) over the next best one is taken for the tail of a
    generalised Pareto distribution (Pickands 1975), whose shape, from -1 (uniform, with an end) to 0 (exponential,
    without), and scale are integrated out over a grid, under a flat prior on shape and log scale. 0 where the best
    scores are all equal. Raises ValueError for fewer than 6 scores.
    """
    ordered = np.sort(np.asarray(scores, dtype=float))[::-1]
    if len(ordered) < 6:
        raise ValueError(f"a tail is estimated from at least 6 scores, but got {len(ordered)}; wait for more trials")
    count = max(5, min(30, len(ordered) // 4))
    excess = ordered[:count] - ordered[count]
    mean = float(excess.mean())
    if mean == 0 or math.isinf(mean):
        return mean
    highest = max(float(excess[0]), -math.inf if best is None else best - float(ordered[count]))
    return _beyond(excess / mean, min(highest / mean, _FAR)) * mean * count / drawn


def _beyond(excess: Floats, highest: float) -> float:
    """The integral of a generalised Pareto tail's survival function from `highest` on: its posterior mean, given
    excesses over a threshold, largest first, of mean 1. For shape x and scale s: s/(1-x) (1 + x highest/s)^(1-1/x)."""
    shape, scale = _SHAPES[:, None], _SCALES[None, :]
    curved = shape < 0
    power = 1.0 / np.where(curved, shape, -1.0)
    inner = 1.0 + shape * excess[:, None, None] / scale  # (excesses, shapes, scales); positive within the support
    inside = inner[0] > 0
    logs = np.log(np.where(inner > 0, inner, 1.0)).sum(axis=0)
    likelihood = -len(excess) * np.log(scale) - np.where(curved, (1.0 + power) * logs, float(excess.sum()) / scale)
    likelihood = np.where(inside, likelihood, -np.inf)
    weight = np.exp(likelihood - likelihood.max())
    rest = np.maximum(0.0, 1.0 + shape * highest / scale)
    above = np.where(curved, scale / (1.0 - shape) * rest ** (1.0 - power), scale * np.exp(-highest / scale))
    return float((weight * above).sum() / weight.sum())


def jitter(values: Sequence[float]) -> float | None:
    """How much the end of a learning curve jumps about: the standard deviation of one report, from the second
    differences of the last nine, which a slope does not show in. None for fewer than five reports."""
    end = np.asarray(values[-9:], dtype=float)
    end = end[np.isfinite(end)]
    if len(end) < 5:
        return None
    bends = end[:-2] - 2 * end[1:-1] + end[2:]
    return float(np.sqrt(np.mean(bends**2) / 6))
