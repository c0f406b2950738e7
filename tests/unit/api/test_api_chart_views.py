"""Chart data over REST: what is shown and marked, what changed, and answers that are made once."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import numpy as np
import pytest

from hpo_service.api.answers import Answers, encode, short
from tests.unit.api.support import check


@pytest.fixture
def told(client: httpx.Client, study: str) -> list[dict[str, Any]]:
    """Six trials: 0 to 3 report twice, 4 reports NaN, 5 nothing; 0 and 1 have ended."""
    client.patch(f"/api/v1/studies/{study}", json={"parallel": 6}).raise_for_status()
    asked = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me", "n": 6}).json()["trials"]
    reports = [
        {"trial": n, "fence": 1, "step": step, "metrics": {"loss": "NaN" if n == 4 else 10.0 - n - step, "size": n}}
        for n in range(5)
        for step in (1, 2)
    ]
    client.post(f"/api/v1/studies/{study}/reports", json={"reports": reports}).raise_for_status()
    for n in (0, 1):
        body = {"trial": n, "fence": 1, "state": "completed"}
        client.post(f"/api/v1/studies/{study}/tell", json=body).raise_for_status()
    found: list[dict[str, Any]] = asked
    return found


def get(client: httpx.Client, study: str, view: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1/studies/{study}/{view}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["seq"] == client.get(f"/api/v1/studies/{study}").json()["last_seq"]
    return found


@pytest.mark.usefixtures("told")
def test_progress_is_best_so_far_and_points(client: httpx.Client, study: str) -> None:
    found = get(client, study, "progress", filter="number:2,3")
    assert (found["metric"], found["direction"], found["target"]) == ("loss", "minimize", None)
    assert found["points"]["number"] == [0, 1, 2, 3]
    assert found["points"]["value"] == [8.0, 7.0, 6.0, 5.0]
    assert found["points"]["matches"] == [0, 0, 1, 1]
    assert found["points"]["state"] == ["finished", "finished", "running", "running"]
    assert (found["matching"], found["not_finite"], found["shown"], found["of"]) == (2, 1, 4, 6)
    assert found["by_trial"] == {"trial": [0, 1, 2, 3], "value": [8.0, 7.0, 6.0, 5.0]}
    assert found["improvements"]["value"][-1] == 5.0
    assert found["improvements"]["trial"][-1] == 3
    assert all(hours >= 0 for hours in found["points"]["hours"])


@pytest.mark.usefixtures("told")
def test_a_sample_has_the_fields_that_were_asked_for(client: httpx.Client, study: str) -> None:
    every = get(client, study, "sample")
    assert [field["name"] for field in every["fields"]] == ["lr", "kind", "value"]
    lr, kind = every["fields"][:2]
    assert (lr["type"], lr["log"], kind["type"]) == ("number", True, "category")
    assert sorted(kind["labels"]) == ["a", "b"]
    rows = client.get(f"/api/v1/studies/{study}/trials").json()["items"]
    for index, row in enumerate(rows):
        assert kind["labels"][int(every["columns"]["kind"][index])] == row["params"]["kind"]
        assert every["columns"]["lr"][index] == pytest.approx(row["params"]["lr"], rel=1e-6)
    chosen = get(client, study, "sample", fields="size,metric.loss,state,started_at", limit=2, filter="number>=4")
    assert list(chosen["columns"]) == ["size", "loss", "state", "started_at"]
    assert (chosen["shown"], chosen["of"], chosen["matching"]) == (2, 6, 2)
    refused = check(client.get(f"/api/v1/studies/{study}/sample", params={"fields": "learning"}), 422)
    assert "learning" in refused["detail"]


@pytest.mark.usefixtures("told")
def test_curves_are_chosen_and_marked(client: httpx.Client, study: str) -> None:
    best = get(client, study, "curves", limit=2)
    assert [line["number"] for line in best["trials"]] == [3, 2]
    assert best["trials"][0]["value"] == [6.0, 5.0]
    assert "best" in best["chosen"]
    running = get(client, study, "curves", choose="running", filter="number:4")
    assert sorted(line["number"] for line in running["trials"]) == [2, 3, 4]
    assert {line["number"]: line["matches"] for line in running["trials"]} == {2: 0, 3: 0, 4: 1}
    assert next(line for line in running["trials"] if line["number"] == 4)["value"] == ["NaN", "NaN"]
    assert [line["number"] for line in get(client, study, "curves", choose="newest", limit=1)["trials"]] == [4]
    assert [x["number"] for x in get(client, study, "curves", choose="filter", filter="number<2")["trials"]] == [1, 0]


@pytest.mark.usefixtures("told")
def test_changes_are_what_moved_since(client: httpx.Client, study: str) -> None:
    before = get(client, study, "changes", since=0)
    assert before["changed"] == 6
    assert not before["truncated"]
    assert [row["number"] for row in before["trials"]] == [0, 1, 2, 3, 4, 5]
    assert sorted(before["running"]) == [2, 3, 4, 5]
    seq = before["seq"]
    assert get(client, study, "changes", since=seq)["trials"] == []
    report = {"trial": 5, "fence": 1, "step": 2, "metrics": {"loss": 1.0}}
    client.post(f"/api/v1/studies/{study}/reports", json={"reports": [report]}).raise_for_status()
    now = get(client, study, "changes", since=seq)
    assert [row["number"] for row in now["trials"]] == [5]
    assert now["study"]["best"]["trial"] == 5
    assert now["improvements"]["trial"] == [5]
    assert now["pace_s"] >= 5


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("view", ["progress", "sample", "curves", "changes?since=0"])
def test_an_answer_is_sent_once_until_the_study_moves(client: httpx.Client, study: str, view: str) -> None:
    url = f"/api/v1/studies/{study}/{view}"
    first = client.get(url)
    assert client.get(url).content == first.content
    known = {"if-none-match": first.headers["etag"]}
    assert client.get(url, headers=known).status_code == 304
    client.patch(f"/api/v1/studies/{study}", json={"notes": "new"}).raise_for_status()
    moved = client.get(url, headers=known)
    assert moved.status_code == 200
    assert moved.headers["etag"] != first.headers["etag"]


@pytest.mark.usefixtures("told")
def test_a_filter_by_tag_is_never_stale(client: httpx.Client, study: str) -> None:
    url = f"/api/v1/studies/{study}/progress?filter=tag:good"
    assert client.get(url).json()["matching"] == 0
    client.patch(f"/api/v1/studies/{study}/trials/2", json={"tags": ["good"]}).raise_for_status()
    answer = client.get(url)
    assert answer.json()["matching"] == 1


@pytest.mark.parametrize("view", ["progress", "sample", "curves", "changes?since=0"])
def test_a_study_without_trials_has_empty_charts(client: httpx.Client, study: str, view: str) -> None:
    answer = client.get(f"/api/v1/studies/{study}/{view}")
    assert answer.status_code == 200, answer.text


def test_a_filtered_list_says_how_many_match(client: httpx.Client, study: str, told: list[dict[str, Any]]) -> None:
    assert len(told) == 6
    found = client.get(f"/api/v1/studies/{study}/trials", params={"filter": "state:running number>=2", "limit": 1})
    assert (found.json()["total"], len(found.json()["items"])) == (4, 1)


def test_many_who_ask_the_same_wait_for_one() -> None:
    answers, made, go = Answers(), [], threading.Event()

    def build() -> dict[str, int]:
        made.append(1)
        assert go.wait(10)
        return {"n": len(made)}

    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(answers.get(("s", 1, "q"), build))) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert bodies == [b'{"n":1}'] * 8


def test_answers_that_fail_are_asked_for_again_and_old_ones_go() -> None:
    answers = Answers(max_bytes=40)

    def fail() -> dict[str, int]:
        raise LookupError("not now")

    with pytest.raises(LookupError):
        answers.get(("s", 1, "q"), fail)
    assert answers.get(("s", 1, "q"), lambda: {"n": 1}) == b'{"n":1}'
    for n in range(20):
        answers.get(("s", n, "r"), lambda: {"text": "x" * 10})
    assert answers.get(("s", 1, "q"), lambda: {"n": 2}) == b'{"n":2}'


def test_numbers_of_charts_are_short_but_never_wrong() -> None:
    assert encode({"x": short([0.1, np.nan, np.inf, 3])}) == b'{"x":[0.1,null,null,3.0]}'
    assert encode({"x": short([1e300, 1.0])}) == b'{"x":[1e+300,1.0]}'
