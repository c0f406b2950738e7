"""Studies by the model of learning curves: protocol, purity and sound decisions where spaces and budgets are odd."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core.definition import parse
from hpo_service.core.fold import StudyFold
from hpo_service.core.proposals import Continue, Start, Stop
from hpo_service.core.states import TrialState
from hpo_service.samplers.freeze_thaw import memory
from hpo_service.samplers.freeze_thaw.planner import RANKED
from hpo_service.samplers.freeze_thaw.scene import BEGIN, PROMISES
from hpo_service.schedulers.thawing import Thawing
from tests.conformance.driver import Driver, Nature

WIDE = {"a": {"type": "uniform", "low": 0.0, "high": 1.0}, "b": {"type": "loguniform", "low": 1e-4, "high": 1.0}}
LISTED = {name: {"type": "choice", "values": ["u", "v", "w"]} for name in "abcd"}
SPACES: dict[str, dict[str, Any]] = {
    "one": {"a": WIDE["a"]},
    "listed": LISTED,
    "with a constant": {**WIDE, "c": {"type": "constant", "value": 3}},
    "conditional": {**WIDE, "o": LISTED["a"], "d": {**WIDE["a"], "when": {"o": "u"}}},
}


def study(**more: Any) -> Any:
    document: dict[str, Any] = {
        "objective": {"metric": "loss"},
        "space": WIDE,
        "algorithm": {"name": "auto", "max_resource": 9, "warm_start": "off"},
        "trainer": {"function": "training:train"},
        "budget": {"resource": 60},
        "retries": 3,
        "seed": 3,
        **more,
    }
    return parse(document)


def curves(fold: StudyFold) -> Thawing:
    scheduler = fold._scheduler
    assert isinstance(scheduler, Thawing)
    return scheduler


class InRounds(Driver):
    """A round is as large as may be open, whatever is free."""

    def allowed(self, slots: int) -> int:
        return self.definition.parallel


def run(definition: Any, nature: Nature | None = None, *, workers: int = 3, **more: Any) -> Driver:
    driver = Driver(definition, nature or Nature(seed=2, horizon=9), workers=workers, seed=1, **more)
    curves(driver.algorithm)
    driver.run()
    driver.compare()
    return driver


@pytest.mark.parametrize("space", SPACES)
def test_spaces_of_any_kind(space: str) -> None:
    budget = {"resource": 40} if space != "listed" else {"trials": 14}
    nature = Nature(seed=4, failing=0.15, early=0.15, horizon=9)
    driver = run(study(space=SPACES[space], budget=budget), nature, lag=1, losing=0.02, check_every=20)
    assert any("promises most" in reason for row in driver.rows.values() for reason in row.reasons)


def test_no_draw_is_spent_on_a_configuration_that_was_tried_or_is_forbidden() -> None:
    """Of few values and with conditions: every configuration that the model chose to begin is one that can begin."""
    space = {
        **LISTED,
        "e": {"type": "integer", "low": 1, "high": 6, "when": {"a": "u"}},
        "f": {**WIDE["a"], "when": {"b": ["u", "v"], "c": "w"}},
    }
    forbid = [{"a": "v", "b": "v"}, {"c": "u", "e": {">": 4}}]
    driver = run(study(space=space, forbid=forbid, budget={"resource": 100}), workers=1)
    later = [row.reasons[0] for row in driver.rows.values() if row.number > BEGIN]
    assert len(later) > 20
    assert [reason for reason in later if "promises most" not in reason and "begins anywhere" not in reason] == []


@pytest.mark.parametrize(
    ("algorithm", "levels"),
    [
        ({"max_resource": 0.9, "min_resource": 0.3}, (0.3, 0.426, 0.60492, 0.9)),
        ({"max_resource": 3}, (1.0, 2.0, 3.0)),
        ({"max_resource": 81, "min_resource": 27}, (27.0, 38.0, 54.0, 81.0)),
    ],
)
def test_ladders_that_are_short_or_of_fractions(algorithm: dict[str, float], levels: tuple[float, ...]) -> None:
    far = algorithm["max_resource"]
    definition = study(algorithm={"name": "auto", "warm_start": "off", **algorithm}, budget={"resource": 8 * far})
    driver = run(definition, Nature(seed=2, horizon=far))
    assert curves(driver.algorithm)._plans.levels == pytest.approx(levels)
    assert any(row.state is TrialState.FINISHED for row in driver.rows.values())


def test_curves_that_are_level_are_followed_to_their_end() -> None:
    """Ten epochs at chance, as is usual: more and more new trials would never see anything else."""
    flat = Nature(losses=lambda number, resource: 2.3 if resource < 6 else 1.0 / (2 + number), horizon=9)
    driver = run(study(budget={"resource": 50}), flat, workers=2)
    assert any(row.value is not None and row.value < 1 for row in driver.rows.values())


def test_where_most_trials_share_a_plateau_new_ones_are_judged_when_they_may_have_left_it() -> None:
    """Two of three stay at 2.3 until resource 3, and some for good."""

    def losses(number: int, resource: float) -> float:
        left = resource >= 3 if number % 3 else True
        return 1.0 / (2 + number % 7) + 1.0 / resource if left else 2.3

    driver = run(study(budget={"resource": 120}), Nature(losses=losses, horizon=9), workers=2, lag=1, check_every=20)
    first = [row.segments[0] for row in driver.rows.values()]
    assert first[:BEGIN] == [2.0] * BEGIN
    assert first[-1] == 3.0, "the highest level that is a third of the end"
    assert sorted(first) == first, "it is looked at no sooner again"


@pytest.mark.parametrize("trials", [1, 2])
def test_few_trials_are_trained_to_the_end(trials: int) -> None:
    driver = run(study(budget={"trials": trials}), workers=2)
    assert any(row.state is TrialState.FINISHED for row in driver.rows.values())


def test_where_everything_fails_the_budget_ends_the_study() -> None:
    driver = run(study(budget={"trials": 12}), Nature(failing=1.0, failing_by=0.5, horizon=9), workers=4)
    assert {row.state for row in driver.rows.values()} == {TrialState.FAILED}
    assert len(driver.rows) == 12


def test_a_space_that_is_used_up_leaves_the_paused_ones_to_go_on() -> None:
    space = {name: LISTED[name] for name in "ab"}
    driver = run(study(space=space, budget={"resource": 70}))
    assert len(driver.rows) == 9
    assert any(row.state is TrialState.FINISHED for row in driver.rows.values())


def test_a_paused_trial_that_is_stopped_is_in_no_plan_any_more() -> None:
    driver = Driver(study(budget={"trials": 3}), Nature(seed=2, horizon=9), workers=1, seed=1)
    driver.run(until=lambda d: any(isinstance(p, Continue) for p in d.ask(1)))
    going_on = next(p for p in driver.ask(1) if isinstance(p, Continue))
    driver.commit([Stop(trial=going_on.trial, reason="by hand")], len(driver.log))
    assert going_on.trial not in [p.trial for p in driver.ask(1)]
    driver.compare()
    driver.run()


def test_a_changed_space_is_planned_for_at_once() -> None:
    driver = Driver(study(budget={"hours": 5}), Nature(seed=2, horizon=9), workers=2, seed=1)
    driver.run(until=lambda d: len(d.rows) > 9 and bool(d.ask(2)))
    driver.change(space={**WIDE, "c": WIDE["a"]})
    driver.compare()
    driver.run(until=lambda d: any("c" in row.params for row in d.rows.values()))
    driver.compare()


def test_enqueued_trials_come_first_and_what_they_need_is_kept_for_them() -> None:
    driver = Driver(study(budget={"resource": 30}), Nature(seed=2, horizon=9), workers=1, seed=1)
    driver.run(until=lambda d: d.algorithm.state.ledger.reserved >= 27 and not d.open)
    (number,) = driver.enqueue([{"a": 0.5, "b": 0.5}])
    proposals = [p for p in driver.ask(2) if isinstance(p, Start | Continue)]
    assert number in [p.trial for p in proposals]
    driver.run()
    assert driver.rows[number].fence > 0


@settings(max_examples=25, deadline=None)
@given(
    budget=st.integers(27, 110),
    workers=st.sampled_from([1, 2, 4, 8, 16]),
    seed=st.integers(0, 99),
    parallel=st.sampled_from([4, 16]),
)
def test_one_trial_comes_to_the_end_where_the_budget_holds_a_full_training(
    budget: int, workers: int, seed: int, parallel: int
) -> None:
    algorithm = {"name": "auto", "max_resource": 27, "warm_start": "off"}
    definition = study(algorithm=algorithm, budget={"resource": budget}, seed=seed, parallel=parallel)
    driver = Driver(definition, Nature(seed=seed, horizon=27), workers=workers, seed=seed)
    driver.run()
    assert max(row.reached for row in driver.rows.values()) == 27
    assert sum(row.reached for row in driver.rows.values()) <= budget


def test_constraints_decide_before_values() -> None:
    definition = study(constraints=[{"metric": "size", "at_most": 10.0}], budget={"resource": 60, "patience": "auto"})
    nature = Nature(seed=2, horizon=9, others=lambda number, _: (float(8 + number % 5),))
    driver = run(definition, nature, workers=2)
    lengths = {n: row.reached for n, row in driver.rows.items()}
    kept = [lengths[n] for n in lengths if n % 5 <= 2]
    broken = [lengths[n] for n in lengths if n % 5 > 2 and n > 5]
    assert max(kept) == 9.0
    assert sum(broken) / len(broken) < sum(kept) / len(kept)


def test_patience_is_judged_by_what_the_model_chose() -> None:
    definition = study(budget={"resource": 120, "patience": "auto"}, parallel=16)
    driver = Driver(definition, Nature(seed=2, horizon=9), workers=12, seed=1)
    gains = dict[str, list[bool]]()

    def look(driver: Driver) -> bool:
        for proposal in driver.algorithm.propose(1):
            if isinstance(proposal, Continue):
                gains.setdefault(proposal.reason, []).append(proposal.gain is not None)
        return False

    driver.run(until=look)
    assert gains[RANKED]
    assert not any(gains.pop(RANKED))
    assert any(any(told) for reason, told in gains.items() if PROMISES in reason)


def test_a_study_that_is_deterministic_comes_out_twice() -> None:
    definition = study(deterministic=True, parallel=4, budget={"resource": 60}, retries=100)
    nature = Nature(seed=4, failing=0.1, early=0.1, horizon=9)
    first = InRounds(definition, nature, workers=1, seed=5).run().outcome()
    assert InRounds(definition, nature, workers=4, seed=6, losing=0.1, crashing=0.05).run().outcome() == first


def test_what_is_forgotten_changes_nothing_for_a_fold_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 16)
    run(study(budget={"resource": 90}), workers=3, check_every=9, lag=1)


def test_two_hundred_slots_are_filled_before_anything_is_known() -> None:
    fold = algorithms.fold(study(budget={"hours": 5}, parallel=256))
    proposals = fold.propose(256)
    assert len(proposals) == 256
    assert list(fold.propose(3)) == list(proposals[:3])


def test_values_of_any_size_are_decided_on() -> None:
    huge = Nature(losses=lambda number, resource: 1.7e308 * (-1) ** number / resource, horizon=9)
    tiny = Nature(losses=lambda number, resource: 5e-324 * (number % 3), horizon=9)
    broken = Nature(losses=lambda number, resource: math.nan if number % 2 else number / resource, horizon=9)
    for nature in (huge, tiny, broken):
        run(study(budget={"resource": 30}), nature, workers=2)
