"""A past study as a problem: its space, its trials' curves, and a model of the curves between them.

A configuration that the study trained gets its recorded curve; any other the mean of its nearest trials' curves, where
nearness is measured in the unit cube, by parameter as much as it mattered. Where a trial was stopped early, the rest of
its curve is its neighbours'. One that breaks a constraint is as bad as the worst value of all, at any epoch; what is
forbidden fails at once. How far that can be trusted is measured: each trial is told from all others, and the ranks that
come out are compared with the true ones. Reads no study: `cli.benching` does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_service.bench.problems.base import Floats, Problem
from hpo_service.bench.runs import Decisions, Run, Scale
from hpo_service.errors import InvalidInput
from search_spaces import SearchSpace

Ints = npt.NDArray[np.intp]

LEAST_TRIALS = 8
MOST_EPOCHS = 200
"""Levels of resource that curves are told apart at."""
NEIGHBOURS = (1, 3, 5, 10)
"""How many trials the model may take the mean of; the number that tells trials best from all others is taken."""
DRAWS = 256
"""Random configurations whose median by the model is 1 on the scale of regret."""


@dataclass(frozen=True, kw_only=True)
class PastTrial:
    """`resources` ascend; NaN in `values` where a report was no number. `failed`: it ended by an error. `broken`: it is
    known to break a constraint."""

    params: Mapping[str, Any]
    resources: tuple[float, ...]
    values: tuple[float, ...]
    failed: bool = False
    broken: bool = False


@dataclass(frozen=True, kw_only=True)
class PastStudy:
    """What a study recorded, in the order of its trials. `max_resource`: a full training, as its definition has it;
    None where it does not say, and the furthest that a trial came is one."""

    name: str
    algorithm: str
    space: Mapping[str, Any]
    maximize: bool
    trials: tuple[PastTrial, ...]
    forbid: Sequence[Mapping[str, Any]] = ()
    max_resource: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How well trials are told from all others: Spearman's rank correlation of their best values up to `epoch`, of the
    `trials` that came as far."""

    trials: int
    epoch: int
    correlation: float
    neighbours: int

    @property
    def verdict(self) -> str:
        """What to make of it."""
        if self.correlation >= 0.7:
            said = "the model knows this space well"
        elif self.correlation >= 0.4:
            said = "the model knows roughly where it is good: trust differences that are large"
        else:
            said = "the model hardly tells good configurations from bad ones: do not trust what follows"
        return (
            f"rank correlation {self.correlation:.2f} when each of {self.trials} trials is told from the others; {said}"
        )


class Model:
    """The curves of a study's trials on a common grid of `epochs`, and of what lies between them.

    `points` (n, columns) is the unit cube with a column per value of a choice; `curves` (n, epochs) is NaN beyond what
    was recorded; losses, so that smaller is better. Trials are compared at the epoch `judged`, where the trials that
    came as far were trained the longest altogether.
    """

    def __init__(self, study: PastStudy) -> None:
        self.space = SearchSpace.from_definition(dict(study.space), study.forbid)
        self.sign = -1.0 if study.maximize else 1.0
        trials = [trial for trial in _within(study) if trial.resources]
        if len(trials) < LEAST_TRIALS:
            raise InvalidInput(
                f"a past study needs at least {LEAST_TRIALS} trials with reports, but {study.name} has {len(trials)}",
                remedy="take a study with more",
            )
        if all(trial.broken for trial in trials):
            raise InvalidInput(
                f"a past study needs trials that keep its constraints, but none of {study.name} does",
                remedy="take a study where some do",
            )
        self.unit, self.epochs = _grid(trials, study.max_resource)
        self.points = np.array([self.point(trial.params) for trial in trials])
        self.curves = np.array([self._curve(trial) for trial in trials])
        self.reached = np.array([self._epoch(trial.resources[-1]) for trial in trials])
        self.failed = np.array([trial.failed for trial in trials])
        self.broken = np.array([trial.broken for trial in trials])
        broken = np.isfinite(self.curves) & self.broken[:, None]
        if broken.any():
            self.curves[broken] = self.curves[np.isfinite(self.curves)].max()
        running = np.minimum.accumulate(np.where(np.isfinite(self.curves), self.curves, np.inf), axis=1)
        self.losses = running[:, -1]  # of each trial, wherever it ended
        came = [int((self.reached >= epoch).sum()) for epoch in range(1, self.epochs + 1)]
        self.judged = 1 + int(np.argmax(np.array(came) * np.arange(1, self.epochs + 1)))
        self._judged = np.where(self.reached >= self.judged, running[:, self.judged - 1], np.nan)
        self.weights = self._relevance()
        self.trust = self._choose()

    def point(self, params: Mapping[str, Any]) -> Floats:
        """The configuration in the cube; 0.5 for parameters that it does not have."""
        found: list[float] = []
        for name, parameter in self.space.parameters.items():
            values = list(getattr(parameter, "values", ()) or ())
            if values and type(parameter).__name__ == "Choice":
                found += [float(name in params and params[name] == value) / math.sqrt(2) for value in values]
            else:
                found.append(parameter.to_unit(params[name]) if name in params else 0.5)
        return np.array(found)

    def _epoch(self, resource: float) -> int:
        return max(1, min(self.epochs, math.ceil(resource / self.unit - 1e-9)))

    def _curve(self, trial: PastTrial) -> Floats:
        """Losses on the grid: each report holds until the next; the first from the beginning on."""
        curve = np.full(self.epochs, np.nan)
        at = 0
        for resource, value in zip(trial.resources, trial.values, strict=True):
            epoch = self._epoch(resource)
            curve[at if at else 0 : epoch] = self.sign * value if at == 0 else curve[at - 1]
            curve[epoch - 1] = self.sign * value
            at = epoch
        return curve

    def _relevance(self) -> Floats:
        """Weights of the columns: squared rank correlation with the losses, or that of the distance from the mean of
        the best third; never 0."""
        there = np.isfinite(self._judged)
        points, losses = self.points[there], self._judged[there]
        if len(losses) < 3:
            return np.ones(self.points.shape[1])
        ranks = _ranks(losses)
        best = points[np.argsort(losses, kind="stable")[: max(3, len(ranks) // 3)]].mean(axis=0)
        columns = zip(points.T, best, strict=True)
        found = [max(_correlation(_ranks(x), ranks) ** 2, _correlation(abs(x - at), ranks) ** 2) for x, at in columns]
        return 0.05 + np.array(found)

    def _distances(self, point: Floats) -> Floats:
        return np.asarray(np.square(self.points - point) @ self.weights, dtype=np.float64)

    def _choose(self) -> Trust:
        rows = np.flatnonzero(np.isfinite(self._judged))
        true = _ranks(self._judged[rows])
        scored = [
            (_correlation(_ranks(np.array([self._told(row, rows, count) for row in rows])), true), count)
            for count in NEIGHBOURS
            if count < len(rows)
        ]
        correlation, self.neighbours = max(scored, key=lambda one: one[0], default=(0.0, 1))
        return Trust(trials=len(rows), epoch=self.judged, correlation=correlation, neighbours=self.neighbours)

    def _told(self, row: np.intp, rows: Ints, count: int) -> float:
        """The row's loss as the others of `rows` tell it."""
        others = rows[rows != row]
        distances = self._distances(self.points[row])[others]
        near = np.argsort(distances, kind="stable")[:count]
        return float(np.average(self._judged[others[near]], weights=1 / (distances[near] + 1e-6)))

    def nearest(self, params: Mapping[str, Any]) -> tuple[int, bool]:
        """The nearest trial, and whether it is the configuration itself."""
        distances = self._distances(self.point(params))
        row = int(np.argmin(distances))
        return row, bool(distances[row] < 1e-18)

    def loss_curve(self, params: Mapping[str, Any]) -> Floats:
        """Losses after each epoch: recorded ones where the configuration was trained, else of the model."""
        point = self.point(params)
        row, same = self.nearest(params)
        if not same:
            return self._modelled(point, without=-1)
        recorded: Floats = self.curves[row]
        reached = int(self.reached[row])
        if reached == self.epochs or self.failed[row] or not np.isfinite(recorded[reached - 1]):
            return recorded
        rest = self._modelled(point, without=row)
        shift = recorded[reached - 1] - rest[reached - 1]
        rest += shift if np.isfinite(shift) else 0.0
        rest[:reached] = recorded[:reached]
        return rest

    def _modelled(self, point: Floats, *, without: int) -> Floats:
        """The weighted mean of the nearest curves, epoch by epoch, of the trials that came as far; it goes on from one
        epoch to the next by the mean step of those that have both, so that who leaves early leaves no jump."""
        distances = self._distances(point)
        if without >= 0:
            distances[without] = np.inf
        near = np.argsort(distances, kind="stable")
        weights = 1 / (distances + 1e-6)
        curve = np.empty(self.epochs)
        near = near[np.isfinite(distances[near])]
        first = [row for row in near if np.isfinite(self.curves[row, 0])][: self.neighbours]
        if not first:
            return np.full(self.epochs, np.nan)
        curve[0] = np.average(self.curves[first, 0], weights=weights[first])
        steps = np.diff(self.curves, axis=1)
        for epoch in range(1, self.epochs):
            column = steps[:, epoch - 1]
            rows = near[np.isfinite(column[near])][: self.neighbours]
            curve[epoch] = curve[epoch - 1] + (np.average(column[rows], weights=weights[rows]) if len(rows) else 0.0)
        return curve

    def fails_after(self, params: Mapping[str, Any]) -> int | None:
        """As the nearest trial did; at once where a clause forbids it."""
        if self.space.is_forbidden(params):
            return 0
        row, _ = self.nearest(params)
        return int(self.reached[row]) if self.failed[row] else None


@functools.lru_cache(maxsize=8)
def _model(study: _Same) -> Model:
    return Model(study.study)


class _Same:
    """A study as a key: by identity, for it holds mappings."""

    def __init__(self, study: PastStudy) -> None:
        self.study = study

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.study is self.study

    def __hash__(self) -> int:
        return id(self.study)


def model_of(study: PastStudy) -> Model:
    """The study's model, made once. Raises InvalidInput where it has too few trials."""
    return _model(_Same(study))


def problem_of(study: PastStudy) -> Problem:
    """The study as a problem; the scale of regret goes from its best recorded value to the median of random
    configurations by the model. Raises InvalidInput where it has too few trials."""
    model = model_of(study)
    rng = np.random.default_rng(0)
    drawn = [model.space.sample(rng) for _ in range(DRAWS)]
    curves = [model.loss_curve(params)[: model.fails_after(params)] for params in drawn]
    losses = [float(np.nanmin(curve)) if np.isfinite(curve).any() else math.inf for curve in curves]
    return Problem(
        collection="study",
        name=study.name,
        space=study.space,
        forbid=study.forbid,
        max_resource=model.epochs,
        maximize=study.maximize,
        best=float(model.sign * model.losses.min()),
        median=float(model.sign * np.median(losses)),
        curves=lambda params: model.sign * model.loss_curve(params),
        fails_after=model.fails_after,
    )


def as_it_ran(study: PastStudy, *, budget: float) -> Run:
    """The study's own search as one worker would have walked it, trial after trial."""
    model, problem = model_of(study), problem_of(study)
    spent, trace, best = 0, list[tuple[float, float]](), math.inf
    for curve, reached in zip(model.curves, model.reached, strict=True):
        for epoch in range(int(reached)):
            if np.isfinite(curve[epoch]) and curve[epoch] < best:
                best = float(curve[epoch])
                trace.append(((spent + epoch + 1) / model.epochs, model.sign * best))
        spent += int(reached)
    return Run(
        method=f"as it ran ({study.algorithm})",
        collection=problem.collection,
        problem=problem.name,
        seed=0,
        workers=1,
        budget=budget,
        scale=Scale(best=problem.best, median=problem.median, maximize=problem.maximize),
        trace=tuple(point for point in trace if point[0] <= budget + 1e-9),
        decisions=Decisions(),
        trials=len(model.reached),
        epochs=float(spent),
    )


def _within(study: PastStudy) -> list[PastTrial]:
    """The trials as far as a full training goes."""
    far = math.inf if study.max_resource is None else study.max_resource * (1 + 1e-9)
    counts = [sum(resource <= far for resource in trial.resources) for trial in study.trials]
    return [
        replace(trial, resources=trial.resources[:count], values=trial.values[:count])
        for trial, count in zip(study.trials, counts, strict=True)
    ]


def _grid(trials: list[PastTrial], max_resource: float | None = None) -> tuple[float, int]:
    """The unit of resource and how many of it a full training has."""
    furthest = max(trial.resources[-1] for trial in trials)
    full = max_resource or furthest
    every = [full, *(resource for trial in trials for resource in trial.resources)]
    if all(abs(resource - round(resource)) < 1e-9 and resource >= 1 for resource in every):
        unit = math.gcd(*map(round, every))
        if full / unit <= MOST_EPOCHS:
            return float(unit), round(full / unit)
    reports = max(len(trial.resources) for trial in trials)
    steps = min(MOST_EPOCHS, math.ceil(reports * full / furthest))
    return full / steps, steps


def _ranks(values: Floats) -> Floats:
    """Ranks from 0, ties sharing theirs."""
    order = np.sort(values)
    return (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right") - 1) / 2.0


def _correlation(one: Floats, other: Floats) -> float:
    """Pearson's, 0 where one of them does not vary."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
