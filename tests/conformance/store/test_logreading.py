"""What is read of a log, and how: memory or database, whole curves or the newest reports, the fold is the same."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core.events import Event, Reported
from hpo_service.core.fold import StudyFold
from hpo_service.store import decisions, logreading
from hpo_service.store.database import Database, open_database
from tests.conformance.store.test_histories import Driver
from tests.storelib import World, start

ACTIONS: tuple[Callable[[Driver], None], ...] = (
    Driver.decide,
    Driver.decide,
    Driver.collect,
    Driver.collect,
    Driver.collect,
    Driver.reopen,
    Driver.enqueue,
    Driver.stop_and_resume,
)
ALGORITHMS = (
    {"name": "random", "max_resource": 9},
    {"name": "asha", "max_resource": 9, "min_resource": 1, "eta": 3},
    {"name": "bayesian", "max_resource": 9},
)
COMPARED = 12


def folded(world: World, events: list[Event]) -> StudyFold:
    fold = algorithms.fold(world.definition)
    for event in events:
        fold.observe(event)
    return fold


def facts(fold: StudyFold) -> dict[str, Any]:
    """All that a fold knows, written out so that NaN equals NaN."""
    state = fold.state
    trials = {t.number: {name: repr(getattr(t, name)) for name in t.__slots__ if name != "curve"} for t in fold.history}
    standing = {
        name: getattr(value, "number", value)
        for name, value in vars(state.standing).items()
        if name not in ("best_any", "_lookout")
    }
    standing["lookout"] = repr(vars(state.standing._lookout))
    waiting, counts = list(fold.history.waiting), (fold.history.started, fold.history.sampled)
    account = (state.ledger.reserved, state.declared, repr(state.standing.best_any), fold.history.progress)
    return {"trials": trials, "standing": standing, "waiting": waiting, "counts": counts, "account": account}


def proposals(fold: StudyFold) -> Any:
    return [repr(fold.propose(slots)) for slots in (0, 1, 5)], fold.ending(), repr(fold.rungs())


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: str(a["name"]))
@given(st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_newest_reports_make_the_fold_that_all_reports_make(
    algorithm: dict[str, Any], db: Database, data: st.DataObject
) -> None:
    """At every cut: a study's log as it was when a controller came."""
    world = World(db, algorithm=algorithm, budget={"trials": 100, "patience": 40})
    world.start(2)
    driver = Driver(world, data)
    for _ in range(data.draw(st.integers(1, 8))):
        data.draw(st.sampled_from(ACTIONS))(driver)
        other = Database(db.engine)  # nothing in its memory: it reads
        whole = list(decisions.each_event(other, world.id))
        thinned = list(decisions.each_event(other, world.id, curves=False))
        assert [e.seq for e in thinned] == sorted(e.seq for e in thinned)
        assert [e for e in thinned if not isinstance(e.payload, Reported)] == [
            e for e in whole if not isinstance(e.payload, Reported)
        ]
        kept_alive, again = folded(world, whole), folded(world, thinned)
        assert facts(again) == facts(kept_alive)
        assert proposals(again) == proposals(kept_alive)


@given(st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_memory_holds_is_what_the_database_says(db: Database, data: st.DataObject) -> None:
    world = World(db, objective=[{"metric": "loss"}, {"metric": "seconds"}])
    world.start(2)
    driver = Driver(world, data)
    for _ in range(data.draw(st.integers(1, 6))):
        data.draw(st.sampled_from(ACTIONS))(driver)
    read = decisions.load_events(Database(db.engine), world.id)
    remembered = 0
    for after in range(len(read)):
        found = db.recent.between(world.id, after, len(read))
        if found is not None:
            remembered += 1
            assert repr(found) == repr(read[after:])
            assert repr(list(decisions.each_event(db, world.id, after))) == repr(read[after:])
    newest = isinstance(read[-1].payload, Reported)
    assert remembered or not newest


@pytest.mark.parametrize("over", [False, True])
def test_how_far_a_trial_came_need_not_be_in_its_newest_report(world: World, over: bool) -> None:
    (n,) = world.start(1)
    world.collect(dataclasses.replace(world.report(n, 0, 0.5), resource=6.0), world.report(n, 1, 0.4))
    if over:
        world.collect(world.ended(n, "paused", resource=2.0))
    other = Database(world.db.engine)
    fold = folded(world, list(decisions.each_event(other, world.id, curves=False)))
    assert (fold.history[n].resource, fold.history[n].value, fold.history[n].step) == (6.0, 0.4, 1)
    assert facts(fold) == facts(folded(world, list(decisions.each_event(other, world.id))))


def test_reports_come_in_canonical_order_from_memory_too(world: World) -> None:
    a, b = world.start(2)
    world.collect(world.report(b, 1, 0.2), world.report(a, 3, 0.1), world.report(b, 0, math.nan), world.report(a, 1, 1))
    (event,) = decisions.load_events(world.db, world.id, world.study.last_seq - 1)
    (again,) = decisions.load_events(Database(world.db.engine), world.id, world.study.last_seq - 1)
    assert repr(event) == repr(again)
    assert isinstance(event.payload, Reported)
    assert [(r.trial, r.step) for r in event.payload.reports] == [(a, 1), (a, 3), (b, 0), (b, 1)]


def test_another_process_between_is_noticed(world: World, db_url: str) -> None:
    (n,) = world.start(1)
    world.collect(world.report(n, 0, 0.5))
    other = open_database(db_url)
    try:
        theirs = World.__new__(World)
        theirs.__dict__.update({**world.__dict__, "db": other})
        theirs.collect(theirs.report(n, 1, 0.4))
        world.collect(world.report(n, 2, 0.3))
        after = world.study.last_seq - 3
        assert world.db.recent.between(world.id, after, after + 3) is None
        events = decisions.load_events(world.db, world.id, after)
        assert [e.payload.reports[0].step for e in events] == [0, 1, 2]  # type: ignore[union-attr]  # all Reported
        theirs.collect(theirs.report(n, 3, 0.2))
        assert decisions.load_events(world.db, world.id, after + 3)[0].seq == after + 4
    finally:
        other.close()


def test_a_refused_commit_is_not_remembered(world: World) -> None:
    (n,) = world.start(1)
    before = world.study.last_seq

    def crash(name: str) -> None:
        if name.startswith("commit:before"):
            raise RuntimeError("power cut")

    world.db.failpoint = crash
    with pytest.raises(RuntimeError):
        world.collect(world.report(n, 0, 0.5))
    world.db.failpoint = lambda name: None
    assert world.db.recent.between(world.id, before, before + 1) is None
    world.collect(world.report(n, 1, 0.25))
    (event,) = decisions.load_events(world.db, world.id, before)
    assert [r.step for r in event.payload.reports] == [1]  # type: ignore[union-attr]  # a Reported


def test_a_long_log_is_read_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(COMPARED):
        world.commit([start(n)])
        world.collect(world.report(n, 0, 0.5), world.report(n, 1, 0.4))
    whole = decisions.load_events(Database(world.db.engine), world.id)
    monkeypatch.setattr(logreading, "PAGE", 3)
    other = Database(world.db.engine)
    assert list(decisions.each_event(other, world.id)) == whole
    assert list(decisions.each_event(other, world.id, 7)) == whole[7:]
    assert decisions.load_events(other, world.id, 4, limit=9) == whole[4:13]
    assert len(list(decisions.each_event(other, world.id, curves=False))) == len(whole)
