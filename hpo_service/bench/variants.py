"""Harder variants of any problem, to see what a search withstands: each degrades a problem in one way.

`one-parameter` all parameters but the one that matters most have no effect. `failing` 30 % of the configurations raise
somewhere on their way. `noisy` the noise of the curves is doubled. `plateau` whatever is worse than the median of
random configurations looks alike. All are pure functions of the problem: every method meets the same.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hpo_service.bench.problems.base import Floats, Problem
from hpo_service.errors import InvalidInput
from hpo_service.executors.keyed import normal, uniform

Params = Mapping[str, Any]
FAILING = 0.3
DRAWS = 256
"""Random configurations that a variant looks at to find scales."""
WINDOW = 5
"""Epochs of the running mean that noise is told from."""
LEAST_NOISE = 0.01
"""Of the span from median to best: what a curve without noise of its own gets."""


def vary(problem: Problem, name: str) -> Problem:
    """The problem's variant; itself for an empty name. Raises InvalidInput for an unknown one."""
    if not name:
        return problem
    if name not in VARIANTS:
        raise InvalidInput(f"a variant is one of {', '.join(VARIANTS)}, but got {name!r}")
    return dataclasses.replace(VARIANTS[name](problem), variant=name, _known={})


def one_parameter(problem: Problem) -> Problem:
    """All other parameters are as the best of some random configurations has them. `best` and `median` are of random
    values of the one that stays."""
    drawn, values = _drawn(problem)
    keeps = max(problem.space, key=lambda name: _explained([params.get(name) for params in drawn], values))
    anchor = drawn[int(np.argmin(values))]

    def pinned(params: Params) -> Params:
        return {**anchor, keeps: params[keeps]} if keeps in params else anchor

    found = np.array([_loss(problem, pinned(params)) for params in drawn])
    sign = -1.0 if problem.maximize else 1.0
    return dataclasses.replace(
        problem,
        best=sign * float(found.min()),
        median=sign * float(np.median(found)),
        curves=lambda params: problem.curve(pinned(params)),
        speed=lambda params: problem.speed(params),
        fails_after=lambda params: problem.fails_after(pinned(params)),
    )


def failing(problem: Problem) -> Problem:
    """Which configurations fail, and when, is drawn by the configuration."""

    def fails_after(params: Params) -> int | None:
        key = _key(params)
        own = problem.fails_after(params)
        if uniform(key, 1) >= FAILING:
            return own
        drawn = int(uniform(key, 2) * problem.max_resource)
        return drawn if own is None else min(own, drawn)

    return dataclasses.replace(problem, fails_after=fails_after)


def noisy(problem: Problem) -> Problem:
    """Noise is what a curve has beside its running mean; its standard deviation, of many curves together, is doubled by
    independent normal noise of √3 times it. Curves too short for a running mean count as without noise."""
    drawn, _ = _drawn(problem)
    rests = np.concatenate([_rest(problem.curve(params)) for params in drawn[: DRAWS // 4]])
    known = np.square(rests[np.isfinite(rests)])
    typical = math.sqrt(float(np.median(known)) / 0.4549) if len(known) else 0.0  # 0.4549: the median of χ² with 1
    scale = max(math.sqrt(3) * typical, LEAST_NOISE * abs(problem.best - problem.median))

    def curves(params: Params) -> Floats:
        key, plain = _key(params), problem.curve(params)
        return plain + scale * np.array([normal(key, 3, epoch) for epoch in range(len(plain))])

    return dataclasses.replace(problem, curves=curves)


def plateau(problem: Problem) -> Problem:
    """Values worse than `median` are `median`: half of all configurations never leave the plateau."""
    limit = np.fmax if problem.maximize else np.fmin

    def curves(params: Params) -> Floats:
        plain = problem.curve(params)
        return np.where(np.isnan(plain), np.nan, limit(plain, problem.median))

    return dataclasses.replace(problem, curves=curves)


VARIANTS: Mapping[str, Callable[[Problem], Problem]] = {
    "one-parameter": one_parameter,
    "failing": failing,
    "noisy": noisy,
    "plateau": plateau,
}


def _drawn(problem: Problem) -> tuple[list[Params], Floats]:
    """Random configurations with their losses, the same ones at any time."""
    space, rng = problem.search_space, np.random.default_rng(0)
    drawn: list[Params] = [space.sample(rng) for _ in range(DRAWS)]
    return drawn, np.array([_loss(problem, params) for params in drawn])


def _loss(problem: Problem, params: Params) -> float:
    """The best value of the curve, to be minimised; infinite where there is none."""
    values = problem.curve(params) * (-1.0 if problem.maximize else 1.0)
    return float(np.nanmin(values)) if np.isfinite(values).any() else math.inf


def _explained(column: list[Any], losses: Floats) -> float:
    """How much of the ranks' variance lies between eight groups of equal size (or a choice's values): the correlation
    ratio of one parameter."""
    ranks = losses.argsort().argsort().astype(float)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in column):
        groups = np.array_split(np.argsort(np.array(column), kind="stable"), 8)
    else:
        names = sorted({repr(value) for value in column})
        groups = [np.array([i for i, value in enumerate(column) if repr(value) == name]) for name in names]
    return float(sum(len(group) * (ranks[group].mean() - ranks.mean()) ** 2 for group in groups))


def _rest(curve: Floats) -> Floats:
    """What is left of a curve without its running mean, from the window's middle on; scaled to the noise's size."""
    if len(curve) < WINDOW:
        return np.zeros(0)
    smooth = np.convolve(curve, np.full(WINDOW, 1 / WINDOW), mode="valid")
    middle = WINDOW // 2
    return (curve[middle : middle + len(smooth)] - smooth) / math.sqrt(1 - 1 / WINDOW)


@functools.lru_cache(maxsize=4096)
def _hashed(text: str) -> int:
    return zlib.crc32(text.encode())


def _key(params: Params) -> int:
    return _hashed(repr(sorted(params.items())))
