"""Independent draws: random search, and what every other sampler falls back on.

In blocks, trials with consecutive numbers have a part of their configuration in common. What they share is drawn as it
is distributed in the space, once per block, and the rest of each trial as it is distributed beside that: so every
trial by itself is distributed as without blocks, forbidden combinations included.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpo_service.core import seeds
from hpo_service.core.history import TrialRecord
from hpo_service.core.roles import Ask, Draw
from search_spaces import SearchSpace, SpaceError

TRIES = 32
"""Draws of a configuration that no other trial has, before the untried ones are looked through."""
REPEATED_TRIES = 1_000
"""The same where a space is too large to be looked through."""
TRIES_PER_SHARE = 32
"""Draws beside what a block shares that are all tried before, until the block goes on to share something else."""
SHARES = 4
"""How often a block does so before the untried configurations are looked through."""
KEPT = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """`size` trials with consecutive numbers have the parameters `shared` in common."""

    size: int
    shared: frozenset[str]


class RandomSampler:
    """A `Sampler`: random search (Bergstra & Bengio 2012). Trial n's configuration hangs on (seed, n) alone, except
    that it is drawn again where a trial with a lower number has it."""

    def __init__(self, study_seed: int, *, repeats: bool, blocks: Blocks | None = None) -> None:
        self._seed = study_seed
        self._repeats = repeats
        self._blocks = blocks
        self._shares: OrderedDict[tuple[str, int, int], dict[str, Any]] = OrderedDict()
        self._listed: OrderedDict[str, list[tuple[str, Mapping[str, Any]]]] = OrderedDict()

    def draw(self, ask: Ask) -> Draw | None:
        """An independent draw from the space."""
        if self.spent(ask) is not None:
            return None
        listable = ask.history.inside(ask.space_version) is not None
        for params in self._tries(ask, listable=listable):
            key = ask.space.config_key(params)
            if self._repeats or not ask.taken(key):
                return Draw(params=params, key=key, reason=self._reason(ask.number))
        if listable:
            return self._untried(ask)
        return Draw(params=params, key=key, reason=f"random draw; the {REPEATED_TRIES} before it were all repeats")

    def spent(self, ask: Ask) -> str | None:
        """A finite space is used up once each of its configurations was tried, unless repeats are wanted."""
        if self._repeats or not ask.used_up():
            return None
        return f"every configuration was tried: the space has {ask.space.cardinality}"

    def started(self, trial: TrialRecord) -> None:
        """Nothing to learn."""

    def rested(self, trial: TrialRecord) -> None:
        """Nothing to learn."""

    def _tries(self, ask: Ask, *, listable: bool) -> Iterator[dict[str, Any]]:
        """Draws for the trial, each of which hangs on the seed and its number alone."""
        if self._blocks is None:
            for attempt in range(TRIES if listable else REPEATED_TRIES):
                yield ask.space.sample(seeds.rng(self._seed, ask.number, seeds.Purpose.SAMPLE, attempt))
            return
        for attempt in range(TRIES_PER_SHARE * SHARES if listable else REPEATED_TRIES):
            rng = seeds.rng(self._seed, ask.number, seeds.Purpose.SAMPLE, attempt)
            share = self._share(ask.space, ask.number // self._blocks.size, attempt // TRIES_PER_SHARE)
            try:
                yield ask.space.sample(rng, given=share)
            except SpaceError:  # hardly anything is allowed beside it: a draw of its own
                yield ask.space.sample(rng)

    def _share(self, space: SearchSpace, block: int, which: int) -> dict[str, Any]:
        """What the trials of a block have in common, at first and where all that is possible beside it was tried."""
        key = (space.digest, block, which)
        if key not in self._shares:
            found = space.sample(seeds.rng(self._seed, block, seeds.Purpose.BLOCK, which))
            shared = self._blocks.shared if self._blocks else frozenset()
            self._shares[key] = {name: value for name, value in found.items() if name in shared}
            while len(self._shares) > KEPT:
                self._shares.popitem(last=False)
        return self._shares[key]

    def _reason(self, number: int) -> str:
        if self._blocks is None:
            return "random draw"
        first = number - number % self._blocks.size
        return f"random draw in the block of trials {first} to {first + self._blocks.size - 1}"

    def _untried(self, ask: Ask) -> Draw | None:
        """The next configuration that no trial has, from a random place in the list of all."""
        listed = self._all(ask.space)
        start = int(seeds.rng(self._seed, ask.number, seeds.Purpose.UNTRIED).integers(len(listed)))
        for offset in range(len(listed)):
            key, params = listed[(start + offset) % len(listed)]
            if not ask.taken(key):
                return Draw(params=params, key=key, reason="random draw among the configurations left")
        return None

    def _all(self, space: SearchSpace) -> list[tuple[str, Mapping[str, Any]]]:
        if space.digest not in self._listed:
            self._listed[space.digest] = [(space.config_key(params), params) for params in space.grid(1)]
            while len(self._listed) > 2:
                self._listed.popitem(last=False)
        return self._listed[space.digest]
