"""Draws that past studies advise, before this study's own model has enough to go by.

Every other trial is the best, by what past studies expect (`prior`), of some independent draws; the rest stay
independent, so that the model sees more than one corner of the space. A pure function of what was observed. Not here:
the portfolio, which comes before (`core.fold`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hpo_service.core import seeds
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.core.warm_start import WarmStarted
from hpo_service.samplers.prior import Prior
from search_spaces import SearchSpace, SpaceError

Floats = npt.NDArray[np.float64]

DRAWS = 32
ADVICE = 1
"""Tells these draws from the trial's own independent one."""


class Advice:
    """What past studies advise. `warm` gives what the study began from, once its log told it."""

    def __init__(self, study_seed: int, history: History, warm: Callable[[], WarmStarted | None]) -> None:
        self._seed = study_seed
        self._history = history
        self._warm = warm
        self._priors: dict[int, Prior] = {}  # by version of the space

    def draw(self, ask: Ask) -> Draw | None:
        """The best of some draws by past studies; None every other time, without any, and where they mislead."""
        warm = self._warm()
        if warm is None or not warm.prior or ask.number % 2:
            return None
        if ask.space_version not in self._priors:
            self._priors[ask.space_version] = Prior(warm, ask.space)
        mean = self._priors[ask.space_version].mean(*self._observed(ask.space))
        if mean is None:
            return None
        drawn = self._drawn(ask)
        if not drawn:
            return None
        best = int(np.argmax(mean(np.stack([ask.space.to_unit(params) for _, params in drawn]))))
        key, params = drawn[best]
        studies = "1 past study" if len(warm.sources) == 1 else f"{len(warm.sources)} past studies"
        return Draw(params=params, key=key, reason=f"the best of {len(drawn)} draws by {studies}")

    def _drawn(self, ask: Ask) -> list[tuple[str, dict[str, Any]]]:
        rng = seeds.rng(self._seed, ask.number, seeds.Purpose.SAMPLE, ADVICE)
        found = {}
        for _ in range(DRAWS):
            params = ask.space.sample(rng)
            key = ask.space.config_key(params)
            if not ask.taken(key):
                found[key] = params
        return list(found.items())

    def _observed(self, space: SearchSpace) -> tuple[Floats, Floats]:
        """Points and values (higher is better) of the trials with a value at the level where most of them are."""
        rested = [trial for trial in self._history if trial.at_rest and trial.score is not None]
        level = max(Counter(trial.reach for trial in rested).items(), key=lambda item: (item[1], item[0]), default=None)
        found = [(place, self._value(trial)) for trial in rested if level and trial.reach == level[0]
                 if (place := _place(trial, space)) is not None]  # fmt: skip
        if not found:
            return np.zeros((0, len(space.names))), np.zeros(0)
        return np.stack([place for place, _ in found]), np.array([value for _, value in found])

    def _value(self, trial: TrialRecord) -> float:
        score = trial.score or 0.0
        return score if self._history.objective.maximize else -score


def _place(trial: TrialRecord, space: SearchSpace) -> Floats | None:
    try:
        return space.to_unit(trial.params)
    except SpaceError:  # not legal in this version of the space
        return None
