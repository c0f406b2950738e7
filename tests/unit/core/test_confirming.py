"""The study that confirms another: what it keeps of it, what it changes, and that it chooses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core import confirming, seeds
from hpo_service.core.confirming import Candidate
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.events import EnqueuedTrial, Event, StudyCreated, TrialsEnqueued
from hpo_service.core.proposals import Start
from hpo_service.core.states import Origin
from hpo_service.errors import InvalidInput

BASE: dict[str, Any] = {
    "name": "digits",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1, "default": 0.01}},
    "algorithm": {"name": "hyperband", "max_resource": 27},
    "trainer": {"recipe": "image_classifier", "params": {"data": "digits"}},
    "budget": {"trials": 50},
    "resources": {"cpu": 2},
    "trial_timeout_s": 60,
    "stall_timeout_s": 30,
    "seed": 7,
}
CHOSEN = (Candidate(trial=3, params={"lr": 0.02}), Candidate(trial=8, params={"lr": 0.03}))


def _made(changes: Mapping[str, Any] | None = None, **more: Any) -> StudyDefinition:
    given: dict[str, Any] = {"candidates": CHOSEN, "seeds": 5, "nth": 0, "resource": 27.0, "horizon": 27.0, **more}
    return confirming.definition_of(parse({**BASE, **(changes or {})}), study="sabc", **given)


def test_it_trains_as_far_and_keeps_what_training_hangs_on() -> None:
    found, original = _made(), parse(BASE)
    assert (found.algorithm.name, getattr(found.algorithm, "max_resource", None)) == ("random", 27)
    assert (found.budget.trials, found.baseline, found.repeats) == (10, False, True)
    assert (found.trainer, found.space, found.resources) == (original.trainer, original.space, original.resources)
    assert found.confirms is not None
    assert (found.confirms.study, found.confirms.trials, found.confirms.seeds) == ("sabc", (3, 8), 5)
    assert found.confirms.horizon is None
    assert found.name == "digits (confirmed)"
    assert (found.trial_timeout_s, found.stall_timeout_s) == (None, 30)  # the former was for one segment
    algorithms.check(found)
    assert parse(found.to_document()) == found


def test_a_search_that_came_less_far_keeps_its_horizon() -> None:
    found = _made(resource=9.0)
    assert getattr(found.algorithm, "max_resource", None) == 9
    assert found.confirms is not None
    assert found.confirms.horizon == 27
    start = _starts(found, 1)[0]
    assert (start.target, start.horizon) == (9, 27)


@pytest.mark.parametrize(("algorithm", "far"), [({"name": "random"}, None), ({"name": "sobol", "max_resource": 4}, 4)])
def test_without_a_scheduler_trials_are_trained_as_their_definition_says(
    algorithm: dict[str, Any], far: float | None
) -> None:
    found = _made({"algorithm": algorithm, "trial_timeout_s": 60}, resource=4.0)
    assert getattr(found.algorithm, "max_resource", None) == far
    assert found.trial_timeout_s == 60
    assert _starts(found, 1)[0].target == (20 if far is None else far)


def test_enough_at_a_time_to_be_lanes_of_one_program() -> None:
    model = {"algorithm": {"name": "bayesian"}, "trainer": {"external": True}}
    assert _made().parallel == 256
    assert _made({"parallel": 2}).parallel == 20
    assert _made({"parallel": 2, "algorithm": {"name": "random"}, "trainer": {"external": True}}).parallel == 2
    assert _made(model).parallel == 256


@settings(deadline=None)  # the first example imports what the others use
@given(study_seed=st.integers(0, 2**63 - 1), nths=st.sets(st.integers(0, 20), min_size=2, max_size=4))
def test_no_seed_is_used_twice(study_seed: int, nths: set[int]) -> None:
    own = {seeds.trial_seed(study_seed, n) for n in range(10)}
    for nth in nths:
        found = _made({"seed": study_seed}, nth=nth)
        assert found.seed == _made({"seed": study_seed}, nth=nth).seed
        new = {seeds.trial_seed(found.seed, n) for n in range(10)}
        assert len(new) == 10
        assert own.isdisjoint(new)
        own |= new


def _starts(definition: StudyDefinition, slots: int) -> list[Start]:
    fold = algorithms.fold(definition)
    params = confirming.configurations(CHOSEN, 5)
    queued = tuple(EnqueuedTrial(trial=i, params=p, origin=Origin.CONFIRM, retry_of=None) for i, p in enumerate(params))
    for seq, payload in enumerate((StudyCreated(definition=definition.to_document()), TrialsEnqueued(trials=queued))):
        fold.observe(Event(study_id="s", seq=seq + 1, payload=payload, at=None, epoch=0))  # type: ignore[arg-type]
    return [p for p in fold.propose(slots) if isinstance(p, Start)]


def test_it_trains_its_trials_and_never_chooses_one() -> None:
    found = _starts(_made(), 50)
    assert [start.trial for start in found] == list(range(10))
    assert {start.origin for start in found} == {Origin.CONFIRM}
    assert [start.params["lr"] for start in found] == [0.02, 0.03] * 5
    raised = parse({**_made().to_document(), "budget": {"trials": 40}})
    assert len(_starts(raised, 50)) == 10
    assert algorithms.fold(raised).propose(3) == []


def test_a_search_by_a_test_metric_is_refused_with_the_reason() -> None:
    for trainer in ({"external": True}, {"recipe": "image_classifier"}, {"function": "mine:train"}):
        with pytest.raises(InvalidInput, match="choosing by it would make the test rows part of the search") as refused:
            parse({**BASE, "trainer": trainer, "objective": {"metric": "test_accuracy", "direction": "maximize"}})
        (problem,) = refused.value.problems
        assert problem.path == "objective.metric"
        assert "val_accuracy" in problem.remedy
