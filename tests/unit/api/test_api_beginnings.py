"""What `auto` picked and what a study began from, as the service tells it; other projects' studies are not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from tests.unit.api.support import DEFINITION, check

AUTO = {**DEFINITION, "algorithm": "auto"}
RESULTS = [
    {"params": {"lr": 10 ** (-1.0 - 0.3 * k), "kind": "ab"[k % 2]}, "metrics": {"loss": abs(k - 5) / 10}}
    for k in range(10)
]


def past(client: httpx.Client, headers: dict[str, str] | None = None, **more: Any) -> str:
    study = client.post("/api/v1/studies", json={**DEFINITION, "name": "old", **more}, headers=headers).json()["id"]
    told = client.post(f"/api/v1/studies/{study}/trials/import", json={"trials": RESULTS}, headers=headers)
    assert told.status_code == 201, told.text
    return str(study)


def test_a_study_says_what_was_picked_and_what_it_began_from(client: httpx.Client) -> None:
    old = past(client)
    answer = client.post("/api/v1/studies", json=AUTO)
    assert answer.status_code == 201, answer.text
    for study in (answer.json(), client.get(f"/api/v1/studies/{answer.json()['id']}").json()):
        assert study["chosen"]["method"] == "gp"
        assert study["chosen"]["text"].endswith(study["chosen"]["reason"])
        assert study["warm_start"]["mode"] == "auto"
        (source,) = study["warm_start"]["sources"]
        assert (source["study"], source["name"], source["shared"]) == (old, "old", ["kind", "lr"])
        assert study["warm_start"]["portfolio"]
        assert "1 past study (old)" in study["warm_start"]["text"]
    listed = client.get("/api/v1/studies").json()["items"]
    assert all(one["chosen"] is None and one["warm_start"] is None for one in listed)
    named = client.get(f"/api/v1/studies/{old}").json()
    assert (named["chosen"], named["warm_start"]) == (None, None)


def test_the_log_for_people_leaves_the_models_data_out(client: httpx.Client) -> None:
    past(client)
    study = client.post("/api/v1/studies", json=AUTO).json()["id"]
    events = client.get(f"/api/v1/studies/{study}/log", params={"before": 0, "kind": "warm_started"}).json()["items"]
    assert events[0]["payload"]["prior_more"] == 1
    assert "prior" not in events[0]["payload"]
    whole = client.get(f"/api/v1/studies/{study}/log").json()["items"]
    assert len(whole[1]["payload"]["prior"][0]["params"]) == 10
    assert whole[0]["payload"]["chosen"]["method"] == "gp"


def test_validating_says_the_same_and_stores_nothing(client: httpx.Client) -> None:
    past(client)
    notes = client.post("/api/v1/studies/validate", json=AUTO).json()["plan"]["notes"]
    assert notes[0].startswith("auto picks a Gaussian process of final values: ")
    assert any(note.startswith("begins from 1 past study (old)") for note in notes)
    assert len(client.get("/api/v1/studies").json()["items"]) == 1
    refused = client.post(
        "/api/v1/studies/validate", json={**AUTO, "algorithm": {"name": "auto", "warm_start": ["nobody"]}}
    )
    assert check(refused, 422)["errors"][0]["path"] == "algorithm.warm_start.0"


def test_a_study_of_another_project_is_as_unknown_as_none(
    open_client: httpx.Client, bearer: Callable[..., dict[str, str]]
) -> None:
    theirs, ours = bearer("editor", "theirs"), bearer("editor", "ours")
    secret = past(open_client, theirs, project="theirs")
    named = {**AUTO, "project": "ours", "algorithm": {"name": "auto", "warm_start": [secret]}}
    unknown = {**named, "algorithm": {"name": "auto", "warm_start": ["snobody"]}}
    problems = [
        check(open_client.post("/api/v1/studies", json=one, headers=ours), 422)["errors"][0] for one in (named, unknown)
    ]
    assert problems[0]["rule"] == problems[1]["rule"]
    assert problems[0]["remedy"] == problems[1]["remedy"]
    made = open_client.post("/api/v1/studies", json={**AUTO, "project": "ours"}, headers=ours)
    assert made.json()["warm_start"]["sources"] == []
