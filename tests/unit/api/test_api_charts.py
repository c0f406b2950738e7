"""Columns of trials over HTTP: exact times, clear names, answers of a bounded size, one answer per question."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hpo_service.api.notices import Notices
from hpo_service.api.routes.charts import MAX_NAMED
from hpo_service.core.states import Origin
from hpo_service.store import studies
from hpo_service.store.database import Database
from tests.unit.api.support import DEFINITION, check

API = "/api/v1/studies"
KB = 1_000


def make(client: httpx.Client, **more: Any) -> str:
    answer = client.post(API, json={**DEFINITION, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def train(client: httpx.Client, study: str, metrics: dict[str, float]) -> dict[str, Any]:
    """One trial from its start to its end, and the parameters it had."""
    (one,) = client.post(f"{API}/{study}/ask", json={"client_id": "c", "n": 1, "lease_s": 60}).json()["trials"]
    told = {"trial": one["trial"], "fence": one["fence"], "metrics": metrics, "resource": one.get("target") or 1.0}
    answer = client.post(f"{API}/{study}/tell", json=told)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = one
    return found


def test_times_are_not_rounded_to_minutes(client: httpx.Client, study: str) -> None:
    train(client, study, {"loss": 0.5})
    trial = client.get(f"{API}/{study}/timeline").json()["attempts"]
    found = client.get(f"{API}/{study}/sample?fields=started_at,ended_at").json()["columns"]
    assert found["started_at"] == [pytest.approx(trial["start"][0], abs=0.5)]
    assert found["ended_at"] == [pytest.approx(trial["end"][0], abs=0.5)]


def test_columns_of_one_name_are_told_apart(client: httpx.Client) -> None:
    """A parameter may be called as a metric is, or as a field of trials."""
    space = {"ms": {"type": "constant", "value": 7.0}, "value": {"type": "constant", "value": 8.0}}
    objective = [{"metric": "loss", "direction": "minimize"}, {"metric": "ms", "direction": "minimize"}]
    study = make(client, objective=objective, space=space)
    train(client, study, {"loss": 0.5, "ms": 3.0})
    for query in ("", "?fields=param.ms,param.value,value,metric.ms"):
        found = client.get(f"{API}/{study}/sample{query}").json()
        assert found["columns"] == {"param.ms": [7.0], "param.value": [8.0], "value": [0.5], "metric.ms": [3.0]}
        assert [field["name"] for field in found["fields"]] == list(found["columns"])
        assert [field["kind"] for field in found["fields"]] == ["param", "param", "field", "metric"]


@pytest.mark.parametrize("view", ["trials", "sample"])
@pytest.mark.parametrize(
    ("filter", "count"), [("lr<1" + "0" * 400, 1), ("lr>1" + "0" * 30, 0), ("number!=1" + "0" * 30, 1)]
)
def test_a_filter_takes_any_number(client: httpx.Client, study: str, view: str, filter: str, count: int) -> None:
    train(client, study, {"loss": 0.5})
    answer = client.get(f"{API}/{study}/{view}", params={"filter": filter})
    assert answer.status_code == 200, answer.text
    assert answer.json()["total" if view == "trials" else "matching"] == count


def test_of_a_question_asked_twice_the_last_word_counts(client: httpx.Client, study: str) -> None:
    one = client.get(f"{API}/{study}/distribution?by=lr&by=kind").json()
    two = client.get(f"{API}/{study}/distribution?by=kind&by=lr").json()
    assert (one["by"], two["by"]) == ("param.kind", "param.lr")


def test_changes_of_a_wide_space_are_bounded(client: httpx.Client, db: Database) -> None:
    space = {f"parameter_{k}": {"type": "uniform", "low": 0.0, "high": 1.0} for k in range(600)}
    study = make(client, space=space, budget={"trials": 300})
    studies.enqueue(db, study, [dict.fromkeys(space, 0.123456789)] * 100, origin=Origin.IMPORTED)
    answer = client.get(f"{API}/{study}/changes?since=0")
    assert len(answer.content) < 500 * KB
    changes = answer.json()
    assert (changes["changed"], changes["truncated"]) == (100, True)
    assert [one["number"] for one in changes["trials"]] == list(range(80, 100))


def test_a_crowd_is_told_of_the_state_that_it_had_notice_of(
    client: httpx.Client, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(client, study, {"loss": 0.5})
    last = client.get(f"{API}/{study}/changes?since=0").json()["seq"]
    monkeypatch.setattr(Notices, "told", lambda self, study: 2)
    crowd = client.get(f"{API}/{study}/changes?since=1").json()
    assert (crowd["seq"], crowd["study"]["last_seq"], crowd["changed"]) == (2, 2, 1)
    ahead = client.get(f"{API}/{study}/changes?since=3").json()
    assert (ahead["seq"], ahead["study"]["last_seq"]) == (last, last)


def test_so_many_trials_may_be_named(client: httpx.Client, study: str) -> None:
    named = ",".join(str(number) for number in range(MAX_NAMED))
    assert client.get(f"{API}/{study}/curves", params={"trials": named}).status_code == 200
    refused = check(client.get(f"{API}/{study}/curves", params={"trials": f"{named},0"}), 422)
    assert refused["errors"][0]["rule"] == "at most 1,000 trials are named at once"
