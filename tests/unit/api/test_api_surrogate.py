"""The Bayesian view over REST: before a model, along each parameter, and its errors."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service.store import surrogate_views
from hpo_service.store.database import Database
from tests.unit.api.support import DEFINITION

MODELLED = {
    **DEFINITION,
    "space": {
        **DEFINITION["space"],
        "depth": {"type": "integer", "low": 1, "high": 4, "when": {"kind": "b"}},
        "only": {"type": "constant", "value": 1},
    },
    "algorithm": {"name": "bayesian", "startup_trials": 5},
    "budget": {"trials": 12},
}


def create(client: TestClient, **more: Any) -> str:
    answer = client.post("/api/v1/studies", json={**MODELLED, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def lead(client: TestClient, study: str, trials: int) -> None:
    """Ask for and tell so many trials: `kind: a` is better, and so is a small lr."""
    for _ in range(trials):
        asked = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me", "n": 1}).json()
        for one in asked["trials"]:
            loss = one["params"]["lr"] + (one["params"]["kind"] == "b")
            told = {"trial": one["trial"], "fence": one["fence"], "value": loss}
            assert client.post(f"/api/v1/studies/{study}/tell", json=told).status_code == 200


def surrogate(client: TestClient, study: str, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/api/v1/studies/{study}/surrogate{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_without_a_model_it_says_what_has_one(client: TestClient, study: str) -> None:
    found = surrogate(client, study)
    assert found["available"] is False
    assert "random chooses without a model" in found["note"]
    assert "bayesian" in found["note"]


def test_before_the_model_starts_it_says_when(client: TestClient) -> None:
    study = create(client)
    assert surrogate(client, study)["note"] == "trial 0 of 5 before the model starts"
    lead(client, study, 3)
    assert surrogate(client, study)["note"] == "trial 3 of 5 before the model starts"


def test_an_external_study_ends_with_a_view_of_everything(client: TestClient) -> None:
    study = create(client)
    lead(client, study, 12)
    found = surrogate(client, study)
    assert client.get(f"/api/v1/studies/{study}").json()["state"] == "finished"
    assert found["available"] is True
    assert (found["surrogate"], found["acquisition_name"]) == ("tpe", "density ratio l(x)/g(x)")
    assert (found["parameter"], found["parameters"]) == ("lr", ["lr", "kind"])
    assert (found["trial"], found["observations_used"], found["of"], found["next"]) == (12, 12, 12, [])
    assert found["axis"] == {"type": "number", "log": True, "labels": None}
    assert found["mean"] is None
    assert len(found["x"]) == len(found["good"]) == len(found["bad"]) == len(found["acquisition"])
    best = client.get(f"/api/v1/studies/{study}").json()["best"]
    assert found["incumbent"]["trial"] == best["trial"]
    assert found["incumbent"]["x"] == pytest.approx(best["params"]["lr"])
    assert sorted(found["observed"]["number"]) == list(range(12))
    trials = client.get(f"/api/v1/studies/{study}/trials").json()["items"]
    assert dict(zip(found["observed"]["number"], found["observed"]["x"], strict=True)) == {
        trial["number"]: trial["params"]["lr"] for trial in trials
    }


def test_categories_have_labels_and_what_is_inactive_says_so(client: TestClient) -> None:
    study = create(client)
    lead(client, study, 12)
    kind = surrogate(client, study, "?parameter=kind")
    assert kind["axis"] == {"type": "category", "log": False, "labels": ["a", "b"]}
    assert (kind["x"], kind["incumbent"]["x"]) == ([0, 1], 0)
    depth = surrogate(client, study, "?parameter=depth")
    assert depth["available"] is False
    assert "depth is inactive at the incumbent" in depth["note"]
    assert depth["parameters"] == ["lr", "kind"]
    assert "one value" in surrogate(client, study, "?parameter=only")["note"]


def test_an_unknown_parameter_is_refused_with_the_nearest(client: TestClient) -> None:
    study = create(client)
    lead(client, study, 12)
    answer = client.get(f"/api/v1/studies/{study}/surrogate?parameter=kinds")
    assert answer.status_code == 422
    assert "kind" in answer.json()["errors"][0]["remedy"]


def test_it_moves_when_the_view_does_not_when_the_log_does(client: TestClient, db: Database) -> None:
    study = create(client)
    lead(client, study, 12)
    path = f"/api/v1/studies/{study}/surrogate"
    first = client.get(path)
    again = client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    stored = surrogate_views.view(db, study)
    assert stored is not None
    surrogate_views.put_view(db, study, seq=stored.seq, document={**stored.document, "trial": 77})
    moved = client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert moved.status_code == 200
    assert moved.json()["trial"] == 77
