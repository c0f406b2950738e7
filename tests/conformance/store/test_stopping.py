"""A trial stopped by hand: marked while it runs, ended at once before it began, refused in any other state."""

from __future__ import annotations

import pytest

from hpo_service.core.events import Decided
from hpo_service.core.proposals import Stop
from hpo_service.core.states import Origin, TrialState
from hpo_service.errors import Conflict, NotFound
from hpo_service.store import decisions, reading, studies
from hpo_service.store.rows import Remember
from hpo_service.store.stopping import BY_HAND, stop_trial
from tests.storelib import World


def state(world: World, number: int) -> tuple[TrialState, str]:
    row = reading.trial(world.db, world.id, number)
    return row.state, row.reason


def test_a_running_trial_ends_as_stopped_whatever_its_attempt_says(world: World) -> None:
    reached, lost = world.start(2)
    for n in (reached, lost):
        stop_trial(world.db, world.id, n, "enough")
        assert state(world, n)[0] is TrialState.RUNNING
    world.check_counters()
    world.collect(world.report(reached, 0, 0.5), world.ended(reached), world.ended(lost, "lost"))
    assert state(world, reached) == state(world, lost) == (TrialState.STOPPED, "enough")
    world.check_counters()


def test_it_is_a_decision_in_the_log_and_told_once(world: World) -> None:
    (n,) = world.start()
    before = world.study
    remember = Remember(scope="s", key="k", request_digest="d")
    for _ in range(2):
        stop_trial(world.db, world.id, n, "enough", remember=remember)
    stop_trial(world.db, world.id, n, "again")
    (event,) = decisions.load_events(world.db, world.id, after_seq=before.last_seq)
    assert isinstance(event.payload, Decided)
    assert event.payload.algorithm == BY_HAND
    assert event.payload.proposals == (Stop(trial=n, reason="enough"),)
    assert event.payload.decision == world.study.decision == before.decision + 1


def test_an_enqueued_trial_ends_before_it_began(world: World) -> None:
    (n,) = studies.enqueue(world.db, world.id, [{"lr": 0.1, "optimizer": "sgd"}], origin=Origin.ENQUEUED)
    stop_trial(world.db, world.id, n, "a mistake")
    assert state(world, n) == (TrialState.STOPPED, "a mistake")
    world.check_counters()


def test_what_the_algorithm_disposes_of_is_refused(world: World) -> None:
    paused, interrupted, finished = world.start(3)
    world.collect(*(world.report(n, 0, 0.5) for n in (paused, finished)))
    world.collect(world.ended(paused), world.ended(interrupted, "lost"), world.ended(finished))
    world.finish(finished)
    for n, words in ((paused, "paused"), (interrupted, "interrupted"), (finished, "finished")):
        with pytest.raises(Conflict, match=words):
            stop_trial(world.db, world.id, n, "enough")
    with pytest.raises(NotFound):
        stop_trial(world.db, world.id, 99, "enough")
    assert world.study.counts["stopped"] == 0
