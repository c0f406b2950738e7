"""Every combination, in an order shuffled by the study's seed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from hpo_service.core import seeds
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from search_spaces import SearchSpace

MAX_GRID = 100_000


class GridSampler:
    """A `Sampler`. Combinations that some trial has (the baseline, an enqueued one) are left out."""

    def __init__(self, study_seed: int, space: SearchSpace, points: int, history: History) -> None:
        self._seed = study_seed
        self._space = space
        self._points = points
        self._history = history
        self._next = 0  # every combination before it was tried
        self._keys: dict[int, str] = {}  # of the places that were looked at lately: a key costs more than all the rest

    @cached_property
    def _order(self) -> list[Mapping[str, Any]]:
        listed = list(self._space.grid(self._points))
        shuffled = seeds.rng(self._seed, 0, seeds.Purpose.ORDER).permutation(len(listed))
        return [listed[i] for i in shuffled.tolist()]

    def _key(self, position: int) -> str:
        if position not in self._keys:
            self._keys[position] = self._space.config_key(self._order[position])
        return self._keys[position]

    def draw(self, ask: Ask) -> Draw | None:
        """The next combination in the shuffled order."""
        for position in range(max(self._next, ask.batch.cursor), len(self._order)):
            key = self._key(position)
            if not ask.taken(key):
                ask.batch.cursor = position + 1
                return Draw(
                    params=self._order[position], key=key, reason=f"grid point {position + 1} of {len(self._order)}"
                )
        return None

    def spent(self, ask: Ask) -> str | None:
        """The grid's end."""
        if max(self._next, ask.batch.cursor) < len(self._order):
            return None
        return f"every configuration was tried: the grid has {len(self._order)}"

    def started(self, trial: TrialRecord) -> None:
        """Move past the combinations that were tried."""
        while self._next < len(self._order) and self._key(self._next) in self._history.keys:
            del self._keys[self._next]
            self._next += 1

    def rested(self, trial: TrialRecord) -> None:
        """Nothing to learn."""
