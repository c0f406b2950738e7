"""Truncation selection: the worst part of a population goes on from the weights of the best (Jaderberg et al. 2017, 3).

Here: what both populations, the synchronous and the asynchronous one, share: choosing a parent, and words. Not here:
when trials are compared, and with whom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hpo_service.core import seeds
from hpo_service.core.algorithm_specs import PbtSpec
from hpo_service.core.fold import State
from hpo_service.core.history import TrialRecord
from hpo_service.core.roles import Fork
from search_spaces import SearchSpace

Explore = Callable[[SearchSpace, Mapping[str, Any], Any], Mapping[str, Any]]
"""(space, configuration, generator) → the configuration, changed a little."""
Rank = tuple[int, float]
"""Less is better."""
TRIES = 8
SHOWN = 6
"""Changed parameters that a reason names."""


class Selection:
    """Who goes on from whom. Everything random is keyed by the trial that gives up its place, and the level."""

    def __init__(self, state: State, spec: PbtSpec, explore: Explore) -> None:
        self._state = state
        self._spec = spec
        self._explore = explore

    def share(self, count: int) -> int:
        """How many of so many trials are the worst, and how many the best."""
        return math.floor(self._spec.quantile * count + 1e-9)

    def rank(self, trial: TrialRecord) -> Rank:
        """What trials that came to the same level are sorted by."""
        return trial.rank(maximize=self._state.history.objective.maximize)

    def fork(
        self,
        loser: int,
        parents: Sequence[int],
        *,
        level: int,
        resource: Callable[[int], float],
        known: Iterable[Mapping[str, Any]] = (),
    ) -> Fork:
        """The trial that takes the place of `loser`, which came to `level`: it goes on from one of the `parents`, each
        as likely as the others, at the resource that `resource` says of it. A few tries keep it from being one of the
        `known` configurations, which others train at the same level."""
        rng = seeds.rng(self._state.definition.seed, loser, seeds.Purpose.EXPLORE, level)
        history = self._state.history
        parent = history[parents[int(rng.integers(len(parents)))]]
        space, others = history.spaces[parent.space_version], [dict(params) for params in known]
        params = self._explore(space, parent.params, rng)
        for _ in range(TRIES):
            if params not in others:
                break
            params = self._explore(space, parent.params, rng)
        at = resource(parent.number)
        return Fork(
            params=params,
            parent=parent.number,
            parent_resource=at,
            reason=(
                f"goes on from trial {parent.number}'s weights at resource {at:g}, in the place of trial {loser}; "
                f"{changes(parent.params, params)}"
            ),
        )


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two configurations, in words."""
    told = [
        f"{name} {_word(before, name)} → {_word(after, name)}"
        for name in dict.fromkeys((*after, *before))
        if before.get(name) != after.get(name)
    ]
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return ", ".join(told[:SHOWN]) + more if told else "no parameter changed"


def _word(params: Mapping[str, Any], name: str) -> str:
    if name not in params:
        return "none"
    value = params[name]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
