"""Studies side by side: series, finals with intervals, groups of replicates, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service.client.results import Comparison
from tests.unit.api.support import DEFINITION, check

GRID = {"budget": {"trials": 40}, "parallel": 40}


def _study(client: TestClient, values: Sequence[float], **changes: Any) -> str:
    """An external study whose trials were told these values."""
    made = client.post("/api/v1/studies", json={**DEFINITION, **GRID, **changes})
    assert made.status_code == 201, made.text
    path = f"/api/v1/studies/{made.json()['id']}"
    given = client.post(f"{path}/ask", json={"client_id": "me", "n": len(values)}).json()["trials"]
    for trial, value in zip(given, values, strict=True):
        told = {"trial": trial["trial"], "fence": trial["fence"], "value": value}
        assert client.post(f"{path}/tell", json=told).status_code == 200
    return str(made.json()["id"])


def _compared(client: TestClient, *ids: str) -> dict[str, Any]:
    answer = client.get("/api/v1/compare", params={"study": list(ids)})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_series_and_finals(client: TestClient) -> None:
    a = _study(client, [0.9, 0.5, 0.7, 0.4, 0.6, 0.45])
    b = _study(client, [0.8, 0.9], algorithm={"name": "sobol"})
    found = _compared(client, a, b)
    one, two = found["items"]
    assert one["best_so_far"] == {"trials": [0, 1, 3], "values": [0.9, 0.5, 0.4]}
    assert one["series"]["value"] == [0.9, 0.5, 0.4]
    assert one["series"]["ended"] == [0, 1, 3]
    assert all(0 <= h < 1 for h in one["series"]["hours"])
    final = one["final"]
    assert (final["value"], final["trial"], final["n"], final["low"], final["high"]) == (0.4, 3, 6, 0.4, 0.5)
    assert (two["final"]["low"], two["final"]["n"]) == (None, 2)
    assert found["differences"] == [{"path": "algorithm.name", "values": ["random", "sobol"]}]
    assert found["groups"] == [{"label": "name random", "studies": [a]}, {"label": "name sobol", "studies": [b]}]
    (test,) = found["tests"]
    assert (test["of"], test["a"], test["b"]) == ("studies", a, b)
    assert test["difference"] == pytest.approx(-0.4)
    assert "could well be luck" in test["verdict"]


def test_a_clear_difference_is_called_one(client: TestClient) -> None:
    low = _study(client, [0.1 + i / 1000 for i in range(12)], name="low")
    high = _study(client, [0.9 + i / 1000 for i in range(12)], name="high", algorithm={"name": "sobol"})
    (test,) = _compared(client, high, low)["tests"]
    assert test["p"] < 1e-4
    assert test["low"] <= test["difference"] <= test["high"]
    assert test["verdict"].startswith("So far: low is better by 0.8 (0.1 against 0.9); that is hardly luck")


def test_replicates_form_groups_that_are_compared(client: TestClient) -> None:
    first = [_study(client, [0.1 + seed / 100], seed=seed, name=f"r{seed}", tags=[]) for seed in range(4)]
    second = [_study(client, [0.5 + seed / 100], seed=seed, algorithm={"name": "sobol"}) for seed in range(4)]
    found = _compared(client, *first, *second)
    assert [group["studies"] for group in found["groups"]] == [first, second]
    group, *pairs = found["tests"]
    assert (group["of"], group["a"], group["b"]) == ("groups", "name random", "name sobol")
    assert group["p"] == pytest.approx(2 / 70)
    assert group["difference"] == pytest.approx(-0.4)
    assert "hardly luck" in group["verdict"]
    assert len(pairs) == 28
    of_one = next(t for t in pairs if {t["a"], t["b"]} == set(first[:2]))
    assert "differ only in their seed" in of_one["verdict"]
    assert of_one["p"] is of_one["p_corrected"] is None


def test_what_does_not_compare(client: TestClient, study: str) -> None:
    other = _study(client, [0.5], objective={"metric": "acc", "direction": "maximize"})
    empty, unlike = (t["verdict"] for t in _compared(client, study, other, _study(client, [0.3], seed=9))["tests"][:2])
    assert "different things" in empty
    assert "no finite value yet" in unlike


def test_one_study_alone_and_the_same_twice(client: TestClient, study: str) -> None:
    assert _compared(client, study)["tests"] == []
    assert len(_compared(client, study, study)["items"]) == 1
    assert _compared(client, study)["items"][0]["final"] is None
    check(client.get("/api/v1/compare", params={"study": ["nobody"]}), 404)


def test_the_answer_is_kept_until_a_study_moves(client: TestClient) -> None:
    a, b = _study(client, [0.5]), _study(client, [0.4])
    first = client.get("/api/v1/compare", params={"study": [a, b]})
    asked = {"if-none-match": first.headers["etag"]}
    assert client.get("/api/v1/compare", params={"study": [a, b]}, headers=asked).status_code == 304
    client.patch(f"/api/v1/studies/{b}", json={"notes": "moved"})
    again = client.get("/api/v1/compare", params={"study": [a, b]}, headers=asked)
    assert again.status_code == 200
    assert again.json()["seq"] > first.json()["seq"]


def test_the_sdk_reads_it(client: TestClient) -> None:
    ids = [_study(client, [0.5, 0.4, 0.3, 0.2], seed=seed) for seed in (1, 2)]
    read = Comparison.parse(_compared(client, *ids))
    assert read.items[0].final is not None
    assert (read.items[0].final.value, read.items[0].series.value) == (0.2, (0.5, 0.4, 0.3, 0.2))
    assert read.groups[0].studies == tuple(ids)
    assert read.tests[0].verdict


def test_strangers_see_nothing(
    client: TestClient, open_client: TestClient, bearer: Callable[..., dict[str, str]]
) -> None:
    mine = _study(client, [0.5], project="mine")
    query = {"study": [mine]}
    assert open_client.get("/api/v1/compare", params=query, headers=bearer("viewer", "mine")).status_code == 200
    check(open_client.get("/api/v1/compare", params=query, headers=bearer("viewer", "theirs")), 404)
