"""Pages by every sort and filter, curves, streams, counters."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from hpo_service.core.states import TrialState
from hpo_service.errors import InvalidInput, NotFound
from hpo_service.store import reading, studies, trial_pages
from hpo_service.store.database import Database
from hpo_service.store.reading import Filter
from hpo_service.store.rows import EndedItem, ReportItem, TrialRow
from tests.storelib import World, start

SORTS = (
    "number", "state", "origin", "bracket", "rung", "value", "resource", "cost", "seconds",
    "param.lr", "param.optimizer", "param.mixed", "param.none", "metric.accuracy", "metric.none",
)  # fmt: skip


def fill(world: World, count: int, seed: int = 0) -> None:
    """Trials in every state, with ties, missing values and values that are not finite."""
    rng = random.Random(seed)
    first = world.study.next_trial
    proposals = []
    for n in range(first, first + count):
        params: dict[str, Any] = {"lr": rng.choice([0.1, 0.01, 1e-300, 3]), "optimizer": rng.choice(["sgd", "adam"])}
        if rng.random() < 0.7:
            params["mixed"] = rng.choice([1, 2.5, "a", "b", True, None])
        proposals.append(start(n, params=params, bracket=rng.choice([None, 0, 1]), rung=rng.choice([None, 0, 2])))
    world.commit(proposals)
    items: list[Any] = []
    for p in proposals:
        loss = rng.choice([0.1, 0.2, 0.2, math.nan, -math.inf, rng.random()])
        metrics = {"loss": loss, **({"accuracy": rng.choice([0.5, 0.9, math.nan])} if rng.random() < 0.8 else {})}
        if rng.random() < 0.9:
            resource = rng.choice([1.0, 3.0, 9.0])
            items.append(
                ReportItem(study_id=world.id, trial=p.trial, fence=1, step=0, resource=resource, metrics=metrics)
            )
        outcome = rng.choice(["reached", "failed", "cancelled", "lost", None])
        if outcome:
            items.append(
                EndedItem(
                    study_id=world.id, trial=p.trial, fence=1, outcome=outcome, resource=1.0,
                    seconds=rng.choice([1.0, 2.5]), cost_microdollars=rng.choice([0, 5, 7]),
                )
            )  # fmt: skip
    assert {r.status for r in world.collect(*items)} == {"stored"}


def walk(world: World, *, insert: bool = False, limit: int = 7, **how: Any) -> list[TrialRow]:
    """Every row of every page; with `insert`, trials are added between the pages."""
    rows: list[TrialRow] = []
    cursor = None
    while True:
        page = reading.trials(world.db, world.id, cursor=cursor, limit=limit, **how)
        rows += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return rows
        if insert and world.study.next_trial < 60:
            fill(world, 3, seed=len(rows))


def key_of(row: TrialRow, field: str) -> Any:
    """The key that a sort orders by; None where it is missing."""
    prefix, _, name = field.partition(".")
    if prefix == "param":
        value = row.params.get(name, ...)
        if value is ...:
            return None
        if isinstance(value, bool) or value is None:
            return (1, {True: "true", False: "false", None: "null"}[value])
        return (1, value) if isinstance(value, str) else (0, float(value))
    if field == "value" or prefix == "metric":
        value = row.value if field == "value" else row.values.get(name)
        return value if value is not None and math.isfinite(value) and row.state is not TrialState.FAILED else None
    if field in ("state", "origin"):
        return getattr(row, field).value
    return row.cost_microdollars if field == "cost" else getattr(row, field)


def expected(rows: list[TrialRow], sort: str) -> list[int]:
    """The order that the documentation promises, worked out in Python."""
    field, descending = sort.removeprefix("-"), sort.startswith("-")
    rows = sorted(rows, key=lambda r: r.number)
    if field == "number":
        return [r.number for r in (reversed(rows) if descending else rows)]
    known = [r for r in rows if key_of(r, field) is not None]
    missing = [r.number for r in rows if key_of(r, field) is None]
    if field.startswith("param."):
        ordered: list[TrialRow] = []
        for kind in (0, 1):
            mine = [r for r in known if key_of(r, field)[0] == kind]
            ordered += sorted(mine, key=lambda r: key_of(r, field)[1], reverse=descending)
        known = ordered
    else:
        known.sort(key=lambda r: key_of(r, field), reverse=descending)
    return [r.number for r in known] + missing


@pytest.mark.parametrize("sort", [s for name in SORTS for s in (name, f"-{name}")])
def test_every_sort_pages_completely_in_order(world: World, sort: str) -> None:
    fill(world, 40)
    everything = list(reading.iter_trials(world.db, world.id))
    assert [r.number for r in walk(world, sort=sort)] == expected(everything, sort)


@pytest.mark.parametrize(
    "sort", ["number", "-number", "value", "-value", "param.lr", "-metric.accuracy", "state", "-cost"]
)
def test_pages_survive_inserts(world: World, sort: str) -> None:
    fill(world, 30)
    before = {r.number for r in reading.iter_trials(world.db, world.id)}
    seen = [r.number for r in walk(world, sort=sort, insert=True)]
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


def where(field: str, op: str, value: Any) -> Filter:
    return Filter(field=field, op=op, value=value)


def finite_at_most(value: float | None, bound: float) -> bool:
    return value is not None and math.isfinite(value) and value <= bound


def number_in(value: Any, wanted: tuple[float, ...]) -> bool:
    return not isinstance(value, bool) and value in wanted


@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        ([where("state", "=", "failed")], lambda r: r.state == "failed"),
        ([where("state", "in", ("failed", "stopped"))], lambda r: r.state in ("failed", "stopped")),
        ([where("number", ">=", 30)], lambda r: r.number >= 30),
        ([where("param.lr", ">", 0.05)], lambda r: r.params["lr"] > 0.05),
        ([where("param.optimizer", "!=", "sgd")], lambda r: r.params["optimizer"] != "sgd"),
        ([where("param.mixed", "=", True)], lambda r: r.params.get("mixed") is True),
        ([where("param.mixed", "in", (1, 2.5))], lambda r: number_in(r.params.get("mixed"), (1, 2.5))),
        ([where("metric.accuracy", ">", 0.6)], lambda r: r.values.get("accuracy", 0) > 0.6),
        ([where("value", "<=", 0.2)], lambda r: finite_at_most(r.value, 0.2)),
        ([where("tag", "=", "odd")], lambda r: r.number % 2 == 1),
        ([where("tag", "!=", "odd")], lambda r: r.number % 2 == 0),
        ([where("cost", "=", 5), where("rung", "=", 2)], lambda r: r.cost_microdollars == 5 and r.rung == 2),
    ],
)
@pytest.mark.parametrize("sort", ["-value", "param.lr"])
def test_filters(world: World, filters: list[Filter], keep: Any, sort: str) -> None:
    fill(world, 40)
    for n in range(1, 40, 2):
        studies.annotate_trial(world.db, world.id, n, tags=["odd"])
    everything = list(reading.iter_trials(world.db, world.id))
    wanted = expected([r for r in everything if keep(r)], sort)
    assert wanted
    assert [r.number for r in walk(world, filters=filters, sort=sort)] == wanted


@pytest.mark.parametrize("rare", [0, 3, 1000])
@pytest.mark.parametrize("sort", ["-value", "-param.lr", "metric.accuracy", "number"])
@pytest.mark.parametrize(
    ("found", "keep"),
    [
        (Filter(field="param.lr", op=">", value=0.05), lambda r: r.params["lr"] > 0.05),
        (Filter(field="param.optimizer", op="=", value="sgd"), lambda r: r.params["optimizer"] == "sgd"),
        (Filter(field="param.lr", op=">", value=99), lambda r: False),
    ],
)
def test_rare_and_frequent_matches_give_the_same_pages(
    world: World, monkeypatch: pytest.MonkeyPatch, found: Filter, keep: Any, sort: str, rare: int
) -> None:
    """However few count as rare, by the sort's own column and by others."""
    fill(world, 20)
    everything = walk(world, sort=sort)
    monkeypatch.setattr(trial_pages, "RARE", rare)
    assert walk(world, filters=[found], sort=sort) == [row for row in everything if keep(row)]


def test_totals_come_from_the_counters(world: World) -> None:
    fill(world, 20)
    assert reading.trials(world.db, world.id).total == 20
    only = [Filter(field="state", op="=", value="failed")]
    assert reading.trials(world.db, world.id, filters=only).total == world.study.counts["failed"]
    assert reading.trials(world.db, world.id, filters=[Filter(field="rung", op="=", value=0)]).total is None


@pytest.mark.parametrize("cursor", ["", "x", "bm9uc2Vuc2U", "WyJ0cmlhbHM6bnVtYmVyIiw5LG51bGwsMV0"])
def test_broken_cursors_and_unknown_fields_are_refused(world: World, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        reading.trials(world.db, world.id, cursor=cursor)
    with pytest.raises(InvalidInput, match="unknown field"):
        reading.trials(world.db, world.id, sort="nonsense")
    with pytest.raises(InvalidInput, match="unknown field"):
        reading.trials(world.db, world.id, filters=[Filter(field="metric.", op="=", value=1)])
    with pytest.raises(NotFound):
        reading.trials(world.db, "nobody")


def test_a_cursor_belongs_to_its_sort(world: World) -> None:
    fill(world, 20)
    cursor = reading.trials(world.db, world.id, sort="value", limit=5).next_cursor
    with pytest.raises(InvalidInput, match="sort"):
        reading.trials(world.db, world.id, sort="-value", cursor=cursor)


def test_the_best_trials(db: Database) -> None:
    world = World(db, objective={"metric": "loss", "direction": "maximize"})
    fill(world, 40)
    ranked = [
        r
        for r in reading.iter_trials(db, world.id)
        if r.value is not None and math.isfinite(r.value) and r.state is not TrialState.FAILED
    ]
    ranked.sort(key=lambda r: (-r.resource, -(r.value or 0.0), r.number))
    assert [r.number for r in reading.best(db, world.id, 100)] == [r.number for r in ranked]
    assert reading.best(db, world.id)[0].number == world.study.best_trial


def test_curves_are_canonical_and_downsampled(world: World) -> None:
    a, b, c = world.start(3)
    world.collect(*(world.report(a, s, float(s % 50)) for s in range(1000)))
    world.collect(world.report(b, 0, math.nan, accuracy=0.5), world.report(b, 1, 0.1))
    data = reading.curves(world.db, world.id, "loss", numbers=[a, b, c], max_points=100)
    assert (data["shown"], data["of"]) == (2, 3)
    assert [t["number"] for t in data["trials"]] == [a, b]
    first = data["trials"][0]
    assert len(first["resource"]) == len(first["value"]) <= 100
    assert (first["resource"][0], first["resource"][-1]) == (1.0, 1000.0)
    assert (min(first["value"]), max(first["value"])) == (0.0, 49.0)
    assert data["trials"][1]["value"] == ["NaN", 0.1]
    only = reading.curves(world.db, world.id, "accuracy", numbers=[b, c])
    assert [(t["number"], t["value"]) for t in only["trials"]] == [(b, [0.5])]


def test_streams_give_everything_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK", 4)
    fill(world, 11)
    numbers = [r.number for r in reading.iter_trials(world.db, world.id)]
    assert numbers == list(range(11))
    streamed = list(reading.iter_reports(world.db, world.id))
    assert repr(streamed) == repr([r for n in numbers for r in reading.reports(world.db, world.id, n)])
    assert [(r.trial, r.step) for r in streamed] == sorted((r.trial, r.step) for r in streamed)


def test_sums_over_all_studies(db: Database) -> None:
    one, two = World(db), World(db)
    fill(one, 5)
    fill(two, 6)
    found = reading.counters(db)
    assert found["studies"]["running"] == 2
    assert sum(found["trials"].values()) == 11
    assert found["open_attempts"] == one.study.open_attempts + two.study.open_attempts
    assert found["cost_microdollars"] == one.study.cost_microdollars + two.study.cost_microdollars


def test_what_is_not_there(world: World) -> None:
    with pytest.raises(NotFound):
        reading.trial(world.db, world.id, 5)
    with pytest.raises(NotFound):
        reading.environment(world.db, "0" * 64)
    assert reading.reports(world.db, world.id, 5) == []
    assert reading.checkpoints(world.db, world.id, 5) == []
    assert reading.metric_names(world.db, world.id) == ["loss"]
