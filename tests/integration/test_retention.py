"""Checkpoints go by the written rules and by no other: kept for what can go on, gone for what cannot."""

from __future__ import annotations

from pathlib import Path

from hpo_service.core.states import StudyState
from hpo_service.store import reading, retention, studies
from hpo_service.store.database import open_database
from tests.integration.survival import World, definition, everything


def finished(tmp_path: Path) -> tuple[World, str]:
    world = World(url=f"sqlite:///{tmp_path / 'hpo.db'}", storage=tmp_path)
    db = open_database(world.url)
    try:
        asha = definition({"name": "asha", "max_resource": 9}, budget={"trials": 12})
        study_id = studies.create_study(db, asha, created_by="test", state=StudyState.RUNNING).id
        halving = definition({"name": "successive_halving", "trials": 9, "max_resource": 9})
        other = studies.create_study(db, halving, created_by="test", state=StudyState.RUNNING).id
    finally:
        db.close()
    world.run(study_id)
    world.run(other)
    return world, study_id


def test_only_what_can_go_on_or_was_finished_keeps_checkpoints(tmp_path: Path) -> None:
    world, asha = finished(tmp_path)
    db = open_database(world.url)
    try:
        before = {n: reading.checkpoints(db, asha, n) for n in everything(db, asha)}
        assert any(len(found) > retention.KEPT for found in before.values())
        paths = retention.let_go(db, retention_s=3600)
        assert len(paths) == len(set(paths)) > 0
        for study in studies.list_studies(db).rows:
            for number, trial in everything(db, study.id).items():
                kept = reading.checkpoints(db, study.id, number)
                assert not {c.path for c in kept} & set(paths)
                if trial.state in ("stopped", "failed") and number != study.best_trial:
                    assert kept == []
                else:
                    assert 1 <= len(kept) <= retention.KEPT
                if study.id == asha and kept:
                    assert kept == before[number][: len(kept)], "the newest ones stay"
        assert retention.let_go(db, retention_s=3600) == []
    finally:
        db.close()


def test_paused_trials_of_an_ended_study_keep_theirs_for_the_retention(tmp_path: Path) -> None:
    world, asha = finished(tmp_path)
    db = open_database(world.url)
    try:
        retention.let_go(db, retention_s=3600)
        paused = [n for n, t in everything(db, asha).items() if t.state == "paused"]
        assert paused
        assert all(reading.checkpoints(db, asha, n) for n in paused)
        retention.let_go(db, retention_s=-1)
        assert not any(reading.checkpoints(db, asha, n) for n in paused)
        best = studies.get_study(db, asha).best_trial
        assert best is not None
        assert reading.checkpoints(db, asha, best), "a finished best keeps its model"
    finally:
        db.close()
