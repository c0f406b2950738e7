"""A past study as a problem: its space, its trials' curves, and a model of the curves between them.

A configuration that the study trained gets its recorded curve; any other the mean of its nearest trials' curves, where
nearness is measured in the unit cube, by parameter as much as it mattered. Where a trial was stopped early, the rest of
its curve is its neighbours'. One that breaks a constraint is as bad as the worst value of all, at any epoch; what is
forbidden, or failed before its first report, fails at once. How far that can be trusted is measured: each trial is told
from all others, and the ranks that come out are compared with the true ones. Reads no study: `cli.benching` does.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_service.bench.problems.base import Floats, Problem
from hpo_service.bench.runs import Decisions, Run, Scale
from hpo_service.core import likeness
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
    """`resources` ascend; NaN in `values` where a report was no number. Of resource 0 alone: only the value was told.
    `failed`: it ended by an error. `broken`: it is known to break a constraint."""

    params: Mapping[str, Any]
    resources: tuple[float, ...]
    values: tuple[float, ...]
    failed: bool = False
    broken: bool = False


@dataclass(frozen=True, kw_only=True)
class PastStudy:
    """What a study recorded, in the order of its trials. `max_resource`: a full training, as its definition has it;
    None where it does not say, and the furthest that a trial came is one. `fidelity`: what resource is, as the
    definition has it. `objectives`: their metrics; the values are of the first."""

    name: str
    algorithm: str
    space: Mapping[str, Any]
    maximize: bool
    trials: tuple[PastTrial, ...]
    forbid: Sequence[Mapping[str, Any]] = ()
    max_resource: float | None = None
    fidelity: str = "epochs"
    objectives: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """A digest of all but its name: another one once it has grown."""
        told = json.dumps(asdict(replace(self, name="")), sort_keys=True, default=repr)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def anew(self) -> bool:
        """Whether a trial begins from zero at each level."""
        return self.fidelity != "epochs"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How well trials are told from all others: Spearman's rank correlation of their best values up to `epoch`, of the
    `trials` that came as far. `caveats`: what else to know, a line each."""

    trials: int
    epoch: int
    correlation: float
    neighbours: int
    caveats: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """What to make of it: a line, and one for each caveat."""
        if self.correlation >= 0.7:
            said = "the model knows this space well"
        elif self.correlation >= 0.4:
            said = "the model knows roughly where it is good: trust differences that are large"
        else:
            said = "the model hardly tells good configurations from bad ones: do not trust what follows"
        told = f"rank correlation {self.correlation:.2f} when each of {self.trials} trials is told from the others"
        return "\n  ".join([f"{told}; {said}", *self.caveats])


class Model:
    """The curves of a study's trials on a common grid of `epochs`, and of what lies between them.

    `points` (n, columns) is the unit cube with a column per value of a choice; `curves` (n, epochs) is NaN beyond what
    was recorded; losses, so that smaller is better. Trials are compared at the epoch `judged`, where the trials that
    came as far were trained the longest altogether.
    """

    def __init__(self, study: PastStudy) -> None:
        self.space = SearchSpace.from_definition(dict(study.space), study.forbid)
        self.sign = -1.0 if study.maximize else 1.0
        trials, caveats = _known(study, self.space)
        _check(study, trials)
        self.unit, self.epochs = _grid(trials, study.max_resource, anew=study.anew)
        self.points = np.array([self.point(trial.params) for trial in trials])
        self.curves = np.array([self._curve(trial) for trial in trials])
        self.levels = [sorted(set(map(self._epoch, trial.resources))) for trial in trials]
        self.reached = np.array([levels[-1] if levels else 0 for levels in self.levels])
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
        self.trust = replace(self._choose(), caveats=caveats)

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
        """The nearest trial, and whether it is the configuration itself. Of several in one place one that did not fail:
        a failed trial may have been retried."""
        distances = self._distances(self.point(params))
        rows = np.flatnonzero(distances <= distances.min() + 1e-18)
        row = int(rows[np.argmin(self.failed[rows])])
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
    """The study's model, made once. Raises InvalidInput where its trials make none."""
    return _model(_Same(study))


def problem_of(study: PastStudy) -> Problem:
    """The study as a problem; the scale of regret goes from its best recorded value to the median of random
    configurations by the model, or of those that come to a value where most fail. Raises InvalidInput where its trials
    make no model."""
    model = model_of(study)
    rng = np.random.default_rng(0)
    drawn = [model.space.sample(rng) for _ in range(DRAWS)]
    curves = [model.loss_curve(params)[: model.fails_after(params)] for params in drawn]
    losses = np.array([float(np.nanmin(curve)) if np.isfinite(curve).any() else math.inf for curve in curves])
    if not np.isfinite(np.median(losses)):
        finite = losses[np.isfinite(losses)]
        losses = finite if len(finite) else model.losses[np.isfinite(model.losses)]
    return Problem(
        collection="study",
        name=study.name,
        space=study.space,
        forbid=study.forbid,
        identity=study.identity,
        max_resource=model.epochs,
        maximize=study.maximize,
        best=float(model.sign * model.losses.min()),
        median=float(model.sign * np.median(losses)),
        curves=lambda params: model.sign * model.loss_curve(params),
        fails_after=model.fails_after,
    )


def as_it_ran(study: PastStudy, *, budget: float) -> Run:
    """The study's own search as one worker would have walked it, trial after trial; levels that begin from zero are
    each paid in full."""
    model, problem = model_of(study), problem_of(study)
    spent, trace, best = 0, list[tuple[float, float]](), math.inf
    for curve, levels in zip(model.curves, model.levels, strict=True):
        reached = levels[-1] if levels else 0
        for epoch in levels if study.anew else range(1, reached + 1):
            spent += epoch if study.anew else 1
            if np.isfinite(curve[epoch - 1]) and curve[epoch - 1] < best:
                best = float(curve[epoch - 1])
                trace.append((spent / model.epochs, model.sign * best))
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


def _check(study: PastStudy, trials: list[PastTrial]) -> None:
    """Raises InvalidInput where the trials make no model."""
    told = [trial for trial in trials if trial.resources]
    if study.algorithm == "pbt":
        raise InvalidInput(
            "a past study needs trials that were trained from the beginning, but those of a pbt study go on from their "
            f"parents' weights, and {study.name} is one",
            remedy="take a study of another algorithm",
        )
    if len(told) < LEAST_TRIALS:
        raise InvalidInput(
            f"a past study needs at least {LEAST_TRIALS} trials with reports, but {study.name} has {len(told)}",
            remedy="take a study with more; those that its space does not know do not count",
        )
    if all(trial.broken for trial in told):
        raise InvalidInput(
            f"a past study needs trials that keep its constraints, but none of {study.name} does",
            remedy="take a study where some do",
        )
    if not any(math.isfinite(value) for trial in told if not trial.broken for value in trial.values):
        kept = " that keeps its constraints" if any(trial.broken for trial in told) else ""
        raise InvalidInput(
            f"a past study needs finite values, but no trial of {study.name}{kept} reported one",
            remedy="take a study where some trainings did not diverge",
        )


def _known(study: PastStudy, space: SearchSpace) -> tuple[list[PastTrial], tuple[str, ...]]:
    """The trials with reports or a failure, as the space has them now and as far as a full training goes; and what is
    to be said of the study."""
    trials, ends, unknown = list[PastTrial](), 0, 0
    for trial in _within(study):
        if not (trial.resources or trial.failed):
            continue
        params = _placed(trial.params, space)
        if params is None:
            unknown += 1
            continue
        ends += any(not space.parameters[name].contains(trial.params[name]) for name in params if name in trial.params)
        trials.append(replace(trial, params=params))
    count, said = len(trials) + unknown, list[str]()
    if ends:
        said.append(f"{ends} of {count} trials lie outside the space and count as at its ends")
    if unknown:
        said.append(f"{unknown} of {count} trials have values that the space does not know, or lack some: left out")
    if len(study.objectives) > 1:
        said.append(f"measured by {study.objectives[0]} alone, the first of its {len(study.objectives)} objectives")
    if study.anew:
        said.append(f"the study paid each {study.fidelity} from zero; searches here go on from a smaller one")
    return trials, tuple(said)


def _placed(params: Mapping[str, Any], space: SearchSpace) -> dict[str, Any] | None:
    """The configuration in the space: a number beyond a range is its end, what it lacks its default. None where a value
    has no place, or where something without a default is lacking."""
    found = likeness.translated(params, space.parameters, space)
    if found is None:
        return None
    for name, value in params.items():
        if name in found and space.parameters[name].contains(value):
            found[name] = value  # as it was, to the last digit
    while lacking := space.active(found) - found.keys():
        for name in lacking:
            parameter = space.parameters[name]
            if not (parameter.has_default or parameter.cardinality == 1):
                return None
            found[name] = parameter.center
    return found


def _within(study: PastStudy) -> list[PastTrial]:
    """The trials as far as a full training goes. One that only told its value was trained in full; else what was
    reported before the training is left out."""
    furthest = max((resource for trial in study.trials for resource in trial.resources), default=0.0)
    full = study.max_resource or furthest or 1.0
    return [_trained(trial, full) for trial in study.trials]


def _trained(trial: PastTrial, full: float) -> PastTrial:
    pairs = [pair for pair in zip(trial.resources, trial.values, strict=True) if pair[0] > 0]
    if not pairs and trial.resources and not trial.failed:
        pairs = [(full, trial.values[-1])]
    kept = [pair for pair in pairs if pair[0] <= full * (1 + 1e-9)]
    return replace(
        trial,
        resources=tuple(resource for resource, _ in kept),
        values=tuple(value for _, value in kept),
        failed=trial.failed and len(kept) == len(pairs),
    )


def _grid(trials: list[PastTrial], max_resource: float | None = None, *, anew: bool = False) -> tuple[float, int]:
    """The unit of resource and how many of it a full training has; the least level where the others, begun `anew`, are
    multiples of it."""
    furthest = max(trial.resources[-1] for trial in trials if trial.resources)
    full = max_resource or furthest
    every = [full, *(resource for trial in trials for resource in trial.resources)]
    if all(abs(resource - round(resource)) < 1e-9 and resource >= 1 for resource in every):
        unit = math.gcd(*map(round, every))
        if full / unit <= MOST_EPOCHS:
            return float(unit), round(full / unit)
    least = min(every)
    if anew and full / least <= MOST_EPOCHS and all(abs(r / least - round(r / least)) < 1e-6 for r in every):
        return least, round(full / least)
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
