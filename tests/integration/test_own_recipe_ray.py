"""An own recipe on real workers: measured in the preflight, trained as lanes that differ in its own parameter."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.core.events import MethodsChosen
from hpo_service.core.states import StudyState
from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from hpo_service.store import logreading, reading, studies
from hpo_service.store.database import open_database

pytestmark = pytest.mark.ray
EXAMPLES = Path(__file__).parents[2] / "examples"
LANES, TRIALS = 4, 8


def test_trials_of_the_example_share_launches(local_ray: None, tmp_path: Path) -> None:
    definition = parse(
        {
            "objective": {"metric": "val_accuracy", "direction": "maximize"},
            "space": {
                "frequency": {"type": "loguniform", "low": 0.5, "high": 16.0},
                "lr": {"type": "loguniform", "low": 1e-3, "high": 1e-1},
            },
            "algorithm": {"name": "random", "max_resource": 3},
            "trainer": {"recipe": "spirals:Spirals", "params": {"hidden": 16}},
            "budget": {"trials": TRIALS},
            "resources": {"lanes": LANES},
        }
    )
    db = open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    executor = RayExecutor(Settings(), tmp_path / "storage", code_paths=[str(EXAMPLES)])
    try:
        study = studies.create_study(db, definition, created_by="test")
        stop, limit = threading.Event(), threading.Timer(100, lambda: stop.set())
        limit.start()

        def watch() -> None:
            over = (StudyState.FINISHED, StudyState.FAILED)
            while not stop.wait(0.01) and studies.get_study(db, study.id).state not in over:
                pass
            stop.set()

        thread = threading.Thread(target=watch)
        thread.start()
        settings = Settings(data=tmp_path)
        Controller(db=db, executor=executor, settings=settings, holder="c", storage_root=tmp_path).run(stop)
        thread.join()
        limit.cancel()
        ended = studies.get_study(db, study.id)
        assert ended.state is StudyState.FINISHED, ended.reason
        attempts = [a for n in range(TRIALS) for a in reading.attempts(db, study.id, n)]
        assert [(a.method, a.width) for a in attempts] == [("fused", LANES)] * TRIALS
        assert len({a.launch for a in attempts}) == TRIALS // LANES
        events = logreading.load_events(db, study.id)
        chosen = [event.payload for event in events if isinstance(event.payload, MethodsChosen)]
        assert {"frequency", "lr"} <= set(chosen[0].lanes)
        assert "hidden" not in chosen[0].lanes
    finally:
        executor.close()
        db.close()
