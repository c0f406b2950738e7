"""A controller sees to reproductions: sent one after another, tried again after a loss, taken up by the next one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpo_service.controller import orders
from hpo_service.controller.reproducing import MOST, TRIES, Reproducing
from hpo_service.controller.tried import Answers
from hpo_service.core.cost import Prices
from hpo_service.executors.base import Need
from hpo_service.store import records, reproductions, studies
from hpo_service.store.database import Database, open_database
from tests.storelib import World
from workers import record
from workers.contract import AttemptKey, CancelMode, Ended, FailureKind, Launch, Outcome, Reproduced, Started


@dataclass
class Executor:
    """Keeps what it is told; only what reproductions need."""

    free: int = 0
    lacking: str | None = None
    launches: list[Launch] = field(default_factory=list)
    cancels: list[AttemptKey] = field(default_factory=list)

    def can_ever_fit(self, cpu: float, gpu: float) -> str | None:
        return self.lacking

    def free_workers(self, need: Need) -> int:
        return self.free

    def launch(self, launch: Launch) -> None:
        self.launches.append(launch)
        self.free = max(0, self.free - 1)

    def cancel(self, key: AttemptKey, mode: CancelMode) -> None:
        self.cancels.append(key)


@dataclass
class Stage:
    """A study with trained trials, and controllers that come and go."""

    db: Database
    root: Path
    joining: bool = False

    def __post_init__(self) -> None:
        self.world = World(
            self.db, trainer={"function": "m:train"}, trial_timeout_s=10.0, stall_timeout_s=3.0, resources={"cpu": 2}
        )
        self.world.start(12)
        for number in range(12):
            self.world.collect(self.world.report(number, 0, 0.5), self.world.ended(number))

    def ask(self, number: int = 0) -> str:
        return reproductions.ask(self.db, self.world.id, number, asked_by="ada").id

    def controller(self, name: str = "one", **options: Any) -> tuple[Reproducing, Executor, Answers]:
        executor, answers = Executor(**options), Answers()
        made = Reproducing(
            db=self.db, executor=executor, answers=answers,  # type: ignore[arg-type]  # as much as it needs
            prices=Prices(cpu_hour_dollars=3.6, gpu_hour_dollars=0.0), storage_root=self.root, holder=name,
            lease_s=60.0, joining=lambda: self.joining,
        )  # fmt: skip
        return made, executor, answers

    def step(self, controller: Reproducing) -> None:
        controller._looked = controller._renewed = -1e9  # the next look is due
        controller.step()

    def row(self, one: str) -> reproductions.ReproductionRow:
        return reproductions.get(self.db, one)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    db = open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    yield Stage(db, tmp_path)
    db.close()


def answer(answers: Answers, launch: Launch, outcome: Outcome = Outcome.REACHED, **more: Any) -> None:
    key = launch.orders[0].key
    answers.note(Started(key=key, worker_id="w", node="n", device="cpu", resumed_from=0.0, environment={}))
    if outcome is Outcome.REACHED:
        answers.note(Reproduced(key=key, document={"equal": True, "verdict": "Equal"}))
    answers.note(Ended(key=key, outcome=outcome, resource=0.0, seconds=2.0, **more))


def test_an_order_holds_the_record_and_stands_apart_from_the_study(stage: Stage) -> None:
    one = stage.ask(3)
    controller, executor, answers = stage.controller()
    stage.step(controller)
    (launch,) = executor.launches
    (order,) = launch.orders
    assert order.key == AttemptKey(study_id=one, trial=orders.REPRODUCTION_TRIAL, fence=1)
    assert order.reproduce is not None
    assert record.read(order.reproduce).trial == 3
    assert (launch.cpu, order.stall_timeout_s, order.trial_timeout_s) == (2.0, 3.0, 20.0)
    answer(answers, launch)
    stage.step(controller)
    row = stage.row(one)
    assert (row.state, row.seconds) == ("done", 2.0)
    assert row.cost_microdollars == 4000, "two seconds of two CPUs"
    assert row.document == {"equal": True, "verdict": "Equal"}


def test_one_at_a_time_unless_workers_are_free(stage: Stage) -> None:
    for number in range(12):
        stage.ask(number)
    busy, executor, answers = stage.controller()
    for _ in range(3):
        stage.step(busy)
    assert len(executor.launches) == 1
    executor.free = 100
    stage.step(busy)
    assert len(executor.launches) == MOST
    answer(answers, executor.launches[0])
    stage.step(busy)
    assert len(executor.launches) == MOST + 1


def test_a_lost_worker_is_tried_again_three_times(stage: Stage) -> None:
    one = stage.ask()
    controller, executor, answers = stage.controller()
    for attempt in range(1, TRIES + 1):
        stage.step(controller)
        assert len(executor.launches) == attempt
        assert executor.launches[-1].orders[0].key.fence == attempt
        answer(answers, executor.launches[-1], Outcome.LOST, reason="the node went away")
        stage.step(controller)
    row = stage.row(one)
    assert row.state == "failed"
    assert row.reason == "its worker was lost 3 times: the node went away"
    assert row.cost_microdollars == 3 * 4000, "what was lost is paid for, too"
    stage.step(controller)
    assert len(executor.launches) == TRIES


def test_an_answer_that_came_twice_counts_once(stage: Stage) -> None:
    """As when a batch of messages had to be stored a second time."""
    asked = stage.ask()
    one, executor, answers = stage.controller()
    stage.step(one)
    for _ in range(2):
        answer(answers, executor.launches[0])
    stage.step(one)
    assert (stage.row(asked).state, stage.row(asked).cost_microdollars) == ("done", 4000)


def test_what_failed_says_why(stage: Stage) -> None:
    one = stage.ask()
    controller, executor, answers = stage.controller()
    stage.step(controller)
    answer(
        answers, executor.launches[0], Outcome.FAILED, failure=FailureKind.INVALID, reason="no module 'm'",
        traceback="Traceback …",
    )  # fmt: skip
    stage.step(controller)
    assert (stage.row(one).state, stage.row(one).reason) == ("failed", "no module 'm'\nTraceback …")


def test_a_controller_that_ends_gives_back_what_it_had(stage: Stage) -> None:
    one = stage.ask()
    first, _, _ = stage.controller("one")
    stage.step(first)
    second, executor, answers = stage.controller("two")
    stage.step(second)
    assert executor.launches == [], "the first one holds it"
    first.close()
    stage.step(second)
    answer(answers, executor.launches[0])
    stage.step(second)
    assert stage.row(one).state == "done"


def test_one_that_was_killed_is_followed_when_its_lease_lapses(stage: Stage) -> None:
    one = stage.ask()
    reproductions.take(stage.db, "killed", lease_s=-1.0, most=1)
    controller, executor, answers = stage.controller("two")
    stage.step(controller)
    answer(answers, executor.launches[0])
    stage.step(controller)
    assert stage.row(one).state == "done"


def test_what_another_has_taken_over_is_given_up(stage: Stage) -> None:
    one = stage.ask()
    controller, executor, answers = stage.controller("one")
    stage.step(controller)
    reproductions.give_back(stage.db, "one", [one])
    reproductions.take(stage.db, "other", lease_s=60.0, most=1)
    stage.step(controller)
    assert executor.cancels == [executor.launches[0].orders[0].key]
    answer(answers, executor.launches[0])
    stage.step(controller)
    assert stage.row(one).state == "running", "the other one's"


def test_what_fits_no_node_fails_unless_the_cluster_still_grows(stage: Stage) -> None:
    one = stage.ask()
    stage.joining = True
    controller, executor, _ = stage.controller(lacking="resources.cpu asks for too many")
    stage.step(controller)
    assert stage.row(one).state == "waiting"
    stage.joining = False
    stage.step(controller)
    assert (stage.row(one).state, stage.row(one).reason) == ("failed", "resources.cpu asks for too many")
    assert executor.launches == []


def test_a_record_that_cannot_be_made_fails_its_reproduction_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = stage.ask(0), stage.ask(1)
    real = records.trial_record

    def broken(db: Database, study_id: str, number: int) -> dict[str, Any]:
        if number == 0:
            raise ValueError("a row that nobody expected")
        return real(db, study_id, number)

    monkeypatch.setattr(records, "trial_record", broken)
    controller, executor, _ = stage.controller()
    stage.step(controller)
    assert "a row that nobody expected" in stage.row(bad).reason
    assert [launch.orders[0].key.study_id for launch in executor.launches] == [good]


def test_an_ended_study_is_served_as_well(stage: Stage) -> None:
    studies.set_state(stage.db, stage.world.id, studies.get_study(stage.db, stage.world.id).state.STOPPED, "enough")
    one = stage.ask()
    controller, executor, answers = stage.controller()
    stage.step(controller)
    answer(answers, executor.launches[0])
    stage.step(controller)
    assert stage.row(one).state == "done"
