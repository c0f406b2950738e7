"""Decisions: optimistic commits, the transition table, leases by the database's clock, attempts opened again."""

from __future__ import annotations

import threading

import pytest

from hpo_service.core.events import AttemptsReopened, Decided
from hpo_service.core.proposals import Continue, Finish, Start, Stop
from hpo_service.core.states import Origin, StudyState, TrialState
from hpo_service.errors import Conflict, DecisionMoved, NotFound
from hpo_service.store import decisions, reading, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.rows import Placement, Remember
from tests.storelib import HOLDER, World, definition, start


def test_a_commit_opens_attempts_and_writes_one_event(world: World) -> None:
    place = {0: Placement(launch="l1", lane=0, width=2), 1: Placement(launch="l1", lane=1, width=2)}
    committed = world.commit([start(0), start(1)], placements=place)
    assert (committed.seq, committed.decision) == (3, 1)
    assert [(o.trial, o.fence, o.launch, o.lane, o.from_resource, o.target, o.horizon) for o in committed.opened] == [
        (0, 1, "l1", 0, 0.0, 9.0, 27.0),
        (1, 1, "l1", 1, 0.0, 9.0, 27.0),
    ]
    event = decisions.load_events(world.db, world.id)[-1]
    assert isinstance(event.payload, Decided)
    assert (event.seq, event.epoch, event.payload.decision, event.payload.observed_seq) == (3, world.epoch, 1, 2)
    assert event.payload.proposals == (start(0), start(1))
    assert (world.study.next_trial, world.study.open_attempts) == (2, 2)
    assert world.study.started_at is not None
    assert [a.trial for a in decisions.open_attempts(world.db, world.id)] == [0, 1]
    world.check_counters()


def test_a_trial_lives_through_its_segments(world: World) -> None:
    (n,) = world.start(target=3.0)
    world.collect(world.report(n, 0, 0.5), world.ended(n, resource=3.0, checkpoint=world.checkpoint(n, 2)))
    (opened,) = world.go_on(n, target=float("inf")).opened
    assert (opened.fence, opened.target, opened.from_resource) == (2, float("inf"), 3.0)
    world.collect(world.report(n, 3, 0.4, fence=2), world.ended(n, "completed", fence=2, resource=5.0))
    world.finish(n)
    trial = reading.trial(world.db, world.id, n)
    assert (trial.state, trial.target, trial.resource, trial.attempts, trial.rung) == (
        TrialState.FINISHED,
        None,
        5.0,
        2,
        1,
    )
    with pytest.raises(Conflict, match="continue for trial 0, which is finished"):
        world.go_on(n)
    assert world.stop(n).opened == ()
    assert reading.trial(world.db, world.id, n).state is TrialState.FINISHED
    world.check_counters()


@pytest.mark.parametrize("which", ["epoch", "decision"])
def test_a_commit_on_a_moved_state_is_refused_whole(world: World, which: str) -> None:
    with pytest.raises(DecisionMoved, match=which):
        world.commit([start(0)], **{which: 7})  # type: ignore[arg-type]  # one of two integers
    assert (world.study.next_trial, world.study.last_seq) == (0, 2)


def test_reports_do_not_invalidate_a_decision(world: World) -> None:
    (n,) = world.start()
    before = world.study
    world.collect(world.report(n, 0, 0.5))
    assert world.commit([start(1)], decision=before.decision).decision == before.decision + 1


@pytest.mark.parametrize("verb", ["enqueue", "patch", "pause", "ending"])
def test_what_a_user_does_moves_the_decision(world: World, verb: str) -> None:
    before = world.study.decision
    if verb == "enqueue":
        studies.enqueue(world.db, world.id, [{"lr": 0.1, "optimizer": "sgd"}])
    elif verb == "patch":
        studies.patch_study(world.db, world.id, definition(parallel=2), changed=("parallel",))
    elif verb == "pause":
        studies.set_state(world.db, world.id, StudyState.PAUSED, "by hand")
    else:
        studies.set_ending(world.db, world.id, "budget.hours: over", world.epoch)
    assert world.study.decision == before + 1


def test_of_two_deciders_one_wins(db_url: str, world: World) -> None:
    other = open_database(db_url)
    barrier = threading.Barrier(2)
    won, lost = [], []

    def decide(db: Database, launch: str) -> None:
        barrier.wait()
        try:
            won.append(
                decisions.commit(
                    db, world.id, [start(0)], epoch=world.epoch, decision=0, observed_seq=2, algorithm="random",
                    algorithm_version=1, placements={0: Placement(launch=launch)},
                )
            )  # fmt: skip
        except DecisionMoved as error:
            lost.append(error)

    threads = [threading.Thread(target=decide, args=(db, str(db is other))) for db in (world.db, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert (len(won), len(lost)) == (1, 1)
    assert len(reading.attempts(world.db, world.id, 0)) == 1
    world.check_counters()


@pytest.mark.parametrize(
    "proposals",
    [
        [start(1)],
        [start(0), start(2)],
        [start(0), start(0)],
        [Continue(trial=0, target=3.0, reason="?")],
        [start(0), Finish(trial=5, reason="?")],
    ],
)
def test_proposals_that_do_not_fit_are_refused_whole(world: World, proposals: list[Start | Continue | Finish]) -> None:
    with pytest.raises(Conflict):
        world.commit(proposals)
    assert (world.study.next_trial, world.study.decision) == (0, 0)
    world.check_counters()


def test_nothing_starts_in_a_study_that_is_not_running(world: World) -> None:
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5), world.ended(n))
    studies.set_state(world.db, world.id, StudyState.PAUSED, "by hand")
    with pytest.raises(Conflict, match="resume"):
        world.commit([start(1)])
    world.finish(n)
    assert reading.trial(world.db, world.id, n).state is TrialState.FINISHED


def test_an_enqueued_trial_is_started_under_its_own_number(world: World) -> None:
    (n,) = studies.enqueue(world.db, world.id, [{"lr": 0.5}], origin=Origin.RETRY, retry_of=[None])
    assert reading.trial(world.db, world.id, n).state is TrialState.WAITING
    assert decisions.interrupted(world.db, world.id) == []
    world.commit([start(n, params={"lr": 0.5, "optimizer": "adam"}, origin=Origin.RETRY), start(n + 1)])
    trial = reading.trial(world.db, world.id, n)
    assert (trial.state, trial.origin, trial.params) == (
        TrialState.RUNNING,
        Origin.RETRY,
        {"lr": 0.5, "optimizer": "adam"},
    )
    by_optimizer = reading.trials(
        world.db, world.id, filters=[reading.Filter(field="param.optimizer", op="=", value="adam")]
    )
    assert [t.number for t in by_optimizer.rows] == [n]
    world.check_counters()


def test_a_waiting_trial_can_be_stopped(world: World) -> None:
    (n,) = studies.enqueue(world.db, world.id, [{"lr": 0.5}])
    world.commit([Stop(trial=n, reason="not wanted any more")])
    assert reading.trial(world.db, world.id, n).reason == "not wanted any more"
    world.check_counters()


def test_a_child_goes_on_from_its_parents_checkpoint(world: World) -> None:
    (n,) = world.start()
    world.collect(world.report(n, 2, 0.5), world.saved(n, 2), world.saved(n, 5), world.ended(n))
    (opened,) = world.commit([start(1, parent=n, parent_resource=3.0)]).opened
    assert [c.step for c in opened.checkpoints] == [2]
    assert opened.from_resource == 3.0
    world.collect(world.report(1, 4, 0.4))
    assert reading.trial(world.db, world.id, 1).resource == 5.0
    assert world.study.resource == 9.0 + (5.0 - 3.0)


def test_interrupted_trials_are_opened_again_with_their_target(world: World) -> None:
    a, b = world.start(2)
    world.collect(world.report(a, 0, 0.5), world.saved(a, 0), world.ended(a, "paused"), world.ended(b, "lost"))
    assert decisions.interrupted(world.db, world.id) == [a, b]
    decision = world.study.decision
    opened = decisions.reopen(world.db, world.id, [b, a], epoch=world.epoch, placements={a: Placement(launch="again")})
    assert [(o.trial, o.fence, o.target, o.from_resource, o.launch) for o in opened] == [
        (b, 2, 9.0, 0.0, ""),
        (a, 2, 9.0, 1.0, "again"),
    ]
    event = decisions.load_events(world.db, world.id)[-1].payload
    assert isinstance(event, AttemptsReopened)
    assert [c.trial for c in event.attempts] == [b, a]
    assert world.study.decision == decision
    with pytest.raises(Conflict, match="waiting"):
        decisions.reopen(world.db, world.id, [a], epoch=world.epoch, placements={})
    with pytest.raises(DecisionMoved):
        decisions.reopen(world.db, world.id, [a], epoch=world.epoch + 1, placements={})
    world.check_counters()


def test_what_no_worker_took_up_is_told_apart(world: World) -> None:
    a, b, c = world.start(3)
    world.collect(world.started(a), world.ended(a, "paused"), world.ended(b, "paused"))
    assert decisions.never_begun(world.db, world.id, [a, b, c]) == [b, c]
    assert decisions.never_begun(world.db, world.id, [a]) == []
    assert decisions.never_begun(world.db, world.id, []) == []
    decisions.reopen(world.db, world.id, [a], epoch=world.epoch, placements={})
    assert decisions.never_begun(world.db, world.id, [a, b]) == [a, b], "of the newest attempt"


def test_a_repeated_request_opens_nothing_more(world: World) -> None:
    remember = Remember(scope="ada POST ask", key="k1", request_digest="d")
    first = world.commit([start(0)], remember=remember)
    assert world.commit([start(0)], decision=0, remember=remember) == first
    assert world.study.next_trial == 1


class Clock:
    """The database's clock, set by hand (seconds)."""

    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> int:
        return int(self.s * 1e6)


def test_leases_expire_by_the_databases_clock(db_url: str) -> None:
    clock = Clock()
    db = open_database(db_url, clock=clock)
    world = World(db)
    decisions.release_leases(db, HOLDER)
    first = decisions.take_lease(db, world.id, "one", 30)
    assert first is not None
    assert decisions.take_lease(db, world.id, "two", 30) is None
    assert decisions.take_lease(db, world.id, "one", 30) == first
    clock.s += 29
    assert decisions.renew_leases(db, "one", 30) == {world.id}
    clock.s += 29
    assert decisions.take_lease(db, world.id, "two", 30) is None
    clock.s += 2
    assert decisions.take_lease(db, world.id, "two", 30) == first + 1
    assert decisions.renew_leases(db, "one", 30) == set()
    with pytest.raises(DecisionMoved, match="epoch"):
        world.commit([start(0)], epoch=first)
    decisions.release_leases(db, "two")
    assert decisions.take_lease(db, world.id, "one", 30) == first + 2
    db.close()


def test_the_lease_of_an_ended_study_is_let_go(world: World) -> None:
    studies.set_state(world.db, world.id, StudyState.STOPPED, "enough")
    assert decisions.renew_leases(world.db, HOLDER, 30) == set()
    assert decisions.take_lease(world.db, world.id, "another", 30) == world.epoch + 1


def test_events_are_numbered_without_gaps_and_load_in_pieces(world: World) -> None:
    for n in range(5):
        world.start()
        world.collect(world.report(n, 0, 0.5))
    events = decisions.load_events(world.db, world.id)
    assert [e.seq for e in events] == list(range(1, world.study.last_seq + 1))
    assert decisions.load_events(world.db, world.id, 4, limit=3) == events[4:7]
    assert decisions.load_events(world.db, world.id, world.study.last_seq) == []
    with pytest.raises(NotFound):
        decisions.load_events(world.db, "nobody")


def test_every_objective_is_loaded(db: Database) -> None:
    world = World(db, objective=[{"metric": "loss"}, {"metric": "seconds"}])
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5, seconds=3.0), world.report(n, 1, 0.4))
    event = decisions.load_events(db, world.id)[-1].payload
    values = [r.values for r in event.reports]  # type: ignore[union-attr]  # a Reported
    assert values[0] == (0.5, 3.0)
    assert values[1] == (0.4, 3.0)  # what the trial has come to: its newest value of the second
