"""Independent draws: random search, and what every other sampler falls back on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from hpo_service.core import seeds
from hpo_service.core.history import TrialRecord
from hpo_service.core.roles import Ask, Draw
from search_spaces import SearchSpace

TRIES = 32
"""Draws of a configuration that no other trial has, before the untried ones are looked through."""
REPEATED_TRIES = 1_000
"""The same where a space is too large to be looked through."""


class RandomSampler:
    """A `Sampler`: random search (Bergstra & Bengio 2012). Trial n's configuration hangs on (seed, n) alone, except
    that it is drawn again where a trial with a lower number has it."""

    def __init__(self, study_seed: int, *, repeats: bool) -> None:
        self._seed = study_seed
        self._repeats = repeats
        self._listed: OrderedDict[str, list[tuple[str, Mapping[str, Any]]]] = OrderedDict()

    def draw(self, ask: Ask) -> Draw | None:
        """An independent draw from the space."""
        if self.spent(ask) is not None:
            return None
        listable = ask.history.inside(ask.space_version) is not None
        for attempt in range(TRIES if listable else REPEATED_TRIES):
            params = ask.space.sample(seeds.rng(self._seed, ask.number, seeds.Purpose.SAMPLE, attempt))
            key = ask.space.config_key(params)
            if self._repeats or not ask.taken(key):
                return Draw(params=params, key=key, reason="random draw")
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
