"""Reports, checkpoints and endings: fences, repetition, contradiction, terminal states, values of every kind."""

from __future__ import annotations

import math

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from hpo_service.core.events import AttemptsEnded, Reported
from hpo_service.core.states import StudyState, TrialState
from hpo_service.store import collecting, decisions, reading, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import EndedItem, ReportItem
from hpo_service.store.tables import blobs, checkpoints, trials
from tests.storelib import World


def test_a_batch_becomes_rows_counters_and_two_events(world: World) -> None:
    a, b = world.start(2)
    before = world.study.last_seq
    assert (
        world.statuses(
            world.started(a),
            world.report(a, 0, 0.5, accuracy=0.1),
            world.report(b, 0, 0.4),
            world.ended(a, cost_microdollars=7),
        )
        == ["stored"] * 4
    )
    events = decisions.load_events(world.db, world.id, before)
    assert [type(e.payload) for e in events] == [Reported, AttemptsEnded]
    assert isinstance(events[0].payload, Reported)
    assert [(r.trial, r.fence, r.step, r.resource, r.values) for r in events[0].payload.reports] == [
        (a, 1, 0, 1.0, (0.5,)),
        (b, 1, 0, 1.0, (0.4,)),
    ]
    trial = reading.trial(world.db, world.id, a)
    assert (trial.state, trial.value, trial.values) == (TrialState.PAUSED, 0.5, {"loss": 0.5, "accuracy": 0.1})
    assert (trial.resource, trial.seconds, trial.cost_microdollars) == (9.0, 2.0, 7)
    attempt = reading.attempts(world.db, world.id, a)[0]
    assert (attempt.outcome, attempt.worker_id, attempt.device) == ("reached", "w1", "cpu")
    assert attempt.environment_digest is not None
    assert reading.environment(world.db, attempt.environment_digest)["python"] == "3.11"
    world.check_counters()


def test_a_repeated_report_is_fine_and_a_contradicting_one_is_refused(world: World) -> None:
    (n,) = world.start()
    assert world.statuses(world.report(n, 0, 0.5)) == ["stored"]
    seq = world.study.last_seq
    result = world.collect(world.report(n, 0, 0.5), world.report(n, 0, 0.6), world.report(n, 1, 0.4))
    assert [r.status for r in result] == ["repeated", "contradicted", "stored"]
    assert "0.5" in result[1].message
    assert "0.6" in result[1].message
    assert [r.metrics["loss"] for r in reading.reports(world.db, world.id, n)] == [0.5, 0.4]
    assert world.study.last_seq == seq + 1
    assert world.statuses(world.report(n, 2, 1.0), world.report(n, 2, 1.0), world.report(n, 2, 2.0)) == [
        "stored", "repeated", "contradicted",
    ]  # fmt: skip


def test_nothing_new_writes_no_event(world: World) -> None:
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5), world.ended(n))
    seq = world.study.last_seq
    assert world.statuses(world.report(n, 0, 0.5), world.ended(n)) == ["repeated", "repeated"]
    assert world.study.last_seq == seq


def test_a_report_under_an_older_fence_is_refused(world: World) -> None:
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5), world.ended(n, "lost", resource=1.0))
    opened = decisions.reopen(world.db, world.id, [n], epoch=world.epoch, placements={})
    assert [(o.trial, o.fence, o.target) for o in opened] == [(n, 2, 9.0)]
    late = world.collect(world.report(n, 1, 0.4), world.ended(n), world.report(n, 0, 0.45, fence=2))
    assert [r.status for r in late] == ["fenced", "fenced", "stored"]
    assert "fence is 2" in late[0].message
    assert reading.trial(world.db, world.id, n).state is TrialState.RUNNING


def test_reports_after_the_end_are_refused_but_repetitions_are_fine(world: World) -> None:
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5), world.ended(n))
    assert world.statuses(world.report(n, 0, 0.5), world.report(n, 1, 0.5), world.ended(n, "failed")) == [
        "repeated", "closed", "closed",
    ]  # fmt: skip


def test_unknown_studies_trials_and_fences(world: World) -> None:
    (n,) = world.start()
    unknown = ReportItem(study_id="nobody", trial=0, fence=1, step=0, resource=1.0, metrics={"loss": 1.0})
    items = [unknown, world.report(99, 0, 1.0), world.report(n, 0, 1.0, fence=2), world.report(n, 0, 1.0)]
    assert world.statuses(*items) == ["unknown", "unknown", "unknown", "stored"]


def test_one_batch_serves_several_studies(db: Database) -> None:
    one, two = World(db), World(db, objective={"metric": "loss", "direction": "maximize"})
    one.start(2)
    two.start(2)
    items = [w.report(n, 0, float(n)) for n in (1, 0) for w in (two, one)]
    assert {r.status for r in collecting.collect(db, items)} == {"stored"}
    assert (one.study.best_trial, two.study.best_trial) == (0, 1)
    one.check_counters()
    two.check_counters()


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ("reached", TrialState.PAUSED),
        ("completed", TrialState.PAUSED),
        ("paused", TrialState.WAITING),
        ("cancelled", TrialState.STOPPED),
        ("failed", TrialState.FAILED),
        ("lost", TrialState.WAITING),
    ],
)
def test_what_a_trial_becomes(world: World, outcome: str, state: TrialState) -> None:
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5), world.ended(n, outcome, reason="why"))
    trial = reading.trial(world.db, world.id, n)
    assert trial.state is state
    assert trial.reason.endswith("why")
    assert (trial.ended_at is not None) == (state in (TrialState.STOPPED, TrialState.FAILED))
    assert world.study.open_attempts == 0
    world.check_counters()


def test_a_failure_is_named_in_the_reason(world: World) -> None:
    (n,) = world.start()
    world.collect(world.ended(n, "failed", failure="out_of_memory", reason="CUDA", traceback="Traceback …\x00"))
    assert reading.trial(world.db, world.id, n).reason == "out_of_memory: CUDA"
    attempt = reading.attempts(world.db, world.id, n)[0]
    assert (attempt.failure, attempt.reason) == ("out_of_memory", "out_of_memory: CUDA")
    assert attempt.traceback.startswith("Traceback …")


def test_a_trial_is_given_up_after_its_retries(world: World) -> None:
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5), world.ended(n, "lost", reason="node died"))
    assert decisions.interrupted(world.db, world.id) == [n]
    decisions.reopen(world.db, world.id, [n], epoch=world.epoch, placements={})
    world.collect(world.ended(n, "lost", fence=2, reason="node died"))
    trial = reading.trial(world.db, world.id, n)
    assert (trial.state, trial.losses, trial.attempts) == (TrialState.FAILED, 2, 2)
    assert "retries is 1" in trial.reason
    world.check_counters()


def test_lost_attempts_are_charged_until_their_last_report(world: World) -> None:
    (n,) = world.start()
    world.collect(world.started(n), world.report(n, 0, 0.5))
    results = decisions.lose_attempts(
        world.db, world.id, [(n, 1), (99, 1)], "the node died", charge=lambda s: 5 + round(s * 0)
    )
    assert [r.status for r in results] == ["stored"]
    trial = reading.trial(world.db, world.id, n)
    assert (trial.state, trial.cost_microdollars) == (TrialState.WAITING, 5)
    assert world.study.cost_microdollars == 5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_come_back_and_fail_the_trial(world: World, value: float) -> None:
    (n,) = world.start()
    world.collect(world.report(n, 0, value, extra=value))
    stored = reading.reports(world.db, world.id, n)[0].metrics
    assert repr(stored["loss"]) == repr(value) == repr(stored["extra"])
    event = decisions.load_events(world.db, world.id)[-1].payload
    assert isinstance(event, Reported)
    assert repr(event.reports[0].values[0]) == repr(value)
    trial = reading.trial(world.db, world.id, n)
    assert repr(trial.value) == repr(value)
    assert world.statuses(world.report(n, 0, value, extra=value)) == ["repeated"]
    world.collect(world.ended(n))
    failed = reading.trial(world.db, world.id, n)
    assert failed.state is TrialState.FAILED
    assert failed.reason.startswith("diverged")
    assert reading.attempts(world.db, world.id, n)[0].failure == "diverged"
    world.check_counters()


def test_a_reached_attempt_without_its_objective_fails(world: World) -> None:
    (n,) = world.start()
    world.collect(world.ended(n))
    assert reading.trial(world.db, world.id, n).reason.startswith("missing_metric: the objective 'loss'")


def test_the_last_value_follows_the_canonical_curve(world: World) -> None:
    (n,) = world.start()
    world.collect(*(world.report(n, s, 1.0 - s / 10) for s in range(4)), world.ended(n, "lost", resource=4.0))
    decisions.reopen(world.db, world.id, [n], epoch=world.epoch, placements={})
    world.collect(world.report(n, 2, 0.75, fence=2))
    assert reading.trial(world.db, world.id, n).value == pytest.approx(0.7)
    world.collect(world.report(n, 3, 0.65, fence=2))
    assert reading.trial(world.db, world.id, n).value == 0.65
    curve = reading.reports(world.db, world.id, n)
    assert [(r.step, r.fence) for r in curve] == [(0, 1), (1, 1), (2, 2), (3, 2)]
    assert [r.step for r in reading.reports(world.db, world.id, n, fence=1)] == [0, 1, 2, 3]
    world.check_counters()


def test_the_best_value_is_taken_over_the_canonical_curve(db: Database) -> None:
    world = World(db, objective={"metric": "loss", "direction": "minimize", "at": "best"})
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5), world.report(n, 1, 0.1), world.report(n, 2, 0.3), world.ended(n, "lost"))
    assert reading.trial(db, world.id, n).value == 0.1
    decisions.reopen(db, world.id, [n], epoch=world.epoch, placements={})
    world.collect(world.report(n, 1, 0.4, fence=2))
    assert reading.trial(db, world.id, n).value == 0.3
    world.check_counters()


def test_the_best_trial_is_the_best_at_the_highest_resource(world: World) -> None:
    a, b, c = world.start(3)
    world.collect(world.report(a, 0, 0.1), world.report(b, 0, 0.5), world.report(c, 0, 0.5))
    assert (world.study.best_trial, world.study.best_value, world.study.best_resource) == (a, 0.1, 1.0)
    world.collect(world.report(c, 1, 0.7), world.report(b, 1, 0.7))
    assert (world.study.best_trial, world.study.best_value, world.study.best_resource) == (b, 0.7, 2.0)
    world.collect(world.ended(b, "failed"))
    assert world.study.best_trial == c
    assert [t.number for t in reading.best(world.db, world.id, 5)] == [c, a]
    world.collect(world.ended(c, "failed"), world.ended(a, "failed"))
    assert world.study.best_trial is None
    assert reading.best(world.db, world.id, 5) == []
    world.check_counters()


def test_checkpoints_are_kept_newest_first_and_what_a_worker_removed_is_forgotten(world: World) -> None:
    (n,) = world.start()
    assert world.statuses(world.saved(n, 0), world.saved(n, 0)) == ["stored", "repeated"]
    world.collect(world.saved(n, 1))
    world.collect(world.report(n, 2, 0.5), world.saved(n, 2), world.ended(n, checkpoint=world.checkpoint(n, 2)))
    assert [c.step for c in reading.checkpoints(world.db, world.id, n)] == [2, 1]
    with world.db.read() as tx:
        assert len(tx.all(select(blobs))) == 2
    committed = world.go_on(n)
    assert [c.step for c in committed.opened[0].checkpoints] == [2, 1]
    assert (committed.opened[0].from_resource, committed.opened[0].fence) == (3.0, 2)


def test_equal_checkpoints_share_a_blob(world: World) -> None:
    a, b = world.start(2)
    world.collect(world.saved(a, 0, digest="same"), world.saved(b, 0, digest="same"))
    with world.db.read() as tx:
        (blob,) = tx.all(select(blobs))
        assert blob._mapping["references"] == 2
    world.collect(world.report(a, 0, 0.5), world.saved(a, 1), world.saved(a, 2), world.ended(a))
    with world.db.read() as tx:
        found = tx.all(select(blobs.c.references, blobs.c.path).where(blobs.c.digest == "same"))
        assert [tuple(row) for row in found] == [(1, world.checkpoint(b, 0).path)]
        assert len(tx.all(select(checkpoints))) == 3


def test_a_stop_of_a_running_trial_is_done_when_its_attempt_ends(world: World) -> None:
    ends = ["cancelled", "reached", "lost", "paused", "failed"]
    numbers = world.start(len(ends))
    world.collect(*(world.report(n, 0, 0.5) for n in numbers))
    world.stop(*numbers)
    assert world.study.counts["running"] == len(ends)
    world.collect(*(world.ended(n, end) for n, end in zip(numbers, ends, strict=True)))
    rows = [reading.trial(world.db, world.id, n) for n in numbers]
    assert [row.state for row in rows] == [TrialState.STOPPED] * 4 + [TrialState.FAILED]
    assert rows[0].reason == "worse than the median"
    world.check_counters()


def test_an_ended_trial_never_changes_its_state_not_even_by_hand(world: World) -> None:
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5), world.ended(n))
    world.finish(n)

    def tamper(tx: object) -> None:
        tx.execute(  # type: ignore[attr-defined]  # a Tx
            update(trials).where(trials.c.study_id == world.id).values(state="running")
        )

    with pytest.raises(DBAPIError, match="never changes its state"):
        world.db.run_write("tamper", tamper)
    assert reading.trial(world.db, world.id, n).state is TrialState.FINISHED


def test_a_stopped_study_closes_its_attempts_and_refuses_what_they_say(world: World) -> None:
    a, b = world.start(2)
    world.collect(world.report(a, 0, 0.5))
    row = studies.set_state(world.db, world.id, StudyState.STOPPED, "enough")
    assert (row.open_attempts, row.counts["stopped"]) == (0, 2)
    assert row.ended_at is not None
    assert world.statuses(world.report(a, 1, 0.4), world.ended(b, "cancelled")) == ["closed", "repeated"]
    assert reading.attempts(world.db, world.id, b)[0].outcome == "cancelled"
    world.check_counters()


def test_an_unending_text_and_odd_names_are_stored(world: World) -> None:
    (n,) = world.start()
    name = "metric\x00 with ünïcode \ud800"
    odd = ReportItem(study_id=world.id, trial=n, fence=1, step=0, resource=1.0, metrics={"loss": 1, name: True})
    assert world.statuses(odd) == ["stored"]
    assert len(reading.trial(world.db, world.id, n).values) == 2
    ended = EndedItem(study_id=world.id, trial=n, fence=1, outcome="failed", resource=1.0, seconds=0.1, reason="\x00")
    assert world.statuses(ended) == ["stored"]
