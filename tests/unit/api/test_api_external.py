"""External workers over REST, and what can be read about the trials that they train."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service.api import rounds, telling
from hpo_service.decider import Decider
from hpo_service.store.database import Database
from tests.unit.api.support import DEFINITION, check
from workers.contract import FailureKind, Outcome


class Worker:
    """An external worker of one study."""

    def __init__(self, client: TestClient, study: str, name: str = "me") -> None:
        self.client, self.base, self.name = client, f"/api/v1/studies/{study}", name

    def post(self, verb: str, **body: Any) -> Any:
        return self.client.post(f"{self.base}/{verb}", json=body)

    def ask(self, n: int = 1, **more: Any) -> list[dict[str, Any]]:
        answer = self.post("ask", client_id=self.name, n=n, **more)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["trials"]
        return found

    def report(self, trial: dict[str, Any], step: int, **metrics: Any) -> Any:
        return self.post(
            "reports",
            reports=[{"trial": trial["trial"], "fence": trial["fence"], "step": step, "metrics": metrics}],
        )

    def tell(self, trial: dict[str, Any], **more: Any) -> Any:
        return self.post("tell", trial=trial["trial"], fence=trial["fence"], **more)


@pytest.fixture
def worker(client: TestClient, study: str) -> Worker:
    return Worker(client, study)


def test_a_study_from_ask_to_the_end(worker: Worker, client: TestClient) -> None:
    values = iter([0.5, 0.3, 0.9, 0.1, 0.7, 0.6])
    told = []
    while trials := worker.ask():
        value = next(values)
        assert worker.tell(trials[0], value=value).status_code == 200
        told.append(trials[0]["trial"])
    assert told == list(range(6))
    ended = worker.post("ask", client_id="me").json()
    assert ended["trials"] == []
    assert ended["ended"]
    study = client.get(worker.base).json()
    assert study["state"] == "finished"
    assert study["counts"]["finished"] == 6
    assert (study["best"]["trial"], study["best"]["value"]) == (3, 0.1)
    assert set(study["best"]["params"]) == {"lr", "kind"}
    best = client.get(f"{worker.base}/best?limit=2").json()["items"]
    assert [trial["number"] for trial in best] == [3, 1]


def test_asking_again_returns_the_same_trials(worker: Worker, client: TestClient, study: str) -> None:
    first = worker.ask(2)
    assert len(first) == 2
    assert worker.ask(2) == first
    third = worker.ask(3)
    assert third[:2] == first
    assert len(third) == 3
    assert [t["trial"] for t in Worker(client, study, "other").ask(5)] == [3]
    assert first[0]["seed"] != first[1]["seed"]
    assert first[0]["target"] is None or first[0]["target"] > 0


def test_reports_are_idempotent_and_contradictions_refused(worker: Worker, client: TestClient) -> None:
    (trial,) = worker.ask()
    assert worker.report(trial, 1, loss=0.5, other="NaN").json()["results"][0]["status"] == "stored"
    assert worker.report(trial, 1, loss=0.5, other="NaN").json()["results"][0]["status"] == "repeated"
    problem = check(worker.report(trial, 1, loss=0.6), 409)
    assert problem["type"].endswith("report-contradicts")
    reports = client.get(f"{worker.base}/trials/{trial['trial']}/reports").json()["items"]
    assert [(r["step"], r["resource"], r["metrics"]) for r in reports] == [(1, 1.0, {"loss": 0.5, "other": "NaN"})]


def test_a_batch_of_reports_has_a_result_each(worker: Worker) -> None:
    (trial,) = worker.ask()
    key = {"trial": trial["trial"], "fence": trial["fence"]}
    rows = [
        {**key, "step": 1, "metrics": {"loss": 1.0}},
        {**key, "step": 1, "metrics": {"loss": 2.0}},
        {"trial": 99, "fence": 1, "step": 1, "metrics": {"loss": 1.0}},
        {**key, "step": 2, "resource": 2.5, "metrics": {"loss": 0.5}},
    ]
    answer = worker.post("reports", reports=rows)
    assert [r["status"] for r in answer.json()["results"]] == ["stored", "contradicted", "unknown", "stored"]


def test_telling_the_same_again_is_fine(worker: Worker) -> None:
    (trial,) = worker.ask()
    first = worker.tell(trial, value=0.5)
    assert first.status_code == 200, first.text
    assert first.json()["value"] == 0.5
    again = worker.tell(trial, value=0.5)
    assert again.status_code == 200, again.text
    check(worker.tell(trial, value=0.6), 409)
    check(worker.tell(trial, state="failed"), 409)


def test_a_told_value_is_a_last_report(worker: Worker, client: TestClient) -> None:
    first, second, third = worker.ask(3)
    worker.report(first, 4, loss=0.9)
    worker.tell(first, value=0.5)
    worker.tell(second, metrics={"loss": 0.25, "f1": 0.5}, resource=8)
    worker.report(third, 2, loss=0.75)
    assert worker.tell(third).status_code == 200

    def steps(trial: dict[str, Any]) -> list[tuple[int, float, float]]:
        items = client.get(f"{worker.base}/trials/{trial['trial']}/reports").json()["items"]
        return [(item["step"], item["resource"], item["metrics"]["loss"]) for item in items]

    assert steps(first) == [(4, 4.0, 0.9), (5, 4.0, 0.5)]
    assert steps(second)[0][1:] == (8.0, 0.25)
    assert steps(third) == [(2, 2.0, 0.75)]


def test_the_words_are_those_of_the_worker_contract() -> None:
    assert (telling.REACHED, telling.COMPLETED, telling.FAILED) == (
        Outcome.REACHED, Outcome.COMPLETED, Outcome.FAILED,
    )  # fmt: skip
    assert FailureKind.EXCEPTION == telling.EXCEPTION


def test_failures_are_kept_with_their_reason(worker: Worker, client: TestClient) -> None:
    first, second = worker.ask(2)
    worker.tell(first, state="failed", reason="the disk is full")
    trial = client.get(f"{worker.base}/trials/{first['trial']}").json()
    assert trial["state"] == "failed"
    assert "the disk is full" in trial["reason"]
    assert trial["attempt_rows"][0]["outcome"] == "failed"
    assert worker.tell(second, value="NaN").json()["state"] == "failed"
    assert worker.tell(second, value="NaN").status_code == 200
    failed = client.get(f"{worker.base}/trials", params={"filter": "state:failed"}).json()["items"]
    assert [item["number"] for item in failed] == [first["trial"], second["trial"]]


def test_a_completed_trial_needs_a_value(worker: Worker) -> None:
    (trial,) = worker.ask()
    problem = check(worker.tell(trial), 422)
    assert "objective 'loss'" in problem["detail"]
    check(worker.tell(trial, values=[1.0, 2.0]), 422)
    check(worker.tell(trial, value=1.0, metrics={"loss": 1.0}), 422)
    assert worker.tell(trial, values={"loss": 1.0}).status_code == 200


def test_wrong_fences_are_refused(worker: Worker) -> None:
    (trial,) = worker.ask()
    check(worker.tell({**trial, "fence": 7}, value=1.0), 404)
    check(worker.report({**trial, "trial": 55}, 1, loss=1.0), 404)
    worker.tell(trial, value=1.0)
    check(worker.report(trial, 3, loss=1.0), 409)


def test_heartbeats_say_what_to_stop(worker: Worker, client: TestClient) -> None:
    (trial,) = worker.ask()
    key = {"trial": trial["trial"], "fence": trial["fence"]}
    beat = worker.post("heartbeat", client_id="me", trials=[key]).json()["trials"][0]
    assert (beat["status"], beat["stop"]) == ("held", False)
    assert worker.post("heartbeat", client_id="me").json()["trials"][0]["trial"] == trial["trial"]
    client.post(f"{worker.base}/stop")
    beat = worker.post("heartbeat", client_id="me", trials=[key]).json()["trials"][0]
    assert beat["stop"] is True


def test_only_external_studies_are_asked(client: TestClient) -> None:
    document = {**DEFINITION, "trainer": {"function": "mine:train"}}
    worker = Worker(client, client.post("/api/v1/studies", json=document).json()["id"])
    check(worker.post("ask", client_id="me"), 409)
    check(worker.post("heartbeat", client_id="me"), 409)
    check(worker.post("tell", trial=0, fence=1, value=1.0), 409)


def test_enqueued_configurations_come_first(worker: Worker, client: TestClient) -> None:
    body = {"configurations": [{"lr": 0.05, "kind": "b"}, {"lr": 0.06, "kind": "a"}]}
    made = client.post(f"{worker.base}/trials", json=body)
    assert (made.status_code, made.json()) == (201, {"trials": [0, 1]})
    assert [trial["params"] for trial in worker.ask(2)] == body["configurations"]
    broken = {"configurations": [{"lr": 0.05, "kind": "b"}, {"lr": 5, "kind": "c"}]}
    problem = check(client.post(f"{worker.base}/trials", json=broken), 422)
    assert all(item["path"].startswith("configurations.1.") for item in problem["errors"])


def test_failed_trials_are_retried_once(worker: Worker, client: TestClient) -> None:
    first, second = worker.ask(2)
    worker.tell(first, state="failed", reason="x")
    worker.tell(second, value=1.0)
    assert client.post(f"{worker.base}/retry", json={"failed": True}).json() == {"trials": [2]}
    assert client.post(f"{worker.base}/retry", json={"failed": True}).json() == {"trials": []}
    retry = client.get(f"{worker.base}/trials/2").json()
    assert (retry["retry_of"], retry["origin"], retry["params"]) == (0, "retry", first["params"])
    check(client.post(f"{worker.base}/retry", json={"trials": [2]}), 409)
    check(client.post(f"{worker.base}/retry", json={}), 422)
    check(client.post(f"{worker.base}/retry", json={"trials": [77]}), 404)


def test_trials_are_filtered_sorted_and_paged(worker: Worker, client: TestClient) -> None:
    for value in (0.5, 0.3, 0.9, 0.1):
        worker.tell(worker.ask()[0], value=value)
    worker.tell(worker.ask()[0], state="failed", reason="x")

    def numbers(**query: Any) -> list[int]:
        answer = client.get(f"{worker.base}/trials", params=query)
        assert answer.status_code == 200, answer.text
        return [item["number"] for item in answer.json()["items"]]

    assert numbers(sort="value") == [3, 1, 0, 2, 4]
    assert numbers(sort="-loss")[:4] == [2, 0, 1, 3]
    assert numbers(filter="value<0.4", sort="-number") == [3, 1]
    assert numbers(filter="state:failed") == [4]
    page = client.get(f"{worker.base}/trials", params={"sort": "lr", "limit": 2}).json()
    rest = client.get(f"{worker.base}/trials", params={"sort": "lr", "limit": 9, "cursor": page["next_cursor"]}).json()
    rates = [item["params"]["lr"] for item in page["items"] + rest["items"]]
    assert rates == sorted(rates)
    assert len(rates) == 5
    check(client.get(f"{worker.base}/trials?sort=vlaue"), 422)


def test_tags_and_notes_of_trials(worker: Worker, client: TestClient) -> None:
    (trial,) = worker.ask()
    path = f"{worker.base}/trials/{trial['trial']}"
    patched = client.patch(path, json={"tags": ["good"], "notes": "look"}).json()
    assert (patched["tags"], patched["notes"]) == (["good"], "look")
    tagged = client.get(f"{worker.base}/trials", params={"filter": "tag:good"}).json()["items"]
    assert [item["number"] for item in tagged] == [trial["trial"]]


def test_curves_exports_and_events(worker: Worker, client: TestClient) -> None:
    first, second = worker.ask(2)
    for step in range(1, 5):
        worker.report(first, step, loss=1 / step)
    worker.tell(first)
    worker.tell(second, value=0.9)
    curves = client.get(f"{worker.base}/curves").json()
    assert (curves["metric"], curves["of"]) == ("loss", 2)
    line = next(one for one in curves["trials"] if one["number"] == first["trial"])
    assert (line["resource"], line["value"]) == ([1.0, 2.0, 3.0, 4.0], [1.0, 0.5, 1 / 3, 0.25])
    named = client.get(f"{worker.base}/curves", params={"trials": str(second["trial"])}).json()
    assert [one["number"] for one in named["trials"]] == [second["trial"]]
    check(client.get(f"{worker.base}/curves?trials=a"), 422)
    assert client.get(f"{worker.base}/curves?metric=loss").json() == curves
    refused = check(client.get(f"{worker.base}/curves?metric=los"), 422)
    assert "did you mean 'loss'?" in str(refused)

    rows = list(csv.DictReader(io.StringIO(client.get(f"{worker.base}/export").text)))
    assert [row["value"] for row in rows] == ["0.25", "0.9"]
    assert rows[0]["metric.loss"] == "0.25"
    assert len(client.get(f"{worker.base}/export?format=json").json()) == 2
    assert client.get(f"{worker.base}/export?format=parquet").content[:4] == b"PAR1"

    events = client.get(f"{worker.base}/log").json()["items"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {"study_created", "decided", "reported", "attempts_ended"} <= {event["kind"] for event in events}
    later = client.get(f"{worker.base}/log?after=3&limit=2").json()["items"]
    assert [event["seq"] for event in later] == [4, 5]
    assert client.get(f"{worker.base}/rungs").json() == {"items": []}
    check(client.get(f"{worker.base}/trials/0/checkpoint"), 404)
    assert client.get(f"{worker.base}/trials/0/log").json()["text"] == ""


MEDIAN = {"name": "median", "max_resource": 6, "grace_resource": 2, "interval": 2, "min_trials": 2}


def test_a_trial_worse_than_the_median_goes_no_further(client: TestClient) -> None:
    document = {**DEFINITION, "algorithm": MEDIAN, "budget": {"trials": 3}}
    worker = Worker(client, client.post("/api/v1/studies", json=document).json()["id"])
    losses = [0.1, 0.2, 9.0]
    rounds = 0
    while trials := worker.ask(3):
        rounds += 1
        for trial in trials:
            for step in range(int(trial["from_resource"]) + 1, int(trial["target"]) + 1):
                worker.report(trial, step, loss=losses[trial["trial"]])
            assert worker.tell(trial).status_code == 200
    found = client.get(f"{worker.base}/trials").json()["items"]
    assert [(trial["state"], trial["resource"]) for trial in found] == [
        ("finished", 6.0), ("finished", 6.0), ("stopped", 2.0),
    ]  # fmt: skip
    assert "median" in found[2]["reason"]
    assert rounds == 3


def test_a_late_client_loses_its_trial_only_to_another(client: TestClient, db: Database, study: str) -> None:
    clock = [1_800_000_000 * 1_000_000]
    db.clock = lambda: clock[0]
    slow, other = Worker(client, study, "slow"), Worker(client, study, "other")
    first, second = slow.ask(2, lease_s=10)
    clock[0] += 11_000_000
    assert slow.report(first, 1, loss=0.5).status_code == 200
    assert slow.tell(first, value=0.4).status_code == 200
    clock[0] += 11_000_000
    adopted = other.ask(1, lease_s=10)[0]
    assert (adopted["trial"], adopted["fence"]) == (second["trial"], second["fence"] + 1)
    assert adopted["params"] == second["params"]
    assert check(slow.report(second, 1, loss=0.5), 409)["type"].endswith("fence-refused")
    assert check(slow.tell(second, value=0.4), 409)["type"].endswith("fence-refused")
    beat = slow.post("heartbeat", client_id="slow", trials=[{"trial": second["trial"], "fence": second["fence"]}])
    assert beat.json()["trials"] == [
        {"trial": second["trial"], "fence": second["fence"], "status": "closed", "stop": True}
    ]
    assert other.tell(adopted, value=0.3).json()["value"] == 0.3


def test_a_crash_after_the_decision_gives_the_same_trials(client: TestClient, db: Database, study: str) -> None:
    class KilledError(BaseException):
        """The process ends here."""

    def crash(name: str) -> None:
        if name == "commit:after:asking.serve":
            raise KilledError

    worker = Worker(client, study)
    db.failpoint = crash
    with pytest.raises(KilledError):
        rounds.ask(db, Decider(db), study, client_id=worker.name, n=2, lease_s=60)
    db.failpoint = lambda _: None
    assert [trial["trial"] for trial in worker.ask(2)] == [0, 1]
    assert client.get(worker.base).json()["trials"] == 2
