"""Lanes on real workers: a study of digits whose worker is killed in the middle of a launch gives, bit for bit, the
reports of one that nothing disturbed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.core.states import StudyState
from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from hpo_service.store import reading, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.rows import AttemptRow, StudyRow

pytestmark = pytest.mark.ray
EPOCHS, TRIALS, LANES = 3, 16, 4


@pytest.fixture(scope="module")
def executor(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayExecutor]:
    made = RayExecutor(Settings(), tmp_path_factory.mktemp("storage"), code_paths=[])
    yield made
    made.close()


class Lab:
    """One database, and a controller that leads one study after another on the same workers."""

    def __init__(self, executor: RayExecutor, root: Path) -> None:
        self.db: Database = open_database(f"sqlite:///{root / 'hpo.db'}")
        self._executor, self._root, self._led = executor, root, 0

    def pids(self) -> dict[str, Any]:
        """The processes of the workers: the executor's, for it tells each new database only what changes."""
        return {name: worker.detail.get("pid") for name, worker in list(self._executor._pool.workers.items())}

    def run(self, *, meanwhile: Callable[[str], bool] | None = None, **more: Any) -> StudyRow:
        """A study to its end; `meanwhile` is called between passes until it says that it is done."""
        study = studies.create_study(self.db, digits(**more), created_by="test")
        self._led += 1
        controller = Controller(
            db=self.db,
            executor=self._executor,
            settings=Settings(data=self._root),
            holder=f"controller {self._led}",
            storage_root=self._root,
        )
        stop, limit = threading.Event(), threading.Timer(100, lambda: stop.set())
        limit.start()

        def watch() -> None:
            waits = meanwhile is not None
            while not stop.wait(0.01):
                if waits and meanwhile is not None:
                    waits = not meanwhile(study.id)
                if studies.get_study(self.db, study.id).state in (StudyState.FINISHED, StudyState.FAILED):
                    stop.set()

        thread = threading.Thread(target=watch)
        thread.start()
        controller.run(stop)
        thread.join()
        limit.cancel()
        return studies.get_study(self.db, study.id)

    def attempts(self, study_id: str) -> list[AttemptRow]:
        return [a for n in range(TRIALS) for a in reading.attempts(self.db, study_id, n)]

    def curves(self, study_id: str) -> dict[tuple[int, int], Any]:
        """Metric values by trial and step; what was reported under several fences must agree."""
        found: dict[tuple[int, int], Any] = {}
        for report in reading.iter_reports(self.db, study_id):
            values = {name: value for name, value in report.metrics.items() if "seconds" not in name}
            assert found.setdefault((report.trial, report.step), values) == values, "the same trial, other numbers"
        return found


@pytest.fixture
def lab(executor: RayExecutor, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(executor, tmp_path)
    yield made
    made.db.close()


def digits(**more: Any) -> Any:
    return parse(
        {
            "objective": {"metric": "val_accuracy", "direction": "maximize"},
            "space": {
                "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
                "weight_decay": {"type": "loguniform", "low": 1e-6, "high": 1e-2},
            },
            "algorithm": {"name": "random", "max_resource": EPOCHS},
            "trainer": {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp", "hidden_units": 16}},
            "budget": {"trials": TRIALS},
            "resources": {"lanes": LANES},
            "seed": 3,
            **more,
        }
    )


def by_launch(attempts: list[AttemptRow]) -> dict[str, list[AttemptRow]]:
    found: dict[str, list[AttemptRow]] = {}
    for attempt in attempts:
        found.setdefault(attempt.launch, []).append(attempt)
    return found


def test_a_killed_workers_lanes_go_on_together_and_report_the_same_bits(lab: Lab) -> None:
    calm = lab.run()
    assert calm.state is StudyState.FINISHED, calm.reason
    launches = by_launch(lab.attempts(calm.id))
    assert sorted(len(lanes) for lanes in launches.values()) == [LANES] * (TRIALS // LANES)
    assert all(a.width == LANES and a.method == "fused" for lanes in launches.values() for a in lanes)
    assert sum(a.cost_microdollars for a in lab.attempts(calm.id)) < 0.6 * sum(
        a.seconds * 0.04e6 / 3600 for a in lab.attempts(calm.id)
    ), "lanes share what their worker costs"

    def kill(study_id: str) -> bool:
        """The process of a worker whose lanes have just begun to report."""
        reported = [a for a in lab.attempts(study_id) if a.reported_at and a.ended_at is None and a.worker_id]
        if not reported:
            return False
        pids = lab.pids()
        pid = pids.get(reported[0].worker_id or "")
        if pid is None:
            return False
        os.kill(int(pid), signal.SIGKILL)
        return True

    disturbed = lab.run(meanwhile=kill, algorithm={"name": "random", "max_resource": 40})
    longer = lab.run(algorithm={"name": "random", "max_resource": 40})
    assert disturbed.state is longer.state is StudyState.FINISHED, (disturbed.reason, longer.reason)
    attempts = lab.attempts(disturbed.id)
    lost = [a for a in attempts if a.outcome == "lost"]
    assert lost, "somebody was in training when the worker died"
    again = by_launch([a for a in attempts if a.fence > 1])
    first = {a.trial: a.launch for a in attempts if a.fence == 1}
    for lanes in again.values():
        assert {a.width for a in lanes} == {LANES}, "clones fill up what is left"
        assert len({first[a.trial] for a in lanes}) == 1, "lanes of one launch stay together"
    assert lab.curves(disturbed.id) == lab.curves(longer.id)


def test_without_lanes_trials_are_trained_one_by_one(lab: Lab) -> None:
    study = lab.run(resources={"lanes": "off"}, budget={"trials": 4})
    assert study.state is StudyState.FINISHED, study.reason
    attempts = [a for n in range(4) for a in reading.attempts(lab.db, study.id, n)]
    assert {(a.width, a.method) for a in attempts} == {(1, "plain")}


UNEVEN: dict[str, Any] = {
    "algorithm": {"name": "bayesian", "startup_trials": TRIALS, "max_resource": 150},
    "trainer": {
        "recipe": "image_classifier",
        "params": {"data": "digits", "model": "mlp", "hidden_units": 16, "early_stopping": 3},
    },
    "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1.0}},
    "parallel": 8,
}
"""Trials drawn at random that end after few epochs or many."""
LASTING: dict[str, Any] = {
    **UNEVEN,
    "trainer": {
        "recipe": "image_classifier",
        "params": {"data": "digits", "model": "mlp", "hidden_units": 128, "early_stopping": 15},
    },
}
"""The same, slow enough that a filled lane is met in training on a busy machine, too."""


def joined(attempts: list[AttemptRow]) -> list[AttemptRow]:
    """Those that took a lane which fell free."""
    return [a for lanes in by_launch(attempts).values() for a in lanes if a.opened_at > min(b.opened_at for b in lanes)]


def test_filled_lanes_report_the_bits_that_they_report_anywhere_at_that_width(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(study_id: str) -> bool:
        """The process of a worker that trains a lane which was filled."""
        attempts = lab.attempts(study_id)
        training = [a for a in joined(attempts) if a.reported_at and a.ended_at is None and a.worker_id]
        if not training:
            return False
        pids = lab.pids()
        pid = pids.get(training[0].worker_id or "")
        if pid is None:
            return False
        os.kill(int(pid), signal.SIGKILL)
        return True

    full = lab.run(**UNEVEN)
    killed = lab.run(meanwhile=kill, **LASTING)
    monkeypatch.setattr("hpo_service.controller.placing.Placing.vacancies", lambda *_: [])
    apart = lab.run(**UNEVEN)
    assert full.state is killed.state is apart.state is StudyState.FINISHED
    assert not joined(lab.attempts(apart.id))
    taken = [a for a in joined(lab.attempts(full.id)) if a.outcome == "completed"]
    assert taken, [(a.trial, a.launch[:4], a.lane, a.outcome, a.resource) for a in lab.attempts(full.id)]
    widths = {a.trial: a.width for a in lab.attempts(apart.id)}
    same = [a.trial for a in lab.attempts(full.id) if a.width == widths.get(a.trial)]
    mine, theirs = lab.curves(full.id), lab.curves(apart.id)
    both = [at for at in mine.keys() & theirs.keys() if at[0] in same]
    assert both
    assert all(repr(mine[at]) == repr(theirs[at]) for at in both)
    assert any(a.outcome == "lost" for a in lab.attempts(killed.id))
    assert not [a for a in lab.attempts(killed.id) if a.state == "open"]
    lab.curves(killed.id)
