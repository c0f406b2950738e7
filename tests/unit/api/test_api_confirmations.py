"""Confirmations over REST: begun from a study, trained by an external worker, told in numbers and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hpo_service.settings import Settings
from hpo_service.store import reading, studies
from hpo_service.store.database import Database
from tests.unit.api.support import DEFINITION, check

SPREAD = (-0.004, -0.001, 0.0, 0.002, 0.003)


def _search(client: TestClient, values: Sequence[float], **changes: Any) -> str:
    """A finished external search whose trials were told these values."""
    budget = {"budget": {"trials": len(values)}, "parallel": 40}
    made = client.post("/api/v1/studies", json={**DEFINITION, **budget, **changes})
    assert made.status_code == 201, made.text
    _train(client, made.json()["id"], lambda number, _: {"value": values[number]})
    return str(made.json()["id"])


def _train(client: TestClient, study: str, told: Callable[[int, Mapping[str, Any]], Mapping[str, Any]]) -> None:
    path = f"/api/v1/studies/{study}"
    while given := client.post(f"{path}/ask", json={"client_id": "me", "n": 20}).json()["trials"]:
        for trial in given:
            body = {"trial": trial["trial"], "fence": trial["fence"], **told(trial["trial"], trial["params"])}
            assert client.post(f"{path}/tell", json=body).status_code == 200


def _confirm(client: TestClient, study: str, **body: Any) -> dict[str, Any]:
    made = client.post(f"/api/v1/studies/{study}/confirmations", json=body)
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def _outcome(client: TestClient, study: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/api/v1/studies/{study}/confirmation", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_confirmation_trains_the_best_again_with_new_seeds(client: TestClient, db: Database) -> None:
    search = _search(client, [0.5, 0.3, 0.9, 0.4, 0.8, 0.7])
    made = _confirm(client, search, top=3, seeds=5)
    assert made["name"] == "external (confirmed)"
    assert made["definition"]["confirms"] == {"study": search, "trials": [1, 3, 0], "seeds": 5}
    assert made["counts"]["waiting"] == made["trials"] == 15
    trials = list(reading.iter_trials(db, made["id"]))
    before = {t.number: t.params for t in reading.iter_trials(db, search)}
    assert [t.params for t in trials] == [before[n] for n in (1, 3, 0)] * 5
    assert {t.origin.value for t in trials} == {"confirm"}
    assert made["definition"]["seed"] != client.get(f"/api/v1/studies/{search}").json()["definition"]["seed"]
    again = _confirm(client, search, top=1, seeds=2)
    assert again["definition"]["seed"] not in (made["definition"]["seed"], 0)


def _bounded(client: TestClient, told: Sequence[tuple[float, float | None]]) -> str:
    """A finished search for a small loss at a latency of at most 10; told of both, the latency where there is one."""
    changes = {"constraints": [{"metric": "latency", "at_most": 10.0}], "budget": {"trials": len(told)}, "parallel": 9}
    made = client.post("/api/v1/studies", json={**DEFINITION, **changes})
    assert made.status_code == 201, made.text
    _train(client, made.json()["id"], lambda number, _: {"metrics": _metrics(*told[number])})
    return str(made.json()["id"])


def _metrics(loss: float, latency: float | None) -> dict[str, float]:
    return {"loss": loss} if latency is None else {"loss": loss, "latency": latency}


@pytest.mark.parametrize(
    ("told", "picked"),
    [
        ([(0.1, 20.0), (0.5, 9.0), (0.2, 11.0), (0.4, 8.0), (0.05, None)], [3, 1]),  # two keep the bound
        ([(0.1, 20.0), (0.5, 12.0), (0.2, 11.0), (0.4, 18.0), (0.05, None)], [2, 1, 3]),  # none does
    ],
)
def test_those_that_keep_the_constraints_are_confirmed_and_otherwise_those_that_break_them_least(
    client: TestClient, told: Sequence[tuple[float, float | None]], picked: list[int]
) -> None:
    search = _bounded(client, told)
    made = _confirm(client, search, top=3, seeds=2)
    assert made["definition"]["confirms"]["trials"] == picked
    assert made["definition"]["constraints"] == [{"metric": "latency", "at_most": 10.0}]
    best = client.get(f"/api/v1/studies/{search}/best", params={"limit": 3}).json()
    assert [one["number"] for one in best["items"]] == picked


def test_constraints_that_new_seeds_break_are_noted(client: TestClient) -> None:
    search = _bounded(client, [(0.3, 9.0), (0.5, 9.0), (0.6, 9.0)])
    study = _confirm(client, search, top=3, seeds=5)["id"]
    assert _outcome(client, study)["notes"] == []

    def told(number: int, _: Mapping[str, Any]) -> dict[str, Any]:
        seed, place = divmod(number, 3)
        latency = (11.0 if seed < 2 else 9.0, 9.0, None if seed == 4 else 9.0)[place]
        return {"metrics": _metrics((0.3, 0.5, 0.6)[place] + SPREAD[seed], latency)}

    _train(client, study, told)
    found = _outcome(client, study)
    assert found["kind"] == "real"
    assert found["notes"] == [
        "Trial 0 breaks latency at most 10 with 2 of 5 seeds.",
        "Whether trial 2 keeps latency at most 10 is not known of 1 of 5 seeds.",
    ]


def test_the_verdict_of_a_real_winner_in_all_its_parts(client: TestClient) -> None:
    search = _search(client, [0.5, 0.30, 0.9, 0.4])
    study = _confirm(client, search, top=2, seeds=5)["id"]
    assert _outcome(client, study)["kind"] == "open"

    def told(number: int, _: Mapping[str, Any]) -> dict[str, Any]:
        value = (0.33, 0.41)[number % 2] + SPREAD[number // 2]
        return {"metrics": {"loss": value, "test_loss": value + 0.01}}

    _train(client, study, told)
    found = _outcome(client, study)
    assert found["verdict"] == "The winner is real: trial 1 is better than trial 3 (p < 0.001)."
    assert (found["kind"], found["confirms"], found["confirms_name"]) == ("real", search, "external")
    assert (found["done"], found["trials"], found["seeds"]) == (10, 10, 5)
    winner, other = found["configurations"]
    assert (winner["trial"], other["trial"]) == (1, 3)
    assert winner["spread"]["mean"] == pytest.approx(0.33)
    assert winner["searched"] == {
        "value": 0.3,
        "resource": pytest.approx(winner["searched"]["resource"]),
        "compares": True,
    }
    assert winner["optimism"] == pytest.approx(0.03)  # it looked better by that much
    assert winner["test"]["test_loss"]["mean"] == pytest.approx(0.34)
    assert winner["against"] is None
    assert other["against"]["difference"] == pytest.approx(-0.08)
    assert other["against"]["ahead"] is True
    assert "test_loss 0.34" in found["test_verdict"]
    assert found["ensemble"] is None
    together = _outcome(client, study, ensemble=True)
    assert together["ensemble"] is None
    assert "external workers do not" in together["ensemble_note"]
    (link,) = client.get(f"/api/v1/studies/{search}/confirmations").json()["items"]
    assert (link["study"], link["kind"], link["done"], link["top"]) == (study, "real", 10, 2)
    assert link["verdict"] == found["verdict"]


def test_a_winner_by_luck_and_a_failed_seed(client: TestClient) -> None:
    search = _search(client, [0.1, 0.2])
    study = _confirm(client, search, trials=[0, 1], seeds=5)["id"]

    def told(number: int, _: Mapping[str, Any]) -> dict[str, Any]:
        if number == 2:
            return {"state": "failed", "reason": "out of luck"}
        return {"value": (0.5, 0.2)[number % 2] + SPREAD[number // 2]}

    _train(client, study, told)
    found = _outcome(client, study)
    assert found["kind"] == "luck"
    assert found["verdict"].startswith("The winner, trial 0, was luck: trial 1 is better")
    assert found["better"] == [1]
    assert found["configurations"][0]["failed"] == 1
    assert "Trial 0 failed with 1 of 5 seeds" in found["notes"][0]


def test_a_seed_tried_again_counts_once(client: TestClient) -> None:
    search = _search(client, [0.1, 0.2])
    study = _confirm(client, search, top=2, seeds=3)["id"]
    _train(client, study, lambda n, _: {"state": "failed"} if n == 0 else {"value": n % 2 + SPREAD[n // 2]})
    assert client.post(f"/api/v1/studies/{study}/retry", json={"failed": True}).json() == {"trials": [6]}
    assert client.patch(f"/api/v1/studies/{study}", json={"budget": {"trials": 12}}).status_code == 200
    _train(client, study, lambda n, _: {"value": 0.003})
    assert client.get(f"/api/v1/studies/{study}").json()["state"] == "finished"  # though its budget would allow more
    found = _outcome(client, study)["configurations"][0]
    assert (found["failed"], found["spread"]["n"]) == (0, 3)
    assert [seed["trial"] for seed in found["seeds"]] == [2, 4, 6]


def test_two_seeds_tell_nothing(client: TestClient) -> None:
    study = _confirm(client, _search(client, [0.1, 0.2]), top=2, seeds=2)["id"]
    _train(client, study, lambda n, _: {"value": n % 2 + SPREAD[n // 2]})
    found = _outcome(client, study)
    assert (found["kind"], found["detectable"]) == ("untold", None)
    assert found["configurations"][1]["against"]["p"] is None


def test_several_objectives_are_confirmed_by_the_first(client: TestClient) -> None:
    objective = [{"metric": "loss"}, {"metric": "size", "direction": "maximize"}]
    made = client.post("/api/v1/studies", json={**DEFINITION, "objective": objective, "budget": {"trials": 2}}).json()
    _train(client, made["id"], lambda n, _: {"values": [0.1 + n, 5.0]})
    study = _confirm(client, made["id"], top=2, seeds=3)["id"]
    _train(client, study, lambda n, _: {"values": [n % 2 + SPREAD[n // 2], 7.0 + n // 2]})
    found = _outcome(client, study)
    assert found["kind"] == "real"
    assert found["configurations"][0]["others"]["size"]["mean"] == 8.0


def test_what_cannot_be_confirmed(client: TestClient, settings: Settings) -> None:
    empty = client.post("/api/v1/studies", json=DEFINITION).json()["id"]
    path = f"/api/v1/studies/{empty}"
    assert "no trial with a finite value" in check(client.post(f"{path}/confirmations"), 409)["detail"]
    assert "confirms no other one" in check(client.get(f"{path}/confirmation"), 404)["detail"]
    search = _search(client, [0.1, 0.2])
    problem = check(client.post(f"/api/v1/studies/{search}/confirmations", json={"trials": [0, 7]}), 422)
    assert problem["errors"][0]["path"] == "trials"
    check(client.post(f"/api/v1/studies/{search}/confirmations", json={"seeds": 0}), 422)
    study = _confirm(client, search, top=2, seeds=2)["id"]
    assert "is itself a confirmation" in check(client.post(f"/api/v1/studies/{study}/confirmations"), 409)["detail"]
    given = {"configurations": [{"lr": 0.01, "kind": "a"}]}
    assert "trains no others" in check(client.post(f"/api/v1/studies/{study}/trials", json=given), 409)["detail"]
    forged = {**DEFINITION, "confirms": {"study": search, "trials": [0], "seeds": 1}}
    assert check(client.post("/api/v1/studies", json=forged), 422)["errors"][0]["path"] == "confirms"
    test = {**DEFINITION, "objective": {"metric": "test_loss"}}
    assert "part of the search" in check(client.post("/api/v1/studies", json=test), 422)["detail"]


def test_the_same_request_makes_one_confirmation(client: TestClient) -> None:
    search = _search(client, [0.1, 0.2])
    path, headers = f"/api/v1/studies/{search}/confirmations", {"Idempotency-Key": "once"}
    one, other = (client.post(path, json={"top": 1, "seeds": 2}, headers=headers).json()["id"] for _ in range(2))
    assert one == other
    assert len(client.get(path).json()["items"]) == 1


def test_equal_configurations_are_confirmed_once(client: TestClient) -> None:
    search = _search(
        client,
        [0.3, 0.1, 0.2],
        space={"kind": {"type": "choice", "values": ["a", "b"]}},
        repeats=True,
        baseline=False,
        seed=3,
    )
    made = _confirm(client, search, top=5, seeds=1)
    chosen = made["definition"]["confirms"]["trials"]
    assert len(chosen) == 2
    assert chosen[0] == 1


def _predict(settings: Settings, study: str, trial: int, sharp: float, **more: Any) -> Path:
    """Predictions of a made-up model: the more sharp, the better; each errs on other rows."""
    rng = np.random.default_rng(trial)

    def part(rows: int) -> tuple[Any, Any]:
        right = np.arange(rows) % 3
        logits = rng.normal(size=(rows, 3)) + sharp * np.eye(3)[right]
        return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32), right

    (val, val_right), (test, test_right) = part(200), part(400)
    path = settings.resolved_storage / "checkpoints" / study / str(trial) / "1-predictions.npz"
    path.parent.mkdir(parents=True)
    given = {"kind": "classes", "val": val, "val_right": val_right, "test": test, "test_right": test_right, **more}
    np.savez(path, **given)
    return path


def test_an_ensemble_of_the_confirmed_models(client: TestClient, settings: Settings, caplog: Any) -> None:
    search = _search(client, [0.1, 0.2], objective={"metric": "val_accuracy", "direction": "maximize"})
    study = _confirm(client, search, top=2, seeds=5)["id"]
    _train(client, study, lambda n, _: {"value": 0.6 + n / 100})
    for trial in range(8):
        _predict(settings, study, trial, sharp=1.0)
    _predict(settings, study, 8, sharp=1.0, val=np.array([{"a": 1}], dtype=object))
    found = _outcome(client, study, ensemble=True)
    together = found["ensemble"]
    assert (together["metric"], together["rows"], together["tested"]) == ("accuracy", 400, True)
    assert len(together["uniform"]["members"]) == 8
    assert sum(m["weight"] for m in together["greedy"]["members"]) == pytest.approx(1)
    assert together["greedy"]["val"] >= together["single"]["val"]
    assert together["gain"] > 0.05
    assert together["low"] < together["gain"] < together["high"]
    assert "over the best single model" in together["words"]
    assert "2 of 10 models are left out" in found["ensemble_note"]
    assert "1-predictions.npz" in caplog.text  # the pickle was refused
    deleted = client.delete(f"/api/v1/studies/{study}")
    assert deleted.status_code == 204
    assert not (settings.resolved_storage / "checkpoints" / study).exists()


def test_a_confirmation_outlives_its_search(client: TestClient, db: Database) -> None:
    search = _search(client, [0.1, 0.2])
    study = _confirm(client, search, top=2, seeds=3)["id"]
    studies.delete_study(db, search)
    _train(client, study, lambda n, _: {"value": n % 2 + SPREAD[n // 2]})
    found = _outcome(client, study)
    assert (found["kind"], found["confirms_name"]) == ("real", None)
    assert found["configurations"][0]["searched"] is None
    assert found["configurations"][0]["optimism"] is None
