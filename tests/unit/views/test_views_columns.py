"""Columns kept alive equal columns read afresh; filters on them select what the store's pages select."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hpo_service.core.states import Origin
from hpo_service.store import reading, studies
from hpo_service.store.bulk import FIELDS, moves
from hpo_service.store.database import Database, open_database
from hpo_service.store.reading import Filter
from hpo_service.views import columns as columns_module
from hpo_service.views import progress
from hpo_service.views.columns import STATES, ColumnsCache, StudyColumns
from hpo_service.views.matching import matches
from hpo_service.views.sampling import best_first, choose
from tests.storelib import World
from tests.unit.views import columns_support


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "hpo.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def db(tmp_path: Path, empty: Path) -> Iterator[Database]:
    shutil.copy(empty, tmp_path / "hpo.db")
    database = open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    yield database
    database.close()


def look(cache: ColumnsCache, world: World) -> dict[str, Any]:
    """Everything that the columns hold, as plain lists that can be compared."""
    with cache.at(world.id, world.study.last_seq) as found:
        plain: dict[str, Any] = {
            name: getattr(found, name).tolist()
            for name in (*columns_module._FLOATS, *columns_module._INTS, *columns_module._SMALL)
        }
        plain["n"], plain["seq"] = found.n, found.seq
        plain["metrics"] = {
            name: column.tolist() for name, column in sorted(found.metrics.items()) if not np.isnan(column).all()
        }
        for name, param in sorted(found.params.items()):
            labels = [param.labels[code] if code >= 0 else None for code in param.codes]
            plain[f"param {name}"] = (param.numbers.tolist(), labels)
    return {name: repr(value) for name, value in plain.items()}  # NaN is NaN


def act(world: World, rng: random.Random) -> None:
    """One thing that moves a study."""
    rows = reading.trials(world.db, world.id, limit=1000).rows
    running = [row.number for row in rows if row.state.value == "running"]
    paused = [row.number for row in rows if row.state.value == "paused"]
    what = rng.choice(["start", "report", "report", "end", "finish", "go_on", "enqueue", "fail", "change"])
    if what == "start":
        world.start(rng.randint(1, 3), target=3.0)
    elif what == "enqueue":
        studies.enqueue(world.db, world.id, [{"lr": 0.5, "optimizer": "adam"}])
    elif what == "change":
        definition = world.definition.model_copy(update={"parallel": rng.randint(1, 9)})
        studies.patch_study(world.db, world.id, definition, changed=["parallel"])
    elif what in ("report", "end", "fail") and running:
        number = rng.choice(running)
        fence = reading.trial(world.db, world.id, number).fence
        loss = rng.choice([rng.random(), math.nan, math.inf, rng.random()])
        if what == "report":
            world.collect(world.report(number, rng.randint(0, 8), loss, fence=fence, accuracy=rng.random()))
        elif what == "end":
            world.collect(world.ended(number, fence=fence, resource=3.0, cost_microdollars=7))
        else:
            world.collect(world.ended(number, "failed", fence=fence, resource=1.0, failure="exception", reason="boom"))
    elif what == "finish" and paused:
        world.finish(rng.choice(paused))
    elif what == "go_on" and paused:
        world.go_on(rng.choice(paused))


@pytest.mark.parametrize("seed", range(6))
def test_kept_alive_equals_read_afresh(db: Database, seed: int) -> None:
    rng, world, alive = random.Random(seed), World(db), ColumnsCache(db)
    for _ in range(60):
        act(world, rng)
        if rng.random() < 0.4:
            assert look(alive, world) == look(ColumnsCache(db), world)
    assert look(alive, world) == look(ColumnsCache(db), world)


def test_rows_are_trials(db: Database) -> None:
    world = World(db)
    world.start(3)
    world.collect(world.report(1, 2, 0.25), world.report(2, 0, math.nan))
    with ColumnsCache(db).at(world.id, 0) as found:
        assert found.n == 3
        assert found.value[1] == 0.25
        assert np.isnan(found.value[[0, 2]]).all()
        assert [columns_module.KINDS[k] for k in found.kind] == [None, "finite", "nan"]
        assert [STATES[code] for code in found.state] == ["running"] * 3
        assert found.params["optimizer"].labels == ["adam", "sgd"]
        assert found.params["lr"].numbers.tolist() == [1.0, 0.1, 0.01]


def test_many_events_at_once_read_all_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    world, alive = World(db), ColumnsCache(db)
    look(alive, world)
    monkeypatch.setattr("hpo_service.store.bulk.FEW_EVENTS", 2)
    for _ in range(4):
        world.start(1)
    assert moves(db, world.id, 1).trials is None
    assert look(alive, world) == look(ColumnsCache(db), world)


def test_the_study_looked_at_longest_ago_goes_first(db: Database) -> None:
    cache, worlds = ColumnsCache(db, max_cells=90), [World(db) for _ in range(3)]
    for world in worlds:
        world.start(3)
        look(cache, world)
    assert list(cache._known) == [worlds[-1].id]


def test_wide_studies_count_for_more() -> None:
    """What is bounded is memory, and a trial may have a thousand parameters."""
    rows = [{"params": {f"p{k}": 0.5 for k in range(wide)}} for wide in (1_000, 1)]
    wide, narrow = (columns_support.columns(columns_support.definition(), [row] * 3) for row in rows)
    assert wide.cells - narrow.cells == 3 * 999
    assert len(wide.params) == 1_000
    assert [wide.params[name].numbers.tolist() for name in ("p0", "p999")] == [[0.5] * 3] * 2


def busy(db: Database) -> World:
    """A study with trials in every state, with NaN, ties, conditions and tags."""
    rng, world = random.Random(1), World(db, budget={"trials": 1000})
    for _ in range(150):
        act(world, rng)
    for number in range(0, world.study.next_trial, 3):
        studies.annotate_trial(db, world.id, number, tags=["third", "x"] if number % 2 else ["third"])
    studies.enqueue(db, world.id, [{"lr": 0.5, "optimizer": "sgd"}], origin=Origin.RETRY, retry_of=[0])
    return world


NUMERIC = ["number", "value", "resource", "cost", "seconds", "bracket", "rung", "param.lr", "metric.accuracy",
           "metric.loss", "metric.never"]  # fmt: skip
filters = st.one_of(
    st.builds(
        Filter,
        field=st.sampled_from(NUMERIC),
        op=st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        value=st.sampled_from([0, 0.5, 1, 1e-3, 3, 7, 0.1, 20, -1]),
    ),
    st.builds(Filter, field=st.sampled_from(["number", "param.lr"]), op=st.just("in"), value=st.just((1, 0.1, 5))),
    st.builds(
        Filter,
        field=st.just("state"),
        op=st.sampled_from(["=", "!="]),
        value=st.sampled_from(["failed", "running", "paused"]),
    ),
    st.builds(Filter, field=st.just("state"), op=st.just("in"), value=st.just(("failed", "waiting"))),
    st.builds(Filter, field=st.just("origin"), op=st.sampled_from(["=", "!="]), value=st.just("retry")),
    st.builds(
        Filter,
        field=st.just("param.optimizer"),
        op=st.sampled_from(["=", "!="]),
        value=st.sampled_from(["sgd", "adam", "none", True]),
    ),
    st.builds(Filter, field=st.just("param.optimizer"), op=st.just("in"), value=st.just(("sgd", "none"))),
    st.builds(Filter, field=st.just("tag"), op=st.sampled_from(["=", "!="]), value=st.sampled_from(["third", "no"])),
    st.builds(Filter, field=st.just("tag"), op=st.just("in"), value=st.just(("third", "x"))),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, empty: Path) -> Iterator[World]:
    path = tmp_path_factory.mktemp("busy") / "hpo.db"
    shutil.copy(empty, path)
    database = open_database(f"sqlite:///{path}")
    yield busy(database)
    database.close()


@given(chosen=st.lists(filters, max_size=3))
@example(chosen=[Filter(field="value", op="!=", value=3)])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_filters_on_columns_are_filters_in_the_store(world: World, chosen: list[Filter]) -> None:
    stored = [row.number for row in reading.trials(world.db, world.id, filters=chosen, limit=1000).rows]
    with ColumnsCache(world.db).at(world.id, 0) as found:
        mask = matches(found, chosen, lambda tag: reading.tagged(world.db, world.id, tag))
    assert np.flatnonzero(mask).tolist() == stored


def improvements(rows: list[dict[str, Any]], *, maximize: bool) -> tuple[list[int], list[float]]:
    """Best so far, one trial after another: more resource beats less, there the better value; never failed ones."""
    numbers: list[int] = []
    best: tuple[float, float] | None = None
    values: list[float] = []
    for number, row in enumerate(rows):
        value = row["value"]
        if value is None or not math.isfinite(value) or row["state"] == "failed":
            continue
        rank = (row["resource"], value if maximize else -value)
        if best is None or rank > best:
            best = rank
            numbers.append(number)
            values.append(value)
    return numbers, values


trial_rows = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["finished", "running", "failed"]),
        "resource": st.sampled_from([1.0, 3.0, 9.0]),
        "value": st.one_of(st.none(), st.sampled_from([math.nan, math.inf]), st.integers(-5, 5).map(float)),
    }
)


@given(rows=st.lists(trial_rows, max_size=40), maximize=st.booleans())
@settings(deadline=None)
def test_best_so_far_at_once_is_best_so_far_one_by_one(rows: list[dict[str, Any]], maximize: bool) -> None:
    direction = "maximize" if maximize else "minimize"
    study = columns_support.definition(objective={"metric": "loss", "direction": direction})
    numbers, values = progress.by_trial(columns_support.columns(study, rows))
    assert (numbers.tolist(), values.tolist()) == improvements(rows, maximize=maximize)


def made(values: list[float], *, states: list[str] | None = None) -> StudyColumns:
    """Columns of trials with these values."""
    from tests.storelib import definition

    n = len(values)
    finite = [v if math.isfinite(v) else None for v in values]
    given: dict[str, list[Any]] = {name: [0] * n for name in FIELDS}
    given |= {
        "number": list(range(n)), "state": states or ["finished"] * n, "origin": ["sampled"] * n,
        "value_kind": ["nan" if v is None else "finite" for v in finite], "value": finite, "sort_value": finite,
        "params": ["{}"] * n, "metrics": ["{}"] * n, "resource": [1.0] * n,
    }  # fmt: skip
    columns = StudyColumns("s", definition())
    columns.take([given[name] for name in FIELDS])
    return columns


@given(
    n=st.integers(0, 400),
    limit=st.integers(1, 120),
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=120, deadline=None)
def test_a_sample_is_what_it_says(n: int, limit: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = made(rng.normal(size=n).tolist()) if n else StudyColumns("s", made([1.0]).definition)
    mask = rng.random(n) < share
    numbers, sentence = choose(columns, mask, limit)
    assert sentence
    assert len(set(numbers.tolist())) == len(numbers) == min(n, limit)
    assert numbers.tolist() == sorted(numbers.tolist())
    shown = int(mask[numbers].sum())
    assert shown >= min(int(mask.sum()), limit - limit // 5)  # what matches is preferred
    if 4 <= limit < n and mask.any() and limit // 2 - limit // 10 >= 1:
        best = best_first(columns, np.flatnonzero(mask))[0]
        assert best in numbers
