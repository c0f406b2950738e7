"""NSGA-II: K. Deb et al., *A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II*, IEEE TEC 6 (2002).

Parents are what survives of all that came before: front by front, the least crowded first. Children come from simulated
binary crossover and polynomial mutation (Deb & Agrawal 1995; Deb & Goyal 1996), on the unit cube; categories are taken
from either parent, and drawn anew. Constraints go by constrained domination. Pure: see `generations` for who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hpo_service.samplers.columns import Columns, nearest
from hpo_service.samplers.fronts import ranking
from hpo_service.samplers.generations import Chosen, Individual

Floats = npt.NDArray[np.float64]
CROSSOVER = 0.9
"""The share of children that two parents make; the others have one."""
SPREAD = 2.0
"""The distribution index of crossover: the larger, the nearer are children to their parents. The paper's 20 are for
tens of thousands of trials; hundreds come further with bold ones."""
STIR = 5.0
"""The same for mutation."""
SINGLE = 1e-14
"""Parents that are nearer than that in a column have equal children."""


class Nsga2Population:
    """A `Population`. `parents` from the best to the worst, with their fronts and crowding distances."""

    def __init__(
        self,
        columns: Columns,
        size: int,
        *,
        generation: int = 0,
        parents: Sequence[Individual] = (),
    ) -> None:
        self.size = size
        self._columns = columns
        self._generation = generation
        self._parents: list[Individual] = []
        self._rank = np.zeros(0)
        if parents:
            losses = np.array([individual.losses for individual in parents])
            violations = np.array([individual.violation for individual in parents])
            order, front, distance = ranking(losses, violations)
            order = order[~np.isnan(losses[order]).any(axis=1)][:size]
            self._parents = [parents[i] for i in order.tolist()]
            place = np.lexsort((-distance[order], front[order]))
            self._rank = np.empty(len(order))
            self._rank[place] = np.arange(len(order))

    def draw(self, rng: np.random.Generator) -> Chosen | None:
        """A child of the parents; nothing while there are none."""
        if self._generation == 0 or len(self._parents) < 2:
            return None
        first = self._tournament(rng)
        second = self._tournament(rng, but=first)
        mother, father = self._parents[first], self._parents[second]
        child, who = mother.point.copy(), f"trial {mother.number}"
        if rng.random() < CROSSOVER:
            child = self._crossed(mother.point, father.point, rng)
            who = f"trials {mother.number} and {father.number}"
        return Chosen(
            point=self._mutated(child, rng), reason=f"NSGA-II generation {self._generation}: a child of {who}"
        )

    def next(self, members: Sequence[Individual], guests: Sequence[Individual]) -> Nsga2Population:
        """The best of parents, children and guests."""
        known = {individual.number: individual for individual in (*self._parents, *members, *guests)}
        pool = [known[number] for number in sorted(known)]
        return Nsga2Population(self._columns, self.size, generation=self._generation + 1, parents=pool)

    def _tournament(self, rng: np.random.Generator, but: int = -1) -> int:
        """The better one of two parents, neither of them `but`."""
        others = [i for i in range(len(self._parents)) if i != but]
        pair = rng.choice(others, size=2, replace=len(others) < 2)
        return int(min(pair, key=lambda i: self._rank[i]))

    def _crossed(self, mother: Floats, father: Floats, rng: np.random.Generator) -> Floats:
        """One of the two children of a simulated binary crossover; each column takes part with one half."""
        columns, child = self._columns, mother.copy()
        for column in (*columns.continuous, *columns.steps):
            taking_part, which, u = rng.random(3).tolist()
            if taking_part < 0.5:
                child[column] = _between(mother[column], father[column], u, upper=which < 0.5)
        for column in columns.categories:
            if rng.random() < 0.5:
                child[column] = father[column]
        return child

    def _mutated(self, child: Floats, rng: np.random.Generator) -> Floats:
        """The child with one column changed on average."""
        columns = self._columns
        share = 1 / max(1, columns.varied)
        for column in columns.continuous:
            if rng.random() < share:
                child[column] = _stirred(child[column], rng.random())
        for column, places in columns.steps.items():
            if rng.random() < share:
                child[column] = _stepped(places, child[column], rng.random())
        for column, places in columns.categories.items():
            if rng.random() < share:
                others = np.delete(places, nearest(places, child[column]))
                child[column] = others[int(rng.integers(len(others)))]
        return child


def begin(size: int) -> Callable[..., Nsga2Population]:
    """The first population over a space: at random, or from what is known of other spaces and from elsewhere."""

    def first(columns: Columns, known: Sequence[Individual], again: object) -> Nsga2Population:
        usable = [individual for individual in known if not np.isnan(individual.losses).any()]
        grown = len(usable) >= size
        return Nsga2Population(columns, size, generation=int(grown), parents=usable)

    return first


def _between(first: float, second: float, u: float, *, upper: bool) -> float:
    """Simulated binary crossover within [0, 1]: a child below the lower parent, or above the upper one, or between."""
    low, high = min(first, second), max(first, second)
    if high - low < SINGLE:
        return first
    room = 1 - high if upper else low
    alpha = 2 - (1 + 2 * room / (high - low)) ** -(SPREAD + 1)
    stretch = u * alpha if u <= 1 / alpha else 1 / (2 - u * alpha)
    beta = stretch ** (1 / (SPREAD + 1))
    middle, half = (low + high) / 2, beta * (high - low) / 2
    return float(min(1.0, max(0.0, middle + half if upper else middle - half)))


def _stirred(place: float, u: float) -> float:
    """Polynomial mutation within [0, 1]."""
    power = 1 / (STIR + 1)
    if u < 0.5:
        moved = (2 * u + (1 - 2 * u) * (1 - place) ** (STIR + 1)) ** power - 1
    else:
        moved = 1 - (2 * (1 - u) + 2 * (u - 0.5) * place ** (STIR + 1)) ** power
    return float(min(1.0, max(0.0, place + moved)))


def _stepped(places: Floats, place: float, u: float) -> float:
    """The same on steps: at least one step away."""
    here = nearest(places, place)
    there = nearest(places, _stirred(place, u))
    if there == here:
        there = here - 1 if (u < 0.5 and here > 0) or here == len(places) - 1 else here + 1
    return float(places[there])
