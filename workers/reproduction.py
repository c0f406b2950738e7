"""A trial trained again from its record, in one process, and compared with what it reported then.

Every segment that counted is trained in order, at its recorded method and width (the other lanes are clones), through
the same sessions as any attempt, so that it takes the same numeric path. Where a later segment went on from a
checkpoint it is paused at that report, which writes the checkpoint anew. Checkpoints lie in a temporary folder. What is
to be trained is worked out in `workers.record`; what the comparison says, in `workers.comparison`.
"""

from __future__ import annotations

import tempfile
import time
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
    FailureKind,
    Launch,
    Logged,
    Message,
    Outcome,
    Reported,
    Reproduced,
    Started,
    WorkOrder,
)
from workers.errors import InvalidOrderError
from workers.record import Point, Record, Run
from workers.session import Attempt, WorkerIdentity, this_process
from workers.session_fused import FusedAttempts
from workers.tracebacks import format_exception, summary

_LOG_CHARACTERS = 4000
_TRACEBACK_CHARACTERS = 4000


class _GaveUpError(Exception):
    """The reproduction was cancelled."""


@dataclass
class _Trained:
    """One run as it went."""

    run: Run
    points: list[Point] = field(default_factory=list)
    environment: Mapping[str, Any] = field(default_factory=dict)
    ended: Ended | None = None
    log: str = ""


class Reproduction:
    """One reproduction, in the place of an attempt; `run` may be called once.

    It says `Started`, a `Reported` for every report (its own key, so that silence is noticed), then `Reproduced` and
    `Ended`. A trial that fails when it is trained again is an answer, too; only a record that cannot be read, or code
    that is not there, fails the order.
    """

    def __init__(
        self,
        order: WorkOrder,
        emit: Callable[[Message], None],
        cancelled: Callable[[], CancelMode | None],
        *,
        worker: WorkerIdentity | None = None,
    ) -> None:
        self._order = order
        self._emit = emit
        self._cancelled = cancelled
        self._worker = worker or this_process()
        self._started = time.monotonic()
        self._count = 0

    def flush_logs(self) -> None:
        """Nothing: what it prints is told with the answer."""

    def run(self) -> Ended:
        """Train and compare."""
        order = self._order
        self._emit(
            Started(
                key=order.key,
                worker_id=self._worker.worker_id,
                node=self._worker.node,
                device=self._worker.device,
                resumed_from=0.0,
                environment={},
            )
        )
        try:
            assert order.reproduce is not None
            with tempfile.TemporaryDirectory(prefix="hpo-reproduce-") as folder:
                document = self._document(record.read(order.reproduce), folder)
        except _GaveUpError:
            return self._ended(Outcome.CANCELLED, reason="cancelled while it was trained again")
        except InvalidOrderError as error:
            return self._ended(Outcome.FAILED, failure=FailureKind.INVALID, reason=str(error))
        except BaseException as error:
            reason, trace = f"it could not be compared: {summary(error)}", format_exception(error)
            return self._ended(Outcome.FAILED, failure=FailureKind.EXCEPTION, reason=reason, traceback=trace)
        self._emit(Reproduced(key=order.key, document=document))
        return self._ended(Outcome.REACHED)

    def _ended(self, outcome: Outcome, **told: Any) -> Ended:
        seconds = time.monotonic() - self._started
        return Ended(key=self._order.key, outcome=outcome, resource=0.0, seconds=seconds, **told)

    # The answer

    def _document(self, told: Record, folder: str) -> dict[str, Any]:
        trainings = _Trainings(told, folder, worker=self._worker, heard=self._heard, cancelled=self._cancelled)
        done, failure = trainings.all()
        now = _curve(told, done)
        compared = comparison.compare(told.curve, now, objectives=told.metrics)
        differing, change = _environments(told, done)
        repeats = trainings.repeats(done, compared["first"]["step"]) if compared["first"] and not failure else None
        environment = done[-1].environment if done else {}
        own = told.trainer.recipe is None or ":" in told.trainer.recipe
        ending = _ending(done[-1]) if done else None
        verdict = comparison.verdict(compared, differing) + _ended_otherwise(ending)
        found: dict[str, Any] = {
            "equal": compared["equal"] and failure is None,
            "verdict": verdict if failure is None else _failed(failure),
            "comparison": compared,
            "environment": differing,
            "code_change": change,
            "hints": comparison.hints(compared, differing, now=environment, own_code=own, repeats=repeats),
            "repeats": repeats,
            "curves": comparison.overlay(told.curve, now, told.metrics[0]),
            "segments": len({(t.run.trial, t.run.segment.fence) for t in done}),
            "seconds": time.monotonic() - self._started,
            "node": self._worker.node,
            "device": self._worker.device,
            "ending": ending,
            "now": {name: value for name, value in environment.items() if name != "texts"},
        }
        return found if failure is None else {**found, "failure": failure}

    def _heard(self, message: Reported) -> None:
        self._count += 1
        self._emit(replace(message, key=self._order.key, step=self._count, resource=0.0, metrics={}))


class _Trainings:
    """The runs of a record: each trained through a session of its own."""

    def __init__(
        self,
        told: Record,
        folder: str,
        *,
        worker: WorkerIdentity,
        heard: Callable[[Reported], None],
        cancelled: Callable[[], CancelMode | None],
    ) -> None:
        self._told = told
        self._folder = folder
        self._worker = worker
        self._heard = heard
        self._cancelled = cancelled
        self._kept: dict[tuple[int, int, int], CheckpointRef] = {}

    def all(self) -> tuple[list[_Trained], dict[str, Any] | None]:
        """Every run, up to the first that did not go as it did then; and what was wrong with that one."""
        done: list[_Trained] = []
        for run in record.runs(self._told):
            trained = self.train(run)
            done.append(trained)
            failure = self._keep(trained)
            if failure is not None:
                return done, failure
        return done, None

    def repeats(self, done: list[_Trained], step: int) -> bool | None:
        """Whether the run in which `step` was reported does the same again; None where there is none."""
        for trained in done:
            mine = trained.run.trial == self._told.trial
            first = [p for p in trained.points if p.step <= step]
            if mine and first and first[-1].step == step:
                again = self.train(replace(trained.run, until=step, keeps=False, natural=False))
                return bool(comparison.compare(first, again.points, objectives=self._told.metrics)["equal"])
        return None

    def train(self, run: Run) -> _Trained:
        """Train one run. Raises _GaveUpError when the whole was cancelled."""
        trained = _Trained(run=run)
        order = self._work_order(run)

        def emit(message: Message) -> None:
            self._note(trained, message)

        def cancelled(_: AttemptKey | None = None) -> CancelMode | None:
            return CancelMode.STOP if self._cancelled() is not None else None

        if run.segment.method == FUSED:
            launch = Launch(launch_id="again", orders=(order,), method=FUSED, width=run.segment.width)
            FusedAttempts(launch, emit, cancelled, worker=self._worker).run()
        else:
            trained.ended = Attempt(order, emit, cancelled, worker=self._worker).run()
        if self._cancelled() is not None:
            raise _GaveUpError
        return trained

    def _note(self, trained: _Trained, message: Message) -> None:
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

    def _keep(self, trained: _Trained) -> dict[str, Any] | None:
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
            ends_at=run.until + run.natural,  # one beyond, where it has to end by itself
            ends_as=CancelMode.PAUSE if run.keeps else CancelMode.STOP,
        )


def _curve(told: Record, done: list[_Trained]) -> list[Point]:
    """The canonical curve once more: of every step that was reported then, the report of the same attempt, and steps
    that nobody reported then."""
    fences = {point.step: point.fence for point in told.curve}
    found: dict[int, Point] = {}
    for trained in done:
        if trained.run.trial != told.trial:
            continue
        for point in trained.points:
            if fences.get(point.step, point.fence) == point.fence:
                found[point.step] = point
    return [found[step] for step in sorted(found)]


def _ending(trained: _Trained) -> dict[str, Any] | None:
    """How the last attempt ended then and now, where it was let go on to its end."""
    if not trained.run.natural or trained.ended is None:
        return None
    segment, ended = trained.run.segment, trained.ended
    return {
        "was": segment.failure or segment.outcome,
        "now": ended.failure.value if ended.failure else ended.outcome.value,
    }


def _ended_otherwise(ending: Mapping[str, Any] | None) -> str:
    if ending is None or ending["was"] == ending["now"]:
        return ""
    return f" It ended otherwise: {ending['was']} then, {ending['now']} now."


def _environments(told: Record, done: list[_Trained]) -> tuple[list[dict[str, Any]], list[str]]:
    """In what the recorded environments of the runs differ from those here, each difference once; and how the code's
    changes differ."""
    differing: dict[tuple[str, str, str], dict[str, Any]] = {}
    change: list[str] = []
    for trained in done:
        owner = told.of(trained.run.trial)
        then = owner.environments.get(trained.run.segment.environment or "")
        if then is None or not trained.environment:
            continue
        for one in comparison.differences(then, trained.environment):
            differing.setdefault((one["what"], repr(one["was"]), repr(one["now"])), one)
        texts = {**owner.texts, **(trained.environment.get("texts") or {})}
        change = change or comparison.code_difference(then, trained.environment, texts)
    return list(differing.values()), change


def _failure(trained: _Trained, reason: str) -> dict[str, Any]:
    assert trained.ended is not None
    return {
        "fence": trained.run.segment.fence,
        "reason": reason,
        "traceback": trained.ended.traceback[-_TRACEBACK_CHARACTERS:],
        "log": trained.log,
    }


def _failed(failure: Mapping[str, Any]) -> str:
    return f"Not the same: trained again, attempt {failure['fence']} failed: {failure['reason']}"
