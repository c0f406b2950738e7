"""Statistics of curves on a page of trials, and the log read backwards."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hpo_service.api import curve_metrics
from hpo_service.api.routes.events import _shortened
from hpo_service.core.events import PAYLOADS
from tests.unit.api.support import check


@pytest.fixture
def trials(client: httpx.Client, study: str) -> list[dict[str, Any]]:
    """Three asked trials; the first reports three times, the second nothing finite, the third nothing."""
    asked = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me", "n": 3}).json()["trials"]
    told = [(0, [3.0, 1.0, 2.0]), (1, ["NaN"])]
    reports = [
        {"trial": asked[i]["trial"], "fence": asked[i]["fence"], "step": step, "metrics": {"loss": loss, "shoes": step}}
        for i, losses in told
        for step, loss in enumerate(losses, start=1)
    ]
    answer = client.post(f"/api/v1/studies/{study}/reports", json={"reports": reports})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = asked
    return found


def page(client: httpx.Client, study: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/studies/{study}/trials", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


@pytest.mark.usefixtures("trials")
def test_statistics_come_when_asked_for(client: httpx.Client, study: str) -> None:
    first, second, third = page(client, study, stats="loss,shoes")
    assert first["stats"]["loss"] == {"first": 3.0, "last": 2.0, "best": 1.0, "min": 1.0, "max": 3.0}
    assert first["stats"]["shoes"] == {"first": 1.0, "last": 3.0, "best": None, "min": 1.0, "max": 3.0}
    assert second["stats"]["loss"] == {"first": "NaN", "last": "NaN", "best": None, "min": None, "max": None}
    assert third["stats"] == {}
    assert all("stats" not in row for row in page(client, study))


@pytest.mark.usefixtures("trials")
def test_statistics_of_an_unknown_metric_name_the_nearest(client: httpx.Client, study: str) -> None:
    problem = check(client.get(f"/api/v1/studies/{study}/trials", params={"stats": "los"}), 422)
    assert problem["errors"][0]["path"] == "query.stats"
    assert "loss" in problem["errors"][0]["remedy"]
    many = ",".join(f"m{i}" for i in range(curve_metrics.MAX_METRICS + 1))
    assert "at most" in check(client.get(f"/api/v1/studies/{study}/trials", params={"stats": many}), 422)["detail"]


def test_whether_more_is_better_is_declared_or_guessed_by_words() -> None:
    definition = {"trainer": {"recipe": "image_classifier"}, "objective": {"metric": "shoes", "direction": "maximize"}}
    known = curve_metrics.declared(definition)
    assert known["shoes"] is True
    assert known["val_loss"] is False
    several = {"trainer": {}, "objective": [{"metric": "val_loss", "direction": "maximize"}]}
    assert curve_metrics.wanted("val_loss, train_loss", ["val_loss", "train_loss"], several) == {
        "val_loss": True,
        "train_loss": False,
    }
    assert [curve_metrics.guessed(n) for n in ("val_Accuracy", "top5_error", "closset", "epoch")] == [
        True, False, None, None,
    ]  # fmt: skip


def short(event: dict[str, Any]) -> dict[str, Any]:
    """The payload as people read it."""
    payload: dict[str, Any] = event["payload"]
    return {"count": len(payload["reports"])} if event["kind"] == "reported" else payload


def test_long_lists_of_the_log_are_cut() -> None:
    assert _shortened({"a": list(range(20)), "b": 3}) == {"a": list(range(20)), "b": 3}
    assert _shortened({"a": list(range(23))}) == {"a": list(range(20)), "a_more": 3}


def test_what_is_cut_from_the_log_is_counted_by_kind() -> None:
    proposals = [{"kind": "stop", "trial": n} for n in range(19)] + [{"kind": "start", "trial": n} for n in range(30)]
    found = _shortened({"proposals": proposals})
    assert (len(found["proposals"]), found["proposals_more"]) == (20, 29)
    assert found["proposals_counts"] == {"stop": 19, "start": 30}
    ended = [[n, 1, "reached", "paused" if n % 2 else "failed", 3.0, "", 0] for n in range(21)]
    assert _shortened({"attempts": ended})["attempts_counts"] == {"paused": 10, "failed": 11}


@pytest.mark.usefixtures("trials")
def test_changes_tell_trials_as_pages_do(client: httpx.Client, study: str) -> None:
    """Also those whose value is not finite, so that what is patched and what is asked for look the same."""
    changed = client.get(f"/api/v1/studies/{study}/changes", params={"since": 0}).json()["trials"]
    assert sorted(changed, key=lambda row: row["number"]) == page(client, study)
    assert "NaN" in [row["value"] for row in changed]


@pytest.mark.usefixtures("trials")
def test_the_log_is_read_backwards_in_pages_and_by_kind(client: httpx.Client, study: str) -> None:
    def log(**query: Any) -> list[dict[str, Any]]:
        answer = client.get(f"/api/v1/studies/{study}/log", params=query)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    forwards = [event | {"payload": short(event)} for event in log()]
    assert log(before=0) == forwards[::-1]
    walked: list[dict[str, Any]] = []
    while more := log(before=walked[-1]["seq"] if walked else 0, limit=2):
        walked += more
        assert len(walked) <= len(forwards)
    assert walked == forwards[::-1]
    chosen = log(before=0, kind="reported,study_created")
    assert [e["kind"] for e in chosen] == ["reported", "study_created"]
    assert chosen[0] == next(e for e in forwards if e["kind"] == "reported")


def test_a_log_query_that_makes_no_sense_is_refused(client: httpx.Client, study: str) -> None:
    def refused(**query: Any) -> str:
        return str(check(client.get(f"/api/v1/studies/{study}/log", params=query), 422)["errors"][0]["path"])

    assert refused(kind="decided") == "query.kind"
    assert refused(before=0, kind="desided") == "query.kind"
    assert refused(before=3, after=1) == "query.after"
    assert "decided" in PAYLOADS
