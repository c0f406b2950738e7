"""What runs in all studies together, what failed last, how busy workers were."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from hpo_service.core.states import StudyState
from hpo_service.store import cluster, studies
from hpo_service.store.database import Database
from hpo_service.store.tables import attempts
from tests.storelib import World

WINDOW = timedelta(minutes=5)
SECOND = 1_000_000


def _fail(world: World, trial: int, failure: str = "error") -> None:
    world.collect(world.ended(trial, "failed", failure=failure, reason=f"why {trial}"))


def test_what_runs_where(db: Database) -> None:
    one, two = World(db), World(db)
    a, b = one.start(2)
    (c,) = two.start()
    one.collect(one.started(a))
    found = cluster.running(db, [one.id, two.id])
    expected = sorted([(one.id, a, 1, "w1"), (one.id, b, 1, None), (two.id, c, 1, None)], key=lambda r: (r[0], r[1]))
    assert [(r.study_id, r.trial, r.fence, r.worker_id) for r in found] == expected
    one.collect(one.ended(a))
    assert [r.trial for r in cluster.running(db, [one.id])] == [b]
    assert cluster.running(db, []) == []


def test_the_newest_failures_first(db: Database) -> None:
    one, two = World(db), World(db, project="other", name="theirs")
    one.start(3)
    two.start(2)
    _fail(one, 0)
    _fail(two, 0, "out_of_memory")
    one.collect(one.ended(1, "lost", reason="node died"))
    one.collect(one.ended(2))
    found = cluster.failures(db)
    assert [(f.study_id, f.trial) for f in found] == [(one.id, 1), (two.id, 0), (one.id, 0)]
    assert [f.failure for f in found] == ["lost", "out_of_memory", "error"]
    assert found[1].study_name == "theirs"
    assert found[2].reason == "error: why 0"
    assert [f.study_id for f in cluster.failures(db, project="other")] == [two.id]
    assert len(cluster.failures(db, most=2)) == 2
    studies.set_state(db, two.id, StudyState.STOPPED, "enough")
    studies.delete_study(db, two.id)
    assert {f.study_id for f in cluster.failures(db)} == {one.id}


def test_how_busy_workers_were(world: World) -> None:
    a, b, c = world.start(3)
    world.collect(*(world.started(n) for n in (a, b, c)))
    world.collect(world.ended(a), world.ended(b))
    now = world.db.now().timestamp() * SECOND
    at = {a: (now - 120 * SECOND, now - 60 * SECOND), b: (now - 900 * SECOND, now - 240 * SECOND)}
    for trial, (started, ended) in at.items():
        times = {"started_at": int(started), "ended_at": int(ended)}
        where = (attempts.c.study_id == world.id, attempts.c.trial == trial)
        world.db.run_write("test", lambda tx, w=where, t=times: tx.execute(update(attempts).where(*w).values(t)))
    found = cluster.busy(world.db, [world.id], window=WINDOW)
    seconds = sorted(round((last - first) / SECOND) for first, last in found.spans["w1"])
    assert seconds == [0, 60, 60], "what began before the window is cut, what still runs ends now"
    assert round((found.until - found.since) / SECOND) == 300


def test_a_study_that_just_ended_counts(world: World) -> None:
    (a,) = world.start()
    world.collect(world.started(a), world.report(a, 0, 0.5))
    studies.set_state(world.db, world.id, StudyState.STOPPED, "enough")
    assert set(cluster.busy(world.db, [], window=WINDOW).spans) == {"w1"}


def test_the_window_is_one_in_which_nothing_is_missing(world: World) -> None:
    world.start(cluster.RECENT + 5)
    found = cluster.busy(world.db, [world.id], window=WINDOW)
    assert found.until - found.since < 300 * SECOND
    assert found.spans == {}


def test_failures_are_found_by_their_index(world: World) -> None:
    if world.db.engine.dialect.name != "sqlite":
        return  # a small table is read whole there, whatever indexes it has
    plan = "EXPLAIN QUERY PLAN SELECT trial FROM attempts WHERE outcome IN ('failed', 'lost') AND ended_at IS NOT NULL "
    with world.db.read() as tx:
        rows = tx.conn.exec_driver_sql(plan + "ORDER BY ended_at DESC LIMIT 500").all()
    assert "attempts_failed" in str(rows)
    assert "TEMP B-TREE" not in str(rows)
