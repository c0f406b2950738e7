"""The analyses over HTTP: their shape, caching, and what they say of a study that was played through by hand."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.api.support import DEFINITION, check

API = "/api/v1/studies"
HALVING = {
    **DEFINITION,
    "name": "halving",
    "algorithm": {"name": "successive_halving", "trials": 6, "max_resource": 9},
    "budget": {},
}


def make(client: httpx.Client, document: dict[str, Any]) -> str:
    answer = client.post(API, json=document)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def play(client: httpx.Client, study: str, *, rounds: int = 50, key: str = "loss") -> list[dict[str, Any]]:
    """Train what is asked for: the loss of a trial is its number, at every resource."""
    done = []
    for _ in range(rounds):
        asked = client.post(f"{API}/{study}/ask", json={"client_id": "c", "n": 4, "lease_s": 60}).json()["trials"]
        if not asked:
            break
        for one in asked:
            target = one.get("target") or 1.0
            told = {
                "trial": one["trial"], "fence": one["fence"], "value": float(one["trial"]), "resource": target,
            }  # fmt: skip
            if one["trial"] == 3:
                told = {"trial": 3, "fence": one["fence"], "state": "failed", "reason": "broken"}
            answer = client.post(f"{API}/{study}/tell", json=told)
            assert answer.status_code == 200, answer.text
            done.append(one)
    return done


@pytest.mark.parametrize("view", ["brackets", "timeline"])
def test_an_analysis_is_cached_and_refuses_what_it_does_not_know(client: httpx.Client, study: str, view: str) -> None:
    first = client.get(f"{API}/{study}/{view}")
    assert first.status_code == 200, first.text
    assert first.json()["seq"] >= 1
    again = client.get(f"{API}/{study}/{view}", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    check(client.get(f"{API}/{study}/{view}?nonsense=1"), 422)
    check(client.get(f"{API}/nowhere/{view}"), 404)


def test_brackets_of_halving(client: httpx.Client) -> None:
    study = make(client, HALVING)
    before = client.get(f"{API}/{study}/brackets").json()
    assert before["brackets"] == []
    assert [rung["size"] for rung in before["planned"][0]["rungs"]] == [6, 2, 1]
    play(client, study)
    found = client.get(f"{API}/{study}/brackets").json()
    assert found["direction"] == "minimize"
    (bracket,) = found["brackets"]
    first, second, third = bracket["rungs"]
    assert (first["entered"], first["promoted"], first["failed"], first["stopped"]) == (6, 2, 1, 3)
    assert first["threshold"] == 1.0
    assert first["trials"]["number"] == [0, 1, 2, 3, 4, 5]
    assert first["trials"]["value"] == [0.0, 1.0, 2.0, None, 4.0, 5.0]
    assert first["trials"]["fate"] == ["promoted", "promoted", "stopped", "failed", "stopped", "stopped"]
    assert first["trials"]["reason"][0] == "rank 1 of 6 at resource 1: promoted to resource 3"
    assert (second["entered"], second["promoted"], third["finished"]) == (2, 1, 1)
    assert found["planned"] == []


def test_random_has_no_rungs(client: httpx.Client, study: str) -> None:
    found = client.get(f"{API}/{study}/brackets").json()
    assert found["brackets"] == found["planned"] == []
    assert "no rungs" in found["note"]


def test_the_timeline_pages_back_through_all_attempts(client: httpx.Client, study: str) -> None:
    play(client, study)
    whole = client.get(f"{API}/{study}/timeline").json()
    assert whole["shown"] == whole["of"] == 6
    assert [worker["id"] for worker in whole["workers"]] == ["c"]
    assert whole["workers"][0]["failures"] == 1
    assert whole["more_before"] is None
    seen: list[int] = []
    until = ""
    while True:
        page = client.get(f"{API}/{study}/timeline?limit=4{until}").json()
        seen += page["attempts"]["trial"]
        if page["more_before"] is None:
            break
        until = f"&until={page['more_before']!r}"
    assert sorted(seen) == whole["attempts"]["trial"][::-1] == [0, 1, 2, 3, 4, 5]
