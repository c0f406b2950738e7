"""A study whose trials trained together, for the gallery: the real store and fold, workers and clock made up here.

The fold proposes cohorts and groups them as it does for the controller; each group trains on one of a few workers, its
lanes in step, and is charged by lane. Some lanes diverge, one worker is lost, one structure is left plain.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_service import algorithms
from hpo_service.core.algorithm import Algorithm
from hpo_service.core.definition import parse
from hpo_service.core.events import MethodChoice, MethodsChosen
from hpo_service.core.seeds import trial_seed
from hpo_service.core.states import StudyState
from hpo_service.executors.keyed import normal
from hpo_service.store import collecting, decisions, methods, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import CheckpointItem, EndedItem, OpenAttempt, Placement, ReportItem, StartedItem

NAME = "mnist, trained together"
WORKERS = 4
WIDTHS = {32: (0.61, 0.11, 16), 64: (0.74, 0.16, 16), 128: (1.1, 0.41, 4), 256: (1.9, 2.1, 1)}
"""By batch size: milliseconds per step plainly and fused, and the width."""
LANES = ("lr", "momentum", "weight_decay", "dropout")
Curve = Callable[[Mapping[str, Any], float, int], dict[str, float]]
SPACE: dict[str, Any] = {
    "lr": {"type": "loguniform", "low": 1e-4, "high": 0.3, "default": 0.01},
    "momentum": {"type": "uniform", "low": 0.0, "high": 0.99, "default": 0.9},
    "weight_decay": {"type": "loguniform", "low": 1e-6, "high": 1e-2, "default": 1e-5},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.5, "default": 0.0},
    "batch_size": {"type": "power_of_two", "low": 32, "high": 256, "default": 64},
}
DEFINITION: dict[str, Any] = {
    "name": NAME,
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": SPACE,
    "algorithm": {"name": "successive_halving", "max_resource": 27, "trials": 540, "keep": 20},
    "trainer": {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp"}},
    "parallel": 256,
    "tags": ["vision", "fused"],
    "seed": 5,
}


@dataclass
class _Run:
    """The study while it is made: a virtual clock in seconds, and what happens when on which worker."""

    db: Database
    study_id: str
    fold: Algorithm
    moment: list[float]
    curve: Curve
    epoch: int
    seen: int = 0
    launches: int = 0
    free_at: list[float] = field(default_factory=lambda: [0.0] * WORKERS)
    said: int = 0
    due: list[tuple[float, int, list[Any]]] = field(default_factory=list)

    def go(self) -> None:
        """Until nothing is left to do."""
        self._decide()
        while self.due:
            at, _, items = heapq.heappop(self.due)
            self.moment[0] = max(self.moment[0], at)
            collecting.collect(self.db, items)
            if min(self.free_at) <= self.moment[0]:
                self._decide()

    def _decide(self) -> None:
        """Commit what the fold proposes, as often as it proposes anything."""
        self._follow()
        while proposals := self.fold.propose(16, most=self._room()):
            self._commit(proposals)
            self._follow()

    def _room(self) -> int:
        study = studies.get_study(self.db, self.study_id)
        return study.parallel - study.open_attempts

    def _follow(self) -> None:
        for event in decisions.load_events(self.db, self.study_id, after_seq=self.seen):
            self.fold.observe(event)
            self.seen = event.seq

    def _commit(self, proposals: Sequence[Any]) -> None:
        placements: dict[int, Placement] = {}
        for group in self.fold.groups(proposals, most=16):
            self.launches += 1
            for lane, trial in enumerate(group.trials):
                placements[trial] = Placement(
                    launch=f"{self.launches:032x}", lane=lane, width=len(group.trials), method=group.method or "plain"
                )
        study = studies.get_study(self.db, self.study_id)
        committed = decisions.commit(
            self.db, self.study_id, proposals, epoch=self.epoch, decision=study.decision, observed_seq=self.seen,
            algorithm="successive_halving", algorithm_version=1, placements=placements,
        )  # fmt: skip
        by_launch: dict[str, list[OpenAttempt]] = {}
        for opened in committed.opened:
            by_launch.setdefault(opened.launch, []).append(opened)
        for lanes in by_launch.values():
            self._train(lanes)

    def _train(self, lanes: Sequence[OpenAttempt]) -> None:
        """One launch, on the worker that is free first."""
        worker = min(range(WORKERS), key=lambda one: self.free_at[one])
        start = max(self.moment[0], self.free_at[worker])
        begun = [
            StartedItem(
                study_id=self.study_id, trial=lane.trial, fence=lane.fence, worker_id=f"worker-{worker}",
                node="node-0", device="cpu", resumed_from=lane.from_resource,
            )
            for lane in lanes
        ]  # fmt: skip
        self._at(start, begun)
        now, alive, charged = start, list(lanes), 0.0
        kept: list[Any] = []
        for step in range(int(lanes[0].from_resource), int(lanes[0].target)):
            epoch_s = _epoch_s(lanes)
            now, charged = now + epoch_s, charged + epoch_s / len(alive)
            kept += [self._report(lane, step) for lane in alive]
            ended = [lane for lane in alive if step >= 1 and _diverges(lane)]
            if ended or step % 5 == 4:
                self._at(now, [*kept, *(self._end(lane, step, now - start, charged, "diverged") for lane in ended)])
                kept = []
            alive = [lane for lane in alive if lane not in ended]
            if not alive:
                break
        self._at(now + 0.01, [*kept, *(self._end(lane, step, now - start, charged) for lane in alive)])
        self.free_at[worker] = now + 0.02

    def _report(self, lane: OpenAttempt, step: int) -> ReportItem:
        metrics = self.curve(lane.params, step + 1.0, trial_seed(int(DEFINITION["seed"]), lane.trial))
        if step >= 1 and _diverges(lane):
            metrics = dict.fromkeys(metrics, math.nan)
        return ReportItem(
            study_id=self.study_id, trial=lane.trial, fence=lane.fence, step=step, resource=step + 1.0, metrics=metrics
        )

    def _end(
        self, lane: OpenAttempt, step: int, seconds: float, charged: float, failure: str | None = None
    ) -> EndedItem:
        return EndedItem(
            study_id=self.study_id, trial=lane.trial, fence=lane.fence, outcome="failed" if failure else "reached",
            failure=failure, resource=step + 1.0, seconds=seconds, peak_memory_bytes=412_000_000,
            reason="diverged: val_accuracy is NaN" if failure else "",
            cost_microdollars=round(charged / 3600 * 0.048 * 1e6),
            checkpoint=None if failure else CheckpointItem(
                path=f"checkpoints/{self.study_id}/{lane.trial}/{lane.fence}.pt", digest=f"{lane.trial}-{lane.fence}",
                step=step, resource=step + 1.0, size_bytes=38_000,
            ),
        )  # fmt: skip

    def _at(self, at: float, items: list[Any]) -> None:
        self.said += 1
        heapq.heappush(self.due, (at, self.said, items))


def _epoch_s(lanes: Sequence[OpenAttempt]) -> float:
    """60,000 images, once."""
    size = int(lanes[0].params["batch_size"])
    plain_ms, fused_ms, _ = WIDTHS[size]
    return 60_000 / size / 1e3 * (fused_ms * lanes[0].width if lanes[0].width > 1 else plain_ms)


def _diverges(lane: OpenAttempt) -> bool:
    return bool(lane.params["lr"] > 0.22 or abs(normal(trial_seed(int(DEFINITION["seed"]), lane.trial), 7)) > 2.6)


def add(db: Database, moment: list[float], curve: Curve) -> str:
    """Make the study; `moment` is the database's clock, in seconds, and is moved on. Returns its id."""
    definition = parse(DEFINITION)
    row = studies.create_study(db, definition, created_by="ada", state=StudyState.RUNNING)
    epoch = decisions.take_lease(db, row.id, "gallery", 60.0)
    assert epoch is not None
    methods.choose_methods(db, row.id, _chosen(), epoch=epoch)
    run = _Run(
        db=db, study_id=row.id, fold=algorithms.build(definition), moment=moment,
        curve=lambda params, resource, seed: curve({**params, "optimizer": "sgd"}, resource, seed), epoch=epoch,
    )  # fmt: skip
    run.go()
    ended = studies.get_study(db, row.id)
    assert ended.open_attempts == 0, ended.counts
    studies.set_state(
        db, row.id, StudyState.FINISHED, run.fold.ending() or "over", epoch=epoch, decision=ended.decision
    )
    moment[0] += 1800
    return row.id


def _chosen() -> MethodsChosen:
    """What a controller would have measured."""
    choices = tuple(
        MethodChoice(
            structure={"batch_size": batch_size},
            method="plain" if width == 1 else "fused",
            width=width,
            device="cpu",
            reason=_reason(plain, fused, width),
            measured={
                "plain_s": plain / 1e3,
                "fused_s": {"8": fused / 900, str(width if width > 1 else 8): fused / 1e3},
            },
        )
        for batch_size, (plain, fused, width) in WIDTHS.items()
    )
    return MethodsChosen(lanes=LANES, choices=choices)


def _reason(plain: float, fused: float, width: int) -> str:
    said = f"{max(width, 4)} lanes are {plain / fused:.2g} times as fast as one by one"
    return said if width > 1 else f"{said}: that is not worth it"
