"""The same again on real workers: trials of a fused study that was paused, went on, and lost a worker in the middle of
a launch are trained again from their records, and every report is equal bit for bit. So are a user's own function and
recipe, which keep random states of their own."""

from __future__ import annotations

import io
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpo_service import storage
from hpo_service.bundles.building import from_files
from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.core.states import StudyState
from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from hpo_service.store import decisions, lineage, reading, records, reproductions, studies, workers
from hpo_service.store.database import Database, open_database
from hpo_service.store.reproductions import ReproductionRow
from hpo_service.store.rows import AttemptRow, StudyRow
from workers import record

pytestmark = pytest.mark.ray
ENDED = (StudyState.FINISHED, StudyState.FAILED)
LIMIT_S = 100.0
CODE = '''
import random

import torch


def noisy(trial):
    """Draws from the global generators, which are seeded anew whenever it goes on, and from one of its own."""
    state = trial.load_checkpoint() or {"epoch": 0, "value": 1.0, "own": torch.Generator().get_state()}
    own = torch.Generator()
    own.set_state(state["own"])
    while True:
        state["epoch"] += 1
        noise = float(torch.rand(1)) + float(torch.rand(1, generator=own))
        state["value"] += trial.params["lr"] * (random.random() + noise)
        trial.report(state["epoch"], loss=state["value"])
        if trial.should_save:
            trial.save_checkpoint({**state, "own": own.get_state()})
'''


SPIRALS = Path(__file__).parents[2] / "examples" / "spirals.py"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage root, in which bundles lie."""
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def executor(local_ray: None, bundles: Path) -> Iterator[RayExecutor]:
    made = RayExecutor(Settings(), bundles, code_paths=[])
    yield made
    made.close()


@pytest.fixture(scope="module")
def bundle(bundles: Path) -> str:
    """The digest of a bundle with a user's function and recipe."""
    made = from_files({"mine_again.py": CODE.encode(), "spirals.py": SPIRALS.read_bytes()})
    storage.store(bundles, storage.bundle_path(made.digest), io.BytesIO(made.archive))
    return made.digest


@dataclass
class Lab:
    """One database, and controllers that lead it one after another on the same workers."""

    executor: RayExecutor
    root: Path
    led: int = 0
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.db: Database = open_database(f"sqlite:///{self.root / 'hpo.db'}")

    def lead(self, until: Callable[[], bool]) -> None:
        """Run a controller until something is so."""
        self.led += 1
        controller = Controller(
            db=self.db,
            executor=self.executor,
            settings=Settings(data=self.root, lease_s=2.0),
            holder=f"controller {self.led}",
            storage_root=self.root,
        )
        stop, began = threading.Event(), time.monotonic()

        def watch() -> None:
            while not stop.wait(0.01):
                if until() or time.monotonic() - began > LIMIT_S:
                    stop.set()

        thread = threading.Thread(target=watch)
        thread.start()
        controller.run(stop)
        thread.join()

    def study(self, meanwhile: tuple[Callable[[str], bool], ...] = (), **document: Any) -> StudyRow:
        """A study to its end; of `meanwhile`, one after another is called until it says that it is done."""
        made = studies.create_study(self.db, parse({"seed": 11, **document}), created_by="test").id
        waiting = list(meanwhile)

        def until() -> bool:
            if waiting and waiting[0](made):
                self.done.append(waiting.pop(0).__name__)
            return studies.get_study(self.db, made).state in ENDED

        self.lead(until)
        row = studies.get_study(self.db, made)
        assert row.state is StudyState.FINISHED, row.reason
        return row

    def reproduce(
        self, study: StudyRow, numbers: list[int], meanwhile: Callable[[], bool] | None = None
    ) -> list[ReproductionRow]:
        """Reproductions to their end; `meanwhile` is called until it says that it is done."""
        asked = [reproductions.ask(self.db, study.id, n, asked_by="test").id for n in numbers]
        waiting = [meanwhile] if meanwhile else []

        def over() -> bool:
            if waiting and reproductions.get(self.db, asked[0]).state == "running" and waiting[0]():
                waiting.clear()
            return all(reproductions.get(self.db, one).ended_at is not None for one in asked)

        self.lead(over)
        return [reproductions.get(self.db, one) for one in asked]

    # What happens to a study

    def interrupt(self, study_id: str) -> bool:
        """Pause it while trials are in training."""
        if not self._training(study_id):
            return False
        studies.set_state(self.db, study_id, StudyState.PAUSED, "by the test")
        return True

    def go_on(self, study_id: str) -> bool:
        """Go on when everything has come to rest."""
        row = studies.get_study(self.db, study_id)
        if row.state is not StudyState.PAUSED or row.open_attempts:
            return False
        studies.set_state(self.db, study_id, StudyState.RUNNING, "by the test")
        return True

    def kill(self, study_id: str) -> bool:
        """kill -9 of a worker whose lanes have just begun to report."""
        pids = {w.id: w.detail.get("pid") for w in workers.workers(self.db) if w.state != "gone"}
        for attempt in self._training(study_id):
            pid = pids.get(attempt.worker_id or "")
            if pid is not None and attempt.width > 1:
                os.kill(int(pid), signal.SIGKILL)
                return True
        return False

    def kill_busy(self) -> bool:
        """kill -9 of whoever trains."""
        pids = [w.detail.get("pid") for w in workers.workers(self.db) if w.state == "busy"]
        if not pids or pids[0] is None:
            return False
        os.kill(int(pids[0]), signal.SIGKILL)
        return True

    def _training(self, study_id: str) -> list[AttemptRow]:
        """Attempts that have reported and have a while to go: one query, so that none of them is over by its answer."""
        return [
            attempt
            for attempt in decisions.open_attempts(self.db, study_id)
            if attempt.reported_at is not None and (attempt.target or 0.0) - attempt.resource >= 3
        ]


@pytest.fixture
def lab(executor: RayExecutor, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(executor, tmp_path)
    yield made
    made.db.close()


def same(rows: list[ReproductionRow]) -> None:
    for row in rows:
        assert row.state == "done", (row.trial, row.reason)
        assert row.document is not None
        told = row.document
        assert told["equal"], (row.trial, told["verdict"], told["environment"], told.get("failure"))
        assert told["environment"] == []
        assert told["comparison"]["compared"] == told["comparison"]["reports"] > 0


def test_twenty_trials_of_a_fused_paused_and_crashed_study_come_out_the_same(lab: Lab) -> None:
    study = lab.study(
        (lab.interrupt, lab.go_on, lab.kill),
        objective={"metric": "val_accuracy", "direction": "maximize"},
        space={
            "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
            "weight_decay": {"type": "loguniform", "low": 1e-6, "high": 1e-2},
            "dropout": {"type": "uniform", "low": 0.0, "high": 0.5},
        },
        algorithm={"name": "hyperband", "max_resource": 27},
        trainer={
            "recipe": "image_classifier",
            "params": {"data": "digits", "model": "mlp", "hidden_units": 32, "batch_size": 4},
        },
        budget={"trials": 40},
        resources={"lanes": 6},
    )
    assert lab.done == ["interrupt", "go_on", "kill"]
    attempts = [a for n in range(40) for a in reading.attempts(lab.db, study.id, n)]
    assert any(a.outcome == "lost" and a.reported_at for a in attempts), "a worker died over it"
    assert any(a.outcome == "paused" and a.reported_at for a in attempts), "it was paused"
    assert sum(a.method == "fused" for a in attempts) > 40, "launches of one trial are plain, the others fused"
    before = studies.get_study(lab.db, study.id)
    chosen = random.Random(5).sample(range(40), 20)
    disturbed = [n for n in range(40) if any(a.outcome == "lost" for a in reading.attempts(lab.db, study.id, n))]
    rows = lab.reproduce(study, list(dict.fromkeys([*disturbed[:2], *chosen]))[:20])
    same(rows)
    assert max(row.document["segments"] for row in rows if row.document) > 1, "some were trained in several segments"
    assert sum(row.cost_microdollars for row in rows) > 0
    deepest = max(range(40), key=lambda n: reading.trial(lab.db, study.id, n).resource)
    for _ in range(3):  # it may be over before the blow falls
        (row,) = lab.reproduce(study, [deepest], lab.kill_busy)
        same([row])
        if row.losses:
            break
    assert row.losses == 1, "its worker was killed over it"
    after = studies.get_study(lab.db, study.id)
    assert (after.last_seq, after.cost_microdollars) == (before.last_seq, before.cost_microdollars)


def test_a_bundled_function_with_random_states_of_its_own_comes_out_the_same(lab: Lab, bundle: str) -> None:
    study = lab.study(
        objective={"metric": "loss", "direction": "minimize"},
        space={"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}},
        algorithm={"name": "successive_halving", "trials": 9, "max_resource": 9},
        trainer={"function": "mine_again:noisy", "bundle": bundle},
        resources={"cpu": 1},
    )
    winner = study.best_trial
    assert winner is not None
    assert len(reading.attempts(lab.db, study.id, winner)) > 1
    rows = lab.reproduce(study, [winner, *[n for n in range(9) if n != winner][:3]])
    same(rows)
    told = records.trial_record(lab.db, study.id, winner)
    assert record.digest(told) == told["digest"]
    assert [s["resumed"] is not None for s in told["segments"]] == [False] + [True] * (len(told["segments"]) - 1)


def test_a_bundled_recipe_comes_out_the_same_as_a_lane(lab: Lab, bundle: str) -> None:
    study = lab.study(
        objective={"metric": "val_accuracy", "direction": "maximize"},
        space={
            "frequency": {"type": "loguniform", "low": 0.5, "high": 16.0},
            "lr": {"type": "loguniform", "low": 1e-3, "high": 1e-1},
        },
        algorithm={"name": "successive_halving", "trials": 8, "max_resource": 4},
        trainer={"recipe": "spirals:Spirals", "params": {"hidden": 16}, "bundle": bundle},
        resources={"lanes": 4},
    )
    winner = study.best_trial
    assert winner is not None
    attempts = [a for n in range(8) for a in reading.attempts(lab.db, study.id, n)]
    assert sum(a.method == "fused" for a in attempts) >= 8
    rows = lab.reproduce(study, [winner, (winner + 1) % 8])
    same(rows)
    told = records.trial_record(lab.db, study.id, winner)
    assert {e["code"]["bundle"] for e in told["environments"].values()} == {bundle}


def test_trials_are_trained_at_shares_of_their_data_and_come_out_the_same(lab: Lab) -> None:
    """Every size begins from zero; trials of one size share a launch."""
    study = lab.study(
        objective={"metric": "val_loss"},
        space={"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}},
        algorithm={"name": "successive_halving", "trials": 9, "fidelity": "data_fraction", "min_resource": 1 / 9},
        trainer={"recipe": "tabular", "params": {"data": "digits", "epochs": 2, "batch_size": 64}},
        resources={"lanes": 4},
    )
    winner = study.best_trial
    assert winner is not None
    attempts = reading.attempts(lab.db, study.id, winner)
    assert [a.target for a in attempts] == pytest.approx([1 / 9, 1 / 3, 1.0])
    assert [(a.from_resource, a.resumed_from, a.outcome) for a in attempts] == [(0.0, 0.0, "reached")] * 3
    assert [report.resource for report in reading.reports(lab.db, study.id, winner)] == [a.target for a in attempts]
    assert reading.checkpoints(lab.db, study.id, winner) == []
    assert [a.method for a in attempts[:2]] == ["fused", "fused"]
    assert attempts[2].method == "plain", "it went on alone"
    first = reading.trial(lab.db, study.id, winner)
    assert (first.resource, first.value) == (1.0, study.best_value)
    same(lab.reproduce(study, [winner]))


def test_a_population_goes_on_from_the_weights_of_the_best_and_comes_out_the_same(lab: Lab) -> None:
    study = lab.study(
        objective={"metric": "val_loss"},
        space={"lr": {"type": "loguniform", "low": 1e-4, "high": 1.0}},
        algorithm={"name": "pbt", "population": 4, "interval": 2, "max_resource": 8, "resample": 0.0},
        trainer={
            "recipe": "image_classifier",
            "params": {"data": "digits", "model": "mlp", "hidden_units": 16, "lr_schedule": "cosine"},
        },
        resources={"lanes": 4},
    )
    rows = [reading.trial(lab.db, study.id, n) for n in range(study.next_trial)]
    forks = [row for row in rows if row.parent is not None]
    assert 1 <= len(forks) <= 3
    assert study.resource == 4 * 8, "a trial that goes on from another one's weights trained what it trained"
    assert study.reason == "the population was trained to resource 8"
    for fork in forks:
        first = reading.attempts(lab.db, study.id, fork.number)[0]
        assert first.from_resource == first.resumed_from == fork.parent_resource
        assert f"/{fork.parent}/" in (first.resumed_path or ""), "it began with its parent's checkpoint"
        assert first.horizon == 8, "a schedule goes on where it was"
        mine = reading.reports(lab.db, study.id, fork.number)
        assert [report.resource for report in mine] == list(
            range(int(fork.parent_resource or 0) + 1, int(fork.resource) + 1)
        )
        before = reading.reports(lab.db, study.id, fork.parent or 0)[int(fork.parent_resource or 0) - 1]
        assert mine[0].metrics["train_loss"] < 1.5 * before.metrics["train_loss"] + 0.1, "the weights came along"
    launches = Counter(a.launch for row in rows for a in reading.attempts(lab.db, study.id, row.number))
    assert set(launches.values()) == {4}, "who goes on and who is new train together"
    stages = lineage.of(lab.db, study.id, forks[-1].number)
    assert [s.to_resource for s in stages[:-1]] == [s.from_resource for s in stages[1:]]
    assert all(stage.changed == ("lr",) for stage in stages[1:])
    same(lab.reproduce(study, [forks[-1].number]))
