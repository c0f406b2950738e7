"""What a surrogate may learn from, per resource level, and which of it is fed to the model. No surrogate is here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpo_service.core.history import History, TrialRecord
from hpo_service.core.states import TrialState
from hpo_service.core.values import rank_key


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """The data of one model: observed trials with their values (None: failed), and those that are on their way.

    Both in number order. `resource` is the level that the values are of.
    """

    resource: float
    observed: tuple[tuple[int, float | None], ...]
    running: tuple[int, ...]


class Observations:
    """Values by resource level, and the trials whose segment is on its way."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._levels: dict[float, dict[int, float | None]] = {}
        self._finite: dict[float, int] = {}
        self._running: dict[int, None] = {}
        self._latest: dict[int, tuple[int, Basis | None]] = {}  # by `enough`, with the stamp that it was made at
        self.stamp = 0  # moves with every change

    def started(self, trial: TrialRecord) -> None:
        """A segment began."""
        self._running[trial.number] = None
        self.stamp += 1

    def rested(self, trial: TrialRecord) -> None:
        """A segment ended; a failed one counts as worst at the level that it was to reach, a cancelled one not."""
        self._running.pop(trial.number, None)
        self.stamp += 1
        if trial.state is TrialState.STOPPED:
            return
        level = self._levels.setdefault(trial.target, {})
        if trial.number not in level:
            self._finite[trial.target] = self._finite.get(trial.target, 0) + (trial.score is not None)
        level[trial.number] = trial.score

    def latest(self, enough: int) -> Basis | None:
        """The highest level with at least `enough` finite values, as it stands now."""
        if enough not in self._latest or self._latest[enough][0] != self.stamp:
            self._latest[enough] = (self.stamp, self._find(enough))
        return self._latest[enough][1]

    def _find(self, enough: int) -> Basis | None:
        for resource in sorted(self._levels, reverse=True):
            if self._finite[resource] >= enough:
                level = self._levels[resource]
                running = sorted(number for number in self._running if number not in level)
                return Basis(resource=resource, observed=tuple(sorted(level.items())), running=tuple(running))
        return None

    def of_brackets(self, enough: int, brackets: frozenset[int]) -> Basis | None:
        """The same from these brackets alone; all other trials count as on their way, whatever became of them."""
        trials = self._history.trials
        for resource in sorted(self._levels, reverse=True):
            level = self._levels[resource]
            observed = tuple(sorted((n, v) for n, v in level.items() if trials[n].bracket in brackets))
            if sum(value is not None for _, value in observed) >= enough:
                running = sorted(t.number for t in trials.values() if t.started and t.bracket not in brackets)
                return Basis(resource=resource, observed=observed, running=tuple(running))
        return None


def worst(observed: Iterable[tuple[int, float | None]], *, maximize: bool) -> float:
    """The worst finite value: what failed trials are told as. There must be one."""
    finite = [value for _, value in observed if value is not None]
    return min(finite) if maximize else max(finite)


def selection(
    observed: Sequence[tuple[int, float | None]], limit: int, *, maximize: bool
) -> list[tuple[int, float | None]]:
    """At most `limit` observations, in number order: where there are more, the best half, the newest quarter, and
    for the rest an even spread over the ranks of all others."""
    if len(observed) <= limit:
        return list(observed)
    ranked = sorted(observed, key=lambda item: (rank_key(item[1], maximize=maximize), item[0]))
    chosen = {number for number, _ in ranked[: limit // 2]}
    others = [number for number, _ in observed if number not in chosen]
    chosen.update(others[-(limit // 4) :] if limit >= 4 else ())
    others = [number for number, _ in ranked if number not in chosen]
    room = limit - len(chosen)
    chosen.update(others[(2 * i + 1) * len(others) // (2 * room)] for i in range(room))
    return [item for item in observed if item[0] in chosen]
