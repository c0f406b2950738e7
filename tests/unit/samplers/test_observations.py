"""What a model may learn from, held against the plain reading of the log: every trial looked at again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hpo_service.core.definition import parse
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.states import Origin, TrialState
from hpo_service.samplers.observations import Observations

DEFINITION = parse(
    {
        "objective": {"metric": "loss"},
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "algorithm": {"name": "random", "max_resource": 9},
        "trainer": {"function": "t:train"},
        "budget": {"trials": 30},
    }
)
LEVELS = (1.0, 3.0, 9.0)
BRACKETS = st.frozensets(st.integers(0, 3))


@dataclass
class Seen:
    """What is known of one basis."""

    resource: float
    observed: dict[int, float | None]
    running: list[int]


class Watching(RuleBasedStateMachine):
    """Trials of four brackets begin, rest, go on, fail and are stopped; both questions are asked all the while."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History(DEFINITION.objective, DEFINITION.search_space)
        self.kept = {by: Observations(self.history, by_bracket=by) for by in (False, True)}
        self.values: dict[float, dict[int, float | None]] = {}
        self.asked: list[frozenset[int]] = [frozenset()]

    @rule(bracket=st.integers(0, 3) | st.none())
    def starts(self, bracket: int | None) -> None:
        trial = TrialRecord(len(self.history.trials), {}, "", Origin.SAMPLED)
        trial.bracket, trial.target, trial.started = bracket, LEVELS[0], True
        self.history.trials[trial.number] = trial
        self._runs(trial)

    @rule(data=st.data(), score=st.floats(-5, 5), state=st.sampled_from(["paused", "paused", "failed", "stopped"]))
    def rests(self, data: Any, score: float, state: str) -> None:
        running = [t for t in self.history if t.state is TrialState.RUNNING]
        if not running:
            return
        trial = data.draw(st.sampled_from(running))
        trial.state, trial.value = TrialState(state), score
        if trial.state is not TrialState.STOPPED:
            self.values.setdefault(trial.target, {})[trial.number] = trial.score
        for observations in self.kept.values():
            observations.rested(trial)

    @rule(data=st.data())
    def goes_on(self, data: Any) -> None:
        paused = [t for t in self.history if t.state is TrialState.PAUSED and t.target < LEVELS[-1]]
        if not paused:
            return
        trial = data.draw(st.sampled_from(paused))
        trial.target = LEVELS[LEVELS.index(trial.target) + 1]
        self._runs(trial)

    @rule(brackets=BRACKETS)
    def another_question(self, brackets: frozenset[int]) -> None:
        self.asked = [*self.asked[-4:], brackets]

    def _runs(self, trial: TrialRecord) -> None:
        trial.state = TrialState.RUNNING
        for observations in self.kept.values():
            observations.started(trial)

    @invariant()
    def latest_is_what_the_log_says(self) -> None:
        expected = self._plainly(2, None)
        assert self._seen(self.kept[False].latest(2)) == expected

    @invariant()
    def brackets_are_what_the_log_says(self) -> None:
        for brackets in self.asked:
            assert self._seen(self.kept[True].of_brackets(1, brackets)) == self._plainly(1, brackets)

    def _plainly(self, enough: int, brackets: frozenset[int] | None) -> Seen | None:
        trials = self.history.trials
        for resource in reversed(LEVELS):
            level = self.values.get(resource, {})
            observed = {n: v for n, v in level.items() if brackets is None or trials[n].bracket in (None, *brackets)}
            if sum(value is not None for value in observed.values()) >= enough:
                if brackets is None:
                    running = [t.number for t in self.history if t.state is TrialState.RUNNING]
                    running = [number for number in running if number not in level]
                else:
                    running = [t.number for t in self.history if t.bracket not in (None, *brackets)]
                return Seen(resource, dict(sorted(observed.items())), running)
        return None

    def _seen(self, basis: Any) -> Seen | None:
        return basis and Seen(basis.resource, dict(basis.level.items()), list(basis.running))


TestWatching = Watching.TestCase


@given(st.integers(1, 5))
def test_nothing_is_made_anew_until_something_changes(enough: int) -> None:
    history = History(DEFINITION.objective, DEFINITION.search_space)
    observations = Observations(history)
    for number in range(enough):
        trial = TrialRecord(number, {}, "", Origin.SAMPLED)
        trial.target, trial.value, trial.state = 1.0, 1.0, TrialState.PAUSED
        assert observations.latest(enough) is None
        observations.started(trial)
        observations.rested(trial)
    basis = observations.latest(enough)
    assert basis is not None
    assert observations.latest(enough) is basis
    observations.started(TrialRecord(enough, {}, "", Origin.SAMPLED))
    later = observations.latest(enough)
    assert later is not None
    assert (later.running, later.stamp == basis.stamp) == ((enough,), False)
