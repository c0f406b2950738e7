"""A study's answer: budget, pace, time left, the newest decision, sparklines."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service.api.standing import Paces
from hpo_service.core.states import StudyState
from hpo_service.store import studies
from hpo_service.store.database import Database
from hpo_service.store.rows import StudyRow
from tests.unit.api.support import DEFINITION


def _trial(client: TestClient, study: str, value: float, **more: float) -> None:
    path = f"/api/v1/studies/{study}"
    given = client.post(f"{path}/ask", json={"client_id": "me"}).json()["trials"][0]
    told = {"trial": given["trial"], "fence": given["fence"], "value": value, **more}
    assert client.post(f"{path}/tell", json=told).status_code == 200


def test_a_study_says_how_it_stands(client: TestClient, study: str) -> None:
    fresh = client.get(f"/api/v1/studies/{study}").json()
    assert fresh["budget"] == [{"name": "trials", "used": 0.0, "limit": 6.0, "unit": "trials"}]
    assert fresh["decision_reason"] == fresh["reason"] == ""
    assert fresh["rate"] is fresh["time_left_s"] is fresh["last_report_at"] is None
    _trial(client, study, 0.5)
    began = client.get(f"/api/v1/studies/{study}").json()
    assert began["budget"][0]["used"] == 1.0
    assert began["decision_reason"] != ""
    assert datetime.fromisoformat(began["last_report_at"]) <= datetime.now(UTC)


def test_the_newest_decision_is_told_while_reports_come(client: TestClient, study: str) -> None:
    path = f"/api/v1/studies/{study}"
    given = client.post(f"{path}/ask", json={"client_id": "me"}).json()["trials"][0]
    before = client.get(path).json()["decision_reason"]
    for step in range(5):
        report = {"trial": given["trial"], "fence": given["fence"], "step": step, "metrics": {"loss": 1.0}}
        assert client.post(f"{path}/reports", json={"reports": [report]}).status_code == 200
    assert client.get(path).json()["decision_reason"] == before != ""


def test_lists_have_sparklines_where_asked(client: TestClient, study: str) -> None:
    other = client.post("/api/v1/studies", json={**DEFINITION, "name": "other"}).json()["id"]
    for value in (0.5, 0.7, 0.3):
        _trial(client, study, value)
    plain = client.get("/api/v1/studies").json()["items"]
    assert [item["sparkline"] for item in plain] == [None, None]
    items: dict[str, Any] = {s["id"]: s for s in client.get("/api/v1/studies?sparkline=1").json()["items"]}
    assert items[study]["sparkline"]["value"] == [0.5, 0.3]
    hours = items[study]["sparkline"]["hours"]
    assert 0 <= hours[0] <= hours[1] < 1
    assert items[other]["sparkline"] == {"hours": [], "value": []}
    assert items[study]["budget"][0]["used"] == 3.0


def test_a_sparkline_does_not_fall_where_a_trial_comes_further(client: TestClient, study: str) -> None:
    for value, resource in ((0.5, 1), (0.3, 1), (0.4, 3), (0.2, 3)):
        _trial(client, study, value, resource=resource)
        (listed,) = client.get("/api/v1/studies?sparkline=1").json()["items"]
        assert listed["best"]["value"] == value  # more resource beats less
    assert listed["sparkline"]["value"] == [0.5, 0.3, 0.3, 0.2]


@pytest.fixture
def row(db: Database, study: str) -> StudyRow:
    """A study that has been running for ten minutes and has finished two of its six trials."""
    found = studies.get_study(db, study)
    started = datetime.fromtimestamp(1_000_000, UTC)
    return replace(found, started_at=started, counts={**found.counts, "finished": 2, "running": 1}, resource=2.0)


class Clock:
    now = 1_000_600.0

    def __call__(self) -> float:
        return self.now


def _more(row: StudyRow, finished: int) -> StudyRow:
    return replace(row, counts={**row.counts, "finished": finished}, resource=float(finished))


def test_first_the_rate_since_the_start_then_that_of_the_last_minutes(row: StudyRow) -> None:
    clock = Clock()
    paces = Paces(clock)
    first = paces.standing(row)
    assert first.rate is not None
    assert (first.rate.trials, first.rate.seconds) == (12.0, 600.0)
    assert first.time_left_s == pytest.approx(4 / 12 * 3600)
    clock.now += 90
    second = paces.standing(_more(row, 5))
    assert second.rate is not None
    assert (second.rate.trials, second.rate.seconds) == (120.0, 90.0)
    assert second.time_left_s == pytest.approx(30.0)


def test_where_nothing_ended_lately_the_rate_since_the_start_holds(row: StudyRow) -> None:
    clock = Clock()
    paces = Paces(clock)
    paces.standing(row)
    clock.now += 100
    found = paces.standing(row)
    assert found.rate is not None
    assert found.rate.seconds == 700.0


def test_a_pause_is_not_counted(row: StudyRow) -> None:
    clock = Clock()
    paces = Paces(clock)
    paces.standing(row)
    assert paces.standing(replace(row, state=StudyState.PAUSED)).rate is None
    clock.now += 3600
    paces.standing(row)
    clock.now += 90
    found = paces.standing(_more(row, 4))
    assert found.rate is not None
    assert (found.rate.trials, found.rate.seconds) == (80.0, 90.0)


def test_marks_older_than_the_window_are_dropped(row: StudyRow) -> None:
    clock = Clock()
    paces = Paces(clock)
    for minute in range(60):
        clock.now += 60
        paces.standing(_more(row, minute))
    found = paces.standing(_more(row, 60))
    assert found.rate is not None
    assert found.rate.seconds <= 660
    assert found.rate.trials == pytest.approx(60.0, rel=0.1)


def test_patience_auto_is_taken_and_is_a_bound_without_a_number(client: TestClient, study: str) -> None:
    path = f"/api/v1/studies/{study}"
    assert client.patch(path, json={"budget": {"patience": "auto", "worth": 50}}).status_code == 200
    row = client.get(path).json()["budget"][-1]
    assert row == {"name": "patience", "used": None, "limit": None, "unit": "until going on is not worth its cost"}
    refused = client.patch(path, json={"budget": {"patience": "soon"}})
    assert refused.status_code == 422
    assert "patience is auto or a whole number" in refused.text
    budget = client.get("/api/v1/schema").json()["$defs"]["Budget"]["properties"]
    assert {"const": "auto", "type": "string"} in budget["patience"]["anyOf"]
