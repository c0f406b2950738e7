"""Two controllers at once on one PostgreSQL database, both killed at random writes: the study stays the same."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_service.core.states import StudyState
from hpo_service.store import studies
from hpo_service.store.database import open_database
from tests.integration.survival import Crash, World, everything, outcome, stored_reports
from tests.integration.test_survival import SYNCHRONOUS, begin, undisturbed
from tests.postgresql import drop_database, fresh_database

pytestmark = pytest.mark.postgresql
KILLS = 4


@pytest.fixture
def url() -> Iterator[str]:
    made = fresh_database()
    yield made
    drop_database(made)


class RandomCrash:
    """A fail-point that crashes now and then, `kills` times in all."""

    def __init__(self, seed: int, kills: int) -> None:
        self._chance = random.Random(seed)
        self.left = kills

    def __call__(self, name: str) -> None:
        if self.left and self._chance.random() < 0.03:
            self.left -= 1
            raise Crash(name)


def lead(world: World, study_id: str, seed: int, failed: list[BaseException]) -> None:
    crash = RandomCrash(seed, KILLS)
    try:
        world.run_through(study_id, crash)
    except BaseException as error:
        failed.append(error)


def test_two_controllers_under_fire_make_the_same_study(url: str, tmp_path: Path) -> None:
    keywords = SYNCHRONOUS["hyperband"]
    expected, winner, _ = undisturbed(tmp_path, keywords)
    worlds = [
        World(url=url, storage=tmp_path / name, holder=name, lease_s=1.0, idle_s=0.02) for name in ("left", "right")
    ]
    study_id = begin(worlds[0], keywords)
    failed: list[BaseException] = []
    threads = [threading.Thread(target=lead, args=(world, study_id, seed, failed)) for seed, world in enumerate(worlds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=240)
    assert not failed, failed
    db = open_database(url)
    try:
        study = studies.get_study(db, study_id)
        assert study.state is StudyState.FINISHED
        assert study.open_attempts == 0
        assert outcome(everything(db, study_id)) == expected
        assert study.best_trial == winner
        acknowledged = worlds[0].acknowledged | worlds[1].acknowledged
        assert acknowledged <= stored_reports(db, study_id)
        assert sum(world.crashes for world in worlds) > 0
    finally:
        db.close()


def test_a_study_survives_kills_on_postgresql_as_on_sqlite(url: str, tmp_path: Path) -> None:
    keywords = SYNCHRONOUS["successive_halving"]
    expected, winner, _ = undisturbed(tmp_path, keywords)
    world = World(url=url, storage=tmp_path / "pg")
    study_id = begin(world, keywords)
    world.run_through(study_id, RandomCrash(5, 6))
    db = open_database(url)
    try:
        assert world.crashes > 0
        assert outcome(everything(db, study_id)) == expected
        assert studies.get_study(db, study_id).best_trial == winner
        assert world.acknowledged <= stored_reports(db, study_id)
    finally:
        db.close()
