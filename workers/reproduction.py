"""A trial trained again from its record, in one process, and compared with what it reported then.

Every segment that counted is trained in order, at its recorded method and width (the other lanes are clones), so that
it takes the same numeric path (`workers.retraining`). Checkpoints lie in a temporary folder. What the comparison says
is worked out in `workers.comparison`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from workers import comparison, folders, record
from workers.contract import CancelMode, Ended, FailureKind, Message, Outcome, Reported, Reproduced, Started, WorkOrder
from workers.errors import InvalidOrderError
from workers.record import Point, Record
from workers.retraining import GaveUpError, Trained, Trainings
from workers.session import WorkerIdentity, this_process
from workers.tracebacks import format_exception, summary


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
        abandon: Callable[[Ended], None] | None = None,
    ) -> None:
        """`abandon` takes the end of one whose trainable goes on for ever after its own, and ends the process."""
        self._order = order
        self._emit = emit
        self._cancelled = cancelled
        self._abandon = abandon
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
            with folders.temporary("hpo-reproduce-") as folder:
                document = self._document(_with_reports(record.read(order.reproduce)), str(folder))
        except GaveUpError:
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

    def _give_up(self, _: Ended) -> None:
        assert self._abandon is not None
        reason = (
            "trained again, the trial went on reporting after its end, so its worker was ended; let BaseException pass"
        )
        self._abandon(self._ended(Outcome.FAILED, failure=FailureKind.EXCEPTION, reason=reason))

    # The answer

    def _document(self, told: Record, folder: str) -> dict[str, Any]:
        trainings = Trainings(
            told,
            folder,
            worker=self._worker,
            heard=self._heard,
            cancelled=self._cancelled,
            abandon=None if self._abandon is None else self._give_up,
        )
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


def _with_reports(told: Record) -> Record:
    """Raises InvalidOrderError where there is nothing to compare: no reports are equal to no reports."""
    if not told.curve:
        raise InvalidOrderError(
            f"a trial is reproduced by comparing its reports, but trial {told.trial} has none; "
            "choose a trial that reported"
        )
    return told


def _curve(told: Record, done: Sequence[Trained]) -> list[Point]:
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


def _ending(trained: Trained) -> dict[str, Any] | None:
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
    now = ending["now"]
    if now == Outcome.CANCELLED.value:  # stopped one report beyond
        return f" It ended otherwise: {ending['was']} then; now it goes on."
    return f" It ended otherwise: {ending['was']} then, {now} now."


def _environments(told: Record, done: Sequence[Trained]) -> tuple[list[dict[str, Any]], list[str]]:
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


def _failed(failure: Mapping[str, Any]) -> str:
    return f"Not the same: trained again, attempt {failure['fence']} failed: {failure['reason']}"
