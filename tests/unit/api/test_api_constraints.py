"""Studies with constraints over REST: what is said of trials and of the best, filters, fronts, exports, archives."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from hpo_service.client.results import StudySnapshot, TrialSnapshot
from hpo_service.core.definition import parse
from hpo_service.documents import load_yaml
from tests.unit.api.support import DEFINITION, check

BOUNDS = [{"metric": "ms", "at_most": 20}, {"metric": "recall", "at_least": 0.9}]
TOLD = [
    {"loss": 0.1, "ms": 23.2, "recall": 0.95},
    {"loss": 0.5, "ms": 10.0, "recall": 0.95},
    {"loss": 0.4, "ms": 10.0},
    {"loss": 0.6, "ms": 5.0, "recall": 0.92},
]


def submit(client: httpx.Client, **more: Any) -> str:
    answer = client.post("/api/v1/studies", json={**DEFINITION, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def tell(client: httpx.Client, study: str, told: Sequence[dict[str, float]]) -> None:
    asked = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me", "n": len(told)}).json()["trials"]
    for trial, metrics in zip(asked, told, strict=True):
        body = {"trial": trial["trial"], "fence": trial["fence"], "state": "completed", "metrics": metrics}
        answer = client.post(f"/api/v1/studies/{study}/tell", json=body)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def bounded(client: httpx.Client) -> str:
    study = submit(client, constraints=BOUNDS)
    tell(client, study, TOLD)
    return study


def numbers(client: httpx.Client, study: str, **query: str) -> list[int]:
    return [row["number"] for row in read(client, study, "trials", **query)["items"]]


def read(client: httpx.Client, study: str, path: str = "", **query: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1/studies/{study}{'/' + path if path else ''}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_trials_and_the_best_one_say_what_they_keep(client: httpx.Client, bounded: str) -> None:
    trial = read(client, bounded, "trials/0")
    assert (trial["feasible"], trial["breaks"]) == (False, "breaks ms by 3.2")
    assert trial["violations"] == {"ms": pytest.approx(3.2), "recall": pytest.approx(-0.05)}
    rows = [TrialSnapshot.model_validate(row) for row in read(client, bounded, "trials")["items"]]
    assert [row.feasible for row in rows] == [False, True, None, True]
    assert rows[2].breaks == "has no value of recall"
    best = read(client, bounded)["best"]
    assert (best["trial"], best["value"], best["feasible"], best["breaks"]) == (1, 0.5, True, "")
    assert [row["number"] for row in read(client, bounded, "best", limit=9)["items"]] == [1, 3]
    assert read(client, bounded, "trials/3/context")["rank"] == 2
    assert read(client, bounded, "trials/0/context")["rank"] == 3


def test_where_nothing_keeps_them_the_least_broken_is_told_so(client: httpx.Client) -> None:
    study = submit(client, constraints=BOUNDS, budget={"trials": 6, "target": 0.2})
    tell(client, study, [{"loss": 0.1, "ms": 40.0, "recall": 0.95}, {"loss": 0.9, "ms": 21.0, "recall": 0.95}])
    answer = read(client, study)
    assert StudySnapshot.model_validate(answer).best.breaks == "breaks ms by 1"  # type: ignore[union-attr]
    assert (answer["best"]["trial"], answer["best"]["feasible"]) == (1, False)
    assert next(row for row in answer["budget"] if row["name"] == "target")["used"] is None
    assert (answer["state"], answer["ending_reason"]) == ("running", "")
    (listed,) = client.get("/api/v1/studies", params={"sparkline": "1"}).json()["items"]
    assert (listed["best"]["breaks"], listed["sparkline"]["value"]) == ("breaks ms by 1", [])
    progress = read(client, study, "progress")
    assert (progress["by_trial"]["value"], progress["points"]["feasible"]) == ([], [0, 0])


def test_a_bounded_metric_that_no_trial_reports_is_told_with_those_that_are(client: httpx.Client) -> None:
    study = submit(client, constraints=[{"metric": "mss", "at_most": 20}])
    tell(client, study, [{"loss": 0.1, "ms": 40.0}])
    asked = "no trial has reported mss: does the trainer report a metric of that name? it reports loss, ms"
    assert read(client, study)["best"]["breaks"] == f"has no value of mss; {asked}"
    tell(client, study, [{"loss": 0.2, "mss": 10.0}])
    assert read(client, study)["best"]["breaks"] == ""


def test_filters_and_sorts_by_what_is_kept(client: httpx.Client, bounded: str) -> None:
    assert numbers(client, bounded, filter="feasible:yes") == [1, 3]
    assert numbers(client, bounded, filter="feasible:no,unknown") == [0, 2]
    assert numbers(client, bounded, filter="feasible!=no", sort="-value") == [3, 1, 2]
    assert numbers(client, bounded, filter="violation<0.5") == [0, 1, 3]
    assert numbers(client, bounded, sort="value") == [1, 3, 0, 2]
    assert numbers(client, bounded, sort="feasible") == [1, 3, 0, 2]
    matches = read(client, bounded, "progress", filter="feasible!=yes")["points"]["matches"]
    assert matches == [1, 0, 1, 0]
    problem = check(client.get(f"/api/v1/studies/{bounded}/trials", params={"filter": "feasible:maybe"}), 422)
    assert "unknown feasible" in problem["errors"][0]["rule"]


def test_elsewhere_these_names_are_parameters_and_metrics(client: httpx.Client) -> None:
    space = {"feasible": {"type": "uniform", "low": 0, "high": 1}}
    study = submit(client, space=space)
    tell(client, study, [{"loss": 0.5, "violation": 3.0}])
    assert numbers(client, study, filter="feasible>=0 violation:3") == [0]
    trial = read(client, study, "trials/0")
    assert (trial["feasible"], trial["violations"], trial["breaks"]) == (None, {}, "")
    assert "constraints" not in read(client, study)["definition"]


def test_the_front_is_of_what_keeps_them(client: httpx.Client) -> None:
    study = submit(client, objective=[{"metric": "loss"}, {"metric": "size"}], constraints=BOUNDS[:1])
    tell(client, study, [{"loss": 0.1, "size": 1.0, "ms": 30.0}, {"loss": 0.5, "size": 2.0, "ms": 3.0}])
    found = read(client, study, "pareto")
    assert (found["front"]["number"], found["infeasible"]) == ([1], 1)
    assert (found["points"]["number"], found["points"]["feasible"]) == ([0, 1], [0, 1])


def test_exports_say_it_where_there_is_something_to_say(client: httpx.Client, bounded: str) -> None:
    text = client.get(f"/api/v1/studies/{bounded}/export").text
    told = [row["violation"] for row in csv.DictReader(io.StringIO(text))]
    assert [float(one) if one else None for one in told] == [pytest.approx(0.16), 0.0, None, 0.0]
    exported = client.get(f"/api/v1/studies/{bounded}/export", params={"format": "json"}).json()
    assert [row["feasible"] for row in exported] == [False, True, None, True]
    plain = submit(client)
    assert "violation" not in client.get(f"/api/v1/studies/{plain}/export").text


def test_definitions_are_written_and_archived_with_them(client: httpx.Client, bounded: str) -> None:
    text = client.get(f"/api/v1/studies/{bounded}/definition.yaml").text
    assert parse(load_yaml(text)).to_document()["constraints"] == [
        {"metric": "ms", "at_most": 20.0}, {"metric": "recall", "at_least": 0.9},
    ]  # fmt: skip
    lines = text.splitlines()
    assert lines[lines.index("constraints:") - 1].startswith("objective")
    client.post(f"/api/v1/studies/{bounded}/pause")
    archive = client.get(f"/api/v1/studies/{bounded}/archive").content
    digest = read(client, bounded, "digest")["digest"]
    assert client.delete(f"/api/v1/studies/{bounded}").status_code in (200, 204)
    restored = client.post(
        "/api/v1/studies/restore", content=archive, headers={"content-type": "application/octet-stream"}
    ).json()["id"]
    assert read(client, restored, "digest")["digest"] == digest
    assert numbers(client, restored, filter="feasible:yes") == [1, 3]


def test_they_cannot_be_changed(client: httpx.Client, bounded: str) -> None:
    changed = client.patch(f"/api/v1/studies/{bounded}", json={"constraints": [{"metric": "ms", "at_most": 30}]})
    assert changed.status_code == 422
