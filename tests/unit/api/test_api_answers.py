"""Comparison, export, estimates and metrics, on rows made by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from hpo_service.api import exporting, schemas
from hpo_service.api.comparing import differences
from hpo_service.api.estimating import Places, estimate, places
from hpo_service.core.algorithm import Plan
from hpo_service.core.definition import Resources, Trainer, parse
from hpo_service.core.states import Origin, TrialState
from hpo_service.settings import Settings
from hpo_service.store.rows import TrialRow, WorkerRow

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPACE = {"lr": {"type": "loguniform", "low": 1e-4, "high": 1}, "kind": {"type": "choice", "values": ["a", "b"]}}


def trial(number: int, value: float | None, **more: Any) -> TrialRow:
    """A trial's row."""
    fields: dict[str, Any] = {
        "study_id": "s1", "number": number, "state": TrialState.FINISHED, "reason": "", "origin": Origin.SAMPLED,
        "params": {"lr": 0.1, "kind": "a"}, "space_version": 1, "retry_of": None, "parent": None,
        "parent_resource": None, "bracket": None, "rung": None, "fence": 1, "target": None, "horizon": None,
        "resource": 1.0, "step": 1, "value": value, "values": {} if value is None else {"loss": value}, "attempts": 1,
        "losses": 0, "cost_microdollars": 5, "seconds": 1.5, "created_at": AT, "started_at": AT, "ended_at": None,
    }  # fmt: skip
    return TrialRow(**{**fields, **more})


ROWS = [trial(0, 0.5), trial(1, math.nan), trial(2, None), trial(3, 0.25, params={"kind": "b"}, reason="=cmd()")]


def test_differences_name_paths_and_values() -> None:
    one = {"name": "x", "algorithm": {"name": "asha", "eta": 3}, "space": {"lr": {"low": 1}}}
    two = {"name": "y", "algorithm": {"name": "asha", "eta": 4}, "space": {"lr": {"low": 1}}, "seed": 3}
    found = {d.path: d.values for d in differences([one, two])}
    assert found == {"algorithm.eta": [3, 4], "seed": [None, 3]}


def exported(form: str) -> bytes:
    """All rows in one form."""
    return b"".join(exporting.export(ROWS, form, space=SPACE, metrics=["loss"]))


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(exported("csv").decode())))
    assert [row["number"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["value"] for row in rows] == ["0.5", "NaN", "", "0.25"]
    assert [row["param.lr"] for row in rows] == ["0.1", "0.1", "0.1", ""]
    assert rows[3]["reason"] == "'=cmd()"
    assert rows[0]["created_at"] == "2026-01-02T03:04:05+00:00"
    assert rows[0]["state"] == "finished"


def test_json() -> None:
    rows = json.loads(exported("json"))
    assert [row["value"] for row in rows] == [0.5, "NaN", None, 0.25]
    assert rows[3]["params"] == {"kind": "b"}
    assert json.loads(b"".join(exporting.export([], "json", space={}, metrics=[]))) == []


def test_parquet() -> None:
    table = pq.read_table(io.BytesIO(exported("parquet")))
    columns = table.to_pydict()
    assert columns["number"] == [0, 1, 2, 3]
    assert columns["param.lr"] == [0.1, 0.1, 0.1, None]
    assert columns["param.kind"] == ['"a"', '"a"', '"a"', '"b"']
    assert columns["metric.loss"][3] == 0.25
    assert columns["created_at"][0] == AT
    assert columns["state"][0] == "finished"


def test_an_export_comes_in_blocks() -> None:
    drawn = 0

    def rows() -> Any:
        nonlocal drawn
        for number in range(5000):
            drawn += 1
            yield trial(number, 0.5)

    pieces = exporting.export(rows(), "csv", space=SPACE, metrics=["loss"])
    next(pieces)
    assert drawn <= exporting.BLOCK


DEFINITION = parse(
    {
        "objective": {"metric": "loss"},
        "space": SPACE,
        "algorithm": {"name": "random", "max_resource": 10},
        "trainer": {"function": "mine:train"},
        "budget": {"trials": 36},
        "resources": {"cpu": 2, "gpu": 1},
        "parallel": 4,
    }
)
PLAN = Plan(brackets=(), trials=36, total_resource=360.0)
ROOM = Places(count=8, why="as the workers that are up have room for")


def test_an_estimate_follows_from_measured_seconds() -> None:
    settings = Settings(cpu_hour_dollars=0.5, gpu_hour_dollars=3.0)
    found = estimate(DEFINITION, PLAN, [90.0, 100.0, 5000.0], settings, ROOM)
    assert found.hours == pytest.approx(360 * 100 / 3600 / 4)
    assert found.dollars == pytest.approx(10.0 * (2 * 0.5 + 3.0))
    assert "median of 3 past trials" in found.basis


def test_an_estimate_of_an_open_plan_is_its_most() -> None:
    open_end = dataclasses.replace(PLAN, total_resource=None, most_resource=PLAN.total_resource)
    found, closed = (estimate(DEFINITION, plan, [100.0], Settings(), ROOM) for plan in (open_end, PLAN))
    assert (found.hours, found.dollars) == (closed.hours, closed.dollars)
    assert found.basis == f"at most, if every trial went all the way: {closed.basis}"


def test_an_estimate_without_measurements_or_bound_is_unknown() -> None:
    unknown = estimate(DEFINITION, PLAN, [], Settings(), ROOM)
    assert (unknown.dollars, unknown.hours) == (None, None)
    assert "no past study" in unknown.basis
    unbounded = Plan(brackets=(), trials=None, total_resource=None)
    assert "bounds no resource" in estimate(DEFINITION, unbounded, [1.0], Settings(), ROOM).basis


def test_hours_follow_from_the_places_there_are_and_dollars_do_not() -> None:
    many = DEFINITION.model_copy(update={"parallel": 256})
    few = Places(count=2, why="as the workers that are up have room for")
    found = estimate(many, PLAN, [100.0], Settings(), few)
    assert found.hours == pytest.approx(360 * 100 / 3600 / 2)
    assert found.dollars == estimate(DEFINITION, PLAN, [100.0], Settings(), ROOM).dollars
    assert found.basis.endswith("with 2 workers at a time (as the workers that are up have room for)")
    external = many.model_copy(update={"trainer": Trainer(external=True)})
    assert estimate(external, PLAN, [100.0], Settings(), few).hours == pytest.approx(360 * 100 / 3600 / 256)


def seen(cpu: float, gpu: float) -> WorkerRow:
    return WorkerRow(
        id="w", node="n", state="idle", device="cpu", cpu=cpu, gpu=gpu, detail={}, controller="c",
        seen_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("resources", "workers", "settings", "count", "why"),
    [
        ({"cpu": 1}, [], {"ray_cpus": 6}, 6, "this machine"),
        ({"cpu": 4}, [], {"ray_cpus": 6}, 1, "this machine"),
        ({"cpu": 1}, [seen(1, 0)] * 9, {"ray_cpus": 6}, 9, "workers that are up"),
        ({"cpu": 1}, [seen(1, 0)] * 2, {"ray_address": "head:6379"}, 2, "workers that are up"),
        ({"cpu": 1}, [], {"ray_address": "head:6379"}, 4, "assumption"),
        ({"cpu": 1, "gpu": 1}, [seen(1, 0)] * 9, {"ray_cpus": 6}, 4, "assumption"),
        ({"cpu": 0, "gpu": 0.25}, [seen(1, 1)] * 2, {"ray_address": "head:6379"}, 8, "workers that are up"),
    ],
)
def test_places_are_counted_or_assumed(
    resources: dict[str, float], workers: list[WorkerRow], settings: dict[str, Any], count: int, why: str
) -> None:
    found = places(Resources(**resources), workers, Settings(**settings))
    assert found.count == count
    assert why in found.why


def test_numbers_that_are_not_finite_are_words() -> None:
    answer = schemas.trial_answer(trial(0, math.nan, values={"loss": -math.inf}, resource=math.inf))
    document = json.loads(answer.model_dump_json())
    assert (document["value"], document["values"]["loss"], document["resource"]) == ("NaN", "-Infinity", "Infinity")
    assert document["created_at"] == "2026-01-02T03:04:05Z"
