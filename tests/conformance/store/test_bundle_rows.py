"""Bundles in the store: known once per project, kept while a study names them, forgotten after their retention."""

from __future__ import annotations

import pytest

from hpo_service.errors import NotFound
from hpo_service.store import bundles, deleting, studies
from hpo_service.store.database import Database
from tests.storelib import World, definition

ONE, TWO = "1" * 64, "2" * 64
FILES = {"train.py": ("a" * 64, 3), "pkg/ünï.py": ("b" * 64, 4)}


def put(db: Database, digest: str = ONE, project: str = "default", by: str = "ada") -> bundles.BundleRow:
    return bundles.put_bundle(db, digest=digest, size_bytes=9, files=FILES, project=project, created_by=by)


def let_go(db: Database) -> tuple[list[str], list[str]]:
    """What is forgotten where nothing is retained, and whose archives go."""
    removed: list[str] = []
    return bundles.let_bundles_go(db, retention_s=-1, remove=removed.append), removed


def test_a_bundle_is_found_as_it_was_put(world: World) -> None:
    row = put(world.db)
    assert bundles.find_bundle(world.db, ONE) == bundles.find_bundle(world.db, ONE, "default") == row
    assert {name: tuple(one) for name, one in row.files.items()} == FILES
    assert bundles.find_bundle(world.db, TWO) is None
    assert bundles.find_bundle(world.db, ONE, "other") is None


def test_put_again_it_keeps_its_maker_and_is_used(world: World) -> None:
    first, again = put(world.db), put(world.db, by="bob")
    assert (again.created_by, again.created_at) == ("ada", first.created_at)
    assert again.used_at >= first.used_at


def test_what_is_unknown_cannot_be_used(world: World) -> None:
    put(world.db)
    bundles.use_bundle(world.db, ONE, "default")
    with pytest.raises(NotFound, match="project 'other' has no bundle"):
        bundles.use_bundle(world.db, ONE, "other")


def test_what_was_used_lately_stays(world: World) -> None:
    put(world.db)
    assert bundles.let_bundles_go(world.db, retention_s=3600, remove=pytest.fail) == []


def test_what_a_study_names_stays_until_the_study_goes(world: World) -> None:
    put(world.db)
    put(world.db, TWO)
    named = studies.create_study(
        world.db, definition(trainer={"function": "train:main", "bundle": ONE}), created_by="ada"
    )
    assert let_go(world.db) == ([TWO], [TWO])
    studies.delete_study(world.db, named.id)
    deleting.finish_deletions(world.db)
    assert let_go(world.db) == ([ONE], [ONE])
    assert let_go(world.db) == ([], [])


def test_an_archive_stays_while_another_project_has_it(world: World) -> None:
    put(world.db)
    put(world.db, project="other")
    studies.create_study(world.db, definition(trainer={"function": "train:main", "bundle": ONE}), created_by="ada")
    assert let_go(world.db) == ([ONE], [])
    assert bundles.find_bundle(world.db, ONE, "other") is None
    assert bundles.find_bundle(world.db, ONE, "default") is not None


def test_one_that_was_used_since_it_was_found_unused_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on PostgreSQL, where somebody may upload it, or be about to submit with it, between the two statements."""
    row = put(world.db)
    monkeypatch.setattr(bundles, "_unused", lambda *_: [row])
    assert bundles.let_bundles_go(world.db, retention_s=3600, remove=pytest.fail) == []
    assert bundles.find_bundle(world.db, ONE) is not None
