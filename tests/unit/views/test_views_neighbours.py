"""Similar configurations and places, held against plain loops over the trials."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.store import bulk
from hpo_service.views import neighbours
from hpo_service.views.columns import StudyColumns

SPACE: dict[str, Any] = {
    "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
    "layers": {"type": "integer", "low": 1, "high": 5},
    "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
    "momentum": {"type": "uniform", "low": 0.0, "high": 1.0, "when": {"optimizer": "sgd"}},
    "size": {"type": "ordinal", "values": ["small", "medium", "large"]},
}


def definition(direction: str = "minimize", space: dict[str, Any] | None = None) -> StudyDefinition:
    document = {
        "objective": {"metric": "loss", "direction": direction},
        "space": space or SPACE,
        "algorithm": {"name": "random"},
        "trainer": {"external": True},
    }
    return parse(document)


def columns_of(rows: list[dict[str, Any]], found: StudyDefinition) -> StudyColumns:
    """Columns of trials of which only what differs is given."""
    columns = StudyColumns("s", found)
    plain: dict[str, Any] = {
        "state": "finished", "origin": "sampled", "resource": 1.0, "value_kind": "finite", "cost_microdollars": 0,
        "created_at": 1, "attempts": 1, "losses": 0, "metrics": {}, "params": {}, "seconds": 1.0,
    }  # fmt: skip
    whole = [{**dict.fromkeys(bulk.FIELDS), **plain, "number": i, **row} for i, row in enumerate(rows)]
    for row in whole:
        row["params"], row["metrics"] = json.dumps(row["params"]), json.dumps(row["metrics"])
    columns.take([[row[name] for row in whole] for name in bulk.FIELDS])
    return columns


def params(lr: float, layers: int = 3, optimizer: str = "adam", size: str = "small", **more: Any) -> dict[str, Any]:
    return {"lr": lr, "layers": layers, "optimizer": optimizer, "size": size, **more}


def apart(a: dict[str, Any], b: dict[str, Any]) -> float:
    """The distance, said plainly."""
    total = 0.0
    for name in SPACE:
        x, y = a.get(name), b.get(name)
        if x is None and y is None:
            continue
        if x is None or y is None:
            total += 1
        elif name == "lr":
            total += ((math.log(x) - math.log(y)) / math.log(1e3)) ** 2
        elif name == "layers":
            total += ((x - y) / 4) ** 2
        elif name == "size":
            names = SPACE["size"]["values"]
            total += ((names.index(x) - names.index(y)) / 2) ** 2
        else:
            total += (x - y) ** 2 if name == "momentum" else float(x != y)
    return math.sqrt(total / len(SPACE))


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    found = params(
        draw(st.sampled_from([1e-4, 1e-3, 0.02, 0.1])),
        draw(st.integers(1, 5)),
        draw(st.sampled_from(["sgd", "adam"])),
        draw(st.sampled_from(SPACE["size"]["values"])),
    )
    return {**found, "momentum": draw(st.sampled_from([0.0, 0.5, 1.0]))} if found["optimizer"] == "sgd" else found


@settings(deadline=None)
@given(st.lists(configurations(), min_size=5, max_size=25), st.integers(1, 12))
def test_distances_are_those_of_the_unit_cube(drawn: list[dict[str, Any]], most: int) -> None:
    drawn = [*drawn, params(0.001, optimizer="sgd", momentum=0.5)]  # so that every parameter has a column
    columns = columns_of([{"params": p} for p in drawn], definition())
    for number in (0, len(drawn) - 1):
        found = neighbours.distances(columns, number)
        assert found.tolist() == pytest.approx([apart(drawn[number], p) for p in drawn])
        near, distance = neighbours.nearest(columns, number, most)
        order = sorted((n for n in range(len(drawn)) if n != number), key=lambda n: (round(found[n], 12), n))[:most]
        assert distance.tolist() == pytest.approx([found[n] for n in order])
        assert number not in near
        assert len(set(near.tolist())) == len(near) == min(most, len(drawn) - 1)


def test_trials_that_only_wait_are_no_neighbours() -> None:
    rows = [{"params": params(0.01)}, {"params": params(0.01), "state": "waiting"}, {"params": params(0.1)}]
    near, _ = neighbours.nearest(columns_of(rows, definition()), 0, 8)
    assert near.tolist() == [2]


def test_a_normal_parameter_and_choices_of_numbers() -> None:
    space = {
        "noise": {"type": "normal", "mu": 10.0, "sigma": 1.0},
        "batch": {"type": "choice", "values": [16, 32, "auto"]},
        "old": {"type": "constant", "value": 3},
    }
    rows = [{"noise": 10.0, "batch": 16}, {"noise": 13.0, "batch": 16}, {"noise": 10.0, "batch": "auto"}]
    columns = columns_of([{"params": {**p, "old": 3}} for p in rows], definition(space=space))
    assert neighbours.distances(columns, 0).tolist() == pytest.approx([0, math.sqrt(0.25 / 3), math.sqrt(1 / 3)])
    assert neighbours.distances(columns, 2).tolist()[2] == 0


VALUES = st.one_of(st.none(), st.sampled_from([0.1, 0.2, 0.3]))


@settings(deadline=None)
@given(st.lists(st.tuples(VALUES, st.sampled_from([1.0, 3.0])), min_size=1, max_size=12), st.booleans())
def test_places_are_those_of_the_rule(rows: list[tuple[float | None, float]], maximize: bool) -> None:
    made = [
        {"value": v, "sort_value": v, "resource": r, "value_kind": None if v is None else "finite"} for v, r in rows
    ]
    columns = columns_of(made, definition("maximize" if maximize else "minimize"))
    ranking = [n for n, (v, _) in enumerate(rows) if v is not None]
    order = sorted(ranking, key=lambda n: (-rows[n][1], -(rows[n][0] or 0) if maximize else rows[n][0], n))
    for number in range(len(rows)):
        place = order.index(number) + 1 if number in ranking else None
        assert neighbours.rank(columns, number) == (place, len(ranking))


def test_retries_and_the_baseline() -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"origin": "baseline"},
        {"retry_of": 0, "origin": "retry"},
        {"origin": "baseline"},
    ]
    columns = columns_of(rows, definition())
    assert neighbours.retries(columns, 0).tolist() == [2]
    assert neighbours.retries(columns, 1).size == 0
    baseline = int(columns.origin[1])
    assert neighbours.first_of_origin(columns, baseline) == 1
    assert neighbours.first_of_origin(columns, 99) is None


def test_many_trials_are_compared_at_once() -> None:
    rng = np.random.default_rng(0)
    rows = [{"params": params(float(10 ** rng.uniform(-4, -1)), int(rng.integers(1, 6)))} for _ in range(2000)]
    near, distance = neighbours.nearest(columns_of(rows, definition()), 7, 8)
    assert near.size == 8
    assert (np.diff(distance) >= 0).all()
    assert distance[0] < 0.05
