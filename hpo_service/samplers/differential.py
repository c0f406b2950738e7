"""Differential evolution in the unit cube, DE/rand/1/bin (Storn & Price 1997), as DEHB uses it (Awad et al. 2021).

Who may be a parent stands in `core.evolution`. A trial's point in the cube is made from its configuration and number
alone: of a discrete parameter, a place drawn within the value's share of the axis; of an inactive one, any place. So
values that are equal still differ in their points, as in the paper, whose individuals stay real-valued, and a
population folded from the log again is the same. Not here: selection, rungs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_service.core import seeds
from hpo_service.core.evolution import Seat, Subpopulations
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.core.states import Origin
from hpo_service.samplers.independent import RandomSampler
from search_spaces import BaseParameter, SearchSpace, SpaceError

Floats = npt.NDArray[np.float64]
PARENTS = 3
TRIES = 32
"""Children that are forbidden or were tried before, before an independent draw takes the place."""
HALVINGS = 8
"""How often a place within a value's share of the axis is drawn nearer to the share's middle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pool:
    """Who may be a parent, and where they come from, in words."""

    trials: Sequence[int]
    words: str


class DifferentialSampler:
    """A `Sampler`. The first bracket is random; every later place gets a child, crossed with who lives in its slot.
    `populations` are shared with the scheduler, which fills them."""

    def __init__(
        self,
        study_seed: int,
        history: History,
        populations: Subpopulations,
        *,
        mutation: float,
        crossover: float,
        repeats: bool,
    ) -> None:
        self._seed = study_seed
        self._history = history
        self.populations = populations
        self._mutation = mutation
        self._crossover = crossover
        self._repeats = repeats
        self._independent = RandomSampler(study_seed, repeats=repeats)
        self._points: dict[tuple[int, int], Floats] = {}  # by trial and version of the space

    def draw(self, ask: Ask) -> Draw | None:
        """A child; an independent draw in the first bracket, and where nobody can be a parent yet."""
        if not ask.bracket:
            return self._independently(ask, "the first bracket")
        seat = self.populations.seat(ask.bracket, ask.rung or 0, ask.position or 0)
        pool = self._pool(ask, seat)
        if len(pool.trials) < PARENTS:
            return self._independently(ask, f"fewer than {PARENTS} results to evolve from")
        if self.spent(ask) is not None:
            return None
        for attempt in range(TRIES):
            rng = seeds.rng(self._seed, ask.number, seeds.Purpose.EVOLVE, attempt)
            point, reason = self._child(ask, seat, pool, rng)
            params = ask.space.from_unit(point)
            if ask.space.is_forbidden(params):
                continue
            key = ask.space.config_key(params)
            if self._repeats or not ask.taken(key):
                return Draw(params=params, key=key, reason=reason)
        return self._independently(ask, "the children were forbidden or tried before")

    def spent(self, ask: Ask) -> str | None:
        """A finite space is used up once each of its configurations was tried."""
        return self._independent.spent(ask)

    def started(self, trial: TrialRecord) -> None:
        """Nothing to learn."""

    def rested(self, trial: TrialRecord) -> None:
        """A trial from elsewhere may be a parent; of all others the rungs tell."""
        if trial.origin is Origin.IMPORTED and trial.score is not None:
            self.populations.elders.append(trial.number)

    def _independently(self, ask: Ask, why: str) -> Draw | None:
        draw = self._independent.draw(ask)
        return None if draw is None else Draw(params=draw.params, key=draw.key, reason=f"{draw.reason}: {why}")

    def _pool(self, ask: Ask, seat: Seat) -> _Pool:
        """The best of the level below, as many as the rung has places; of a bracket's lowest rung, all of its own
        level. Where these are too few, everybody."""
        populations = self.populations
        if ask.rung:
            size = populations.plan(ask.bracket or 0).sizes()[ask.rung]
            trials, level = populations.best(seat.level - 1, size), seat.level - 1
        else:
            trials, level = populations.best(seat.level), seat.level
        if len(trials) >= PARENTS:
            chosen = f"the best {len(trials)}" if ask.rung else "those"
            return _Pool(trials=trials, words=f"{chosen} at resource {populations.resources[level]:g}")
        return _Pool(trials=list(dict.fromkeys([*trials, *populations.everyone()])), words="all levels")

    def _child(self, ask: Ask, seat: Seat, pool: _Pool, rng: np.random.Generator) -> tuple[Floats, str]:
        """Mutation, with places outside the cube drawn anew, and binomial crossover."""
        base, plus, minus = (pool.trials[i] for i in rng.choice(len(pool.trials), PARENTS, replace=False))
        first, second, third = (self._point(trial, ask) for trial in (base, plus, minus))
        mutant = first + self._mutation * (second - third)
        outside = (mutant < 0) | (mutant > 1)
        mutant[outside] = rng.random(int(outside.sum()))
        lives = self.populations.living(seat)
        target = rng.random(len(mutant)) if lives is None else self._point(lives, ask)
        tuned = np.flatnonzero([ask.space.parameters[name].cardinality != 1 for name in ask.space.names])
        crossed = np.zeros(len(mutant), dtype=np.bool_)
        crossed[tuned] = rng.random(len(tuned)) < self._crossover
        if len(tuned) and not crossed.any():
            crossed[rng.choice(tuned)] = True
        partner = "a random point" if lives is None else f"trial {lives}"
        return np.where(crossed, mutant, target), (
            f"trial {base} + {self._mutation:g}·(trial {plus} - trial {minus}) of {pool.words}, crossed with {partner}"
        )

    def _point(self, number: int, ask: Ask) -> Floats:
        where = (number, ask.space_version)
        if where not in self._points:
            params = self._history[number].params
            self._points[where] = point_of(params, ask.space, seeds.rng(self._seed, number, seeds.Purpose.PLACE))
        return self._points[where]


def point_of(params: Mapping[str, Any], space: SearchSpace, rng: np.random.Generator) -> Floats:
    """The configuration's point in the unit cube, shape (d,): `space.from_unit` gives the configuration back, but for
    what the space does not allow (any more), which is drawn like what is inactive."""
    free = rng.random(len(space.names))
    places = [
        _place(space.parameters[name], params[name], float(u)) if name in params else float(u)
        for name, u in zip(space.names, free, strict=True)
    ]
    return np.array(places, dtype=np.float64)


def _place(parameter: BaseParameter, value: object, u: float) -> float:
    """A place that stands for the value; of a discrete one, where in its share of the axis is told by `u`."""
    try:
        middle = parameter.to_unit(value)
    except SpaceError:
        return u
    if parameter.cardinality is None:
        return middle
    offset = (u - 0.5) / parameter.cardinality
    wanted = parameter.from_unit(middle)
    for _ in range(HALVINGS):
        place = middle + offset
        if 0 <= place <= 1 and parameter.from_unit(place) == wanted:
            return place
        offset /= 2
    return middle
