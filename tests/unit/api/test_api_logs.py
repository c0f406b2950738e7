"""Searching logs over REST."""

from __future__ import annotations

from fastapi.testclient import TestClient

from hpo_service.store import logs
from hpo_service.store.database import Database
from tests.unit.api.support import check


def test_lines_are_found_with_their_places(client: TestClient, study: str, db: Database) -> None:
    asked = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "c1", "n": 2}).json()["trials"]
    for one in asked:
        logs.append_logs(db, [(study, one["trial"], one["fence"], "epoch 1\nLoss is NaN\nloss is nan again\n")])
    place = f"/api/v1/studies/{study}/logs"
    page = client.get(place, params={"search": "nan", "limit": 3}).json()
    assert [(one["trial"], one["line"], one["text"]) for one in page["items"]] == [
        (0, 2, "Loss is NaN"),
        (0, 3, "loss is nan again"),
        (1, 2, "Loss is NaN"),
    ]
    rest = client.get(place, params={"search": "nan", "limit": 3, "cursor": page["next_cursor"]}).json()
    assert [(one["trial"], one["line"]) for one in rest["items"]] == [(1, 3)]
    assert rest["next_cursor"] is None
    only = client.get(place, params={"search": "nan", "trial": 1, "fence": 1}).json()
    assert {one["trial"] for one in only["items"]} == {1}
    assert client.get(place, params={"search": "nowhere"}).json()["items"] == []


def test_a_search_is_part_of_a_line(client: TestClient, study: str) -> None:
    place = f"/api/v1/studies/{study}/logs"
    for wrong in ({}, {"search": ""}, {"search": "a\nb"}, {"search": "x" * 201}, {"search": "a", "cursor": "x"}):
        check(client.get(place, params=wrong), 422)
    check(client.get("/api/v1/studies/nothing/logs", params={"search": "a"}), 404)
