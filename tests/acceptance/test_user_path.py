"""A user's way through the service, with the real `hpo`, a real server, a real Ray and code of their own."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pandas
import pytest
import torch

import hpo_service as hpo
from hpo_service.errors import Ambiguous, Conflict, InvalidInput, NotFound, Unsupported
from tests.acceptance.conftest import Hpo

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
Until = Callable[..., Any]

LR = {"type": "loguniform", "low": 1e-4, "high": 1.0}
STUDY: dict[str, Any] = {
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {"lr": LR},
    "algorithm": {"name": "hyperband", "max_resource": 9},
    "trainer": {"function": "my_training:train"},
    "budget": {"trials": 17},
    "seed": 1,
}
RANDOM = {"name": "random", "max_resource": 4}


def study(name: str, *, pace: float = 0.0, **fields: Any) -> dict[str, Any]:
    """A study of the user's function, `pace` seconds per epoch."""
    return STUDY | {"name": name, "trainer": STUDY["trainer"] | {"params": {"pace": pace}}} | fields


def written(folder: Path, definition: dict[str, Any]) -> Path:
    file = folder / f"{definition['name']}.yaml"
    file.write_text(json.dumps(definition))  # JSON is YAML
    return file


@pytest.fixture(scope="module")
def by_hand(client: hpo.Client) -> hpo.Study:
    """A finished study that nobody changes."""
    return client.create_study(study("by-hand")).wait(timeout_s=120)


# The commands


def test_submit_and_watch(command: Hpo) -> None:
    file = written(command.folder, study("watched"))
    valid = command("validate", file)
    assert "valid" in valid
    assert "9 to resource 1, 3 to resource 3, 1 to resource 9" in valid
    seen = command("submit", file, "--watch", "--set", "seed=5")
    assert "submitted watched as" in seen
    assert "100 % of budget.trials = 17" in seen
    assert "watched finished: budget.trials: 17 of 17 trials started" in seen
    assert "hpo best" in seen


def test_studies_and_show(command: Hpo, by_hand: hpo.Study) -> None:
    assert by_hand.state == "finished", by_hand.info.reason
    listed = command("studies", "--search", "by-hand")
    assert by_hand.id in listed
    assert "finished" in listed
    shown = command("show", "by-hand")
    assert "budget.trials: 17 of 17" in shown
    assert "9/9" in shown  # the first rung
    assert command.json("show", by_hand.id)["id"] == by_hand.id
    assert command.run("show", "by-hnd", status=1).stderr.count("by-hand") == 1


def test_trials_in_every_format(command: Hpo, by_hand: hpo.Study) -> None:
    arguments = ("trials", "by-hand", "--sort", "-val_accuracy", "--limit", "5", "--format")
    rows = list(csv.DictReader(io.StringIO(command(*arguments, "csv"))))
    items = json.loads(command(*arguments, "json"))
    values = [item["values"]["val_accuracy"] for item in items]
    assert values == sorted(values, reverse=True)
    assert values[0] == max(trial.value for trial in by_hand.trials())
    assert [(int(row["number"]), float(row["value"]), float(row["param.lr"])) for row in rows] == [
        (item["number"], item["value"], item["params"]["lr"]) for item in items
    ]
    table = command(*arguments, "table")
    assert [line.split()[0] for line in table.splitlines()[1:6]] == [str(item["number"]) for item in items]
    assert "5 of 17 trials" in table


def test_the_best_trial_and_its_checkpoint(command: Hpo, by_hand: hpo.Study) -> None:
    file = command.folder / "out.pt"
    said = command("best", "by-hand", "--checkpoint", file)
    assert "val_accuracy of trial" in said
    state = torch.load(file, weights_only=True)
    assert state["epoch"] == 9
    assert torch.equal(state["weights"], torch.full((3,), 9.0))
    assert by_hand.best_trial.resource == 9
    assert 1e-3 < by_hand.best_params["lr"] < 1e-1


def test_logs_compare_and_export(command: Hpo, by_hand: hpo.Study, client: hpo.Client) -> None:
    number = by_hand.best_trial.trial
    assert "goes on after epoch" in command("logs", f"by-hand/{number}")
    other = client.create_study(study("other", seed=7, budget={"trials": 2}, algorithm=RANDOM)).wait(timeout_s=60)
    compared = command("compare", "by-hand", other.id)
    assert "algorithm.name" in compared
    assert "hyperband" in compared
    file = command.folder / "trials.parquet"
    command("export", "by-hand", "-o", file)
    frame = pandas.read_parquet(file)
    rows = pandas.read_csv(io.StringIO(command("export", "by-hand")))
    items = json.loads(command("export", "by-hand", "--format", "json"))
    assert list(frame["number"]) == list(rows["number"]) == [item["number"] for item in items] == list(range(17))
    assert list(frame["value"]) == list(rows["value"]) == [item["value"] for item in items]


def test_the_service_commands(command: Hpo) -> None:
    checks = {check["name"]: check["ok"] for check in command.json("doctor")["checks"]}
    assert checks["database"]
    assert checks["storage"]
    assert checks["server"]
    made = command.json("token", "create", "ci", "--role", "viewer", "--days", "1")
    (listed,) = [token for token in command.json("token", "list") if token["id"] == made["id"]]
    assert listed["revoked_at"] is None
    assert "secret" not in listed
    assert made["secret"] not in json.dumps(listed)
    assert command("token", "revoke", made["id"]).strip() == f"revoked {made['id']}"
    (listed,) = [token for token in command.json("token", "list") if token["id"] == made["id"]]
    assert listed["revoked_at"] is not None
    assert "space" in json.loads(command("schema"))["properties"]


def test_a_name_that_several_studies_share(command: Hpo, client: hpo.Client) -> None:
    twins = [client.create_study(study("twins", trainer={"external": True})) for _ in range(2)]
    refused = command.run("show", "twins", status=1)
    assert all(twin.id in refused.stderr for twin in twins)
    with pytest.raises(Ambiguous):
        client.study("twins")
    assert command.json("show", twins[1].id)["id"] == twins[1].id
    for twin in twins:
        twin.stop()


# Steering


def test_pause_resume_stop_and_delete(command: Hpo, client: hpo.Client, until: Until) -> None:
    found = client.create_study(
        study("steered", pace=0.2, algorithm={"name": "random", "max_resource": 12}, budget={"trials": 4}, parallel=2)
    )
    until(lambda: any(trial.resource >= 2 for trial in found.trials()))
    assert "steered is paused" in command("pause", "steered", "--reason", "lunch")
    until(lambda: found.refresh().info.counts["running"] == 0)
    paused = {trial.number: trial for trial in found.trials()}
    assert found.info.reason == "lunch"
    assert any(0 < trial.resource < 12 for trial in paused.values())
    assert all(trial.info.losses == 0 for trial in paused.values())

    assert "steered is running" in command("resume", "steered")
    found.wait(timeout_s=60)
    assert found.info.counts["finished"] == 4
    for number, trial in paused.items():
        if trial.resource > 0:
            assert f"goes on after epoch {trial.resource:g}" in command("logs", f"steered/{number}")
            steps = [report.step for report in found.trial(number).reports()]
            assert steps == list(range(1, 13)), "an epoch was lost or trained twice"
    fences = {number: {report.fence for report in found.trial(number).reports()} for number in paused}
    assert any(len(seen) == 2 for seen in fences.values())

    long = client.create_study(study("long", pace=0.2, algorithm={"name": "random", "max_resource": 900}))
    until(lambda: long.refresh().info.counts["running"] > 0)
    with pytest.raises(Conflict, match="stop it first"):
        long.delete()
    assert "long is stopped" in command("stop", "long")
    assert long.refresh().state == "stopped"
    assert long.info.counts["running"] == 0
    command("delete", "long", "--yes")
    with pytest.raises(NotFound):
        client.study(long.id)


def test_a_study_that_was_paused_in_preflight_is_tried_before_it_runs(client: hpo.Client) -> None:
    found = client.create_study(study("early", trainer={"function": "no_such_module:train"}))
    if found.pause().state == "paused":
        found.resume()
    found.wait(timeout_s=60)
    assert found.state == "failed"
    assert "no module 'no_such_module'" in found.info.reason


def test_a_living_study_changes(command: Hpo, client: hpo.Client, until: Until) -> None:
    definition = study("living", pace=0.05, algorithm=RANDOM, budget={"trials": 12}, parallel=1)
    found = client.create_study(definition)
    until(lambda: found.refresh().info.trials >= 2)
    assert found.info.counts["running"] <= 1
    command("change", "living", "parallel=4", "priority=3", "notes=wider")
    until(lambda: found.refresh().info.counts["running"] > 1)
    assert (found.info.parallel, found.info.priority, found.info.notes) == (4, 3.0, "wider")
    found.wait(timeout_s=60)
    assert found.info.trials == 12

    command("change", "living", "budget.trials=15")  # finished, and goes on
    found.refresh().wait(timeout_s=60)
    assert found.info.trials == 15
    assert "15 of 15" in found.info.reason

    command("enqueue", "living", "lr=0.011")
    until(lambda: "1 enqueued trial waits" in found.refresh().info.reason)
    command("change", "living", "budget.trials=16")
    found.refresh().wait(timeout_s=60)
    trial = found.trial(15)
    assert (trial.state, trial.info.origin, trial.params["lr"]) == ("finished", "enqueued", 0.011)
    with pytest.raises(InvalidInput, match="lr"):
        found.enqueue([{"lr": 7.0}])


def test_a_space_is_narrowed_from_the_next_bracket_on(client: hpo.Client, until: Until) -> None:
    found = client.create_study(study("narrowed", pace=0.05, budget={"trials": 17}, parallel=2))
    until(lambda: any(trial.resource >= 1 for trial in found.trials()))
    narrow = LR | {"low": 5e-3, "high": 5e-2}
    found.patch(space={"lr": narrow})
    found.wait(timeout_s=90)
    trials = list(found.trials(sort="number"))
    assert found.info.space_version == 2
    for trial in trials:
        assert trial.info.space_version == (1 if trial.info.bracket == 0 else 2)
        if trial.info.bracket != 0:
            assert 5e-3 <= trial.params["lr"] <= 5e-2
    assert {trial.info.bracket for trial in trials} == {0, 1, 2}
    assert not all(5e-3 <= trial.params["lr"] <= 5e-2 for trial in trials)

    grid = client.create_study(study("grid", trainer={"external": True}, algorithm={"name": "grid", "points": 3}))
    with pytest.raises(Unsupported, match="grid"):
        grid.patch(space={"lr": narrow})
    grid.stop()


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({"hours": 0.5 / 3600}, "budget.hours"),
        ({"dollars": 0.01}, "budget.dollars"),
        ({"patience": 3}, "budget.patience"),
        ({"target": 0.2, "trials": 900}, "budget.target"),
        ({"resource": 20}, "budget.resource"),
    ],
)
def test_each_bound_ends_a_study_with_its_own_reason(client: hpo.Client, budget: dict[str, Any], reason: str) -> None:
    asked = study(reason, pace=0.02, algorithm=RANDOM, budget=budget, parallel=4)  # what is open at the end is trained
    found = client.create_study(asked).wait(timeout_s=60)
    assert (found.state, found.info.reason.partition(":")[0]) == ("finished", reason)
    assert found.info.counts["finished"] == found.info.trials > 0  # what ran reached its target
    if reason == "budget.resource":
        assert found.info.resource == 20
    if reason == "budget.dollars":
        dearest = max(trial.info.cost_microdollars for trial in found.trials())
        assert 10_000 <= found.info.cost_microdollars <= 10_000 + 4 * dearest


def test_two_studies_share_the_workers(client: hpo.Client, until: Until) -> None:
    """The first one could fill the cluster for long; the second neither waits for it nor pushes it aside."""
    first = client.create_study(study("first", pace=0.05, algorithm=RANDOM, budget={"trials": 400}, parallel=64))
    until(lambda: first.refresh().info.counts["finished"] >= 2)
    second = client.create_study(study("second", pace=0.05, algorithm=RANDOM, budget={"trials": 8}, parallel=64))
    second.wait(timeout_s=60)
    first.stop()
    ends = sorted(trial.info.ended_at for trial in second.trials())
    began = min(trial.info.started_at for trial in second.trials())
    meanwhile = sum(began <= trial.info.ended_at <= ends[-1] for trial in first.trials(filter="state:finished"))
    assert 2 <= meanwhile <= 40, f"{meanwhile} of the first study's trials ended while the second trained its 8"


# What a function does wrong


ILL = ["fine", "raise", "nan", "hang", "exit", "segfault", "memory", "missing metric"]


@pytest.fixture(scope="module")
def ill(client: hpo.Client) -> hpo.Study:
    return client.create_study(
        {
            "name": "ill",
            "objective": {"metric": "loss"},
            "space": {"how": {"type": "choice", "values": ILL, "default": "fine"}},
            "algorithm": {"name": "grid"},
            "trainer": {"function": "my_training:ill"},
            "retries": 1,
            "stall_timeout_s": 2.0,
        }
    ).wait(timeout_s=180)


REASONS = {
    "raise": ("exception", "RuntimeError: no way with raise"),
    "nan": ("diverged", "nan at step 2"),
    "hang": ("stalled", "stall_timeout_s=2"),
    "exit": (None, "lost 2 times, and retries is 1"),
    "segfault": (None, "lost 2 times, and retries is 1"),
    "memory": ("out_of_memory", "no room for 10 TB"),
    "missing metric": ("missing_metric", "the objective's metric 'loss'"),
}


@pytest.mark.parametrize("how", ILL)
def test_a_trial_that_falls_ill(ill: hpo.Study, how: str) -> None:
    assert ill.state == "finished", ill.info.reason
    (trial,) = [t.refresh() for t in ill.trials(filter=f"param.how:'{how}'", sort="number")][:1]
    if how == "fine":
        assert (trial.state, trial.value) == ("finished", 0.5)
        return
    failure, reason = REASONS[how]
    assert trial.state == "failed"
    assert reason in trial.info.reason
    assert trial.info.attempt_rows[-1].failure == failure
    lost = how in ("exit", "segfault")
    assert trial.info.losses == (2 if lost else 0)
    assert lost or f"falls ill: {how}" in trial.log().text


def test_a_traceback_starts_in_the_users_file(ill: hpo.Study, command: Hpo) -> None:
    (trial,) = ill.trials(filter="param.how:raise", limit=1)
    said = command("logs", f"{ill.id}/{trial.number}")
    assert "failed: exception: RuntimeError: no way with raise" in said
    traceback = said.partition("Traceback (most recent call last):\n")[2].splitlines()
    assert "user_code/my_training.py" in traceback[0]
    assert "in explode" in said
    assert "workers/" not in said


def test_failed_trials_are_tried_again(client: hpo.Client, command: Hpo) -> None:
    found = client.create_study(
        {
            "name": "again",
            "objective": {"metric": "loss"},
            "space": {"how": {"type": "choice", "values": ["fine", "raise"], "default": "fine"}},
            "algorithm": {"name": "grid"},
            "trainer": {"function": "my_training:ill"},
        }
    ).wait(timeout_s=60)
    failed = found.trials(filter="state:failed").first()
    assert failed is not None
    assert "enqueued as trial 2" in command("retry", "again", "--failed")
    found.refresh().wait(timeout_s=60)
    again = found.trial(2)
    assert (again.info.origin, again.info.retry_of, again.params) == ("retry", failed.number, failed.params)
    assert again.state == "failed"
    assert found.trials(filter="state:failed").first() is not None


PREFLIGHTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no module": ({"trainer": {"function": "no_such_module:train"}}, ("no module 'no_such_module'", "PYTHONPATH")),
    "no function": ({"trainer": {"function": "my_training:trian"}}, ("has no 'trian'", "did you mean 'train'?")),
    "another metric": (
        {"trainer": {"function": "my_training:never_reports_the_objective"}},
        ("the objective's metric 'val_accuracy'", "validation_loss"),
    ),
    "no such file": (
        {"trainer": {"recipe": "image_classifier", "params": {"data": "/data/no/such.npz"}}},
        ("'/data/no/such.npz'", "correct the path"),
    ),
    "a gpu": ({"resources": {"cpu": 1, "gpu": 1}}, ("resources.gpu", "asks for 1")),
    "many cpus": ({"resources": {"cpu": 500}}, ("resources.cpu", "asks for 500")),
}


@pytest.fixture(scope="module")
def preflights(client: hpo.Client) -> dict[str, hpo.Study]:
    made = {name: client.create_study(study(name, **fields)) for name, (fields, _) in PREFLIGHTS.items()}
    return {name: found.wait(timeout_s=120) for name, found in made.items()}


@pytest.mark.parametrize("case", PREFLIGHTS)
def test_what_preflight_finds_ends_the_study_with_a_clear_reason(preflights: dict[str, hpo.Study], case: str) -> None:
    found = preflights[case]
    assert found.state == "failed"
    assert found.info.trials == 0
    assert found.info.reason.startswith("preflight: ")
    assert all(part in found.info.reason for part in PREFLIGHTS[case][1]), found.info.reason
    if case != "another metric":
        assert "Traceback" not in found.info.reason


def test_watching_a_study_that_fails_ends_with_1(preflights: dict[str, hpo.Study], command: Hpo) -> None:
    ended = command.run("watch", preflights["a gpu"].id, status=1)
    assert "resources.gpu asks for 1, but the cluster has no GPU" in ended.stdout


def test_what_the_cluster_lacks_is_said_within_seconds(client: hpo.Client) -> None:
    began = time.monotonic()
    found = client.create_study(study("a gpu again", resources={"gpu": 1})).wait(timeout_s=60, poll_s=0.1)
    assert found.state == "failed"
    assert time.monotonic() - began < 5


# Workers of another kind


def test_an_external_study_by_plain_http(rest: httpx.Client, until: Until) -> None:
    space = {"lr": LR}
    definition = study("http", space=space, trainer={"external": True}, algorithm=RANDOM, budget={"trials": 3})
    made = rest.post("/studies", json=definition, headers={"Idempotency-Key": "once"})
    assert made.status_code == 201
    place = f"/studies/{made.json()['id']}"
    assert rest.post("/studies", json=definition, headers={"Idempotency-Key": "once"}).json()["id"] == made.json()["id"]

    def ask(client_id: str, n: int = 1, lease_s: float = 60) -> Any:
        return rest.post(f"{place}/ask", json={"client_id": client_id, "n": n, "lease_s": lease_s}).json()

    def report(given: Any, step: int, value: float) -> httpx.Response:
        one = {"trial": given["trial"], "fence": given["fence"], "step": step, "metrics": {"val_accuracy": value}}
        return rest.post(f"{place}/reports", json={"reports": [one]})

    def tell(given: Any, value: float) -> httpx.Response:
        told = {"trial": given["trial"], "fence": given["fence"], "value": value, "resource": given["target"]}
        return rest.post(f"{place}/tell", json=told)

    (first,) = ask("lab-1", lease_s=1)["trials"]
    assert ask("lab-1", lease_s=1)["trials"] == [first], "after a crash the same trial comes back"
    beat = rest.post(f"{place}/heartbeat", json={"client_id": "lab-1", "lease_s": 1})
    assert beat.status_code == 200
    assert report(first, 1, 0.1).json()["results"][0]["status"] == "stored"
    assert report(first, 1, 0.1).json()["results"][0]["status"] == "repeated"
    assert report(first, 1, 0.2).status_code == 409, "a contradiction"

    time.sleep(1.2)  # the lease expires, and nobody took the trial: the worker was merely late
    assert report(first, 2, 0.2).status_code == 200
    rest.post(f"{place}/heartbeat", json={"client_id": "lab-1", "lease_s": 1})

    def taken_over() -> Any:
        (given,) = ask("lab-2")["trials"]
        if given["trial"] == first["trial"]:
            return given
        assert tell(given, 0.3).status_code == 200
        return None

    time.sleep(1.2)
    second = until(taken_over, 10)
    assert second["fence"] == first["fence"] + 1
    late = report(first, 3, 0.3)
    assert late.status_code == 409
    assert late.headers["content-type"] == "application/problem+json"
    assert tell(first, 0.9).status_code == 409
    assert report(second, 3, 0.35).status_code == 200
    assert tell(second, 0.4).json()["state"] == "finished"
    assert tell(second, 0.4).status_code == 200, "telling the same again is fine"
    assert tell(second, 0.5).status_code == 409
    kept = rest.get(f"{place}/trials/{first['trial']}/reports", params={"fence": first["fence"]}).json()["items"]
    assert [item["step"] for item in kept] == [1, 2], "nothing of the late worker was lost"

    while (given := ask("lab-2"))["trials"]:
        assert tell(given["trials"][0], 0.1).status_code == 200
    assert given["ended"].startswith("budget.trials")
    done = rest.get(place).json()
    assert (done["state"], done["counts"]["finished"], done["best"]["value"]) == ("finished", 3, 0.4)
