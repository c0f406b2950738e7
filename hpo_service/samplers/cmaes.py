"""CMA-ES: N. Hansen, *The CMA Evolution Strategy: A Tutorial* (arXiv:1604.00772), by the library `cmaes`.

Where every parameter is continuous, the standard strategy; with steps or categories among them CatCMA with margin
(R. Hamano et al., GECCO 2025), which keeps every value within reach. Inactive parameters are drawn too, and left out.
The strategy is told ranks, not values: so nothing hangs on the objective's scale, what breaks constraints ranks behind
what keeps them, and failed trials come last. When it stalls it begins again somewhere else, with twice the population
(IPOP: A. Auger, N. Hansen, CEC 2005). Pure: see `generations` for who asks. Imports `cmaes` when it is first asked.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hpo_service.samplers.columns import Columns, nearest
from hpo_service.samplers.generations import Chosen, Individual

Floats = npt.NDArray[np.float64]
Again = Callable[[int], Sequence[np.random.Generator]]
STEP = 1 / 6
"""The first standard deviation, of the width of a parameter."""
FLAT = 1e-12
"""Losses of many generations that are nearer to each other than that, relatively, are a plateau."""
MAX_SEED = 2**32


class CmaPopulation:
    """A `Population`: the distribution that a generation is drawn from. `extremes`: the best and the worst loss of the
    newest generations."""

    def __init__(
        self,
        strategy: Strategy,
        again: Again,
        *,
        generation: int = 0,
        restarts: int = 0,
        extremes: tuple[tuple[float, float], ...] = (),
    ) -> None:
        self.size = strategy.size
        self._strategy = strategy
        self._again = again
        self._generation = generation
        self._restarts = restarts
        self._extremes = extremes

    def draw(self, rng: np.random.Generator) -> Chosen:
        """A sample."""
        after = f" after restart {self._restarts}, of {self.size} trials" if self._restarts else ""
        point = self._strategy.point(self._strategy.ask(rng))
        return Chosen(point=point, reason=f"CMA-ES generation {self._generation}{after}")

    def next(self, members: Sequence[Individual], guests: Sequence[Individual]) -> CmaPopulation:
        """The distribution moved towards the better ones; the same one where all of them failed."""
        losses = np.array([member.losses[0] for member in members])
        if np.isnan(losses).all():
            return self
        violations = np.array([member.violation for member in members])
        failed = np.isnan(losses)
        order = np.lexsort((np.where(failed, 0.0, losses), violations, failed))
        strategy = copy.deepcopy(self._strategy)
        repeated = strategy.learn([members[i] for i in order.tolist()], self._again)
        extremes = (*self._extremes, (float(np.nanmin(losses)), float(np.nanmax(losses))))[-strategy.patience :]
        restarts = self._restarts
        if repeated or strategy.ended or _flat(extremes, strategy.patience):
            # The places to begin from again are drawn by the seed and the generation's last trial.
            rng = self._again(members[-1].number)[0]
            restarts, extremes = restarts + 1, ()
            strategy = _strategy(self._strategy.columns, 2 * self.size, rng.random(len(members[0].point)))
        return CmaPopulation(
            strategy, self._again, generation=self._generation + 1, restarts=restarts, extremes=extremes
        )


class Still:
    """A `Population` of a space in which nothing varies: its one configuration, for as long as it may be tried."""

    def __init__(self, size: int) -> None:
        self.size = size

    def draw(self, rng: np.random.Generator) -> None:
        """An independent draw is as good."""

    def next(self, members: Sequence[Individual], guests: Sequence[Individual]) -> Still:
        """Itself."""
        return self


def begin(population: int | None) -> Callable[[Columns, Sequence[Individual], Again], CmaPopulation | Still]:
    """The first population over a space: around the best trial that is known, else around the defaults, or the middles
    where there are none. `population` None: 4 + 3 ln n trials, for n parameters (Hansen, table 1)."""

    def first(columns: Columns, known: Sequence[Individual], again: Again) -> CmaPopulation | Still:
        size = population or 4 + math.floor(3 * math.log(max(1, columns.varied)))
        if not columns.varied:
            return Still(size)
        usable = [one for one in known if not np.isnan(one.losses).any()]
        best = min(usable, key=lambda one: (one.violation, one.losses[0], one.number), default=None)
        return CmaPopulation(_strategy(columns, size, columns.middles if best is None else best.point), again)

    return first


class Strategy(Protocol):
    """One of the library's strategies over the columns of a space."""

    columns: Columns
    size: int
    patience: int  # generations on a plateau, after which it stalls

    def ask(self, rng: np.random.Generator) -> Any:
        """A sample, in the library's terms."""
        ...

    def point(self, sample: Any) -> Floats:
        """Its point of the unit cube, shape (columns,)."""
        ...

    def learn(self, ranked: Sequence[Individual], again: Again) -> bool:
        """Take a generation in, best first. Returns whether most of it were no samples: all of these were tried."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the library says that it has converged or diverged."""
        ...


class _Plain:
    """Continuous parameters only."""

    def __init__(self, columns: Columns, size: int, mean: Floats) -> None:
        self.columns, self.size = columns, size
        self._which = columns.continuous
        bounds = np.tile([0.0, 1.0], (len(self._which), 1))
        self._cma = _library().CMA(mean=mean[self._which], sigma=STEP, bounds=bounds, population_size=size)
        self.patience = _patience(len(self._which), size)

    def ask(self, rng: np.random.Generator) -> Any:
        self._cma.reseed_rng(int(rng.integers(MAX_SEED)))
        return self._cma.ask()

    def point(self, sample: Any) -> Floats:
        point = self.columns.middles.copy()
        point[self._which] = sample
        return point

    def learn(self, ranked: Sequence[Individual], again: Again) -> bool:
        with np.errstate(all="ignore"):
            self._cma.tell([(member.point[self._which], float(rank)) for rank, member in enumerate(ranked)])
        return False

    @property
    def ended(self) -> bool:
        cma = self._cma
        with np.errstate(all="ignore"):
            sound = np.isfinite(cma._C).all() and np.isfinite(cma.mean).all() and np.isfinite(cma._sigma)
            return not sound or bool(cma.should_stop())


class _Mixed:
    """Steps or categories among the parameters. What a sample was before it was rounded is not in the log: it is drawn
    again by the trial's number, and what comes to another configuration is taken at its rounded place."""

    def __init__(self, columns: Columns, size: int, mean: Floats) -> None:
        self.columns, self.size = columns, size
        self._gaussian = [*columns.continuous, *columns.steps]
        width = len(self._gaussian)
        self._cma = _library().CatCMAwM(
            x_space=[[0.0, 1.0]] * len(columns.continuous) or None,
            z_space=[places.tolist() for places in columns.steps.values()] or None,
            c_space=[len(places) for places in columns.categories.values()] or None,
            population_size=size,
            mean=mean[self._gaussian] if width else None,
            sigma=STEP if width else None,
            cov=np.eye(width) if width else None,
        )
        self.patience = _patience(columns.varied, size)

    def ask(self, rng: np.random.Generator) -> Any:
        self._cma.reseed_rng(int(rng.integers(MAX_SEED)))
        return self._cma.ask()

    def point(self, sample: Any) -> Floats:
        point = self.columns.middles.copy()
        if sample.x is not None:
            point[self.columns.continuous] = sample.x
        if sample.z is not None:
            point[list(self.columns.steps)] = sample.z
        for row, (column, places) in enumerate(self.columns.categories.items()):
            point[column] = places[int(np.argmax(sample.c[row]))]
        return point

    def learn(self, ranked: Sequence[Individual], again: Again) -> bool:
        found = [self._sample(member, again) for member in ranked]
        samples = [sample or self._rounded(member) for sample, member in zip(found, ranked, strict=True)]
        with np.errstate(all="ignore"):
            self._cma.tell([(sample, float(rank)) for rank, sample in enumerate(samples)])
        return sum(sample is None for sample in found) > len(ranked) / 2

    @property
    def ended(self) -> bool:
        cma = self._cma
        sound = not self.columns.categories or np.isfinite(cma._q).all()
        if not self._gaussian:
            return not sound
        with np.errstate(all="ignore"):
            sound = sound and np.isfinite(cma._C).all() and np.isfinite(cma._mean).all() and np.isfinite(cma._sigma)
            return not sound or bool(cma.should_stop())

    def _sample(self, member: Individual, again: Again) -> Any:
        """The sample that the trial's configuration was made of; None where it came from elsewhere."""
        for rng in again(member.number):
            sample = self.ask(rng)
            point = self.columns.point(self.columns.space.from_unit(self.point(sample)))
            if point is not None and np.array_equal(point, member.point):
                return sample
        return None

    def _rounded(self, member: Individual) -> Any:
        columns, cats = self.columns, list(self.columns.categories.items())
        one_hot = np.zeros((len(cats), max((len(places) for _, places in cats), default=0)), dtype=np.bool_)
        for row, (column, places) in enumerate(cats):
            one_hot[row, nearest(places, member.point[column])] = True
        return _library().CatCMAwM.Solution(
            member.point[columns.continuous] if columns.continuous else None,
            member.point[list(columns.steps)] if columns.steps else None,
            one_hot if cats else None,
            member.point[self._gaussian] if self._gaussian else None,
        )


def _strategy(columns: Columns, size: int, mean: Floats) -> Strategy:
    mixed = columns.steps or columns.categories
    return _Mixed(columns, size, mean) if mixed else _Plain(columns, size, mean)


def _patience(dimensions: int, size: int) -> int:
    """Generations without a difference after which the tutorial's criterion TolHistFun ends a run."""
    return 10 + math.ceil(30 * dimensions / size)


def _flat(extremes: Sequence[tuple[float, float]], patience: int) -> bool:
    """Whether that many generations all came to the same loss."""
    if len(extremes) < patience:
        return False
    low, high = min(best for best, _ in extremes), max(worst for _, worst in extremes)
    return high - low <= FLAT * max(1.0, abs(low), abs(high))


def _library() -> Any:
    return importlib.import_module("cmaes")
