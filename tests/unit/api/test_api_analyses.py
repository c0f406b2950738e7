"""The analyses over HTTP: their shape, caching, and what they say of a study that was played through by hand."""

from __future__ import annotations

import sys
import time
from typing import Any

import httpx
import pytest

from hpo_service.store.database import Database
from hpo_service.store.rows import Placement
from tests.storelib import World
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


@pytest.mark.parametrize("view", ["brackets", "importance", "distribution", "pareto", "timeline", "sensitivity"])
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


def test_importance_needs_trials_and_says_so(client: httpx.Client, study: str) -> None:
    for method in ("ped_anova", "fanova"):
        found = client.get(f"{API}/{study}/importance?method={method}").json()
        assert found["parameters"] == []
        assert "at least 10" in found["note"] or "nothing to compare" in found["note"]
    check(client.get(f"{API}/{study}/importance?method=guess"), 422)


def test_importance_of_a_study(client: httpx.Client) -> None:
    study = make(client, {**DEFINITION, "budget": {"trials": 24}})
    play(client, study)
    found = client.get(f"{API}/{study}/importance").json()
    assert {one["name"] for one in found["parameters"]} == {"lr", "kind"}
    assert sum(one["importance"] for one in found["parameters"]) == pytest.approx(1)
    assert (found["trials_used"], found["of"], found["matching"]) == (23, 24, 24)
    some = client.get(f"{API}/{study}/importance", params={"filter": "number<12"}).json()
    assert (some["trials_used"], some["matching"]) == (11, 12)


def test_fanova_comes_from_the_background(client: httpx.Client) -> None:
    study = make(client, {**DEFINITION, "budget": {"trials": 24}})
    play(client, study)
    for _ in range(200):
        answer = client.get(f"{API}/{study}/importance?method=fanova")
        found = answer.json()
        if not found["computing"]:
            break
        assert answer.headers["cache-control"] == "no-store"
        time.sleep(0.05)
    assert found["note"] == ""
    assert found["trials_used"] == 23
    assert sum(one["importance"] for one in found["parameters"]) == pytest.approx(1, abs=1e-4)
    assert client.get(f"{API}/{study}/importance?method=fanova").headers["etag"]


def test_fanova_without_scikit_learn_says_what_to_do(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make(client, {**DEFINITION, "budget": {"trials": 24}})
    play(client, study)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    found = client.get(f"{API}/{study}/importance?method=fanova").json()
    assert "hpo-service[worker]" in found["note"]


def test_distribution_by_parameter(client: httpx.Client, study: str) -> None:
    play(client, study)
    found = client.get(f"{API}/{study}/distribution?by=kind").json()
    everything, *groups = found["groups"]
    assert everything["value"] == [0, 1, 2, 4, 5]
    assert everything["share"][-1] == 1
    assert sum(group["n"] for group in groups) == 5
    assert {group["name"] for group in groups} <= {"a", "b"}
    matching = client.get(f"{API}/{study}/distribution", params={"filter": "value>=2"}).json()["groups"][1]
    assert (matching["name"], matching["value"]) == ("matching", [2, 4, 5])
    problem = check(client.get(f"{API}/{study}/distribution?by=kinds"), 422)
    assert "kind" in problem["errors"][0]["remedy"]


def test_the_front_of_two_objectives(client: httpx.Client) -> None:
    objectives = [{"metric": "loss"}, {"metric": "accuracy", "direction": "maximize"}]
    study = make(client, {**DEFINITION, "objective": objectives})
    asked = client.post(f"{API}/{study}/ask", json={"client_id": "c", "n": 4, "lease_s": 60}).json()["trials"]
    values = [[1.0, 0.5], [2.0, 0.9], [2.0, 0.5], [3.0, "NaN"]]
    for one, pair in zip(asked, values, strict=True):
        told = {"trial": one["trial"], "fence": one["fence"], "values": pair, "resource": 1}
        assert client.post(f"{API}/{study}/tell", json=told).status_code == 200
    found = client.get(f"{API}/{study}/pareto").json()
    assert found["front"]["number"] == [0, 1]
    assert found["front"]["values"] == [[1.0, 2.0], [0.5, pytest.approx(0.9)]]
    assert found["points"]["number"] == [0, 1, 2]
    assert found["objectives"][1] == {"metric": "accuracy", "direction": "maximize"}


def test_sensitivity_around_the_baseline_and_around_a_trial(client: httpx.Client) -> None:
    space = {**DEFINITION["space"], "lr": {**DEFINITION["space"]["lr"], "default": 0.01}}
    study = make(client, {**DEFINITION, "space": space})
    before = client.get(f"{API}/{study}/sensitivity").json()
    assert before["missing"]["lr"] == 0.01
    play(client, study)
    found = client.get(f"{API}/{study}/sensitivity").json()
    assert found["baseline"]["trial"] == 0
    suggested = [one["params"] for parameter in found["parameters"] for one in parameter["suggested"]]
    answer = client.post(f"{API}/{study}/trials", json={"configurations": suggested})
    assert answer.status_code == 201, answer.text
    again = client.get(f"{API}/{study}/sensitivity").json()
    assert sum(len(parameter["points"]) for parameter in again["parameters"]) >= len(suggested)
    assert client.get(f"{API}/{study}/sensitivity?trial=2").json()["baseline"]["trial"] == 2
    check(client.get(f"{API}/{study}/sensitivity?trial=999"), 404)


def test_a_timeline_goes_on_while_nothing_is_reported(
    client: httpx.Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a worker began an attempt is no event: the answer of before does not stand until the next report."""
    world = World(db)
    world.start(2, placements={0: Placement(), 1: Placement()})
    before = client.get(f"{API}/{world.id}/timeline")
    assert (before.json()["waiting"], before.json()["shown"]) == (2, 0)
    world.collect(world.started(0))
    later = time.time() + 10
    monkeypatch.setattr("hpo_service.api.routes.analyses.time.time", lambda: later)
    after = client.get(f"{API}/{world.id}/timeline", headers={"if-none-match": before.headers["etag"]})
    assert (after.json()["waiting"], after.json()["shown"]) == (1, 1)
    assert after.json()["seq"] == before.json()["seq"]
