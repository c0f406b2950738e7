"""What the tests of the REST service share: a definition, the operations that are served, the shape of a refusal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx

DEFINITION: dict[str, Any] = {
    "name": "external",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
        "kind": {"type": "choice", "values": ["a", "b"]},
    },
    "algorithm": {"name": "random"},
    "trainer": {"external": True},
    "budget": {"trials": 6},
    "parallel": 4,
    "tags": ["demo"],
}


def operations(client: httpx.Client) -> Iterator[tuple[str, str, str]]:
    """Method, path and least role of every operation in the OpenAPI document."""
    for path, methods in client.get("/api/v1/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation["x-role"]


def filled(path: str) -> str:
    """The path with values that name nothing."""
    return re.sub(r"\{number\}", "0", re.sub(r"\{\w+_id\}", "nothing", path))


def check(answer: httpx.Response, status: int | None = None) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert status is None or answer.status_code == status, answer.text
    assert problem["type"].startswith("urn:hpo:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == answer.request.url.path
    for item in problem.get("errors", ()):
        assert set(item) - {"line", "column"} == {"path", "rule", "value", "remedy"}
        assert item["rule"]
    return problem
