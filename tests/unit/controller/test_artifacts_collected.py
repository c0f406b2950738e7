"""Artifacts that workers tell of: recorded once, whatever is told again; removed where their attempt was given up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from hpo_service.controller.collector import Collector
from hpo_service.controller.flights import Flights
from hpo_service.core.cost import Prices
from hpo_service.store import artifacts, decisions
from hpo_service.store.database import Database, open_database
from tests.storelib import World
from workers.contract import ArtifactStored, AttemptKey, Ended, Outcome


class Silent:
    """An executor that nobody hears of."""

    def cancel(self, *_: Any) -> None:
        """As told."""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    found = open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    yield found
    found.close()


def told(world: World, number: int, *, trial: int = 0, fence: int = 1) -> ArtifactStored:
    ident = f"{number:032x}"
    return ArtifactStored(
        key=AttemptKey(study_id=world.id, trial=trial, fence=fence), artifact_id=ident, name=f"{number}.txt",
        location=f"{world.id}/{trial}/{ident}", digest="d", size_bytes=1, media_type="text/plain",
    )  # fmt: skip


def test_artifacts_are_recorded_once_and_those_of_a_lost_attempt_go(db: Database) -> None:
    world = World(db)
    world.start(1)
    gone: list[str] = []

    def discard(locations: Sequence[str]) -> None:
        gone.extend(locations)

    prices = Prices(cpu_hour_dollars=1.0, gpu_hour_dollars=1.0)
    collector = Collector(
        db, cast(Any, Silent()), Flights(), prices, holder="c", changed=lambda _: None, discard=discard
    )
    ended = Ended(key=AttemptKey(study_id=world.id, trial=0, fence=1), outcome=Outcome.LOST, resource=0.0, seconds=1.0)
    batch = [told(world, 1), told(world, 2), ended]
    collector.store_apart(batch)  # an end in the same batch refuses nothing
    collector.store_apart(batch)
    assert [row.name for row in artifacts.list_artifacts(db, world.id, 0).rows] == ["1.txt", "2.txt"]
    assert gone == []

    decisions.reopen(db, world.id, [0], epoch=world.epoch, placements={})
    late, current = told(world, 3), told(world, 4, fence=2)
    collector.store_apart([late, current])
    assert [row.name for row in artifacts.list_artifacts(db, world.id, 0).rows] == ["1.txt", "2.txt", "4.txt"]
    assert gone == [late.location]
