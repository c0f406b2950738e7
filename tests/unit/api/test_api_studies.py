"""Studies over REST: submit, validate, list, change, steer, delete, pages, metrics."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service import storage
from hpo_service.api import checkpoints
from hpo_service.core.definition import parse
from hpo_service.core.states import StudyState
from hpo_service.errors import NotFound
from hpo_service.store import studies
from hpo_service.store.database import Database
from hpo_service.store.rows import CheckpointRow
from tests.unit.api.support import DEFINITION, check

RECIPE: dict[str, Any] = {
    "name": "digits",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}},
    "algorithm": {"name": "hyperband", "max_resource": 9, "eta": 3},
    "trainer": {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp"}},
    "budget": {"trials": 22},
}


def test_a_submitted_study_comes_back_whole(client: TestClient, changed: list[str]) -> None:
    made = client.post("/api/v1/studies", json=RECIPE)
    assert made.status_code == 201
    study = made.json()
    assert (study["state"], study["external"], study["created_by"]) == ("preflight", False, "local")
    assert study["counts"] == dict.fromkeys(("waiting", "running", "paused", "finished", "stopped", "failed"), 0)
    assert (study["trials"], study["best"], study["cost_microdollars"]) == (0, None, 0)
    assert study["definition"]["algorithm"]["eta"] == 3
    assert changed == [study["id"]]
    assert client.get(f"/api/v1/studies/{study['id']}").json() == study


def test_yaml_is_as_good_as_json(client: TestClient) -> None:
    text = """
name: from-yaml
objective: {metric: loss}
space: {lr: {type: loguniform, low: 1.0e-6, high: 1e-1}}
algorithm: {name: random}
trainer: {external: true}
budget: {trials: 3}
"""
    made = client.post("/api/v1/studies", content=text, headers={"Content-Type": "application/yaml"})
    assert made.status_code == 201, made.text
    assert made.json()["definition"]["space"]["lr"]["low"] == 1e-6


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"space": {"lr": {"type": "uniform", "low": 3, "high": 1}}}, "space.lr"),
        ({"space": {"lr": {"type": "loguniform", "low": 0, "high": 1}}}, "space.lr"),
        ({"space": {"b": {"type": "power_of_two", "low": 5, "high": 7}}}, "space.b"),
        ({"space": {f"p{i}": {"type": "uniform", "low": 0, "high": 1} for i in range(2000)}}, "space"),
        ({"algorithm": {"name": "hyperband"}}, "algorithm.max_resource"),
        ({"algorithm": {"name": "hyperbrand"}}, "algorithm"),
        ({"objective": {"metric": "loss", "direction": "up"}}, "objective.direction"),
        ({"trainer": {}}, "trainer"),
        ({"trainer": {"recipe": "image_clasifier"}}, "trainer.recipe"),
        ({"budget": {}, "trainer": {"function": "a:b"}}, "budget"),
    ],
)
def test_a_broken_definition_is_refused_fast_and_stores_nothing(
    client: TestClient, change: dict[str, Any], path: str
) -> None:
    client.post("/api/v1/studies/validate", json=DEFINITION)
    took = []
    for _ in range(3):  # the first pays for what is loaded once; a busy machine disturbs some
        began = time.process_time()
        answer = client.post("/api/v1/studies", json={**DEFINITION, **change})
        took.append(time.process_time() - began)
    assert min(took) < 0.1
    assert check(answer, 422)["errors"][0]["path"].startswith(path)
    assert client.get("/api/v1/studies").json()["items"] == []


def test_validate_says_what_would_run(client: TestClient) -> None:
    found = client.post("/api/v1/studies/validate", json=RECIPE).json()
    assert found["valid"] is True
    assert found["definition"]["parallel"] == 256
    assert found["plan"]["brackets"]
    assert found["plan"]["trials"] == 22
    assert found["estimate"]["dollars"] is None
    assert "no past study" in found["estimate"]["basis"]
    assert client.get("/api/v1/studies").json()["items"] == []


def test_lists_page_and_choose(client: TestClient) -> None:
    ids = [
        client.post("/api/v1/studies", json={**DEFINITION, "name": f"n{i}", "tags": [f"t{i % 2}"]}).json()["id"]
        for i in range(5)
    ]
    first = client.get("/api/v1/studies?limit=2").json()
    assert [item["id"] for item in first["items"]] == [ids[4], ids[3]]
    assert first["total"] == 5
    assert first["items"][0]["definition"] is None
    second = client.get("/api/v1/studies", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["id"] for item in second["items"]] == [ids[2], ids[1]]

    def chosen(**query: Any) -> list[str]:
        return [item["name"] for item in client.get("/api/v1/studies", params=query).json()["items"]]

    assert chosen(tag="t1") == ["n3", "n1"]
    assert chosen(name="n2") == ["n2"]
    assert chosen(search="N2") == ["n2"]
    assert chosen(state="paused") == []
    assert chosen(project="other") == []
    whole = client.get("/api/v1/studies?definition=1&limit=1").json()
    assert whole["items"][0]["definition"]["name"] == "n4"
    check(client.get("/api/v1/studies?cursor=broken"), 422)


def test_steering(client: TestClient, study: str) -> None:
    paused = client.post(f"/api/v1/studies/{study}/pause", json={"reason": "lunch"}).json()
    assert (paused["state"], paused["reason"]) == ("paused", "lunch")
    assert client.post(f"/api/v1/studies/{study}/pause").json()["state"] == "paused"
    assert client.post(f"/api/v1/studies/{study}/resume").json()["state"] == "running"
    stopped = client.post(f"/api/v1/studies/{study}/stop").json()
    assert (stopped["state"], stopped["reason"]) == ("stopped", "stopped by a user")
    assert stopped["ended_at"] is not None
    refused = check(client.post(f"/api/v1/studies/{study}/pause"), 409)
    assert "it was stopped already; resume it to go on, or delete it" in str(refused)
    assert client.post(f"/api/v1/studies/{study}/resume").json()["state"] == "running"


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_a_finished_study_says_how_to_go_on(client: TestClient, db: Database, study: str, verb: str) -> None:
    studies.set_state(db, study, StudyState.FINISHED, "budget.trials: 6 of 6")
    refused = check(client.post(f"/api/v1/studies/{study}/{verb}"), 409)
    assert "raise its budget to go on, or delete it" in str(refused)


def test_a_patch_merges(client: TestClient, study: str) -> None:
    body = {"budget": {"hours": 2}, "parallel": 9, "notes": "n", "tags": ["x", "y"], "name": "renamed"}
    patched = client.patch(f"/api/v1/studies/{study}", json=body).json()
    assert patched["definition"]["budget"] == {"trials": 6, "hours": 2.0, "min_delta": 0.0}
    assert (patched["parallel"], patched["name"], patched["tags"]) == (9, "renamed", ["x", "y"])
    assert patched["definition_version"] == 2
    events = client.get(f"/api/v1/studies/{study}/log").json()["items"]
    change = [event for event in events if event["kind"] == "definition_changed"][-1]
    assert set(change["payload"]["changed"]) == {"budget.hours", "parallel", "notes", "tags", "name"}
    same = client.patch(f"/api/v1/studies/{study}", json={"parallel": 9}).json()
    assert same["definition_version"] == 2


def test_a_patch_goes_into_what_the_controller_made_of_the_definition_meanwhile(
    client: TestClient, db: Database, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch = studies.patch_study

    def first_the_controller(db: Database, study_id: str, *args: Any, **options: Any) -> Any:
        monkeypatch.setattr(studies, "patch_study", patch)
        definition = parse({**studies.get_study(db, study_id).definition, "retries": 7})
        patch(db, study_id, definition, changed=("retries",), reason="by itself")
        return patch(db, study_id, *args, **options)

    monkeypatch.setattr(studies, "patch_study", first_the_controller)
    patched = client.patch(f"/api/v1/studies/{study}", json={"parallel": 9}).json()
    assert (patched["parallel"], patched["definition"]["retries"]) == (9, 7)
    assert patched["definition_version"] == 3


def test_a_patch_is_checked_whole(client: TestClient, study: str) -> None:
    check(client.patch(f"/api/v1/studies/{study}", json={"parallel": 0}), 422)
    check(client.patch(f"/api/v1/studies/{study}", json={"seed": 3}), 422)
    space = {"lr": {"type": "loguniform", "low": 1e-5, "high": 1e-1}, "kind": DEFINITION["space"]["kind"]}
    widened = client.patch(f"/api/v1/studies/{study}", json={"space": space}).json()
    assert widened["space_version"] == 2


def test_deleting(client: TestClient, study: str) -> None:
    assert client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "a"}).json()["trials"]
    check(client.delete(f"/api/v1/studies/{study}"), 409)
    client.post(f"/api/v1/studies/{study}/stop")
    assert client.delete(f"/api/v1/studies/{study}").status_code == 204
    check(client.get(f"/api/v1/studies/{study}"), 404)


def test_comparing(client: TestClient, study: str) -> None:
    other = client.post("/api/v1/studies", json={**DEFINITION, "seed": 5}).json()["id"]
    found = client.get("/api/v1/compare", params={"study": [study, other]}).json()
    assert [item["study"]["id"] for item in found["items"]] == [study, other]
    assert found["differences"] == [{"path": "seed", "values": [0, 5]}]
    check(client.get("/api/v1/compare"), 422)


def test_the_schema_and_the_document_are_published(client: TestClient) -> None:
    assert {"space", "objective"} <= set(client.get("/api/v1/schema").json()["properties"])
    document = client.get("/api/v1/openapi.json").json()
    assert "digits-hyperband" in str(document["paths"]["/api/v1/studies"]["post"]["requestBody"])
    assert document["components"]["schemas"]["Trial"]["properties"]["number"]["examples"] == [17]


def test_metrics_and_health(client: TestClient, study: str) -> None:
    text = client.get("/metrics").text
    assert 'hpo_studies{state="running"} 1.0' in text
    assert 'hpo_request_seconds_count{method="POST",route="/api/v1/studies"}' in text
    client.get(f"/api/v1/studies/{study}")
    assert 'route="/api/v1/studies/{study_id}"' in client.get("/metrics").text
    assert client.get("/readyz").json() == {"status": "ready"}
    waiting = client.post("/api/v1/studies", json=RECIPE)
    assert waiting.status_code == 201
    assert "no controller leads 1 of 1" in check(client.get("/readyz"), 503)["detail"]


def test_doctor_checks_the_installation(client: TestClient) -> None:
    checks = {item["name"]: item for item in client.get("/api/v1/doctor").json()["checks"]}
    assert checks["database"]["ok"]
    assert checks["storage"]["ok"]
    assert all(item["remedy"] for item in checks.values() if not item["ok"])


def test_the_pages_hold_no_data_and_load_nothing_foreign(client: TestClient, study: str) -> None:
    for path in ("/", f"/studies/{study}"):
        page = client.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "http://" not in page.text.replace("http://www.w3.org", "")
        assert "<script>" not in page.text
    check(client.get("/studies/<script>"), 404)


def test_checkpoints_stay_inside_the_storage(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    (root / "a").mkdir(parents=True)
    (root / "a" / "c.bin").write_bytes(b"good")
    (tmp_path / "secret").write_bytes(b"s")
    (root / "link").symlink_to(tmp_path / "secret")
    digest = hashlib.sha256(b"good").hexdigest()

    def row(path: str) -> CheckpointRow:
        return CheckpointRow(trial=0, fence=1, step=1, resource=1.0, path=path, digest=digest, size_bytes=4)

    for path in ("../secret", "/etc/passwd", "link", "", "."):
        with pytest.raises(NotFound):
            storage.confined(root, path)
    assert checkpoints.newest(root, [row("a/missing"), row("a/c.bin")])[1].read_bytes() == b"good"
    with pytest.raises(NotFound, match="no stored checkpoint"):
        checkpoints.newest(root, [row("a/missing")])
    storage.remove(root, ["a/c.bin", "../secret"])
    assert not (root / "a").exists()
    assert (tmp_path / "secret").exists()
