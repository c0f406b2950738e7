"""Fills a database with a study of very many finished trials, through the store's own verbs, in large transactions."""

from __future__ import annotations

import random
from typing import Any

from hpo_service.core.definition import parse
from hpo_service.core.proposals import Finish, Proposal, Start
from hpo_service.core.states import StudyState
from hpo_service.store import collecting, decisions, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import CollectItem, EndedItem, Placement, ReportItem, StartedItem

BLOCK = 2000
DEFINITION: dict[str, Any] = {
    "name": "benchmark-listing",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-6, "high": 1e-1},
        "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
        "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
        "momentum": {"type": "uniform", "low": 0.85, "high": 0.95, "when": {"optimizer": "sgd"}},
    },
    "algorithm": {"name": "random", "max_resource": 10},
    "trainer": {"external": True},
    "parallel": BLOCK,
}


def fill(db: Database, trials: int) -> str:
    """A finished study of `trials` trials, one report of two metrics each; returns its id."""
    definition = parse({**DEFINITION, "budget": {"trials": trials}})
    study = studies.create_study(db, definition, created_by="benchmark", state=StudyState.RUNNING)
    rng = random.Random(0)
    for first in range(0, trials, BLOCK):
        _block(db, study.id, rng, range(first, min(trials, first + BLOCK)))
    studies.set_state(db, study.id, StudyState.FINISHED, "the benchmark's trials are stored")
    return study.id


def _block(db: Database, study_id: str, rng: random.Random, numbers: range) -> None:
    starts = [
        Start(trial=number, params=_params(rng), target=10.0, horizon=10.0, reason="sampled at random")
        for number in numbers
    ]
    placements = {number: Placement(client_id="benchmark", lease_s=3600.0, method="external") for number in numbers}
    _commit(db, study_id, starts, placements)
    items: list[CollectItem] = []
    for number in numbers:
        items.append(
            StartedItem(
                study_id=study_id, trial=number, fence=1, worker_id="benchmark", node="benchmark", device="cpu",
                resumed_from=0.0,
            )
        )  # fmt: skip
        accuracy = rng.betavariate(8, 2)
        metrics = {"val_accuracy": accuracy, "val_loss": 1.0 - accuracy}
        items.append(ReportItem(study_id=study_id, trial=number, fence=1, step=10, resource=10.0, metrics=metrics))
        items.append(
            EndedItem(
                study_id=study_id, trial=number, fence=1, outcome="reached", resource=10.0,
                seconds=rng.expovariate(0.1), cost_microdollars=rng.randrange(1000),
            )
        )  # fmt: skip
    collecting.collect(db, items)
    _commit(db, study_id, [Finish(trial=number, reason="trained to its end") for number in numbers], {})


def _commit(db: Database, study_id: str, proposals: list[Any], placements: dict[int, Placement]) -> None:
    study = studies.get_study(db, study_id)
    given: list[Proposal] = proposals
    decisions.commit(
        db, study_id, given, epoch=study.epoch, decision=study.decision, observed_seq=study.last_seq,
        algorithm="random", algorithm_version=1, placements=placements,
    )  # fmt: skip


def _params(rng: random.Random) -> dict[str, Any]:
    params: dict[str, Any] = {
        "lr": 10 ** rng.uniform(-6, -1),
        "batch_size": 2 ** rng.randint(4, 8),
        "optimizer": rng.choice(["sgd", "adam"]),
    }
    if params["optimizer"] == "sgd":
        params["momentum"] = rng.uniform(0.85, 0.95)
    return params
