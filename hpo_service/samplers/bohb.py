"""BOHB's choice of configurations (Falkner, Klein & Hutter 2018, Algorithm 2), by bracket.

A third is drawn at random. For the others the highest level with enough results is split into its best 15 % and the
rest, each gets a kernel density (`kernels`), and of 64 draws from the good one the best ratio is taken. One thing
differs from the paper: a model learns from the brackets that were complete when the trial's own began, not from every
result as it comes. Which levels there are: `observations`. What is shown of the model: `surrogate_view`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpo_service.core import seeds
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.core.values import rank_key
from hpo_service.samplers.independent import RandomSampler
from hpo_service.samplers.kernels import KernelDensity, log_ratio
from hpo_service.samplers.levels import Rule
from hpo_service.samplers.observations import KEPT, Basis, Observations
from hpo_service.samplers.surrogate_view import MAX_NEXT, DensityModel, Scene, SurrogateView, incumbent, look
from search_spaces import SearchSpace, SpaceError

if TYPE_CHECKING:
    from hpo_service.samplers.encoding import Encoding

Floats = npt.NDArray[np.float64]
TOP = 15
"""Percent of the results that count as good: the paper's q."""
CANDIDATES = 64
"""Draws from the density of the good ones, of which the best is taken: the paper's N_s."""
FED = Rule(limit=2_000, best=300, newest=0)
"""Of more results at a level: the best, which are as many as will count as good, and an even spread of the rest."""
IMPUTED = 1_000
"""Tells the generator that fills gaps from those of draws."""
NAME = "TPE"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """Two densities of the trials `used`, with their values (None: failed), at the level of `basis`."""

    good: KernelDensity
    bad: KernelDensity
    basis: Basis
    used: tuple[tuple[int, float | None], ...]

    @property
    def reason(self) -> str:
        best, worst = len(self.good.points), len(self.bad.points)
        where = f"{NAME} on {self.basis.observed} results at resource {self.basis.resource:g}"
        return f"{where}, the best {best} against the worst {worst}"


class BohbSampler:
    """A `Sampler`. `random_fraction`: how likely a trial is drawn at random all the same; `widened`: by how much the
    bandwidths of ordered parameters grow where candidates are drawn."""

    def __init__(
        self, study_seed: int, history: History, *, repeats: bool, random_fraction: float, widened: float
    ) -> None:
        self._seed = study_seed
        self._history = history
        self._repeats = repeats
        self._random_fraction = random_fraction
        self._widened = widened
        self._independent = RandomSampler(study_seed, repeats=repeats)
        self._observations = Observations(history, by_bracket=True)
        self._models: dict[tuple[Any, ...], _Model] = {}  # the newest ones
        self._newest: tuple[int, int, _Model] | None = None  # trial, version of the space; for `view` alone

    def draw(self, ask: Ask) -> Draw | None:
        """The model's choice; an independent draw without a model, and for a fraction of all trials."""
        rng = seeds.rng(self._seed, ask.number, seeds.Purpose.SURROGATE)
        if rng.random() < self._random_fraction:
            return self._independently(ask, f"as {self._random_fraction:.3g} of all trials are")
        model = self._model(ask)
        if model is None:
            return self._independently(ask, "too few results for a model")
        if self.spent(ask) is not None:
            return None
        self._newest = (ask.number, ask.space_version, model)
        for params in self._candidates(ask.space, model, rng):
            if ask.space.is_forbidden(params):
                continue
            key = ask.space.config_key(params)
            if self._repeats or not ask.taken(key):
                return Draw(params=params, key=key, reason=model.reason)
        return self._independently(ask, "the model's choices were forbidden or tried before")

    def spent(self, ask: Ask) -> str | None:
        """A finite space is used up once each of its configurations was tried."""
        return self._independent.spent(ask)

    def started(self, trial: TrialRecord) -> None:
        """It is on its way."""
        self._observations.started(trial)

    def rested(self, trial: TrialRecord) -> None:
        """There is something to learn."""
        self._observations.rested(trial)

    def view(self, ask: Ask | None, underway: Mapping[int, str]) -> SurrogateView | None:
        """The newest model, or the one that `ask` would be answered by; None where there is none."""
        asked = None if ask is None else self._model(ask)
        fit = self._newest if ask is None or asked is None else (ask.number, ask.space_version, asked)
        if fit is None:
            return None
        number, version, model = fit
        encoding: Encoding = importlib.import_module("hpo_service.samplers.encoding").Encoding(
            self._history.spaces[version]
        )
        trials, maximize = self._history.trials, self._history.objective.maximize
        best = incumbent(model.used, trials, encoding, maximize=maximize)
        if best is None:
            return None
        chosen = sorted((n for n, why in underway.items() if why.startswith(f"{NAME} on ")), reverse=True)
        scene = Scene(
            surrogate="tpe",
            trial=number,
            resource=model.basis.resource,
            used=model.used,
            of=model.basis.observed,
            trials=trials,
            incumbent=best,
            next=tuple(trials[n] for n in chosen[:MAX_NEXT]),
            encoding=encoding,
        )
        return look(scene, DensityModel([_Cut(encoding, model, best.params)]))

    def _independently(self, ask: Ask, why: str) -> Draw | None:
        draw = self._independent.draw(ask)
        return None if draw is None else Draw(params=draw.params, key=draw.key, reason=f"{draw.reason}: {why}")

    def _candidates(self, space: SearchSpace, model: _Model, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
        """Draws from the density of the good ones, the best ratio first."""
        points = model.good.draw(CANDIDATES, rng, widened=self._widened)
        counts, columns = _counts(space), [space.names.index(name) for name in _tuned(space)]
        for row in np.argsort(-log_ratio(model.good, model.bad, points), kind="stable"):
            place = np.full(len(space.names), 0.5)
            place[columns] = [
                (x + 0.5) / count if count else x for x, count in zip(points[row].tolist(), counts, strict=True)
            ]
            yield space.from_unit(place)

    def _model(self, ask: Ask) -> _Model | None:
        least = len(_tuned(ask.space)) + 1
        if least == 1:
            return None
        basis = self._observations.of_brackets(least + 2, ask.basis or frozenset())
        if basis is None:
            return None
        key = (ask.basis, ask.space_version, basis.resource, basis.observed)
        if key not in self._models:
            self._models[key] = self._fitted(ask.space, basis, least)
            if len(self._models) > KEPT:
                del self._models[next(iter(self._models))]
        return self._models[key]

    def _fitted(self, space: SearchSpace, basis: Basis, least: int) -> _Model:
        fed, maximize = basis.level.fed(FED), self._history.objective.maximize
        used = [
            (number, None if np.isnan(value) else value)
            for number, value in zip(fed.numbers.tolist(), fed.values.tolist(), strict=True)
        ]
        trials, counts = self._history.trials, _counts(space)
        ranked = sorted(
            used, key=lambda one: (*rank_key(one[1], maximize=maximize, violation=trials[one[0]].violation), one[0])
        )
        points = np.array([_point(space, trials[number].params, counts) for number, _ in ranked])
        rng = seeds.rng(self._seed, int(fed.numbers.max()), seeds.Purpose.SURROGATE, IMPUTED)
        good, bad = split(len(ranked), least)
        return _Model(
            good=KernelDensity(imputed(points[:good], counts, rng), counts),
            bad=KernelDensity(imputed(points[len(points) - bad :], counts, rng), counts),
            basis=basis,
            used=tuple(used),
        )


def split(results: int, least: int) -> tuple[int, int]:
    """How many of so many results make the good density, from the best on, and the bad one, from the worst on: 15 % and
    the rest, but at least `least` each, so few results are in both (the paper's equation 3)."""
    good = max(least, TOP * results // 100)
    return min(results, good), min(results, max(least, results - good))


def imputed(points: Floats, counts: Sequence[int], rng: np.random.Generator) -> Floats:
    """The points, shape (n, d), without gaps: what a trial lacks it gets from one that has it, drawn at random, with
    whatever else that one has; where none has it, any value."""
    found = points.copy()
    for row in found:
        while np.isnan(row).any():
            column = int(np.argmax(np.isnan(row)))
            having = np.flatnonzero(~np.isnan(points[:, column]))
            if having.size:
                gaps = np.isnan(row)
                row[gaps] = points[rng.choice(having), gaps]
            else:
                row[column] = rng.integers(counts[column]) if counts[column] else rng.random()
    return found


def _tuned(space: SearchSpace) -> list[str]:
    """The parameters that have more than one value."""
    return [name for name in space.names if space.parameters[name].cardinality != 1]


def _counts(space: SearchSpace) -> list[int]:
    """The number of values of each unordered parameter, 0 for an ordered one, in the order of `_tuned`."""
    found = (space.parameters[name] for name in _tuned(space))
    return [(one.cardinality or 0) if not one.scale.ordered else 0 for one in found]


def _point(space: SearchSpace, params: Mapping[str, Any], counts: Sequence[int]) -> list[float]:
    """Where the configuration lies, NaN for what it lacks or what is not allowed (any more)."""
    found = []
    for name, count in zip(_tuned(space), counts, strict=True):
        try:
            place = space.parameters[name].to_unit(params[name]) if name in params else np.nan
        except SpaceError:
            place = np.nan
        found.append(float(np.floor(place * count)) if count else place)
    return found


class _Cut:
    """Both densities along one parameter, the others staying at a configuration (`parzen.Densities` of TPE)."""

    def __init__(self, encoding: Encoding, model: _Model, through: Mapping[str, Any]) -> None:
        self.distributions = encoding.distributions
        self._encoding, self._model = encoding, model
        self._counts = _counts(encoding.space)
        params = {name: encoding.space.parameters[name].center for name in _tuned(encoding.space)}
        self._at = np.array(_point(encoding.space, {**params, **through}, self._counts))

    def along(self, name: str, codes: Sequence[Any]) -> tuple[Floats, Floats]:
        """Their natural logarithms where the parameter `name` has these codes."""
        space = self._encoding.space
        column = _tuned(space).index(name)
        points = np.tile(self._at, (len(codes), 1))
        values = [self._encoding.decode(name, code) for code in codes]
        points[:, column] = [_point(space, {name: value}, self._counts)[column] for value in values]
        return self._model.good.log_density(points), self._model.bad.log_density(points)
