"""What the confirmed models give together: averaged predictions, uniform and chosen greedily. Pure.

Greedy is forward selection with replacement (Caruana, Niculescu-Mizil, Crew & Ksikes 2004, "Ensemble Selection from
Libraries of Models", ICML): again and again that model is added which makes the average best on the validation rows,
and of all the ensembles on the way the best one is kept. The validation rows have chosen it, so only the test rows say
what it gains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hpo_service.core.telling import difference

Array = npt.NDArray[Any]
Kind = Literal["classes", "values"]
STEPS = 50
WORK = 4_000_000_000
"""Predicted numbers that the selection may go through."""
LEVEL_Z = 1.959963984540054  # 95 % of a normal distribution
_LEAST = 1e-12  # a probability, where its logarithm is taken


@dataclass(frozen=True, kw_only=True)
class Model:
    """A confirmed model's predictions: probabilities [rows, classes] or values [rows]."""

    trial: int
    val: Array
    test: Array


@dataclass(frozen=True, kw_only=True)
class Right:
    """What is right: class numbers or values, [rows]; `test` is empty without test rows."""

    kind: Kind
    val: Array
    test: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One way to predict: `members` are (trial, weight), weights summing to 1."""

    name: str
    members: tuple[tuple[int, float], ...]
    val: float
    test: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ensemble:
    """Measured by `metric` (accuracy, loss, rmse or r2). `gain` is by how much the better of the two ensembles beats
    the single model, on the test rows where there are any, positive where it is better; its interval is for rows of
    the same kind (paired, normal; of accuracy and loss alone)."""

    metric: str
    maximize: bool
    single: Result
    uniform: Result
    greedy: Result
    gain_of: str
    gain: float
    low: float | None
    high: float | None
    rows: int
    tested: bool


def quality(metric: str, kind: Kind) -> str:
    """By what an ensemble is measured, for an objective's metric: the same of averaged predictions where that makes
    sense, else the loss."""
    name = metric.removeprefix("val_").removeprefix("test_")
    known = ("accuracy", "loss") if kind == "classes" else ("rmse", "r2")
    return name if name in known else ("loss" if kind == "classes" else "rmse")


def ensemble(models: Sequence[Model], right: Right, *, metric: str) -> Ensemble:
    """Of at least one model; `metric` as `quality` names it."""
    maximize = metric in ("accuracy", "r2")
    sign = 1.0 if maximize else -1.0

    def score(predicted: Array, truth: Array) -> float:
        return sign * _measure(metric, predicted, truth)

    singles = [score(one.val, right.val) for one in models]
    best = int(np.argmax(singles))
    weights = {
        "single": [(best, 1.0)],
        "uniform": [(i, 1.0 / len(models)) for i in range(len(models))],
        "greedy": _greedy(models, right.val, score, first=best),
    }
    tested = right.test.size > 0
    means = {
        name: (_mean(models, chosen, test=False), _mean(models, chosen, test=True) if tested else None)
        for name, chosen in weights.items()
    }
    results = {
        name: Result(
            name=name,
            members=tuple((models[i].trial, weight) for i, weight in weights[name]),
            val=_measure(metric, val, right.val),
            test=None if test is None else _measure(metric, test, right.test),
        )
        for name, (val, test) in means.items()
    }
    # Which of the two is offered is chosen on validation rows: to choose by test rows would use them up.
    offered = max(("uniform", "greedy"), key=lambda name: sign * results[name].val)
    part, truth = (1, right.test) if tested else (0, right.val)
    ours, theirs = means[offered][part], means["single"][part]
    assert ours is not None
    assert theirs is not None
    gain = sign * (_measure(metric, ours, truth) - _measure(metric, theirs, truth))
    half = _half(metric, ours, theirs, truth)
    return Ensemble(
        metric=metric,
        maximize=maximize,
        single=results["single"],
        uniform=results["uniform"],
        greedy=results["greedy"],
        gain_of=offered,
        gain=gain,
        low=None if half is None else gain - half,
        high=None if half is None else gain + half,
        rows=len(truth),
        tested=tested,
    )


def words(found: Ensemble, objective: str) -> str:
    """What it comes to in a sentence."""
    on = f"{found.rows:,} {'test' if found.tested else 'validation'} rows"
    members = len((found.greedy if found.gain_of == "greedy" else found.uniform).members)
    name = f"The {found.gain_of} ensemble of {members} model{'s' if members > 1 else ''}"
    if members == 1:
        return f"No ensemble is better on the validation rows than the best model alone ({objective})."
    if found.gain == 0:
        return f"{name} is as good on {on} as the best single model ({objective})."
    single = found.single.val if found.single.test is None else found.single.test
    much = f"{difference(abs(found.gain), found.metric, of=single, digits=3)} of {found.metric} on {on}"
    if found.low is None or found.high is None:
        return f"{name} {'gains' if found.gain > 0 else 'loses'} {much} over the best single model."
    low, high = (difference(bound, found.metric, of=single, digits=3) for bound in (found.low, found.high))
    interval = f"95 % interval {low.removesuffix(' points')} … {high}"
    if found.low <= 0 <= found.high:
        return f"{name} {'gains' if found.gain > 0 else 'loses'} {much}; that could be chance ({interval})."
    return f"{name} {'gains' if found.gain > 0 else 'loses'} {much} over the best single model ({interval})."


def _measure(metric: str, predicted: Array, truth: Array) -> float:
    if metric == "accuracy":
        return float(np.mean(predicted.argmax(1) == truth))
    if metric == "loss":
        return float(np.mean(_row_losses(predicted, truth)))
    error = float(np.mean((predicted.astype(np.float64) - truth) ** 2))
    if metric == "rmse":
        return math.sqrt(error)
    return 1.0 - error / max(float(np.var(truth.astype(np.float64))), 1e-12)


def _row_losses(predicted: Array, truth: Array) -> Array:
    chosen = predicted[np.arange(len(truth)), truth].astype(np.float64)
    found: Array = -np.log(np.maximum(chosen, _LEAST))
    return found


def _half(metric: str, ours: Array, theirs: Array, truth: Array) -> float | None:
    """Half the interval of the mean difference, row by row; None where the metric is no mean over rows."""
    if len(truth) < 2 or metric not in ("accuracy", "loss"):
        return None
    if metric == "loss":
        each = _row_losses(ours, truth) - _row_losses(theirs, truth)
    else:
        each = (ours.argmax(1) == truth).astype(np.float64) - (theirs.argmax(1) == truth)
    return LEVEL_Z * float(each.std(ddof=1)) / math.sqrt(len(truth))


def _mean(models: Sequence[Model], chosen: Sequence[tuple[int, float]], *, test: bool) -> Array:
    total: Array = sum(  # type: ignore[assignment]  # at least one
        weight * (models[i].test if test else models[i].val).astype(np.float64) for i, weight in chosen
    )
    return total


def _greedy(models: Sequence[Model], truth: Array, score: Any, *, first: int) -> list[tuple[int, float]]:
    steps = max(1, min(STEPS, WORK // max(1, len(models) * models[0].val.size)))
    chosen, total = [first], models[first].val.astype(np.float64)
    best, kept = score(total, truth), 1
    for size in range(2, steps + 1):
        scores = [score((total + one.val) / size, truth) for one in models]
        added = int(np.argmax(scores))
        chosen.append(added)
        total = total + models[added].val
        if scores[added] > best + 1e-12:
            best, kept = scores[added], size
    counts = {i: chosen[:kept].count(i) for i in sorted(set(chosen[:kept]))}
    return [(i, count / kept) for i, count in counts.items()]
