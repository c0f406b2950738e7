"""The fold: numbering, baselines, enqueued trials, endings, changed definitions."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service import algorithms
from hpo_service.core import events as ev
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.proposals import UNLIMITED, Continue, Finish, Proposal, Start, Stop
from hpo_service.core.states import Origin, StudyState, TrialState
from tests.conformance.driver import Driver, Nature

SPACE = {"a": {"type": "integer", "low": 1, "high": 6, "default": 2}, "b": {"type": "choice", "values": ["x", "y"]}}
WIDE = {"lr": {"type": "loguniform", "low": 1e-5, "high": 0.1}}


def study(algorithm: dict[str, Any], **more: Any) -> StudyDefinition:
    document = {"objective": {"metric": "loss"}, "space": SPACE, "trainer": {"function": "t:train"}}
    parsed = parse({**document, "budget": {"trials": 8}, "algorithm": algorithm, **more})
    algorithms.check(parsed)
    return parsed


def driver(algorithm: dict[str, Any], *, workers: int = 3, **more: Any) -> Driver:
    return Driver(study(algorithm, **more), Nature(horizon=9), workers=workers, seed=1)


RANDOM = {"name": "random", "max_resource": 9}
HYPERBAND = {"name": "hyperband", "max_resource": 9}
HALVING = {"name": "successive_halving", "trials": 9, "max_resource": 9}


def test_slots_bound_new_trials_and_numbers_begin_at_zero() -> None:
    played = driver(RANDOM)
    assert [p.trial for p in played.algorithm.propose(3)] == [0, 1, 2]
    assert played.algorithm.propose(0) == []
    assert played.algorithm.propose(-1) == []


def test_proposals_hang_on_trial_numbers_not_on_rounds() -> None:
    at_once, bit_by_bit = driver(RANDOM), driver(RANDOM)
    together = list(at_once.algorithm.propose(4))
    one_by_one: list[Proposal] = []
    for _ in range(4):
        proposals = bit_by_bit.algorithm.propose(1)
        bit_by_bit.commit(proposals, len(bit_by_bit.log))
        one_by_one += proposals
    assert one_by_one == together


def test_the_baseline_is_the_first_trial_that_is_not_enqueued() -> None:
    played = driver(RANDOM)
    played.enqueue([{"a": 5, "b": "y"}, {"a": 5, "b": "x"}])
    for slots in (1, 3, 4):
        starts = [p for p in played.algorithm.propose(slots) if isinstance(p, Start)]
        origins = [Origin.ENQUEUED, Origin.ENQUEUED, Origin.BASELINE, Origin.SAMPLED]
        assert [start.origin for start in starts] == origins[:slots]
    assert starts[2].params == {"a": 2, "b": "x"}


@pytest.mark.parametrize("more", [{"baseline": False}, {"space": WIDE}])
def test_no_baseline_where_none_is_wanted_or_named(more: dict[str, Any]) -> None:
    start = driver(RANDOM, **more).algorithm.propose(1)[0]
    assert isinstance(start, Start)
    assert start.origin is Origin.SAMPLED


def test_an_enqueued_baseline_is_not_tried_again() -> None:
    played = driver(RANDOM)
    played.enqueue([{"a": 2, "b": "x"}])
    starts = [p for p in played.algorithm.propose(3) if isinstance(p, Start)]
    assert [start.origin for start in starts] == [Origin.ENQUEUED, Origin.SAMPLED, Origin.SAMPLED]


def test_a_finite_space_ends_when_every_configuration_was_tried() -> None:
    played = driver(RANDOM, budget={"trials": 50}).run()
    assert len(played.rows) == 12
    assert played.algorithm.ending() == "every configuration was tried: the space has 12"


def test_repeats_are_drawn_where_they_are_wanted() -> None:
    played = driver(RANDOM, budget={"trials": 50}, repeats=True).run()
    assert len(played.rows) == 50
    assert "50 of 50" in (played.algorithm.ending() or "")


def test_a_used_up_space_closes_its_bracket() -> None:
    played = driver({"name": "hyperband", "max_resource": 27}, budget={"trials": 90}).run()
    assert len(played.rows) == 12
    assert {row.state for row in played.rows.values()} == {TrialState.STOPPED, TrialState.FINISHED}
    assert "every configuration was tried" in (played.algorithm.ending() or "")


@pytest.mark.parametrize("algorithm", [RANDOM, HYPERBAND, {"name": "asha", "max_resource": 9}])
def test_declared_endings_hold_everything_and_can_be_lifted(algorithm: dict[str, Any]) -> None:
    played = driver(algorithm).run(until=lambda d: len(d.rows) >= 5)
    played.record(ev.EndingDeclared(reason="budget.hours: 2 of 2 hours are over"))
    for _ in range(400):
        proposals = played.propose(3)
        assert not [p for p in proposals if isinstance(p, Start | Continue)]
        if proposals:
            played.commit(proposals, len(played.log))
        elif played.open:
            played.advance()
    assert not played.open
    assert played.algorithm.ending() == "budget.hours: 2 of 2 hours are over"
    played.record(ev.EndingDeclared(reason=""))
    assert played.algorithm.ending() is None
    assert len(played.run().rows) == 8


def test_the_target_ends_the_study() -> None:
    played = driver(RANDOM, budget={"trials": 100, "target": 0.2}, space=WIDE).run()
    assert "budget.target" in (played.algorithm.ending() or "")
    assert len(played.rows) < 40


@pytest.mark.parametrize("algorithm", [RANDOM, HYPERBAND, {"name": "asha", "max_resource": 9}])
def test_patience_ends_the_study_and_a_raised_one_goes_on(algorithm: dict[str, Any]) -> None:
    played = driver(algorithm, budget={"patience": 6, "min_delta": 0.01}, space=WIDE).run()
    assert "budget.patience: 6 trials in a row" in (played.algorithm.ending() or "")
    before = len(played.rows)
    played.change(budget={"patience": 20})
    played.compare()
    played.run()
    assert len(played.rows) > before


def test_a_raised_budget_refills_a_bracket_that_was_cut_but_not_judged() -> None:
    played = driver(HYPERBAND, budget={"trials": 4}, space=WIDE, workers=4)
    played.commit(played.propose(4), len(played.log))
    assert next(p.reason for p in played.log[-1].payload.proposals).endswith(  # type: ignore[union-attr]
        "place 1 of 4 (cut from 9 by the budget) in bracket 0 (s=2), rung 0"
    )
    played.change(budget={"trials": 9})
    played.run()
    assert {row.bracket for row in played.rows.values()} == {0}
    assert [len(view.entered) for view in played.algorithm.rungs()] == [9, 3, 1]


def test_a_raised_budget_opens_the_next_bracket_after_a_cut_one_was_judged() -> None:
    played = driver(HYPERBAND, budget={"trials": 4}, space=WIDE).run()
    assert [len(view.entered) for view in played.algorithm.rungs()] == [4, 1, 1]
    played.change(budget={"trials": 9})
    played.run()
    assert [(view.bracket, len(view.entered)) for view in played.algorithm.rungs()] == [
        (0, 4),
        (0, 1),
        (0, 1),
        (1, 5),
        (1, 1),
    ]


def test_a_lowered_budget_closes_the_bracket_where_it_is() -> None:
    played = driver(HYPERBAND, budget={"trials": 9}, space=WIDE).run(until=lambda d: len(d.rows) >= 5)
    played.change(budget={"trials": 2})
    played.lowered = True
    played.run()
    assert len(played.rows) <= 7
    assert [row.state for row in played.rows.values()].count(TrialState.FINISHED) == 1


def test_halving_goes_on_with_what_a_budget_had_kept_out() -> None:
    played = driver(HALVING, budget={"trials": 5}, space=WIDE).run()
    played.change(budget={"trials": 50})
    played.run()
    assert len(played.rows) == 9
    assert played.algorithm.ending() == "the algorithm is through: every trial of its brackets was started"


def test_a_changed_space_is_drawn_from_at_the_next_trial() -> None:
    played = driver(RANDOM, space=WIDE, budget={"trials": 12}).run(until=lambda d: len(d.rows) >= 5)
    before = len(played.rows)
    narrow = {"lr": {"type": "loguniform", "low": 1e-3, "high": 1e-2}}
    played.change(space=narrow)
    played.compare()
    played.run()
    history = played.algorithm.history
    assert [history[n].space_version for n in range(12)] == [1] * before + [2] * (12 - before)
    assert all(1e-3 <= played.rows[n].params["lr"] <= 1e-2 for n in range(before, 12))


def test_a_changed_space_is_drawn_from_at_the_next_bracket() -> None:
    played = driver(HYPERBAND, space=WIDE, budget={"trials": 14}).run(until=lambda d: len(d.rows) >= 3)
    played.change(space={"lr": {"type": "loguniform", "low": 1e-3, "high": 1e-2}})
    played.run()
    history = played.algorithm.history
    assert [history[n].space_version for n in range(14)] == [1] * 9 + [2] * 5
    played.compare()


def test_a_trial_that_ends_by_itself_keeps_its_value_at_later_rungs() -> None:
    played = driver(HALVING, budget={}, space=WIDE, workers=9)
    played.nature.ends = lambda number: 1.0 if number == 4 else 99.0
    played.nature.losses = lambda number, resource: 0.0 if number == 4 else 1.0 + number
    played.run()
    assert [view.entered[0] for view in played.algorithm.rungs()] == [4, 4, 4]
    assert played.rows[4].segments == [1.0, 3.0]  # the segment to 3 shows that it had ended at 1
    assert played.rows[4].state is TrialState.FINISHED
    assert "ended by itself at resource 1" in played.rows[4].reasons[-1]


def test_a_function_without_a_length_is_finished_when_it_returns() -> None:
    played = driver({"name": "random"}, space=WIDE)
    start = played.algorithm.propose(1)[0]
    assert isinstance(start, Start)
    assert start.target == UNLIMITED
    played.run()
    assert all("ended by itself" in row.reasons[-1] for row in played.rows.values())


def test_tuned_epochs_are_how_far_a_trial_is_trained_and_what_it_costs() -> None:
    space = {**WIDE, "epochs": {"type": "integer", "low": 1, "high": 9}}
    played = driver({"name": "random"}, space=space, budget={"resource": 40}).run()
    assert all(row.segments == [row.params["epochs"]] for row in played.rows.values())
    assert 31 <= sum(row.reached for row in played.rows.values()) <= 40
    assert "budget.resource" in (played.algorithm.ending() or "")


def test_endings_need_no_slot() -> None:
    played = driver(RANDOM, space=WIDE)
    played.commit(played.propose(3), len(played.log))
    while played.open:
        played.advance()
    assert [type(p) for p in played.algorithm.propose(0)] == [Finish] * 3


def test_losers_are_stopped_with_their_rank() -> None:
    played = driver(HALVING, budget={}, space=WIDE).run()
    stopped = [row.reasons[-1] for row in played.rows.values() if row.state is TrialState.STOPPED]
    assert sum(reason.endswith("of 9 at resource 1: 3 are promoted") for reason in stopped) == 6
    assert sum(reason.endswith("of 3 at resource 3: 1 is promoted") for reason in stopped) == 2


def test_events_of_no_concern_change_nothing() -> None:
    played = driver(RANDOM)
    before = played.algorithm.propose(2)
    played.record(ev.StudyStateChanged(state=StudyState.PAUSED, reason="by a user"))
    assert played.algorithm.propose(2) == before
    assert not [p for p in before if isinstance(p, Stop)]
