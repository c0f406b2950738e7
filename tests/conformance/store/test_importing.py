"""Trials from elsewhere: rows, values, reports, counters and the best trial are right, and a fold learns from them."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_service.core.imported import TrialsImported
from hpo_service.core.states import Origin, StudyState, TrialState
from hpo_service.errors import Conflict
from hpo_service.store import bulk, cluster, decisions, importing, reading, reproductions, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import GivenTrial, Remember
from tests.conformance.store.test_logreading import facts, folded, proposals
from tests.storelib import World

S = TrialState
BEGUN = datetime(2024, 5, 1, 12, tzinfo=UTC)


def given_trial(loss: float | None, *, steps: int = 1, state: TrialState = S.FINISHED, **more: Any) -> GivenTrial:
    """One with `steps` reports, the last of which is `loss`."""
    reports = [] if loss is None else [(k, k + 1.0, {"loss": loss + (steps - 1 - k)}) for k in range(steps)]
    fields: dict[str, Any] = {"params": {"lr": 0.01, "optimizer": "sgd"}, "state": state, "resource": float(steps)}
    return GivenTrial(**{**fields, "reports": reports, **more})


def test_rows_values_reports_and_times_are_what_was_given(world: World) -> None:
    ended = BEGUN + timedelta(seconds=90)
    one = given_trial(0.25, steps=3, started_at=BEGUN, ended_at=ended, tags=["old", "old"], notes="from 2024")
    assert importing.import_trials(world.db, world.id, [one]) == [0]
    row = reading.trial(world.db, world.id, 0)
    assert (row.state, row.origin, row.value, row.resource, row.step) == (S.FINISHED, Origin.IMPORTED, 0.25, 3.0, 2)
    assert (row.started_at, row.ended_at, row.seconds, row.tags, row.notes) == (BEGUN, ended, 90, ("old",), "from 2024")
    told = [(r.step, r.resource, dict(r.metrics)) for r in reading.reports(world.db, world.id, 0)]
    assert told == [(0, 1.0, {"loss": 2.25}), (1, 2.0, {"loss": 1.25}), (2, 3.0, {"loss": 0.25})]
    (attempt,) = reading.attempts(world.db, world.id, 0)
    assert (attempt.outcome, attempt.method, attempt.cost_microdollars) == ("completed", "imported", 0)
    world.check_counters()
    assert (world.study.best_trial, world.study.best_value, world.study.resource) == (0, 0.25, 0.0)


def test_what_is_not_finite_keeps_its_kind_and_fails(world: World) -> None:
    values = (math.nan, math.inf, -math.inf, None)
    importing.import_trials(world.db, world.id, [given_trial(value) for value in values])
    rows = [reading.trial(world.db, world.id, n) for n in range(4)]
    assert {row.state for row in rows} == {S.FAILED}
    assert [repr(row.value) for row in rows] == ["nan", "inf", "-inf", "None"]
    assert [row.reason.split(":")[0] for row in rows] == ["diverged"] * 3 + ["missing_metric"]
    world.check_counters()


def test_numbers_go_on_and_a_key_is_answered_again(world: World) -> None:
    key = Remember(scope="ada", key="k", request_digest="d")
    assert importing.import_trials(world.db, world.id, [given_trial(0.5)] * 2, remember=key) == [0, 1]
    assert importing.import_trials(world.db, world.id, [given_trial(0.5)] * 2, remember=key) == [0, 1]
    assert world.start(1) == [2]
    assert importing.import_trials(world.db, world.id, [given_trial(0.1)]) == [3]
    assert world.study.best_trial == 3
    world.check_counters()


def test_a_decision_made_before_is_refused(world: World) -> None:
    decision = world.study.decision
    importing.import_trials(world.db, world.id, [given_trial(0.5)])
    assert world.study.decision == decision + 1


def test_the_study_may_end_with_it(world: World) -> None:
    importing.import_trials(world.db, world.id, [given_trial(0.5)], finish="brought from Optuna")
    study = world.study
    assert (study.state, study.reason) == (StudyState.FINISHED, "brought from Optuna")
    assert study.ended_at
    importing.import_trials(world.db, world.id, [], finish="again")
    assert world.study.reason == "brought from Optuna"


def test_a_study_with_open_attempts_does_not_end_with_it(world: World) -> None:
    world.start(1)
    with pytest.raises(Conflict, match="open attempts"):
        importing.import_trials(world.db, world.id, [given_trial(0.5)], finish="done")
    assert world.study.next_trial == 1


def test_two_reports_of_a_step_that_differ_are_refused_whole(world: World) -> None:
    odd = dataclasses.replace(given_trial(0.5), reports=[(0, 1.0, {"loss": 1.0}), (0, 1.0, {"loss": 2.0})])
    with pytest.raises(Conflict, match="never changes"):
        importing.import_trials(world.db, world.id, [given_trial(0.1), odd])
    assert world.study.next_trial == 0


def test_what_moved_is_told_and_failures_there_are_none_of_ours(world: World) -> None:
    before = world.study.last_seq
    importing.import_trials(world.db, world.id, [given_trial(0.5), given_trial(None, state=S.FAILED)])
    assert bulk.moves(world.db, world.id, before).trials == frozenset({0, 1})
    assert cluster.failures(world.db) == []


def test_what_was_trained_elsewhere_is_not_trained_again_here(world: World) -> None:
    importing.import_trials(world.db, world.id, [given_trial(0.5)])
    with pytest.raises(Conflict, match="was imported"):
        reproductions.ask(world.db, world.id, 0, asked_by="ada")


LOSSES = st.none() | st.floats(-10, 10) | st.sampled_from([math.nan, math.inf])
GIVEN = st.lists(
    st.builds(given_trial, LOSSES, steps=st.integers(1, 4), state=st.sampled_from([S.FINISHED, S.STOPPED, S.FAILED])),
    max_size=6,
)
ALGORITHMS = ({"name": "random", "max_resource": 9}, {"name": "asha", "max_resource": 9}, {"name": "bayesian"})


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: str(a["name"]))
@pytest.mark.parametrize("at", ["last", "best"])
@given(first=GIVEN, then=GIVEN, between=st.integers(0, 2))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_read_again_in_any_way_the_fold_is_the_same(
    algorithm: dict[str, Any],
    at: str,
    db: Database,
    first: list[GivenTrial],
    then: list[GivenTrial],
    between: int,
) -> None:
    objective = {"metric": "loss", "direction": "minimize", "at": at}
    world = World(db, algorithm=algorithm, objective=objective, budget={"trials": 100, "patience": 40})
    importing.import_trials(db, world.id, first)
    for number in world.start(between) if between else []:
        world.collect(world.report(number, 0, 0.5), world.ended(number))
    importing.import_trials(db, world.id, then)
    world.check_counters()
    other = Database(db.engine)
    events = list(decisions.each_event(other, world.id))
    whole = folded(world, events)
    thinned = folded(world, list(decisions.each_event(other, world.id, curves=False)))
    known = [e for e in events if isinstance(e.payload, TrialsImported)]
    assert sum(len(e.payload.trials) for e in known if isinstance(e.payload, TrialsImported)) == len(first) + len(then)
    assert facts(thinned) == facts(whole)
    assert proposals(thinned) == proposals(whole)
    for row in reading.iter_trials(db, world.id):
        record = whole.history[row.number]
        assert (record.state, record.resource) == (row.state, row.resource)
        assert repr(record.value) == repr(row.value)
    assert whole.history.started == between
    assert studies.get_study(db, world.id).next_trial == whole.history.next_number
