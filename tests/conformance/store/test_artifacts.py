"""Artifacts as the stores keep them: idempotent on their ids, refused under older fences, gone with their study."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from hpo_service.core.states import StudyState
from hpo_service.errors import InvalidInput, NotFound
from hpo_service.store import artifacts, deleting, studies
from hpo_service.store.tables import artifacts as table
from tests.storelib import World


def ident(number: int) -> str:
    return f"{number:032x}"


def names(world: World, trial: int) -> list[str]:
    return [row.name for row in artifacts.list_artifacts(world.db, world.id, trial).rows]


def count(world: World) -> int:
    with world.db.read() as tx:
        return int(tx.execute(select(func.count()).select_from(table)).scalar_one())


def test_an_artifact_is_stored_once_whatever_is_said_again(world: World) -> None:
    world.start(2)
    item = world.artifact(1, name="curve\x00.png")
    statuses = [r.status for r in artifacts.add_artifacts(world.db, [item, item, world.artifact(0, ident(2))])]
    assert statuses == ["stored", "repeated", "stored"]
    assert [r.status for r in artifacts.add_artifacts(world.db, [item])] == ["repeated"]
    (row,) = artifacts.list_artifacts(world.db, world.id, 1).rows
    assert (row.name, row.size_bytes, row.fence, row.media_type) == ("curve\ufffd.png", 7, 1, "image/png")
    assert artifacts.get_artifact(world.db, world.id, 1, item.id) == row
    assert artifacts.add_artifacts(world.db, []) == []


def test_an_older_fence_is_refused_and_an_ended_attempt_is_not(world: World) -> None:
    world.start(1)
    world.collect(world.report(0, 8, 0.5), world.ended(0))
    assert [r.status for r in artifacts.add_artifacts(world.db, [world.artifact(0)])] == ["stored"]
    world.go_on(0)
    older, newer, invented = (world.artifact(0, ident(n), fence=n) for n in (1, 2, 3))
    results = artifacts.add_artifacts(world.db, [older, newer, invented, world.artifact(7, ident(9))])
    assert [r.status for r in results] == ["fenced", "stored", "unknown", "unknown"]
    assert "2 is newer" in results[0].message
    assert artifacts.require_newest(world.db, world.id, 0, 1).status == "fenced"
    assert artifacts.require_newest(world.db, world.id, 0, 2).status == "stored"
    assert count(world) == 2


def test_lists_go_by_key_through_all_attempts(world: World) -> None:
    world.start(1)
    items = [world.artifact(0, ident(n), name=f"{n}") for n in (5, 3, 8, 1, 4)]
    artifacts.add_artifacts(world.db, items[:3])  # one moment: then by id
    artifacts.add_artifacts(world.db, items[3:])
    seen, cursor = [], None
    while True:
        page = artifacts.list_artifacts(world.db, world.id, 0, cursor=cursor, limit=2)
        seen += [row.name for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == names(world, 0)
    assert sorted(seen) == ["1", "3", "4", "5", "8"]
    with pytest.raises(InvalidInput, match="cursor"):
        artifacts.list_artifacts(world.db, world.id, 0, cursor="nonsense")


def test_what_is_not_there_is_not_found(world: World) -> None:
    world.start(2)
    artifacts.add_artifacts(world.db, [world.artifact(0)])
    assert names(world, 1) == []
    with pytest.raises(NotFound, match="no trial 9"):
        artifacts.list_artifacts(world.db, world.id, 9)
    for trial, artifact_id in ((1, "a" * 32), (0, ident(1)), (0, "../x")):
        with pytest.raises(NotFound, match="no artifact"):
            artifacts.get_artifact(world.db, world.id, trial, artifact_id)


def test_a_deleted_study_takes_its_artifacts_along_and_gets_no_more(world: World) -> None:
    world.start(1)
    artifacts.add_artifacts(world.db, [world.artifact(0)])
    other = World(world.db)
    other.start(1)
    artifacts.add_artifacts(world.db, [other.artifact(0, ident(2))])
    world.collect(world.ended(0, "failed"))
    studies.set_state(world.db, world.id, StudyState.STOPPED, "enough")
    deleting.delete_study(world.db, world.id)
    assert names(other, 0) == ["plot.png"]
    assert count(world) == 1
    (late,) = artifacts.add_artifacts(world.db, [world.artifact(0, ident(3))])
    assert late.status == "unknown"
    asked = [world.id, other.id, "never-given"]
    assert artifacts.deleted_studies(world.db, asked) == [world.id]
