"""Brackets from columns are what a fold of the log says, for whole studies on virtual workers."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core import events as ev
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.proposals import Continue
from hpo_service.core.values import split
from hpo_service.store import bulk
from hpo_service.views.brackets import MAX_BRACKETS, MAX_SHOWN, SHOWN, Reads, brackets
from hpo_service.views.columns import StudyColumns
from tests.conformance.driver import Driver, Nature
from tests.unit.views import columns_support

SPECS: dict[str, dict[str, Any]] = {
    "successive_halving": {"name": "successive_halving", "trials": 18, "max_resource": 27},
    "hyperband": {"name": "hyperband", "max_resource": 27},
    "dehb": {"name": "dehb", "max_resource": 27},
    "asha": {"name": "asha", "max_resource": 27},
    "pasha": {"name": "pasha", "max_resource": 27},
    "median": {"name": "median", "max_resource": 9, "interval": 2, "min_trials": 2},
}


def definition(spec: Mapping[str, Any], **more: Any) -> StudyDefinition:
    return parse(
        {
            "name": "views",
            "objective": {"metric": "loss"},
            "space": {"lr": {"type": "loguniform", "low": 1e-5, "high": 1.0}},
            "algorithm": dict(spec),
            "trainer": {"external": True},
            "budget": {"trials": 60},
            "parallel": 4,
            **more,
        }
    )


def columns_of(driver: Driver) -> StudyColumns:
    """What the store would hold of the driver's study."""
    found = StudyColumns("s", driver.definition)
    rows = []
    for record in sorted(driver.algorithm.history, key=lambda r: r.number):
        row = driver.rows[record.number]
        kind, value = (None, None) if record.value is None else split(record.value)
        ranks = value is not None and row.state != "failed"
        rows.append(
            (
                record.number, row.state.value, record.origin.value, record.bracket, record.rung, record.target,
                record.resource, kind and kind.value, value, value if ranks else None, 0.0, 0, 0, None, None,
                record.fence, 0, None, json.dumps(dict(record.params)), "{}", None, None,
            )
        )  # fmt: skip
    found.take(list(zip(*rows, strict=True)) if rows else [[] for _ in bulk.FIELDS])
    found.seq = len(driver.log)
    return found


def reads_of(driver: Driver) -> Reads:
    reports = sorted(
        (r.trial, r.step, r.fence, r.resource, r.values[0] if math.isfinite(r.values[0]) else None)
        for event in driver.log
        if isinstance(event.payload, ev.Reported)
        for r in event.payload.reports
    )

    def values(numbers: Sequence[int]) -> Sequence[Sequence[Any]]:
        rows = [row for row in reports if row[0] in set(numbers)]
        return list(zip(*rows, strict=True)) if rows else [()] * 5

    def reasons(numbers: Sequence[int]) -> dict[int, str]:
        return {n: (driver.rows[n].reasons or [""])[-1] for n in numbers}

    return Reads(reasons=reasons, values=values, count=lambda number: sum(row[0] == number for row in reports))


def settle(driver: Driver) -> None:
    """Commit what needs no slot, as the decider does at once, and one promotion of a rung that nobody lost."""
    while proposals := driver.propose(0):
        driver.commit(proposals, len(driver.log))
    going = [p for p in driver.algorithm.propose(1000) if isinstance(p, Continue)]
    for bracket in {p.bracket for p in going}:
        driver.commit([next(p for p in going if p.bracket == bracket)], len(driver.log))


def seen(driver: Driver) -> dict[tuple[int, int], dict[str, Any]]:
    found = brackets(columns_of(driver), reads_of(driver))
    return {(b["bracket"], rung["rung"]): rung for b in found["brackets"] for rung in b["rungs"]}


def compare(driver: Driver) -> int:
    settle(driver)
    mine = seen(driver)
    folded = {(view.bracket, view.rung): view for view in driver.algorithm.rungs()}
    for key, view in folded.items():
        rung = mine[key]
        assert rung["entered"] == rung["of"] == len(view.entered), key
        assert rung["promoted"] == len(view.promoted), key
        assert rung["resource"] == view.resource
        if (view.bracket, 1) in folded:  # it is closed: what the fold says of open ones does not know the budget
            assert rung["size"] == view.size
        shown = rung["trials"]["number"].tolist()
        if len(view.entered) <= MAX_SHOWN:
            assert shown == sorted(view.entered)
        promoted = [n for n, fate in zip(shown, rung["trials"]["fate"], strict=True) if fate == "promoted"]
        assert set(promoted) <= set(view.promoted)
        of_fold = dict(zip(view.entered, view.values, strict=True))
        for number, value in zip(shown, rung["trials"]["value"].tolist(), strict=True):
            told = of_fold[number]
            assert (told is None) == math.isnan(value), (key, number)
            assert told is None or value == pytest.approx(told, rel=1e-6)
        ranked = [value for n in view.promoted if (value := of_fold[n]) is not None]
        assert rung["threshold"] == (pytest.approx(max(ranked)) if ranked else None)
        assert all(said for said in rung["trials"]["reason"])
    for key, rung in mine.items():
        assert key in folded or rung["entered"] == 0
    return len(folded)


@pytest.mark.parametrize("name", ["successive_halving", "hyperband", "asha"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_counts_values_and_levels_are_those_of_a_fold(name: str, data: st.DataObject) -> None:
    early = 0.0 if name == "asha" else data.draw(st.sampled_from([0.0, 0.3]))
    nature = Nature(seed=data.draw(st.integers(0, 99)), failing=data.draw(st.sampled_from([0.0, 0.2])), early=early)
    study = definition(SPECS[name], objective={"metric": "loss", "at": data.draw(st.sampled_from(["last", "best"]))})
    driver = Driver(study, nature, workers=data.draw(st.integers(1, 9)), seed=data.draw(st.integers(0, 99)))
    driver.losing = data.draw(st.sampled_from([0.0, 0.05]))
    every, checked = data.draw(st.integers(5, 25)), 0
    while driver.open or not driver.log[1:] or driver.step():
        if not all(driver.step() for _ in range(every)):
            break
        checked += compare(driver)
    assert compare(driver) + checked


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 999), steps=st.integers(1, 120), workers=st.integers(1, 6))
def test_levels_of_judgement(seed: int, steps: int, workers: int) -> None:
    """Median has no rungs in the fold: everybody who went on is promoted, and everybody is somewhere."""
    driver = Driver(definition(SPECS["median"]), Nature(seed=seed, failing=0.1, horizon=9), workers=workers, seed=seed)
    for _ in range(steps):
        if not driver.step():
            break
    rungs = [rung for _, rung in sorted(seen(driver).items())]
    placed = [record for record in driver.algorithm.history if record.rung is not None]
    assert (rungs[0]["entered"] if rungs else 0) == len(placed)
    for rung, above in itertools.pairwise(rungs):
        assert rung["promoted"] == above["entered"] == sum((r.rung or 0) > rung["rung"] for r in placed)
    for rung in rungs:
        states = ("running", "waiting", "paused", "stopped", "failed", "finished")
        assert rung["entered"] == rung["promoted"] + sum(rung[state] for state in states)
        for number, fate in zip(rung["trials"]["number"].tolist(), rung["trials"]["fate"], strict=True):
            assert fate == "promoted" or fate == driver.rows[number].state


@pytest.mark.parametrize("spec", [SPECS["hyperband"], SPECS["successive_halving"], {"name": "bohb", "max_resource": 9}])
@pytest.mark.parametrize("budget", [{"trials": 7}, {"trials": 49}, {"resource": 300.0}, {"resource": 60.0}])
def test_what_is_planned_is_the_plan(spec: dict[str, Any], budget: dict[str, Any]) -> None:
    study = definition(spec, budget=budget)
    planned = brackets(columns_of(Driver(study)), reads_of(Driver(study)))["planned"]
    plan = algorithms.plan(study)
    expected = [
        (row["bracket"], [(rung["resource"], rung["trials"]) for rung in row["rungs"]]) for row in plan.brackets
    ]
    found = [(row["bracket"], [(rung["resource"], rung["size"]) for rung in row["rungs"]]) for row in planned]
    assert found == expected[: len(found)]
    assert found
    assert len(found) >= min(len(expected), 2)


def test_of_many_brackets_the_best_ones_and_the_newest_are_shown() -> None:
    study = definition({"name": "hyperband", "max_resource": 3}, budget={"trials": 400})
    driver = Driver(study, Nature(seed=1, horizon=3), workers=9).run()
    found = brackets(columns_of(driver), reads_of(driver))
    winner = driver.winner()
    assert winner is not None
    shown = [one["bracket"] for one in found["brackets"]]
    assert len(shown) == found["shown"] == MAX_BRACKETS < found["of"]
    assert driver.rows[winner[0]].bracket in shown
    assert shown[-20:] == list(range(found["of"] - 20, found["of"]))
    assert sum(len(rung["trials"]["number"]) for one in found["brackets"] for rung in one["rungs"]) <= SHOWN


def test_huge_values_are_shown() -> None:
    study = definition({"name": "asha", "max_resource": 9})
    row = {"value": 1e40, "state": "stopped", "bracket": 0, "rung": 0, "resource": 1.0, "target": 1.0}
    reads = Reads(reasons=lambda _: {}, values=lambda _: [()] * 5, count=lambda _: 1)
    (bracket,) = brackets(columns_support.columns(study, [row]), reads)["brackets"]
    assert bracket["rungs"][0]["trials"]["value"].tolist() == [1e40]


def test_levels_of_auto_are_those_of_a_fold() -> None:
    """A model of learning curves has levels, but no line between those who go on and those who do not."""
    study = definition({"name": "auto", "max_resource": 9}, budget={"resource": 60})
    driver = Driver(study, Nature(seed=4, horizon=9), workers=3, seed=4)
    for _ in range(300):
        driver.step()
    mine, folded = seen(driver), {view.rung: view for view in driver.algorithm.rungs()}
    assert sum(len(view.promoted) for view in folded.values()) > 3
    for rung, view in folded.items():
        found = mine[0, rung]
        assert (found["resource"], found["entered"]) == (view.resource, len(view.entered))
        assert found["promoted"] == len(view.promoted)
        assert found["threshold"] is None
        assert all(found["trials"]["reason"])
