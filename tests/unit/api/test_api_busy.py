"""Routes that are called all the time go straight to their endpoint, and refuse what every route refuses."""

from __future__ import annotations

from typing import Any

import fastapi.routing
import pytest
from fastapi.testclient import TestClient

from tests.unit.api.support import check

TRIAL = {"trial": 0, "fence": 1}


def post(client: TestClient, study: str, verb: str, body: Any, **more: Any) -> Any:
    return client.post(f"/api/v1/studies/{study}/{verb}", json=body, **more)


def test_asking_and_telling_resolve_no_dependencies(
    client: TestClient, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastapi.routing, "solve_dependencies", None)
    (trial,) = post(client, study, "ask", {"client_id": "me"}).raise_for_status().json()["trials"]
    told = {"trial": trial["trial"], "fence": trial["fence"], "value": 0.5}
    answer = post(client, study, "tell", told).raise_for_status()
    assert (answer.json()["state"], answer.json()["value"]) == ("finished", 0.5)
    assert answer.headers["content-type"] == "application/json"
    with pytest.raises(TypeError):  # others do
        post(client, study, "heartbeat", {"client_id": "me"})


@pytest.mark.parametrize(
    ("verb", "body", "path"),
    [
        ("ask", {}, "client_id"),
        ("ask", {"client_id": "me", "n": 0}, "n"),
        ("ask", {"client_id": "me", "many": 3}, "many"),
        ("tell", {**TRIAL, "value": "much"}, "value"),
        ("tell", {"fence": 1, "value": 0.5}, "trial"),
        ("tell", {**TRIAL, "value": 0.5, "metrics": {"loss": 0.5}}, ""),
        ("ask", [], ""),
        ("ask", None, ""),
        ("ask", "me", ""),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_as_everywhere(
    client: TestClient, study: str, verb: str, body: Any, path: str
) -> None:
    problem = check(post(client, study, verb, body), 422)
    assert path in {item["path"] for item in problem["errors"]}
    listed = client.get(f"/api/v1/studies/{study}/trials").json()["items"]
    assert listed == [], "and nothing was done"


def test_unknown_studies_and_questions_are_refused_first(client: TestClient, study: str) -> None:
    check(post(client, "nothing", "ask", {"n": "no number"}), 404)
    check(post(client, "nothing", "tell", {**TRIAL, "value": 0.5}), 404)
    problem = check(post(client, study, "ask?wait=1", {"client_id": "me"}), 422)
    assert [item["path"] for item in problem["errors"]] == ["query.wait"]


def test_yaml_is_read_too(client: TestClient, study: str) -> None:
    answer = client.post(
        f"/api/v1/studies/{study}/ask", content="client_id: me\nn: 2\n", headers={"Content-Type": "application/yaml"}
    )
    assert len(answer.raise_for_status().json()["trials"]) == 2
