"""Evolution, generation by generation: what a generation is drawn from hangs on the one before, whoever trained it.

The new trials of a study make up its generations in the order of their numbers. A generation is over when all of its
trials rest; what they came to is then taken in by trial number, and nothing of the next one is drawn before. So the
study is the same with any number of workers, in any order of arrival; free workers wait for a generation's slowest
trial. Here: which trials are which generation's, and their draws. Not here: how points are varied (`nsga2`, `cmaes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hpo_service.core import seeds
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.core.states import Origin
from hpo_service.samplers.columns import Columns
from hpo_service.samplers.independent import RandomSampler
from hpo_service.samplers.outcomes import Outcome, outcome_of

Floats = npt.NDArray[np.float64]
TRIES = 32
"""Draws of a configuration that is allowed and new, before an independent draw takes its place."""
OWN = (Origin.SAMPLED, Origin.BASELINE)
"""What makes up generations; configurations given by hand, retries and imported trials are their guests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Individual:
    """A trial at rest: its point, shape (columns,), its losses, shape (objectives,), to be minimised and NaN where it
    failed, and by how much it breaks the constraints, 0 for not at all."""

    number: int
    point: Floats
    losses: Floats
    violation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A point of the unit cube, with the words that tell where it comes from."""

    point: Floats
    reason: str


class Population(Protocol):
    """What one generation is drawn from; it never changes."""

    size: int

    def draw(self, rng: np.random.Generator) -> Chosen | None:
        """A new point; None where an independent draw is wanted."""
        ...

    def next(self, members: Sequence[Individual], guests: Sequence[Individual]) -> Population:
        """What the next generation is drawn from. `members` are this one's, by number; `guests` came to rest in the
        meantime, from elsewhere. `Generations.again` gives the random numbers that a member was drawn by."""
        ...


Begin = Callable[[Columns, Sequence[Individual], Callable[[int], Sequence[np.random.Generator]]], Population]
"""The first population over a space, from what is known, and a way to the generators of a trial's draws."""


@dataclass(slots=True)
class _Generation:
    """The generation under way."""

    version: int
    population: Population
    numbers: list[int]
    resting: set[int]


class GenerationSampler:
    """A `Sampler`. `begin` makes the first population, anew after each change of the space."""

    def __init__(self, study_seed: int, history: History, begin: Begin, *, repeats: bool) -> None:
        self._seed = study_seed
        self._history = history
        self._begin = begin
        self._repeats = repeats
        self._independent = RandomSampler(study_seed, repeats=repeats)
        self._columns: dict[int, Columns] = {}
        self._outcomes: dict[int, Outcome] = {}  # of all trials at rest
        self._guests: list[int] = []  # of those that came to rest beside the generation under way
        self._generation: _Generation | None = None
        self._preview: tuple[tuple[int, int], Population] | None = None

    def draw(self, ask: Ask) -> Draw | None:
        """The population's choice; None while a generation's last trials are still to come to rest."""
        if self.spent(ask) is not None:
            return None
        population, started = self._standing(ask.space_version)
        started += sum(pending.number >= self._history.next_number for pending in ask.batch.pending)
        if started >= population.size:
            return None
        for rng in self._generators(ask.number):
            chosen = population.draw(rng)
            if chosen is None:
                return self._independent.draw(ask)
            params = ask.space.from_unit(chosen.point)
            if ask.space.is_forbidden(params):
                continue
            key = ask.space.config_key(params)
            if self._repeats or not ask.taken(key):
                return Draw(params=params, key=key, reason=chosen.reason)
        draw = self._independent.draw(ask)
        why = "what the generation offered was forbidden or tried before"
        return None if draw is None else Draw(params=draw.params, key=draw.key, reason=f"{draw.reason}: {why}")

    def spent(self, ask: Ask) -> str | None:
        """A finite space is used up once each of its configurations was tried."""
        return self._independent.spent(ask)

    def started(self, trial: TrialRecord) -> None:
        """A new trial is one of the generation under way, or the first of a new space's."""
        if trial.origin not in OWN:
            return
        version = trial.space_version
        generation = self._generation
        if generation is None or version != generation.version:
            population, _ = self._standing(version)
            if generation is not None:  # those that are still on their way will be guests
                self._guests = []
            generation = self._generation = _Generation(version, population, [], set())
        if trial.number not in generation.numbers:
            generation.numbers.append(trial.number)

    def rested(self, trial: TrialRecord) -> None:
        """It came to something; with the last one of a generation the next one begins."""
        self._outcomes[trial.number] = outcome_of(trial, self._history)
        generation = self._generation
        if generation is None or trial.number not in generation.numbers:
            self._guests.append(trial.number)
            return
        generation.resting.add(trial.number)
        if len(generation.resting) < generation.population.size:
            return
        columns = self._columns_of(generation.version)
        members = self._individuals(columns, sorted(generation.numbers))
        guests = self._individuals(columns, sorted(self._guests))
        self._guests = []
        following = generation.population.next(members, guests)
        self._generation = _Generation(generation.version, following, [], set())

    def _standing(self, version: int) -> tuple[Population, int]:
        """What the next new trial is drawn from, and how many of its generation were started."""
        if self._generation is not None and self._generation.version == version:
            return self._generation.population, len(self._generation.numbers)
        key = (version, len(self._outcomes))
        if self._preview is None or self._preview[0] != key:
            columns = self._columns_of(version)
            known = self._individuals(columns, sorted(self._outcomes))
            self._preview = (key, self._begin(columns, known, self._generators))
        return self._preview[1], 0

    def _generators(self, number: int) -> Sequence[np.random.Generator]:
        """One for each try of a trial's draw."""
        return _Generators(self._seed, number)

    def _columns_of(self, version: int) -> Columns:
        if version not in self._columns:
            self._columns[version] = Columns(self._history.spaces[version])
        return self._columns[version]

    def _individuals(self, columns: Columns, numbers: Sequence[int]) -> list[Individual]:
        """Those of these trials that the space allows."""
        found = []
        for number in numbers:
            point = columns.point(self._history[number].params)
            if point is not None:
                outcome = self._outcomes[number]
                found.append(Individual(number=number, point=point, losses=outcome.losses, violation=outcome.violation))
        return found


class _Generators(Sequence[np.random.Generator]):
    """A trial's generators by try, made when they are asked for."""

    def __init__(self, study_seed: int, number: int) -> None:
        self._key = (study_seed, number)

    def __len__(self) -> int:
        return TRIES

    def __getitem__(self, attempt: Any) -> Any:
        if not 0 <= attempt < TRIES:
            raise IndexError(attempt)
        return seeds.rng(*self._key, seeds.Purpose.SURROGATE, attempt)
