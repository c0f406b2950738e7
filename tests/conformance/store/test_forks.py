"""Trials that go on from another one's checkpoint: it stays while they need it, and what they trained is their own."""

from __future__ import annotations

import pytest

from hpo_service.store import lineage, opening, reading, retention
from hpo_service.store.database import Database
from hpo_service.store.rows import OpenAttempt
from tests.storelib import World, start

PBT = {"name": "pbt", "population": 4, "max_resource": 27}


@pytest.fixture
def population(db: Database) -> World:
    """Trial 0 came to resource 9 and trains on; trial 1 goes on from its checkpoint there, and has not reported."""
    world = World(db, algorithm=PBT, budget={})
    (parent,) = world.start()
    world.collect(world.report(parent, 8, 0.5), world.saved(parent, 7), world.saved(parent, 8), world.ended(parent))
    world.commit([start(1, target=18.0, parent=parent, parent_resource=9.0)])
    world.go_on(parent)
    return world


def kept(world: World, number: int) -> list[tuple[int, int]]:
    return [(c.fence, c.step) for c in reading.checkpoints(world.db, world.id, number)]


def save(world: World, trial: int, *steps: int, fence: int) -> None:
    for step in steps:
        world.collect(world.report(trial, step, 0.4, fence=fence), world.saved(trial, step, fence=fence))


def test_what_a_trial_begins_with_is_kept_until_it_has_its_own(population: World) -> None:
    save(population, 0, 12, 14, fence=2)
    population.collect(population.ended(0, fence=2))
    population.go_on(0)
    save(population, 0, 20, 22, fence=3)
    retention.let_go(population.db, retention_s=60)
    assert kept(population, 0) == [(3, 22), (3, 20), (2, 14), (1, 8)], (
        "of the attempt before one, and what trial 1 needs"
    )
    (again,) = (o for o in opening_of(population) if o.trial == 1)
    assert [c.step for c in again.checkpoints] == [8, 7][: len(again.checkpoints)]
    save(population, 1, 10, fence=1)
    retention.let_go(population.db, retention_s=60)
    assert kept(population, 0) == [(3, 22), (3, 20), (2, 14)]
    assert kept(population, 1) == [(1, 10)]


def opening_of(world: World) -> list[OpenAttempt]:
    with world.db.read() as tx:
        return list(opening.load_open(tx, world.id))


def test_a_stopped_parent_keeps_what_its_child_begins_with(population: World) -> None:
    population.collect(population.ended(0, "cancelled", fence=2))
    population.commit([])
    retention.let_go(population.db, retention_s=60)
    assert (1, 8) in kept(population, 0)
    save(population, 1, 10, fence=1)
    retention.let_go(population.db, retention_s=60)
    assert reading.trial(population.db, population.id, 1).parent == 0


def test_other_studies_keep_two(db: Database) -> None:
    world = World(db)
    (n,) = world.start()
    save(world, n, 1, fence=1)
    world.collect(world.ended(n))
    world.go_on(n)
    save(world, n, 3, 4, fence=2)
    retention.let_go(world.db, retention_s=60)
    assert kept(world, n) == [(2, 4), (2, 3)]


def test_the_lineage_of_a_trial_is_a_schedule(population: World) -> None:
    save(population, 1, 12, fence=1)
    found = lineage.of(population.db, population.id, 1)
    assert [(s.trial, s.from_resource, s.to_resource) for s in found] == [(0, 0.0, 9.0), (1, 9.0, 13.0)]
    assert [s.value for s in found] == [0.5, 0.4]
    first = lineage.of(population.db, population.id, 0)
    assert [(s.trial, s.from_resource) for s in first] == [(0, 0.0)]
