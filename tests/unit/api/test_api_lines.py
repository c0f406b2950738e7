"""Refusals of a definition say at which line of the body."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.unit.api.support import check

BROKEN = """\
# what a person types
objective: {metric: loss}
space:
  lr:
    type: loguniform
    low: 0.1
    high: 0.001
algorithm: {name: random}
trainer: {external: true}
budgett: {trials: 6}
"""


def refused(client: TestClient, text: str, kind: str, path: str = "/api/v1/studies/validate") -> list[dict[str, Any]]:
    answer = client.post(path, content=text, headers={"Content-Type": kind})
    errors: list[dict[str, Any]] = check(answer, 422)["errors"]
    return errors


@pytest.mark.parametrize("path", ["/api/v1/studies", "/api/v1/studies/validate"])
def test_an_unknown_field_is_at_its_key(client: TestClient, path: str) -> None:
    (problem,) = refused(client, BROKEN, "application/yaml", path)
    assert (problem["path"], problem["line"], problem["column"]) == ("budgett", 10, 1)


def test_a_broken_parameter_is_at_its_line(client: TestClient) -> None:
    (problem,) = refused(client, BROKEN.replace("budgett", "budget"), "application/yaml")
    assert problem["path"].startswith("space.lr")
    assert problem["line"] in (4, 6)


def test_a_missing_field_is_at_its_parent(client: TestClient) -> None:
    text = BROKEN.replace("budgett", "budget").replace("name: random", "name: hyperband")
    problems = refused(client, text.replace("low: 0.1", "low: 0.0001"), "application/yaml")
    assert [(p["path"], p["line"]) for p in problems] == [("algorithm.max_resource", 8)]
    (first, *_) = refused(client, "# nothing\nname: x\n", "application/yaml")
    assert (first["line"], first["column"]) == (2, 1)


def test_a_forbidden_combination_is_at_its_item(client: TestClient) -> None:
    text = BROKEN.replace("budgett", "budget").replace("low: 0.1", "low: 0.0001")
    problems = refused(client, text + "forbid:\n- {lr: 0.001}\n- {lrr: 1}\n", "application/yaml")
    assert [p["line"] for p in problems] == [13]


def test_json_bodies_have_lines_too(client: TestClient) -> None:
    document = {"name": "a \U0001f600", "objective": {"metric": "loss"}, "budgett": {}, "algorithm": {"name": "x"}}
    problems = refused(client, json.dumps(document, indent=1), "application/json")
    lines = {problem["path"]: problem["line"] for problem in problems}
    assert lines["budgett"] == 6
    assert lines["algorithm"] == 7
    assert lines["space"] == 1


def test_a_text_that_cannot_be_read_says_where(client: TestClient) -> None:
    (problem,) = refused(client, "a: 1\na: 2\n", "application/yaml")
    assert (problem["line"], problem["column"]) == (2, 1)
    (problem,) = refused(client, '{"a": 1,\n"b" 2}', "application/json")
    assert (problem["line"], problem["column"]) == (2, 5)


def test_other_refusals_have_no_lines(client: TestClient) -> None:
    answer = client.post("/api/v1/studies?nmae=1", json={"name": "x"})
    assert "line" not in check(answer, 422)["errors"][0]
