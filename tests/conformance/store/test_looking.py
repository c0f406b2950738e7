"""Bounded reads for charts: reasons, values by report, attempts by the time they were opened."""

from __future__ import annotations

import math

from hpo_service.core.definition import Objective
from hpo_service.store import looking
from hpo_service.store.rows import Placement
from hpo_service.views.rung_values import at_levels
from tests.storelib import World, start


def test_reasons_are_those_stored_last(world: World) -> None:
    a, b, c = world.start(3)
    world.collect(world.ended(a, "failed", failure="error", reason="no disk"))
    assert looking.reasons(world.db, world.id, [a, b, 99]) == {a: "error: no disk", b: "drawn"}
    assert looking.reasons(world.db, world.id, []) == {}
    assert looking.report_count(world.db, world.id, c) == 0


def test_values_at_levels(world: World) -> None:
    a, b = world.start(2)
    world.collect(*(world.report(a, step, 0.9 - step / 10) for step in range(4)), world.report(b, 0, math.nan))
    rows = looking.values(world.db, world.id, [a, b])
    assert [list(column) for column in rows] == [
        [a, a, a, a, b],
        [0, 1, 2, 3, 0],
        [1, 1, 1, 1, 1],
        [1.0, 2.0, 3.0, 4.0, 1.0],
        [0.9, 0.8, 0.9 - 2 / 10, 0.9 - 3 / 10, None],
    ]
    numbers, last = at_levels(rows, [1.0, 3.0, 9.0], Objective(metric="loss"))
    assert numbers.tolist() == [a, b]
    assert last[0].tolist() == [0.9, 0.9 - 2 / 10, 0.9 - 3 / 10]
    assert all(math.isnan(value) for value in last[1])
    assert looking.report_count(world.db, world.id, a) == 4
    assert [list(column) for column in looking.values(world.db, world.id, [])] == [[]] * 5


def test_attempts_come_newest_first_and_end_before_a_moment(world: World) -> None:
    a, b = world.start(2)
    (c,) = world.start(1)
    world.collect(world.started(a), world.ended(a, "failed", resource=1.0))
    rows, now = looking.attempts_before(world.db, world.id, None, 10)
    assert [row.trial for row in rows] == [c, b, a]
    assert rows[-1].worker_id == "w1"
    assert rows[-1].outcome == "failed"
    assert now >= rows[0].opened_at
    assert [row.trial for row in looking.attempts_before(world.db, world.id, None, 1)[0]] == [c]
    before, _ = looking.attempts_before(world.db, world.id, rows[0].opened_at, 10)
    assert [row.trial for row in before] == [b, a]
    assert [row.trial for row in looking.open_attempts(world.db, world.id, 10)] == [b, c]


def test_a_launch_holds_what_took_its_lanes_later(world: World) -> None:
    def lane(number: int) -> Placement:
        return Placement(launch="together", lane=number, width=2, method="fused")

    world.commit([start(0), start(1)], placements={0: lane(0), 1: lane(1)})
    world.commit([start(2)], placements={2: Placement(launch="apart", width=2, method="fused")})
    world.collect(world.ended(1, "failed"))
    world.commit([start(3)], placements={3: lane(1)})
    for trial in (0, 1, 3):
        assert [row.trial for row in looking.launch_of(world.db, world.id, trial, 1)] == [0, 1, 3]
    assert [row.trial for row in looking.launch_of(world.db, world.id, 2, 1)] == [2]


def test_of_a_step_the_newest_attempt_counts() -> None:
    rows = [[7, 7, 7, 7], [0, 1, 1, 2], [1, 1, 2, 2], [1.0, 2.0, 2.0, 3.0], [0.5, 0.1, 0.4, None]]
    _, last = at_levels(rows, [2.0, 3.0], Objective(metric="loss"))
    assert last[0, 0] == 0.4
    assert math.isnan(last[0, 1])
    _, best = at_levels(rows, [1.0, 2.0, 3.0], Objective(metric="loss", at="best"))
    assert best.tolist() == [[0.5, 0.4, 0.4]]
