"""What stands beside one trial."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.unit.api.support import DEFINITION, check


def _begin(client: TestClient, study: str) -> dict[str, Any]:
    given: dict[str, Any] = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me"}).json()["trials"][0]
    return given


def _train(client: TestClient, study: str, curves: dict[str, list[float]], *, state: str = "completed") -> int:
    given = _begin(client, study)
    who = {"trial": given["trial"], "fence": given["fence"]}
    steps = range(len(next(iter(curves.values()))))
    reports = [{**who, "step": s, "metrics": {name: values[s] for name, values in curves.items()}} for s in steps]
    answer = client.post(f"/api/v1/studies/{study}/reports", json={"reports": reports})
    assert answer.status_code == 200, answer.text
    told = {**who, "state": state, "metrics": {name: values[-1] for name, values in curves.items()}}
    answer = client.post(f"/api/v1/studies/{study}/tell", json=told)
    assert answer.status_code == 200, answer.text
    return int(given["trial"])


@pytest.fixture
def trained(client: TestClient) -> str:
    """A study that minimises val_loss, with three trials: good, overfitting, and one that still runs."""
    document = {**DEFINITION, "objective": {"metric": "val_loss", "direction": "minimize"}}
    study = str(client.post("/api/v1/studies", json=document).json()["id"])
    good = [0.3 + 2 * 0.5**s for s in range(10)]
    _train(client, study, {"train_loss": good, "val_loss": [v + 0.02 for v in good]})
    over = [0.01 + 2 * 0.5**s for s in range(10)]
    _train(client, study, {"train_loss": over, "val_loss": [v + 0.15 * s for s, v in enumerate(over)]})
    _begin(client, study)
    return study


def _context(client: TestClient, study: str, number: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/studies/{study}/trials/{number}/context").json()
    return found


def test_the_others_of_the_study(client: TestClient, trained: str) -> None:
    found = _context(client, trained, 0)
    assert found["best"]["trial"] == 0
    assert found["best"]["value"] == pytest.approx(0.32, abs=0.01)
    assert {n["trial"] for n in found["neighbours"]} == {1, 2}
    assert {n["state"] for n in found["neighbours"]} == {"finished", "running"}
    assert all(set(n["params"]) == {"lr", "kind"} and 0 <= n["distance"] <= 1 for n in found["neighbours"])
    assert (found["previous"], found["next"], found["rank"], found["ranked"]) == (None, 1, 1, 2)
    assert found["baseline"] is None
    assert found["retries"] == []
    last = _context(client, trained, 2)
    assert (last["previous"], last["next"], last["rank"]) == (1, None, None)


def test_the_diagnosis_reads_the_curves(client: TestClient, trained: str) -> None:
    good, over, running = (_context(client, trained, number) for number in range(3))
    assert [d["kind"] for d in good["diagnosis"]] == ["ok"]
    assert [d["kind"] for d in over["diagnosis"]] == ["overfit"]
    assert "val_loss" in over["diagnosis"][0]["text"]
    assert [d["kind"] for d in running["diagnosis"]] == ["too_short"]
    assert good["pairs"] == [{"name": "loss", "train": "train_loss", "validation": "val_loss"}]


def test_retries_are_named(client: TestClient, trained: str) -> None:
    made = client.post(f"/api/v1/studies/{trained}/retry", json={"trials": [1]}).json()["trials"]
    assert _context(client, trained, 1)["retries"] == made
    assert _context(client, trained, made[0])["diagnosis"][0]["kind"] == "too_short"


def test_the_same_question_twice_is_a_304(client: TestClient, trained: str) -> None:
    path = f"/api/v1/studies/{trained}/trials/0/context"
    first = client.get(path)
    assert client.get(path, headers={"if-none-match": first.headers["etag"]}).status_code == 304


def test_an_unknown_trial(client: TestClient, trained: str) -> None:
    check(client.get(f"/api/v1/studies/{trained}/trials/99/context"), 404)
