"""The history of a study's best: a row per change, with the sums of then; deleted with the study."""

from __future__ import annotations

import math

from sqlalchemy import func, select

from hpo_service.core.states import StudyState
from hpo_service.store import improvements, pulse, reading, studies
from hpo_service.store.database import Database
from hpo_service.store.tables import improvements as table
from tests.storelib import World


def _bests(world: World) -> list[tuple[int | None, float | None, float | None]]:
    return [(i.trial, i.value, i.resource) for i in improvements.improvements(world.db, world.id)]


def test_a_row_per_change_of_the_best(world: World) -> None:
    a, b = world.start(2)
    world.collect(world.report(a, 0, 0.5))
    world.collect(world.report(b, 0, 0.7))  # no better: no row
    world.collect(world.report(b, 1, 0.6))  # more resource beats less
    world.collect(world.report(a, 1, 0.3), world.report(b, 2, math.nan))
    assert _bests(world) == [(a, 0.5, 1.0), (b, 0.6, 2.0), (a, 0.3, 2.0)]
    world.check_counters()


def test_a_best_that_fell_is_a_change_too(world: World) -> None:
    a, b = world.start(2)
    world.collect(world.report(a, 0, 0.5), world.report(b, 0, 0.7))
    world.collect(world.ended(a, "failed", resource=1.0))
    world.collect(world.ended(b, "failed", resource=1.0))
    assert _bests(world) == [(a, 0.5, 1.0), (b, 0.7, 1.0), (None, None, None)]


def test_the_sums_are_those_of_then(world: World) -> None:
    a, b, c = world.start(3)
    world.collect(world.report(a, 0, 0.5), world.ended(a, "failed", resource=1.0, cost_microdollars=5))
    world.collect(world.report(b, 0, 0.4), world.ended(b, resource=1.0, cost_microdollars=7))
    world.collect(world.report(c, 0, 0.9))
    one, two = world.study, improvements.improvements(world.db, world.id)[-1]
    assert (two.spent_resource, two.cost_microdollars, two.ended) == (2.0, 12, 1)
    assert (one.resource, one.cost_microdollars) == (3.0, 12)
    world.collect(world.report(c, 1, 0.8), world.ended(c, resource=2.0, cost_microdollars=3))
    one, two = world.study, improvements.improvements(world.db, world.id)[-1]
    assert (two.spent_resource, two.cost_microdollars, two.seq) == (one.resource, one.cost_microdollars, one.last_seq)
    assert one.started_at is not None
    assert two.at >= one.started_at


def test_only_those_after_a_position(world: World) -> None:
    a, b = world.start(2)
    world.collect(world.report(a, 0, 0.5))
    seq = world.study.last_seq
    world.collect(world.report(b, 0, 0.4))
    assert [i.trial for i in improvements.improvements(world.db, world.id, seq)] == [b]
    assert improvements.improvements(world.db, world.id, world.study.last_seq) == []


def test_of_many_studies_at_once(db: Database) -> None:
    one, two = World(db), World(db)
    for world in (one, two):
        world.start(1)
        world.collect(world.report(0, 0, 0.5))
    found = improvements.improvements_of(db, [one.id, two.id, "nobody"])
    assert {key: len(rows) for key, rows in found.items()} == {one.id: 1, two.id: 1, "nobody": 0}
    assert improvements.improvements_of(db, []) == {}


def test_deleted_with_the_study(world: World) -> None:
    (a,) = world.start()
    world.collect(world.report(a, 0, 0.5), world.ended(a))
    studies.set_state(world.db, world.id, StudyState.STOPPED, "enough")
    studies.delete_study(world.db, world.id)
    with world.db.read() as tx:
        assert tx.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_a_sparkline_has_few_points_with_the_first_and_the_last(db: Database) -> None:
    world, quiet = World(db), World(db)
    (a,) = world.start()
    for step in range(100):
        world.collect(world.report(a, step, 1.0 / (step + 1)))
    points = improvements.sparklines(db, [world.id, quiet.id])
    values = [value for _, value in points[world.id]]
    assert 30 <= len(values) <= 40
    assert (values[0], values[-1]) == (1.0, 0.01)
    assert values == sorted(values, reverse=True)  # type: ignore[type-var]  # none is missing
    assert points[quiet.id] == []
    assert len(improvements.sparklines(db, [world.id], most=1000)[world.id]) == 100


def test_the_pulse_is_the_newest_decision_and_report(world: World) -> None:
    assert pulse.decision_reason(world.db, world.id) is None
    assert pulse.last_report_at(world.db, world.id) is None
    (a,) = world.start()
    world.collect(world.report(a, 0, 0.5))
    assert pulse.decision_reason(world.db, world.id) == "drawn"
    assert pulse.last_report_at(world.db, world.id) == reading.reports(world.db, world.id, a)[0].at
    world.stop(a)
    assert pulse.decision_reason(world.db, world.id) == "worse than the median"
