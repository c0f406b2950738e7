"""Builds databases of very many trials, through the store's own verbs in large transactions.

`python -m benchmarks.many_trials FOLDER [--trials 100000]` makes FOLDER/hpo.db with a study of asha whose trials have
at least ten reports each, to look at with `hpo serve --no-controller --data FOLDER`.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo_service.core.definition import parse
from hpo_service.core.proposals import Continue, Finish, Proposal, Start
from hpo_service.core.states import StudyState
from hpo_service.store import collecting, decisions, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.rows import CollectItem, EndedItem, Placement, ReportItem, StartedItem

BLOCK = 2000
SPACE: dict[str, Any] = {
    "lr": {"type": "loguniform", "low": 1e-6, "high": 1e-1},
    "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
    "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
    "momentum": {"type": "uniform", "low": 0.85, "high": 0.95, "when": {"optimizer": "sgd"}},
}
WIDER: dict[str, Any] = {
    **SPACE,
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.6},
    "weight_decay": {"type": "loguniform", "low": 1e-6, "high": 1e-1},
    "layers": {"type": "integer", "low": 1, "high": 8},
}
DEFINITION: dict[str, Any] = {
    "name": "benchmark-listing",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": SPACE,
    "algorithm": {"name": "random", "max_resource": 10},
    "trainer": {"external": True},
    "parallel": BLOCK,
}
RUNGS = (10, 30, 90)
"""Resource levels of the study with rungs; each segment reports ten times on its way."""


def fill(db: Database, trials: int) -> str:
    """A finished study of `trials` trials, one report of two metrics each; returns its id."""
    return _fill(db, {**DEFINITION, "budget": {"trials": trials}}, trials, rungs=(10,), reports=1)


def fill_rungs(db: Database, trials: int, *, ended: bool = True) -> str:
    """A study of asha with `trials` finished trials and seven parameters: ten reports in each rung that a trial comes
    to, the best third of each block promoted; returns its id. Not `ended`: it still runs, and a `Mover` may go on."""
    algorithm = {"name": "asha", "min_resource": RUNGS[0], "max_resource": RUNGS[-1], "eta": 3}
    document = {**DEFINITION, "name": f"{trials:,} trials", "space": WIDER, "algorithm": algorithm}
    budget = {"trials": trials if ended else trials + Mover.TRIALS}
    return _fill(db, {**document, "budget": budget}, trials, rungs=RUNGS, reports=10, ended=ended)


def _fill(
    db: Database, document: dict[str, Any], trials: int, *, rungs: Sequence[int], reports: int, ended: bool = True
) -> str:
    study = studies.create_study(db, parse(document), created_by="benchmark", state=StudyState.RUNNING)
    filler = _Filler(db, study.id, rungs, reports, wide="layers" in document["space"])
    for first in range(0, trials, BLOCK):
        filler.block(range(first, min(trials, first + BLOCK)))
    if ended:
        studies.set_state(db, study.id, StudyState.FINISHED, "the benchmark's trials are stored")
    return study.id


class Mover:
    """Starts a few trials of a study that `fill_rungs` left running, and lets them report, a few at a time."""

    TRIALS = 8

    def __init__(self, db: Database, study_id: str, first: int) -> None:
        self._db = db
        self._study_id = study_id
        self._filler = _Filler(db, study_id, RUNGS, 10, wide=True)
        self._numbers = range(first, first + self.TRIALS)
        self._step = 0
        self._filler.start(self._numbers)
        key: dict[str, Any] = {
            "study_id": study_id,
            "fence": 1,
            "worker_id": "worker-0",
            "node": "node-0",
            "device": "cpu",
        }
        collecting.collect(db, [StartedItem(**key, trial=number, resumed_from=0.0) for number in self._numbers])

    def move(self, trials: int = 3) -> None:
        """One more report of `trials` of them, in one transaction."""
        items: list[CollectItem] = []
        for index in range(self._step, self._step + trials):
            number, step = self._numbers[index % self.TRIALS], index // self.TRIALS + 1
            metrics = {"val_accuracy": 0.5 - 0.1 / step, "val_loss": 0.5 + 0.1 / step}
            place: dict[str, Any] = {"step": step, "resource": min(step / 1000, RUNGS[0] / 2)}
            items.append(ReportItem(study_id=self._study_id, trial=number, fence=1, metrics=metrics, **place))
        self._step += trials
        collecting.collect(self._db, items)


class _Filler:
    """Adds blocks of trials that go through all rungs."""

    def __init__(self, db: Database, study_id: str, rungs: Sequence[int], reports: int, *, wide: bool) -> None:
        self._db = db
        self._study_id = study_id
        self._rungs = rungs
        self._reports = reports
        self._wide = wide
        self._rng = random.Random(0)

    def block(self, numbers: range) -> None:
        skill = {number: self._rng.betavariate(8, 2) for number in numbers}
        self.start(numbers)
        alive = list(numbers)
        for level, target in enumerate(self._rungs):
            below = self._rungs[level - 1] if level else 0
            self._train(alive, level + 1, below, target, skill)
            ranked = sorted(alive, key=lambda n: -skill[n])
            kept = ranked[: len(ranked) // 3] if level + 1 < len(self._rungs) else []
            proposals: list[Proposal] = [
                Finish(trial=n, reason=f"not among the best third at resource {target}") for n in ranked[len(kept) :]
            ]
            proposals += [
                Continue(
                    trial=n, target=float(self._rungs[level + 1]), bracket=0, rung=level + 1,
                    reason=f"among the best third at resource {target}",
                )
                for n in sorted(kept)
            ]  # fmt: skip
            self._commit(proposals)
            alive = sorted(kept)

    def start(self, numbers: range) -> None:
        """Propose and dispatch these trials."""
        placed: dict[str, Any] = {} if len(self._rungs) == 1 else {"bracket": 0, "rung": 0}
        starts: list[Proposal] = [
            Start(
                trial=number, params=self._params(), target=float(self._rungs[0]), horizon=float(self._rungs[-1]),
                reason="sampled at random", **placed,
            )
            for number in numbers
        ]  # fmt: skip
        self._commit(starts)

    def _train(self, numbers: Sequence[int], fence: int, below: int, target: int, skill: dict[int, float]) -> None:
        items: list[CollectItem] = []
        key: dict[str, Any] = {"study_id": self._study_id, "fence": fence}
        for number in numbers:
            worker = f"worker-{number % 16}"
            items.append(
                StartedItem(
                    **key, trial=number, worker_id=worker, node=f"node-{number % 4}", device="cpu",
                    resumed_from=float(below),
                )
            )  # fmt: skip
            for k in range(1, self._reports + 1):
                step = below + (target - below) * k // self._reports
                accuracy = skill[number] * (1 - 0.5 / (1 + step)) + self._rng.gauss(0, 0.002)
                metrics = {"val_accuracy": accuracy, "val_loss": 1.0 - accuracy}
                items.append(ReportItem(**key, trial=number, step=step, resource=float(step), metrics=metrics))
            items.append(
                EndedItem(
                    **key, trial=number, outcome="reached", resource=float(target),
                    seconds=self._rng.expovariate(0.1), cost_microdollars=self._rng.randrange(1000),
                )
            )  # fmt: skip
        collecting.collect(self._db, items)

    def _commit(self, proposals: Sequence[Proposal]) -> None:
        study = studies.get_study(self._db, self._study_id)
        place = Placement(client_id="benchmark", lease_s=3600.0, method="external")
        placements = {p.trial: place for p in proposals if isinstance(p, Start | Continue)}
        decisions.commit(
            self._db, self._study_id, proposals, epoch=study.epoch, decision=study.decision,
            observed_seq=study.last_seq, algorithm="random", algorithm_version=1, placements=placements,
        )  # fmt: skip

    def _params(self) -> dict[str, Any]:
        rng = self._rng
        params: dict[str, Any] = {
            "lr": 10 ** rng.uniform(-6, -1),
            "batch_size": 2 ** rng.randint(4, 8),
            "optimizer": rng.choice(["sgd", "adam"]),
        }
        if params["optimizer"] == "sgd":
            params["momentum"] = rng.uniform(0.85, 0.95)
        if self._wide:
            params |= {
                "dropout": rng.uniform(0.0, 0.6),
                "weight_decay": 10 ** rng.uniform(-6, -1),
                "layers": rng.randint(1, 8),
            }
        return params


def main() -> None:
    """Build the database of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=100_000)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    db = open_database(f"sqlite:///{given.folder / 'hpo.db'}")
    begun = time.monotonic()
    try:
        study_id = fill_rungs(db, given.trials)
    finally:
        db.close()
    print(f"{study_id}: {given.trials:,} trials in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
