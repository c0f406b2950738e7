"""Trials in bulk on every database: what moved since is told, and columns kept up to date equal those read afresh."""

from __future__ import annotations

import math

import numpy as np

from hpo_service.store import bulk, reading, studies
from hpo_service.store.database import Database
from hpo_service.views.columns import ColumnsCache
from tests.storelib import World


def test_what_moved_is_told(world: World) -> None:
    db = world.db
    assert bulk.head(db, world.id) == world.study.last_seq
    assert bulk.head(db, "nothing") == 0
    world.start(3)
    seq = world.study.last_seq
    assert bulk.moves(db, world.id, seq) == bulk.Moves(seq=seq, trials=frozenset(), definition=False)
    world.collect(world.report(1, 0, 0.5), world.report(2, 0, math.nan))
    assert bulk.moves(db, world.id, seq).trials == {1, 2}
    world.stop(0)
    studies.enqueue(db, world.id, [{"lr": 0.5, "optimizer": "sgd"}])
    assert bulk.moves(db, world.id, seq).trials == {0, 1, 2, 3}


def test_rows_are_the_same_all_at_once_and_by_number(world: World) -> None:
    world.start(4)
    world.collect(world.report(1, 0, 0.5), world.report(2, 0, math.inf))
    studies.annotate_trial(world.db, world.id, 2, tags=["x"], notes="odd")
    (whole,) = bulk.trial_columns(world.db, world.id)
    assert whole == bulk.trial_columns_of(world.db, world.id, [0, 1, 2, 3])
    kinds = dict(zip(bulk.FIELDS, whole, strict=True))["value_kind"]
    assert list(kinds) == [None, "finite", "+inf", None]
    assert bulk.trial_columns_of(world.db, world.id, []) == [[] for _ in bulk.FIELDS]
    assert reading.tagged(world.db, world.id, "x") == [2]
    assert [row.number for row in reading.some(world.db, world.id, [3, 1, 9])] == [1, 3]


def test_columns_kept_alive_are_those_read_afresh(db: Database, world: World) -> None:
    alive = ColumnsCache(db)
    for step in range(4):
        world.start(2)
        world.collect(*(world.report(trial, step - trial // 2, 1.0 / (trial + 1)) for trial in range(2 * step + 2)))
        seq = world.study.last_seq
        with alive.at(world.id, seq) as kept, ColumnsCache(db).at(world.id, seq) as afresh:
            assert (kept.n, kept.seq) == (afresh.n, afresh.seq) == (2 * step + 2, seq)
            for name in ("state", "value", "resource", "started_at"):
                assert np.array_equal(getattr(kept, name), getattr(afresh, name), equal_nan=True)
            assert np.array_equal(kept.params["lr"].numbers, afresh.params["lr"].numbers)
