"""A scrambled Sobol sequence: random search that leaves no holes (Sobol' 1967; scrambling: Owen 1998)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_service.core import seeds
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.core.states import Origin
from hpo_service.samplers.independent import RandomSampler
from search_spaces import SearchSpace

BLOCK = 1024
LOOK_AHEAD = 4096
"""Points of the sequence that may be forbidden or tried before an independent draw takes their place."""


class SobolSampler:
    """A `Sampler`: the sequence's points in order, without those that are forbidden or that some trial has.

    Each version of a space goes through a sequence of its own, scrambled by the seed and the version.
    """

    def __init__(self, study_seed: int, history: History, *, repeats: bool) -> None:
        self._seed = study_seed
        self._history = history
        self._repeats = repeats
        self._fallback = RandomSampler(study_seed, repeats=repeats)
        self._next: dict[int, int] = {}  # version → the first point that was not used
        self._blocks: OrderedDict[tuple[int, int], npt.NDArray[np.float64]] = OrderedDict()

    def draw(self, ask: Ask) -> Draw | None:
        """The next point of the sequence."""
        if self.spent(ask) is not None:
            return None
        first = max(self._next.get(ask.space_version, 0), ask.batch.cursor)
        for index in range(first, first + LOOK_AHEAD):
            params = self._params(ask.space, ask.space_version, index)
            if params is None:
                continue
            key = ask.space.config_key(params)
            if self._repeats or not ask.taken(key):
                ask.batch.cursor = index + 1
                return Draw(params=params, key=key, reason=f"Sobol point {index}")
        return self._fallback.draw(ask)

    def spent(self, ask: Ask) -> str | None:
        """A finite space is used up once each of its configurations was tried."""
        return self._fallback.spent(ask)

    def started(self, trial: TrialRecord) -> None:
        """Move past the points that were used."""
        version = trial.space_version
        if self._repeats and trial.origin is not Origin.SAMPLED:
            return
        first = self._next.get(version, 0)
        for index in range(first, first + LOOK_AHEAD):
            key = self._key(version, index)
            if self._repeats and key == trial.key:
                self._next[version] = index + 1
                return
            if not self._repeats and key is not None and key not in self._history.keys:
                self._next[version] = index
                return

    def _key(self, version: int, index: int) -> str | None:
        space = self._history.spaces[version]
        params = self._params(space, version, index)
        return None if params is None else space.config_key(params)

    def rested(self, trial: TrialRecord) -> None:
        """Nothing to learn."""

    def _params(self, space: SearchSpace, version: int, index: int) -> dict[str, Any] | None:
        """The configuration at a point, or None where it is forbidden."""
        params = space.from_unit(self._point(len(space.names), version, index))
        return None if space.is_forbidden(params) else params

    def _point(self, dimensions: int, version: int, index: int) -> npt.NDArray[np.float64]:
        block = (version, index // BLOCK)
        if block not in self._blocks:
            self._blocks[block] = self._generate(dimensions, version, block[1])
            while len(self._blocks) > 8:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(block)
        point: npt.NDArray[np.float64] = self._blocks[block][index % BLOCK]
        return point

    def _generate(self, dimensions: int, version: int, block: int) -> npt.NDArray[np.float64]:
        from scipy.stats import qmc  # heavy, and an extra: only studies that ask for it need it

        scramble = seeds.rng(self._seed, version, seeds.Purpose.SCRAMBLE)
        engine = qmc.Sobol(d=dimensions, scramble=True, rng=scramble)
        if block:
            engine.fast_forward(block * BLOCK)
        points: npt.NDArray[np.float64] = engine.random(BLOCK)
        return points
