"""`POST /studies/{id}/trials/import`: what is stored, told and refused, and that every page of such a study answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.api.support import DEFINITION, check

OLD: dict[str, Any] = {
    "params": {"lr": 0.01, "kind": "a"},
    "reports": [{"step": k, "metrics": {"loss": 1.0 - k / 10}} for k in range(5)],
    "started_at": "2023-03-01T10:00:00Z",
    "ended_at": "2023-03-01T10:05:00+00:00",
    "tags": ["old"],
}


def send(client: httpx.Client, study: str, *trials: Any, **more: Any) -> dict[str, Any]:
    answer = client.post(f"/api/v1/studies/{study}/trials/import", json={"trials": list(trials), **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_what_was_given_is_what_is_shown(client: httpx.Client, study: str, changed: list[str]) -> None:
    told = send(client, study, OLD, {**OLD, "state": "stopped", "reason": "pruned"})
    assert told == {"trials": [0, 1], "outside": [], "outside_count": 0}
    assert study in changed
    trial = client.get(f"/api/v1/studies/{study}/trials/0").json()
    assert (trial["state"], trial["origin"], trial["value"], trial["resource"]) == ("finished", "imported", 0.6, 5.0)
    assert (trial["started_at"], trial["seconds"], trial["tags"]) == ("2023-03-01T10:00:00Z", 300.0, ["old"])
    assert trial["attempt_rows"][0]["method"] == "imported"
    assert client.get(f"/api/v1/studies/{study}/trials/1").json()["reason"] == "pruned"
    best = client.get(f"/api/v1/studies/{study}").json()
    assert (best["best"]["trial"], best["best"]["value"]) == (0, 0.6)
    assert [(bound["name"], bound["used"]) for bound in best["budget"]] == [("trials", 0)]


def test_final_values_are_a_last_report_where_that_does_not_say_them(client: httpx.Client, study: str) -> None:
    send(client, study, {**OLD, "metrics": {"loss": 0.6}}, {**OLD, "metrics": {"loss": 0.3, "size": 9}}, {
        "params": OLD["params"], "metrics": {"loss": "NaN"}})  # fmt: skip
    items = [client.get(f"/api/v1/studies/{study}/trials/{n}/reports").json()["items"] for n in range(3)]
    assert [len(found) for found in items] == [5, 6, 1]
    assert items[1][-1]["metrics"] == {"loss": 0.3, "size": 9.0}
    last = client.get(f"/api/v1/studies/{study}/trials/2").json()
    assert (last["state"], last["value"], last["resource"]) == ("failed", "NaN", 1.0)


def test_parameters_outside_the_space_are_kept_and_told(client: httpx.Client, study: str) -> None:
    odd = {**OLD, "params": {"lr": 5.0, "layers": 3}}
    told = send(client, study, OLD, odd)
    assert told["outside_count"] == 1
    assert {one["trial"] for one in told["outside"]} == {1}
    assert any("trials.1.params.layers" in one["message"] for one in told["outside"])
    assert client.get(f"/api/v1/studies/{study}/trials/1").json()["params"] == {"lr": 5.0, "layers": 3}
    answer = client.post(f"/api/v1/studies/{study}/trials/import", json={"trials": [OLD, odd], "outside": "refuse"})
    problem = check(answer, 422)
    assert {error["path"] for error in problem["errors"]} >= {"trials.1.params.layers", "trials.1.params.lr"}
    assert client.get(f"/api/v1/studies/{study}").json()["counts"]["finished"] == 2


@pytest.mark.parametrize(
    ("odd", "path"),
    [
        ({"state": "running"}, "trials.0.state"),
        ({"params": {"lr": [1]}}, "trials.0.params.lr"),
        ({"reports": [{"step": 1, "metrics": {"loss": 1}}] * 2}, "trials.0.reports"),
        ({"reports": [{"step": -1, "metrics": {"loss": 1}}]}, "trials.0.reports.0.step"),
        ({"started_at": "yesterday"}, "trials.0.started_at"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_breaks_a_rule_is_named(client: httpx.Client, study: str, odd: dict[str, Any], path: str) -> None:
    answer = client.post(f"/api/v1/studies/{study}/trials/import", json={"trials": [{**OLD, **odd}]})
    assert any(path in error["path"] for error in check(answer, 422)["errors"]), answer.text


def test_a_key_is_answered_again(client: httpx.Client, study: str) -> None:
    headers, body = {"Idempotency-Key": "batch-1"}, {"trials": [OLD]}
    place = f"/api/v1/studies/{study}/trials/import"
    first, again = (client.post(place, json=body, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert client.get(f"/api/v1/studies/{study}").json()["counts"]["finished"] == 1


def test_a_study_begins_paused_ends_with_its_history_and_goes_on(client: httpx.Client) -> None:
    made = client.post("/api/v1/studies?paused=1", json=DEFINITION).json()
    assert made["state"] == "paused"
    send(client, made["id"], OLD, finish="imported from Optuna")
    shown = client.get(f"/api/v1/studies/{made['id']}").json()
    assert (shown["state"], shown["reason"]) == ("finished", "imported from Optuna")
    assert client.post(f"/api/v1/studies/{made['id']}/resume").json()["state"] == "running"
    asked = client.post(f"/api/v1/studies/{made['id']}/ask", json={"client_id": "c"}).json()
    assert asked["trials"][0]["trial"] == 1


def test_a_paused_study_with_a_trainer_goes_on_with_its_preflight(client: httpx.Client) -> None:
    document = {**DEFINITION, "trainer": {"recipe": "tabular"}, "space": {"lr": DEFINITION["space"]["lr"]}}
    document["objective"] = {"metric": "val_loss"}
    made = client.post("/api/v1/studies?paused=1", json=document)
    assert made.status_code == 201, made.text
    assert client.post(f"/api/v1/studies/{made.json()['id']}/resume").json()["state"] == "preflight"


def test_charts_count_from_the_first_dispatch_here(client: httpx.Client, study: str) -> None:
    send(client, study, OLD)
    asked = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "c"}).json()["trials"][0]
    told = {"trial": asked["trial"], "fence": asked["fence"], "value": 0.1, "resource": 5}
    assert client.post(f"/api/v1/studies/{study}/tell", json=told).status_code == 200
    progress = client.get(f"/api/v1/studies/{study}/progress").json()
    assert progress["points"]["hours"][0] == 0
    assert min(progress["improvements"]["hours"]) >= 0
    assert progress["points"]["spent_resource"] == [0, 5]
    assert progress["improvements"]["spent_resource"] == [0, 5]
    shown = client.get(f"/api/v1/studies/{study}").json()
    assert [(bound["name"], bound["used"]) for bound in shown["budget"]] == [("trials", 1)]


PAGES = (
    "", "/trials", "/trials/0", "/trials/0/context", "/trials/0/reports", "/trials/0/launch", "/best", "/rungs",
    "/progress", "/sample", "/curves", "/changes?since=0", "/brackets", "/importance", "/distribution", "/pareto",
    "/sensitivity", "/timeline", "/surrogate?parameter=lr", "/export", "/log", "/methods", "/definition.yaml",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_an_imported_study_answers(client: httpx.Client, study: str, page: str) -> None:
    send(client, study, *[{**OLD, "params": {"lr": 10.0 ** -(1 + k % 3), "kind": "a"}} for k in range(12)])
    answer = client.get(f"/api/v1/studies/{study}{page}")
    if answer.status_code == 404 and page == "/trials/0/launch":
        return  # it was launched elsewhere
    assert answer.status_code == 200, answer.text
