"""The event log with all metrics of its reports, for those who copy a study elsewhere."""

from __future__ import annotations

from typing import Any

import httpx

BASE = "/api/v1/studies"


def log(client: httpx.Client, study: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{BASE}/{study}/log", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_each_report_carries_its_metrics(client: httpx.Client, study: str) -> None:
    given = client.post(f"{BASE}/{study}/ask", json={"client_id": "me", "n": 2}).json()["trials"]
    reports = [
        {"trial": one["trial"], "fence": one["fence"], "step": step, "metrics": {"loss": 1 / step, "acc": "NaN"}}
        for one in given
        for step in (1, 2)
    ]
    assert client.post(f"{BASE}/{study}/reports", json={"reports": reports}).status_code == 200
    client.post(f"{BASE}/{study}/tell", json={"trial": 0, "fence": 1, "value": 0.25})

    plain = [row for event in log(client, study) if event["kind"] == "reported" for row in event["payload"]["reports"]]
    told = [
        row
        for event in log(client, study, metrics=1)
        if event["kind"] == "reported"
        for row in event["payload"]["reports"]
    ]
    assert [row[:5] for row in told] == plain, "what the log tells stays as it is"
    assert [(row[0], row[2], row[5]) for row in told][:4] == [
        (trial, step, {"loss": 1 / step, "acc": "NaN"}) for trial in (0, 1) for step in (1, 2)
    ]


def test_a_page_without_reports_is_the_same(client: httpx.Client, study: str) -> None:
    assert log(client, study, metrics=1) == log(client, study)
