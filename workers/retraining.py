"""The segments of a record trained again, one after another in one process, through the same sessions as any attempt.

Where a later segment went on from a checkpoint the one before is paused at that report, which writes the checkpoint
anew. What is to be trained is worked out in `workers.record`; nothing is compared here but a run with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workers import comparison, record
from workers.contract import (
    FUSED,
    AttemptKey,
    CancelMode,
    CheckpointRef,
    Ended,
    Launch,
    Logged,
    Message,
    Outcome,
    Reported,
    Started,
    WorkOrder,
)
from workers.record import Point, Record, Run
from workers.session import Attempt, WorkerIdentity
from workers.session_fused import FusedAttempts

_LOG_CHARACTERS = 4000
_TRACEBACK_CHARACTERS = 4000


class GaveUpError(Exception):
    """The reproduction was cancelled."""


@dataclass
class Trained:
    """One run as it went."""

    run: Run
    points: list[Point] = field(default_factory=list)
    environment: Mapping[str, Any] = field(default_factory=dict)
    ended: Ended | None = None
    log: str = ""


class Trainings:
    """The runs of a record: each trained through a session of its own."""

    def __init__(
        self,
        told: Record,
        folder: str,
        *,
        worker: WorkerIdentity,
        heard: Callable[[Reported], None],
        cancelled: Callable[[], CancelMode | None],
        abandon: Callable[[Ended], None] | None = None,
    ) -> None:
        """`abandon` takes the end of a trainable that goes on for ever after it, and does not return."""
        self._told = told
        self._folder = folder
        self._worker = worker
        self._heard = heard
        self._cancelled = cancelled
        self._abandon = abandon
        self._kept: dict[tuple[int, int, int], CheckpointRef] = {}

    def all(self) -> tuple[list[Trained], dict[str, Any] | None]:
        """Every run, up to the first that did not go as it did then; and what was wrong with that one."""
        done: list[Trained] = []
        for run in record.runs(self._told):
            trained = self.train(run)
            done.append(trained)
            failure = self._keep(trained)
            if failure is not None:
                return done, failure
        return done, None

    def repeats(self, done: list[Trained], step: int) -> bool | None:
        """Whether the run in which `step` was reported does the same again; None where there is none."""
        for trained in done:
            mine = trained.run.trial == self._told.trial
            first = [p for p in trained.points if p.step <= step]
            if mine and first and first[-1].step == step:
                again = self.train(replace(trained.run, until=step, keeps=False, natural=False))
                return bool(comparison.compare(first, again.points, objectives=self._told.metrics)["equal"])
        return None

    def train(self, run: Run) -> Trained:
        """Train one run. Raises GaveUpError when the whole was cancelled."""
        trained = Trained(run=run)
        order = self._work_order(run)

        def emit(message: Message) -> None:
            self._note(trained, message)

        def cancelled(_: AttemptKey | None = None) -> CancelMode | None:
            return CancelMode.STOP if self._cancelled() is not None else None

        if run.segment.method == FUSED:
            launch = Launch(launch_id="again", orders=(order,), method=FUSED, width=run.segment.width)
            FusedAttempts(launch, emit, cancelled, worker=self._worker).run()
        else:
            trained.ended = Attempt(order, emit, cancelled, worker=self._worker, abandon=self._abandon).run()
        if self._cancelled() is not None:
            raise GaveUpError
        return trained

    def _note(self, trained: Trained, message: Message) -> None:
        run = trained.run
        if isinstance(message, Reported):
            point = Point(
                step=message.step, resource=message.resource, fence=run.segment.fence, metrics=dict(message.metrics)
            )
            trained.points.append(point)
            self._heard(message)
        elif isinstance(message, Started):
            trained.environment = message.environment
        elif isinstance(message, Logged):
            trained.log = (trained.log + message.text)[-_LOG_CHARACTERS:]
        elif isinstance(message, Ended):
            trained.ended = message

    def _keep(self, trained: Trained) -> dict[str, Any] | None:
        """Remember the checkpoint that the run was paused for; what is wrong where it did not go as it did then."""
        run, ended = trained.run, trained.ended
        assert ended is not None
        failed_then = run.natural and run.segment.outcome == "failed"
        if ended.outcome is Outcome.FAILED and not failed_then:
            return _failure(trained, ended.reason)
        if not run.keeps:
            return None
        ref = ended.checkpoint
        if ref is None or ref.step != run.until:
            return _failure(
                trained,
                f"attempt {run.segment.fence} kept a checkpoint at step {run.until}, from which training went on; "
                "trained again it kept none there",
            )
        self._kept[(run.trial, run.segment.fence, run.until)] = ref
        return None

    def _work_order(self, run: Run) -> WorkOrder:
        told, segment = self._told.of(run.trial), run.segment
        source = segment.resumed
        kept = () if source is None else (self._kept[(source.trial, source.fence, source.step)],)
        return WorkOrder(
            key=AttemptKey(study_id=told.study_id, trial=run.trial, fence=segment.fence),
            trainer=told.trainer,
            params=told.params,
            seed=told.seed,
            metric=told.metrics[0],
            metrics=told.metrics,
            directions=told.directions,
            from_resource=segment.from_resource,
            target_resource=segment.target,
            horizon=segment.horizon,
            storage_root=self._folder,
            artifacts_root=self._folder,
            deterministic=told.deterministic,
            checkpoints=kept,
            launch="again",
            lane=0,
            width=segment.width,
            processes=told.processes,
            test=told.test,
            fidelity=told.fidelity,
            ends_at=run.until + run.natural,  # one beyond, where it has to end by itself
            ends_as=CancelMode.PAUSE if run.keeps else CancelMode.STOP,
        )


def _failure(trained: Trained, reason: str) -> dict[str, Any]:
    assert trained.ended is not None
    return {
        "fence": trained.run.segment.fence,
        "reason": reason,
        "traceback": trained.ended.traceback[-_TRACEBACK_CHARACTERS:],
        "log": trained.log,
    }
