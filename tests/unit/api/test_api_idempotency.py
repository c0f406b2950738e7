"""Idempotency keys: the same answer, or a refusal; never the work twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service.api import replay
from tests.unit.api.support import DEFINITION, check

KEY = {"Idempotency-Key": "one-key"}


def names(client: TestClient) -> list[str]:
    """The names of all studies."""
    return [item["name"] for item in client.get("/api/v1/studies").json()["items"]]


def test_a_repeated_request_gets_the_same_answer(client: TestClient) -> None:
    first = client.post("/api/v1/studies", json=DEFINITION, headers=KEY)
    client.post(f"/api/v1/studies/{first.json()['id']}/pause")
    again = client.post("/api/v1/studies", json=DEFINITION, headers=KEY)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(names(client)) == 1


def test_another_request_under_the_same_key_is_refused(client: TestClient, study: str) -> None:
    client.post("/api/v1/studies", json=DEFINITION, headers=KEY)
    problem = check(client.post("/api/v1/studies", json={**DEFINITION, "seed": 9}, headers=KEY), 409)
    assert "names one request" in problem["detail"]
    ask = f"/api/v1/studies/{study}/ask"
    assert client.post(ask, json={"client_id": "a"}, headers=KEY).status_code == 200
    check(client.post(ask, json={"client_id": "b"}, headers=KEY), 409)


def test_keys_belong_to_a_path(client: TestClient, study: str) -> None:
    assert client.post(f"/api/v1/studies/{study}/pause", headers=KEY).json()["state"] == "paused"
    assert client.post(f"/api/v1/studies/{study}/resume", headers=KEY).json()["state"] == "running"
    assert client.post(f"/api/v1/studies/{study}/pause", headers=KEY).json()["state"] == "paused"
    assert client.get(f"/api/v1/studies/{study}").json()["state"] == "running"


def test_refusals_are_not_remembered(client: TestClient) -> None:
    broken = {**DEFINITION, "parallel": 0}
    check(client.post("/api/v1/studies", json=broken, headers=KEY), 422)
    assert client.post("/api/v1/studies", json=DEFINITION, headers=KEY).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_keys_have_a_form(client: TestClient, key: str) -> None:
    check(client.post("/api/v1/studies", json=DEFINITION, headers={"Idempotency-Key": key}), 422)


def test_a_crash_between_the_work_and_its_answer_changes_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise RuntimeError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(replay, "keep", crash)
        with pytest.raises(RuntimeError, match="killed here"):
            client.post("/api/v1/studies", json=DEFINITION, headers=KEY)
    again = client.post("/api/v1/studies", json=DEFINITION, headers=KEY)
    assert again.status_code == 201
    assert len(names(client)) == 1
    path = f"/api/v1/studies/{again.json()['id']}/trials"
    body = {"configurations": [{"lr": 0.01, "kind": "a"}]}
    with monkeypatch.context() as patch:
        patch.setattr(replay, "keep", crash)
        with pytest.raises(RuntimeError, match="killed here"):
            client.post(path, json=body, headers=KEY)
    assert client.post(path, json=body, headers=KEY).json() == {"trials": [0]}
    assert client.get(path).json()["total"] == 1


def test_concurrent_duplicates_work_once(client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/api/v1/studies", json=DEFINITION, headers=KEY), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len(names(client)) == 1
