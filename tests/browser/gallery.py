"""Fills a database with studies as a research group has them, in seconds: real store, controller and algorithms on the
simulated executor's virtual clock. For screenshots and browser tests; nothing here trains.

`python -m tests.browser.gallery FOLDER` makes FOLDER/hpo.db, to look at with `hpo serve --data FOLDER`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.core.states import StudyState
from hpo_service.executors.keyed import normal
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.settings import Settings
from hpo_service.store import studies
from hpo_service.store.database import Database, open_database
from tests.browser import fused_study

SECONDS = 20.0  # virtual, per epoch
PASSES = 100_000
SPACE: dict[str, Any] = {
    "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0, "default": 1e-3},
    "batch_size": {"type": "power_of_two", "low": 16, "high": 256, "default": 64},
    "optimizer": {"type": "choice", "values": ["sgd", "adam", "adamw"], "default": "adam"},
    "momentum": {"type": "uniform", "low": 0.0, "high": 0.99, "default": 0.9, "when": {"optimizer": "sgd"}},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.6, "default": 0.1},
    "weight_decay": {"type": "loguniform", "low": 1e-6, "high": 1e-1, "default": 1e-4},
}
EVIL_NOTES = "<img src=x onerror=alert(1)> [x](javascript:alert(1))"
HOSTILE = "<script>alert('x')</script> \u202eright to left\u202c 🦉 " + "long-" * 20


def curve(params: Mapping[str, Any], resource: float, seed: int) -> dict[str, float]:
    """Losses and accuracy of a made-up classifier: too high a rate diverges, too little dropout overfits."""
    rate = math.log10(params["lr"] / (0.02 if params["optimizer"] == "sgd" else 2e-3))
    pace = SECONDS * (0.6 + 32 / params["batch_size"])
    if rate > 1.9:
        return {"train_loss": math.nan, "val_loss": math.nan, "val_accuracy": 0.1, "epoch_seconds": pace}
    slow = 0.05 * rate**2 + 0.012 * math.log2(params["batch_size"] / 32) ** 2
    slow += 0.3 * abs(params.get("momentum", 0.9) - 0.9) + 0.02 * abs(math.log10(params["weight_decay"] / 1e-3))
    train = 0.04 + 0.6 * math.tanh(slow) + 2.2 * (1 + resource) ** -0.9
    gap = max(0.0, 0.25 - params["dropout"]) * 0.12 * math.log1p(resource) + 0.25 * max(0.0, params["dropout"] - 0.35)
    noise = 0.012 * normal(seed, round(resource * 1000))
    loss = train + gap + 0.03 + noise
    return {
        "train_loss": train,
        "val_loss": loss,
        "val_accuracy": max(0.1, 0.995 * math.exp(-0.33 * loss)),
        "epoch_seconds": pace,
    }


def study(name: str, algorithm: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A definition of the made-up classifier."""
    return {
        "name": name,
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "space": SPACE,
        "algorithm": algorithm,
        "trainer": {"function": "research.classifier:train"},
        "parallel": 8,
        "seed": 3,
        **more,
    }


def definitions() -> Sequence[tuple[dict[str, Any], int]]:
    """The gallery's studies, and after how many trials each is left at work (0: at its end).
    One that is left must be the last: whoever leads another study leads it too."""
    both = [
        {"metric": "val_accuracy", "direction": "maximize"},
        {"metric": "epoch_seconds", "direction": "minimize"},
    ]
    hyperband = {"name": "hyperband", "max_resource": 27, "eta": 3}
    return [
        (study("digits random baseline", {"name": "random", "max_resource": 9}, budget={"trials": 60},
               tags=["vision", "baseline"], notes="# Baseline\n\nRandom search, **nine** epochs each."), 0),
        (study("digits hyperband", hyperband, budget={"trials": 250}, tags=["vision"]), 0),
        (study("digits hyperband, another seed", hyperband, budget={"trials": 250}, tags=["vision"], seed=4), 0),
        (study("digits Gaussian process", {"name": "bayesian", "surrogate": "gp", "max_resource": 9},
               budget={"trials": 30}, tags=["vision", "bayesian"], parallel=2), 0),
        (study("digits TPE", {"name": "bayesian", "surrogate": "tpe", "max_resource": 9}, budget={"trials": 60},
               tags=["vision", "bayesian"], parallel=2), 0),
        (study("accuracy against time", {"name": "random", "max_resource": 9}, objective=both, budget={"trials": 120},
               tags=["trade-off"]), 0),
        (study(HOSTILE, {"name": "random", "max_resource": 3}, budget={"trials": 12},
               tags=["<b>bold</b>", "\u202etag", "🦉" * 30], notes=EVIL_NOTES), 0),
        (study("digits asha", {"name": "asha", "max_resource": 27, "eta": 3}, budget={"trials": 180},
               tags=["vision"]), 120),
    ]  # fmt: skip


def fill(folder: Path) -> dict[str, str]:
    """Make FOLDER/hpo.db; the studies' ids by name."""
    folder.mkdir(parents=True, exist_ok=True)
    moment = [time.time() - 3 * 86400]
    db = open_database(f"sqlite:///{folder / 'hpo.db'}", clock=lambda: int(moment[0] * 1e6))
    ids: dict[str, str] = {}
    try:
        ids[fused_study.NAME] = fused_study.add(db, moment, curve)
        for document, trials in definitions():
            ids[document["name"]] = run(db, folder, document, trials, moment)
    finally:
        db.close()
    return ids


def stored(folder: Path) -> dict[str, str]:
    """The ids of a gallery that was made before."""
    db = open_database(f"sqlite:///{folder / 'hpo.db'}")
    try:
        return {row.name: row.id for row in studies.list_studies(db, limit=100).rows}
    finally:
        db.close()


def run(db: Database, folder: Path, document: Mapping[str, Any], trials: int, moment: list[float]) -> str:
    """Make a study, and decide for it until `trials` have begun (0: to its end); its id. `moment`: the clock."""
    executor = SimulatedExecutor(
        curve,
        cpus=8.0,
        seconds_per_resource=lambda params: SECONDS * (0.6 + 32 / params["batch_size"]),
        seed=int(document["seed"]),
        failure_rate=0.01,
        checkpoint_every=1.0,
        batch=12,
    )
    settings = Settings(data=folder, cpu_hour_dollars=0.048)
    controller = Controller(db=db, executor=executor, settings=settings, holder=str(moment[0]), storage_root=folder)
    row = studies.create_study(db, parse(document), created_by="ada")
    begun = moment[0]
    for _ in range(PASSES):
        controller.step()
        now = studies.get_study(db, row.id)
        if now.state is StudyState.FINISHED or (trials and now.next_trial >= trials and now.counts["running"]):
            moment[0] += 1800
            return row.id
        controller.collector.collect_once()
        moment[0] = max(moment[0], begun + executor.now)
    raise AssertionError(f"the study {document['name']!r} did not end within {PASSES} passes")


if __name__ == "__main__":
    for name, study_id in fill(Path(sys.argv[1])).items():
        print(study_id, name)
