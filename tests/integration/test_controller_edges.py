"""What happens around a controller while it works: users steer, databases and clusters go away, others take over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from hpo_service.api import rounds
from hpo_service.controller import loop
from hpo_service.controller.loop import Controller
from hpo_service.controller.troubles import TRIES
from hpo_service.core.states import StudyState, TrialState
from hpo_service.errors import Unavailable
from hpo_service.executors.base import Capacity
from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.settings import Settings
from hpo_service.store import collecting, decisions, reading, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.rows import EndedItem, Placement, StudyRow
from hpo_service.store.stopping import stop_trial
from hpo_service.store.tables import attempts
from tests.integration.survival import definition, everything
from workers.contract import AttemptKey, CancelMode, Ended, Launch, Reported

RANDOM: dict[str, Any] = {"algorithm": {"name": "random", "max_resource": 3}, "budget": {"trials": 5}, "parallel": 2}


class Recording(SimulatedExecutor):
    """Notes what it was asked to cancel; calls `before_launch` before every launch."""

    def __init__(self, **options: Any) -> None:
        super().__init__(PowerLaw(), cpus=2, checkpoint_every=1.0, **options)
        self.cancels: list[tuple[AttemptKey, CancelMode]] = []
        self.before_launch: Callable[[Launch], None] = lambda _: None

    def cancel(self, key: AttemptKey, mode: CancelMode) -> None:
        self.cancels.append((key, mode))
        super().cancel(key, mode)

    def launch(self, launch: Launch) -> None:
        self.before_launch(launch)
        super().launch(launch)


class Stage:
    """A database, and controllers that come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db: Database = open_database(f"sqlite:///{folder / 'hpo.db'}")

    def controller(self, holder: str = "one", *, executor: Recording | None = None) -> Controller:
        return Controller(
            db=self.db,
            executor=executor or Recording(),
            settings=Settings(data=self.folder, lease_s=60.0),
            holder=holder,
            storage_root=self.folder,
        )

    def study(self, state: StudyState = StudyState.RUNNING, **keywords: Any) -> StudyRow:
        return studies.create_study(self.db, definition(**{**RANDOM, **keywords}), created_by="test", state=state)

    def now(self, study: StudyRow) -> StudyRow:
        return studies.get_study(self.db, study.id)

    def through(self, controller: Controller, study: StudyRow) -> StudyRow:
        """Lead the study to a state of rest."""
        for _ in range(2000):
            controller.step()
            controller.collector.collect_once()
            row = self.now(study)
            if row.state not in (StudyState.RUNNING, StudyState.PREFLIGHT) and not row.open_attempts:
                return row
        raise AssertionError(f"the study waits in silence: {self.now(study)}")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.db.close()


def failing_once(db: Database, verb: str) -> None:
    """The next commit of `verb` succeeds, and its answer is lost."""

    def failpoint(name: str) -> None:
        if name == f"commit:after:{verb}":
            db.failpoint = lambda _: None
            raise Unavailable("the connection was lost", remedy="")

    db.failpoint = failpoint


@pytest.mark.parametrize("verb", ["decisions.commit", "leases.take", "collecting.collect"])
def test_a_lost_answer_of_the_database_costs_nothing(stage: Stage, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "RETRY_S", 0.01)
    study = stage.study()
    executor = Recording(idle_waits=True)
    controller = stage.controller(executor=executor)
    failing_once(stage.db, verb)
    stop = threading.Event()
    over = threading.Event()
    errors: list[BaseException] = []

    def lead() -> None:
        try:
            controller.run(stop)
        except BaseException as error:
            errors.append(error)
        over.set()

    thread = threading.Thread(target=lead)
    thread.start()
    for _ in range(300):
        if over.wait(0.05) or stage.now(study).state is StudyState.FINISHED:
            break
    stop.set()
    thread.join()
    assert errors == []
    assert stage.now(study).state is StudyState.FINISHED
    assert stage.now(study).counts["finished"] == 5


def test_a_user_who_pauses_or_stops_during_preflight_wins(stage: Stage) -> None:
    for state in (StudyState.PAUSED, StudyState.STOPPED):
        study = stage.study(StudyState.PREFLIGHT)
        controller = stage.controller(state.value)
        controller.step()
        while controller.collector.collect_once():
            pass
        take = controller.collector.take_preflight

        def steered(study_id: str, state: StudyState = state, take: Callable[[str], Any] = take) -> Ended | None:
            found: Ended | None = take(study_id)
            studies.set_state(stage.db, study_id, state, "by a user")
            return found

        controller.collector.take_preflight = steered  # type: ignore[method-assign]
        controller.step()
        assert stage.now(study).state is state
        controller.collector.take_preflight = take  # type: ignore[method-assign]
        decisions.release_leases(stage.db)
        studies.set_state(stage.db, study.id, StudyState.PREFLIGHT, "resumed")
        assert stage.through(controller, study).state is StudyState.FINISHED


def test_a_takeover_ends_no_trial(stage: Stage) -> None:
    """The old leader hears of it before the new one has looked at the open attempts: nothing is stopped."""
    study = stage.study()
    old, new = stage.controller("old"), stage.controller("new")
    old.step()
    assert stage.now(study).open_attempts == 2
    decisions.release_leases(stage.db)
    assert decisions.take_lease(stage.db, study.id, "new", 60.0) is not None
    for _ in range(50):
        old.step()
        old.collector.collect_once()
    assert stage.now(study).counts["stopped"] == 0
    row = stage.through(new, study)
    assert row.counts["finished"] == 5


def test_what_runs_for_a_stopped_study_is_cancelled_once(stage: Stage) -> None:
    study = stage.study()
    executor = Recording()
    controller = stage.controller(executor=executor)
    controller.step()
    studies.set_state(stage.db, study.id, StudyState.STOPPED, "by a user")
    for _ in range(5):
        controller.step()
    assert len(executor.cancels) == len(set(executor.cancels)) == 2
    assert {mode for _, mode in executor.cancels} == {CancelMode.STOP}


@pytest.mark.parametrize("algorithm", ["random", "hyperband", "asha", "median"])
def test_a_trial_that_a_user_stops_ends_alone(stage: Stage, algorithm: str) -> None:
    """Its attempt is cancelled once; the algorithm counts it as over and comes to its end."""
    study = stage.study(algorithm={"name": algorithm, "max_resource": 9}, budget={"trials": 9})
    executor = Recording()
    controller = stage.controller(executor=executor)
    controller.step()
    (first, *_) = sorted(key.trial for key in controller.flights.of_study(study.id))
    stop_trial(stage.db, study.id, first, "by a user")
    for _ in range(3):
        controller.step()
    assert [(key.trial, mode) for key, mode in executor.cancels] == [(first, CancelMode.STOP)]
    row = stage.through(controller, study)
    assert row.state is StudyState.FINISHED
    trial = reading.trial(stage.db, study.id, first)
    assert (trial.state, trial.reason) == (TrialState.STOPPED, "by a user")
    assert sum(row.counts[name] for name in ("finished", "stopped", "paused")) == 9


def test_a_study_that_is_deleted_under_a_pass_does_no_harm(stage: Stage) -> None:
    gone, other = stage.study(), stage.study()
    controller = stage.controller()
    take = decisions.take_lease

    def deleting(db: Database, study_id: str, holder: str, ttl_s: float) -> int | None:
        if study_id == gone.id:
            studies.delete_study(db, study_id)
        return take(db, study_id, holder, ttl_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions, "take_lease", deleting)
        controller.step()
    assert stage.through(controller, other).state is StudyState.FINISHED


def test_an_external_study_that_is_deleted_under_a_pass_does_no_harm(stage: Stage) -> None:
    external = stage.study(trainer={"external": True}, budget={"hours": 1e-9})
    placements = {0: Placement(client_id="c", lease_s=60.0)}
    proposals = controller_proposals(stage, external)
    decisions.commit(
        stage.db, external.id, proposals, epoch=0, decision=0, observed_seq=2, algorithm="random",
        algorithm_version=1, placements=placements,
    )  # fmt: skip
    controller = stage.controller()
    with pytest.MonkeyPatch.context() as patch:

        def deleting(db: Database, *_: Any) -> bool:
            studies.set_state(db, external.id, StudyState.STOPPED, "")
            studies.delete_study(db, external.id)
            studies.get_study(db, external.id)
            raise AssertionError

        patch.setattr(loop, "declare_spent", deleting)
        controller.step()


def controller_proposals(stage: Stage, study: StudyRow) -> tuple[Any, ...]:
    controller = stage.controller("nobody")
    return tuple(controller.decider.fold(study.id).algorithm.propose(1))


def test_a_study_that_breaks_its_passes_is_paused_and_others_go_on(stage: Stage) -> None:
    broken, other = stage.study(), stage.study()
    controller = stage.controller()
    decide = controller.decider.decide

    def breaking(study: StudyRow, *args: Any, **options: Any) -> Any:
        if study.id == broken.id:
            raise ValueError("the surrogate's matrix is singular")
        return decide(study, *args, **options)

    controller.decider.decide = breaking  # type: ignore[method-assign]
    assert stage.through(controller, other).state is StudyState.FINISHED
    row = stage.now(broken)
    assert row.state is StudyState.PAUSED
    assert "singular" in row.reason
    assert "resume" in row.reason
    controller.decider.decide = decide  # type: ignore[method-assign]
    studies.set_state(stage.db, broken.id, StudyState.RUNNING, "resumed")
    assert stage.through(controller, broken).state is StudyState.FINISHED


def test_a_study_that_breaks_turns_on_a_thread_is_paused_as_well(stage: Stage) -> None:
    broken = stage.study(algorithm={"name": "bayesian", "max_resource": 3})
    controller = stage.controller()
    broke: list[str] = []

    def breaking(study: StudyRow, *args: Any, **options: Any) -> Any:
        broke.append(study.id)
        raise ValueError("the surrogate's matrix is singular")

    controller.decider.decide = breaking  # type: ignore[method-assign]
    stop = threading.Event()
    leading = threading.Thread(target=controller.run, args=(stop,))
    leading.start()
    try:
        deadline = time.monotonic() + 60
        while (row := stage.now(broken)).state is not StudyState.PAUSED:
            assert time.monotonic() < deadline, f"{row.state} after {len(broke)} broken turns"
            stop.wait(0.02)
    finally:
        stop.set()
        leading.join()
    assert "singular" in row.reason
    assert len(broke) == TRIES


def test_a_report_that_cannot_be_stored_fails_its_trial_alone(stage: Stage) -> None:
    study = stage.study()
    executor = Recording()
    controller = stage.controller(executor=executor)
    controller.step()
    (first, *_) = sorted(controller.flights.of_study(study.id), key=lambda key: key.trial)
    poison = Reported(key=first, step=10**30, resource=1.0, metrics={"val_loss": 1.0}, seconds=0.0, sent_at=0.0)
    fine = executor.poll(0)
    controller.collector.store_apart([*fine, poison])
    trial = everything(stage.db, study.id)[first.trial]
    assert trial.state is TrialState.FAILED
    assert "cannot be stored" in trial.reason
    assert stage.through(controller, study).counts == {**row_counts(), "failed": 1, "finished": 4}


def row_counts() -> dict[str, int]:
    return {state.value: 0 for state in TrialState}


def test_a_crash_is_charged_until_the_last_sign_of_life(stage: Stage) -> None:
    """The controller died on Friday; on Monday its attempts are charged for Friday's training."""
    study = stage.study()
    controller = stage.controller()
    controller.step()
    controller.collector.collect_once()
    weekend = int(timedelta(days=3).total_seconds() * 1e6)
    with stage.db.engine.begin() as connection:
        a = attempts.c
        moved = {a.opened_at: a.opened_at - weekend, a.started_at: a.started_at - weekend}
        connection.execute(update(attempts).values({**moved, a.reported_at: a.started_at - weekend + 60_000_000}))
    decisions.release_leases(stage.db)
    stage.controller("next").step()
    closed = [a for n in everything(stage.db, study.id) for a in reading.attempts(stage.db, study.id, n) if a.ended_at]
    assert closed
    assert all(0 <= a.seconds <= 61 for a in closed)


class Gone(Recording):
    """A cluster without nodes."""

    gone = True

    def capacity(self) -> Capacity:
        return Capacity(cpu=0, gpu=0, node_cpu=0, node_gpu=0) if self.gone else super().capacity()


def test_a_cluster_without_nodes_fails_no_study_and_ends_the_controller(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = stage.study(StudyState.PREFLIGHT)
    executor = Gone()
    controller = stage.controller(executor=executor)
    controller.step()
    assert stage.now(study).state is StudyState.PREFLIGHT, "the cluster may come back"
    monkeypatch.setattr(loop, "NO_NODES_S", -1.0)
    with pytest.raises(RuntimeError, match="no node"):
        controller.run(threading.Event())
    executor.gone = False
    assert stage.through(stage.controller("one", executor=executor), study).state is StudyState.FINISHED


def test_only_attempts_that_ran_to_their_end_say_how_long_one_takes(stage: Stage) -> None:
    study = stage.study(StudyState.PREFLIGHT)
    controller = stage.controller()
    controller.step()
    while controller.collector.collect_once():
        pass
    assert controller.flights.mean_seconds(study.id) is None, "preflight is one cheap step"
    while controller.step():
        pass
    studies.set_state(stage.db, study.id, StudyState.PAUSED, "by a user")
    stage.through(controller, study)
    assert controller.flights.mean_seconds(study.id) is None, "a paused segment is shorter than a whole one"


def test_what_a_stopped_study_had_trained_is_charged_when_its_workers_say_so(stage: Stage) -> None:
    study = stage.study()
    controller = stage.controller()
    controller.step()
    while not stage.now(study).resource:
        controller.collector.collect_once()
    studies.set_state(stage.db, study.id, StudyState.STOPPED, "by a user")
    controller.step()
    for _ in range(3):
        controller.collector.collect_once()
        controller.step()
    assert controller.flights.studies() == set()
    row = stage.now(study)
    assert row.state is StudyState.STOPPED
    trials = everything(stage.db, study.id)
    assert all(t.state is TrialState.STOPPED and t.seconds > 0 for t in trials.values())
    assert row.cost_microdollars == sum(t.cost_microdollars for t in trials.values()) > 0
    ended = EndedItem(
        study_id=study.id, trial=0, fence=1, outcome="cancelled", resource=1.0, seconds=1.0, cost_microdollars=5
    )
    assert collecting.collect(stage.db, [ended])[0].status == "repeated"
    assert stage.now(study).cost_microdollars == row.cost_microdollars, "charged once"


def test_a_study_that_waits_for_its_rung_leaves_the_cluster_to_others(stage: Stage) -> None:
    waiting = stage.study(algorithm={"name": "successive_halving", "trials": 1, "max_resource": 9}, budget={})
    controller = stage.controller(executor=Recording(seconds_per_resource=20.0))
    controller.step()
    assert stage.now(waiting).open_attempts == 1
    for _ in range(3):
        controller.step()
    other = stage.study(parallel=8, budget={"trials": 8})
    for _ in range(3):
        controller.step()
    assert stage.now(other).open_attempts >= 2, "one CPU is free, and short of knowledge two are queued for each"


@pytest.mark.parametrize("name", ["asha", "median", "random", "hyperband"])
def test_a_study_whose_trials_all_fail_comes_to_its_end(stage: Stage, name: str) -> None:
    study = stage.study(algorithm={"name": name, "max_resource": 9}, budget={"resource": 60})
    row = stage.through(stage.controller(executor=Recording(failure_rate=1.0)), study)
    assert row.state is StudyState.FINISHED
    assert row.counts["failed"] == row.next_trial <= 60


def test_wide_trials_are_not_starved_by_narrow_ones(stage: Stage) -> None:
    narrow = stage.study(parallel=4, budget={"trials": 30})
    controller = stage.controller()
    controller.step()
    wide = stage.study(resources={"cpu": 2}, budget={"trials": 2})
    assert stage.through(controller, wide).counts["finished"] == 2
    assert stage.now(narrow).state is StudyState.RUNNING, "it had its turns meanwhile, and goes on"


def test_adopted_trials_count_against_parallel(stage: Stage) -> None:
    study = stage.study(trainer={"external": True}, parallel=2)
    controller = stage.controller()
    first, _ = rounds.ask(stage.db, controller.decider, study.id, client_id="a", n=2, lease_s=60)
    paused = [
        EndedItem(study_id=study.id, trial=o.trial, fence=o.fence, outcome="paused", resource=0, seconds=0)
        for o in first
    ]
    collecting.collect(stage.db, paused)
    found, _ = rounds.ask(stage.db, controller.decider, study.id, client_id="b", n=5, lease_s=60)
    assert [o.trial for o in found] == [0, 1]
    assert stage.now(study).open_attempts == 2
