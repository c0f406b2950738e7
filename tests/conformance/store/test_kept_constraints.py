"""What breaks constraints, as the store keeps it: the best trial, its history, filters, folds read back, archives."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from hpo_service import algorithms
from hpo_service.core.fold import StudyFold
from hpo_service.core.states import StudyState, TrialState
from hpo_service.store import archiving, decisions, importing, improvements, reading, studies
from hpo_service.store.archive_checks import columns_of
from hpo_service.store.database import Database
from hpo_service.store.rows import GivenTrial
from hpo_service.store.tables import reports, trials
from hpo_service.store.trial_pages import Filter, trials_page
from tests.conformance.store.test_logreading import facts
from tests.storelib import World

BOUNDS = [{"metric": "ms", "at_most": 20.0}, {"metric": "recall", "at_least": 0.9}]
KEPT = {"ms": 10.0, "recall": 0.95}
NUMBERS = st.sampled_from([0.1, 0.2, 5.0, 20.0, 25.0, 30.0, math.nan, math.inf])


def constrained(db: Database, **more: Any) -> World:
    return World(db, constraints=BOUNDS, **more)


def folded(world: World, *, curves: bool) -> StudyFold:
    fold = algorithms.fold(world.definition)
    for event in decisions.each_event(Database(world.db.engine), world.id, curves=curves):
        fold.observe(event)
    return fold


def listed(world: World, *filters: Filter, sort: str = "number") -> list[int]:
    return [row.number for row in trials_page(world.db, world.id, filters=filters, sort=sort).rows]


def test_the_best_trial_keeps_all_constraints(db: Database) -> None:
    world = constrained(db)
    a, b, c = world.start(3)
    world.collect(world.report(a, 0, 0.1, ms=23.2, recall=0.95))
    world.check_counters()
    assert (world.study.best_trial, world.study.best_violation) == (a, pytest.approx(3.2 / 20))
    assert (world.study.kept_value, improvements.improvements(db, world.id)) == (None, [])
    world.collect(world.report(b, 0, 0.5, **KEPT), world.report(c, 0, 0.4, ms=10.0))
    world.check_counters()
    assert (world.study.best_trial, world.study.kept_value) == (b, 0.5)
    assert [row.number for row in reading.best(db, world.id, 5)] == [b]
    world.collect(world.report(b, 1, 0.3, ms=30.0))  # its recall stands as it was reported last
    world.check_counters()
    assert [(i.trial, i.value) for i in improvements.improvements(db, world.id)] == [(b, 0.5), (None, None)]
    assert [row.number for row in reading.best(db, world.id, 5)] == [a, b]


def test_a_metric_that_nobody_reports_is_not_known(db: Database) -> None:
    world = constrained(db)
    a, b = world.start(2)
    world.collect(world.report(a, 0, 0.5, ms=1.0), world.report(b, 0, 0.4, ms=math.nan, recall=0.99))
    world.check_counters()
    row = reading.trial(db, world.id, a)
    assert (row.violation, world.study.best_trial, world.study.best_violation) == (None, b, None)
    assert [row.number for row in reading.best(db, world.id, 5)] == [b, a]


def test_filters_and_sorts(db: Database) -> None:
    world = constrained(db)
    a, b, c, d = world.start(4)
    world.collect(
        world.report(a, 0, 0.1, ms=40.0, recall=0.95), world.report(b, 0, 0.5, **KEPT),
        world.report(c, 0, 0.4, ms=21.0, recall=0.95), world.report(d, 0, 0.4, ms=10.0),
    )  # fmt: skip
    assert listed(world, Filter(field="feasible", op="=", value="yes")) == [b]
    assert listed(world, Filter(field="feasible", op="!=", value="yes")) == [a, c, d]
    assert listed(world, Filter(field="feasible", op="in", value=("no", "unknown"))) == [a, c, d]
    assert listed(world, Filter(field="violation", op="<", value=0.5)) == [b, c]
    assert listed(world, sort="violation") == [b, c, a, d]
    assert (listed(world, sort="value"), listed(world, sort="-value")) == ([b, a, c, d], [b, c, d, a])
    first = trials_page(db, world.id, sort="value", limit=2)
    rest = trials_page(db, world.id, sort="value", cursor=first.next_cursor)
    assert [row.number for row in (*first.rows, *rest.rows)] == [b, a, c, d]


@given(st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kept_up_and_read_back_it_is_what_the_rows_say(db: Database, data: st.DataObject) -> None:
    objective = [{"metric": "loss"}, {"metric": "size", "at": data.draw(st.sampled_from(["last", "best"]))}]
    world = constrained(db, objective=objective)
    numbers = world.start(3)
    live = algorithms.fold(world.definition)
    seen, steps = 0, dict.fromkeys(numbers, 0)
    for _ in range(data.draw(st.integers(1, 7))):
        items = []
        for n in data.draw(st.lists(st.sampled_from(numbers), max_size=4)):
            names = data.draw(st.sets(st.sampled_from(["ms", "recall", "size"])))
            told = {name: data.draw(NUMBERS) for name in sorted(names)}
            items.append(world.report(n, steps[n], data.draw(NUMBERS), **told))
            steps[n] += 1
        world.collect(*data.draw(st.permutations(items)))
        if data.draw(st.booleans()):
            world.collect(world.ended(data.draw(st.sampled_from(numbers)), resource=9.0))
        world.check_counters()
        for event in decisions.load_events(db, world.id, after_seq=seen):
            live.observe(event)
            seen = event.seq
    whole, thinned = folded(world, curves=True), folded(world, curves=False)
    assert facts(whole)["trials"] == facts(thinned)["trials"] == facts(live)["trials"]
    for record in whole.history:
        row = reading.trial(db, world.id, record.number)
        assert row.violation == (None if math.isinf(record.violation) else record.violation)
        size = row.values.get("size")
        assert record.others == (size if size is not None and math.isfinite(size) else None,)


def test_imported_trials_bring_theirs(db: Database) -> None:
    world = constrained(db)
    given = [
        GivenTrial(
            params={"lr": 0.1, "optimizer": "sgd"}, state=TrialState.FINISHED, reason="", resource=9.0,
            reports=((0, 9.0, {"loss": loss, "ms": ms, "recall": 0.95}),), started_at=None, ended_at=None,
            tags=(), notes="",
        )
        for loss, ms in ((0.1, 30.0), (0.4, 10.0))
    ]  # fmt: skip
    importing.import_trials(db, world.id, given)
    world.check_counters()
    assert world.study.best_trial == 1
    fold = folded(world, curves=False)
    assert [trial.feasible for trial in fold.history] == [False, True]
    assert fold.state.standing.best is fold.history[1]


def test_archives_hold_what_is_new_only_where_there_is_something(db: Database) -> None:
    for world, more in ((World(db), 0), (constrained(db), 1)):
        (n,) = world.start()
        world.collect(world.report(n, 0, 0.5, **KEPT), world.ended(n))
        studies.set_state(db, world.id, StudyState.STOPPED, "enough")
        for table in (trials, reports):
            (row,) = archiving.rows_of(db, world.id, table)
            assert len(row) == len(columns_of(table)) - 1 + more
    stored = json.loads(json.dumps([list(row) for row in archiving.rows_of(db, world.id, reports)]))
    assert json.loads(stored[0][-1]) == [10.0, 0.95]


def test_reports_from_before_there_were_standings_have_their_metrics(db: Database) -> None:
    world = World(db, objective=[{"metric": "loss"}, {"metric": "size"}])
    (n,) = world.start()
    world.collect(world.report(n, 0, 0.5, size=3.0), world.report(n, 1, 0.4))
    assert folded(world, curves=False).history[n].values == (0.4, 3.0)
    db.run_write("test", lambda tx: tx.execute(update(reports).values(standing=None)))
    assert folded(world, curves=False).history[n].values == (0.4, None)
