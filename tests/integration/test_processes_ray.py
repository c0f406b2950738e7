"""A study whose trials are trained by two processes each, on a real worker: promoted, logged, with an artifact."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hpo_service.artifact_files import ArtifactFiles
from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.core.states import StudyState
from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from hpo_service.store import artifacts, logs, reading, studies
from hpo_service.store.database import open_database

pytestmark = pytest.mark.ray

CODE = """
import tempfile

import torch
import torch.distributed as dist
from pathlib import Path


def train(trial):
    state = trial.load_checkpoint() or {"epoch": 0}
    for epoch in range(state["epoch"] + 1, 100):
        ranks = torch.tensor([1.0 + trial.rank])
        dist.all_reduce(ranks)
        print("epoch", epoch)
        note = Path(tempfile.mkdtemp()) / f"note-{trial.rank}.txt"
        note.write_text(f"rank {trial.rank}")
        trial.artifact(note)
        trial.report(epoch, val_loss=float(ranks) + trial.params["lr"])
        if trial.should_save:
            trial.save_checkpoint({"epoch": epoch})
"""


def test_two_processes_train_each_trial(local_ray: None, tmp_path: Path) -> None:
    (tmp_path / "two_processes.py").write_text(CODE)
    definition = parse(
        {
            "objective": {"metric": "val_loss", "direction": "minimize"},
            "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}},
            "algorithm": {"name": "successive_halving", "trials": 2, "max_resource": 2, "eta": 2},
            "trainer": {"function": "two_processes:train"},
            "resources": {"processes": 2},
            "retries": 0,
        }
    )
    settings = Settings(data=tmp_path)
    db = open_database(settings.resolved_database_url)
    executor = RayExecutor(Settings(), settings.resolved_storage, code_paths=[str(tmp_path)])
    try:
        study = studies.create_study(db, definition, created_by="test")
        stop, limit = threading.Event(), threading.Timer(120, lambda: stop.set())
        limit.start()

        def watch() -> None:
            over = (StudyState.FINISHED, StudyState.FAILED)
            while not stop.wait(0.05) and studies.get_study(db, study.id).state not in over:
                pass
            stop.set()

        thread = threading.Thread(target=watch)
        thread.start()
        storage = settings.resolved_storage
        Controller(db=db, executor=executor, settings=settings, holder="c", storage_root=storage).run(stop)
        thread.join()
        limit.cancel()
        ended = studies.get_study(db, study.id)
        assert ended.state is StudyState.FINISHED, ended.reason
        assert ended.best_trial is not None
        best = reading.trial(db, study.id, ended.best_trial)
        assert best.resource == 2.0
        assert best.value == pytest.approx(3.0 + best.params["lr"])
        text, _ = logs.read_log(db, study.id, best.number)
        assert {f"[rank {rank}] epoch 2" for rank in range(2)} <= set(text.splitlines())
        kept = artifacts.list_artifacts(db, study.id, best.number).rows
        assert len(kept) == 2  # one for each epoch, of rank 0 alone
        with ArtifactFiles(settings.resolved_artifacts).opened(kept[0].location) as file:
            assert file.read() == b"rank 0"
    finally:
        executor.close()
        db.close()
