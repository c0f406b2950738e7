"""Pictures of surrogates: the newest stays, and goes with its study."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from hpo_service.errors import NotFound
from hpo_service.store import studies, surrogate_views
from hpo_service.store.tables import surrogate_views as table
from tests.storelib import World


def test_the_newest_picture_stays(world: World) -> None:
    assert surrogate_views.view(world.db, world.id) is None
    for seq in (4, 9, 7, 9):
        surrogate_views.put_view(world.db, world.id, seq=seq, document={"seq": seq, "x": [0.5, None]})
    found = surrogate_views.view(world.db, world.id)
    assert found is not None
    assert (found.seq, found.document) == (9, {"seq": 9, "x": [0.5, None]})


def test_at_the_same_position_the_later_one_stays(world: World) -> None:
    for trial in (3, 4):
        surrogate_views.put_view(world.db, world.id, seq=5, document={"trial": trial})
    found = surrogate_views.view(world.db, world.id)
    assert found is not None
    assert found.document == {"trial": 4}


def test_it_is_no_part_of_the_log(world: World) -> None:
    before = studies.get_study(world.db, world.id)
    surrogate_views.put_view(world.db, world.id, seq=3, document={})
    assert studies.get_study(world.db, world.id) == before


def test_a_deleted_study_has_none_and_gets_none(world: World) -> None:
    surrogate_views.put_view(world.db, world.id, seq=3, document={})
    studies.delete_study(world.db, world.id)
    with pytest.raises(NotFound):
        surrogate_views.put_view(world.db, world.id, seq=4, document={})
    with world.db.read() as tx:
        assert tx.all(select(table)) == []
