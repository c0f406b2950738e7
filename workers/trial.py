"""What a trainable sees: its parameters, and how to report, to save and to go on.

Recipes and users' functions get the same object. It knows the rules of reports and of ending a segment;
it knows nothing of Ray, and how an attempt is set up and torn down is the session's.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from workers import artifacts, checkpoints, predictions, reports
from workers.contract import (
    CancelMode,
    CheckpointRef,
    FailureKind,
    Message,
    Outcome,
    Reported,
    Saved,
    WorkOrder,
)
from workers.errors import ArtifactError, AttemptEnd, StorageError

CHECKPOINT_EVERY_S = 30.0
KEPT_PER_ATTEMPT = 2
MOST_IGNORED = 100
"""How often a trainable may report after its end before its process is ended: it will not stop by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How the attempt is to end; decided once."""

    outcome: Outcome
    failure: FailureKind | None = None
    reason: str = ""
    with_traceback: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Offered:
    """A checkpoint that can be made of what a report came with."""

    make: Callable[[], Any]
    step: int
    resource: float


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """The checkpoint that the attempt goes on from, already read and verified."""

    ref: CheckpointRef
    state: Any


class Trial:
    """One trial, as its trainable sees it during one attempt.

    A segment ends at the report that reaches `resource_target` (or at the first report after a pause was asked).
    A trainable that uses checkpoints may save before or after a report: after it, it is let go on until its next
    `save_checkpoint` (kept) or `report` (not recorded), and ends there.
    """

    def __init__(
        self,
        order: WorkOrder,
        *,
        emit: Callable[[Message], None],
        cancelled: Callable[[], CancelMode | None],
        log: Callable[[str], None],
        device: str = "cpu",
        resumed: Resumed | None = None,
        started: float | None = None,
        keep: Callable[[Any, int, float], None] | None = None,
        abandon: Callable[[], None] | None = None,
    ) -> None:
        """`keep(state, step, resource)` stores a checkpoint and says so; without it the trial does, at once. `abandon`
        gives up a trainable that goes on and on after its end; it does not return."""
        self._order = order
        self._emit = emit
        self._cancelled = cancelled
        self._log = log
        self._device = device
        self._resumed = resumed
        self._keep = keep
        self._abandon = abandon
        self._ignored = 0  # how often the end of the attempt was swallowed
        self._started = time.monotonic() if started is None else started
        self._saved_at = self._started
        self._step: int | None = None
        self._resource = resumed.ref.resource if resumed else 0.0
        self._staged: checkpoints.Staged | None = None
        self._offered: _Offered | None = None
        self._process = os.getpid()
        self._refs: list[CheckpointRef] = []
        self._artifacts = 0
        self._uses_checkpoints = False
        self._saves_before_report = False
        self._held: dict[str, float] | None = None  # where a size is trained: what was reported last
        self._read_size = False
        self.asked_for_state = False  # whether it looked for a checkpoint to go on from
        self.ending: Ending | None = None

    # What the trainable reads

    @property
    def params(self) -> dict[str, Any]:
        """The configuration under test, with the trainer's fixed parameters beneath it (a fresh copy)."""
        return {**self._order.trainer.params, **self._order.params}

    @property
    def number(self) -> int:
        """The trial's number within its study, from 0."""
        return self._order.key.trial

    @property
    def seed(self) -> int:
        """63 bits from (study seed, trial number): the same in every attempt of this trial."""
        return self._order.seed

    @property
    def device(self) -> str:
        """`"cpu"` or `"cuda:0"`, as torch takes it."""
        return self._device

    @property
    def rank(self) -> int:
        """Which of the trial's processes this is, from 0; what rank 0 reports and saves counts."""
        return 0

    @property
    def world_size(self) -> int:
        """How many processes train the trial together: `resources.processes`."""
        return 1

    @property
    def resource_target(self) -> float:
        """Train up to here; the attempt ends by itself at the report that reaches it. Infinite where resource is no
        training time: train at `fidelity`, and return when done."""
        return self._order.target_resource if self._order.size is None else math.inf

    @property
    def resource_horizon(self) -> float:
        """The resource at which learning-rate schedules end; never changes within a trial."""
        return self._order.horizon if self._order.size is None else math.inf

    @property
    def fidelity(self) -> float | None:
        """The size to train at: the share of the data, the width, the resolution that this segment is to have. None
        where the study's resource is training time (the algorithm's `fidelity` is epochs)."""
        self._read_size = True
        return self._order.size

    @property
    def preflight(self) -> bool:
        """True in the one cheap step that checks the trainer before a study starts."""
        return self._order.preflight

    @property
    def test(self) -> bool:
        """True in a confirmation, and nowhere else: there the trained model may be measured on the test rows, once, and
        the values reported beside the last report's as `test_…`."""
        return self._order.test

    @property
    def resource(self) -> float:
        """How far training is: of the last report, or of the checkpoint gone on from."""
        return self._resource

    @property
    def checkpoint(self) -> CheckpointRef | None:
        """The newest checkpoint stored by this attempt."""
        return self._refs[-1] if self._refs else None

    @property
    def reported(self) -> bool:
        """True once this attempt has reported."""
        return self._step is not None

    @property
    def should_save(self) -> bool:
        """True when a checkpoint saved now is worth its cost: the segment ends here, or the last one is 30 s old."""
        if self._order.preflight or self._order.size is not None:
            return False
        return self.ending is not None or time.monotonic() - self._saved_at >= CHECKPOINT_EVERY_S

    @property
    def stopping(self) -> bool:
        """True once the trial was stopped: the next report ends the attempt."""
        return self._cancelled() is CancelMode.STOP

    # What the trainable does

    def log(self, text: str) -> None:
        """Add a line to the trial's log."""
        self._log(f"{text}\n")

    def keep_predictions(self, found: predictions.Predictions) -> None:
        """Of a confirmation's recipe: store what the trained model predicts, for ensembles. Too much of it is left out,
        and the log says so."""
        if self._order.preflight:
            return
        try:
            predictions.save(self._order.storage_root, self._order.key, found)
        except predictions.TooManyError as error:
            self.log(str(error))
        except StorageError as error:
            self._end(_failed(FailureKind.STORAGE, str(error)))

    def load_checkpoint(self) -> Any:
        """The state that was last saved for this trial, on the CPU; None when there is nothing to go on from."""
        self._uses_checkpoints = self.asked_for_state = True
        return self._resumed.state if self._resumed else None

    def save_checkpoint(self, state: Any) -> None:
        """Store `state` (anything that pickles, tensors included) so that the trial can go on from here.

        Called after a report, it belongs to that report; called before the attempt's first report, this attempt
        saves first and reports after, and each checkpoint belongs to the report that follows it.
        """
        self._uses_checkpoints = True
        if self._order.preflight or self._order.size is not None:
            return
        if self.ending is not None and self.ending.outcome not in (Outcome.REACHED, Outcome.PAUSED):
            raise AttemptEnd
        if self._step is None:
            self._saves_before_report = True
        try:
            self._store(state)
        except StorageError as error:
            self._end(_failed(FailureKind.STORAGE, str(error)))
        self._saved_at = time.monotonic()
        if self.ending is not None:
            raise AttemptEnd

    def report(self, step: int, *, resource: float | None = None, **metrics: Any) -> None:
        """Report metric values at `step` (an integer, larger than the one before).

        `resource` says how far training is (by default the step itself). Values may be Python, numpy or torch scalars.

        Raises:
            ReportError: a step that does not grow, or a value that is no number.
        """
        self.record(step, metrics, resource=resource)

    def record(
        self,
        step: int,
        metrics: Mapping[str, Any],
        *,
        resource: float | None = None,
        state: Callable[[], Any] | None = None,
    ) -> None:
        """`report` for metrics of any name, given as a mapping.

        `state` makes a checkpoint that belongs to this report. It is called when that is worth its cost (the segment
        ends here, or the last checkpoint is 30 s old), at the latest before the next report that brings one.

        Raises:
            ReportError: as `report`.
        """
        if self.ending is not None:
            self._over()
        reports.require_own_process(self._process)
        step = reports.checked_step(step, after=self._step)
        after = None if self._step is None else self._resource
        level = float(step) if resource is None else reports.checked_resource(resource, after=after)
        values = {name: reports.number(name, value) for name, value in metrics.items()}
        now = time.monotonic()
        if self._order.size is not None:
            self._step = step
            self._hold(values, now - self._started, over=resource is not None and level >= self._order.size)
            return
        self._say(step, level, values, now - self._started)
        self._step, self._resource = step, level
        self._commit_staged()
        if state is not None:
            self._offered = _Offered(make=state, step=step, resource=level)
        self._decide(values, now - self._started)
        if self._offered is not None and self.should_save:
            self.settle()

    def artifact(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Keep a copy of the file at `path` with the trial; a folder becomes one zip archive. `name` is what it is
        called in lists, by default the file's own name. It is safe when this returns; the file may then go or change.

        Raises:
            ArtifactError: no such file, a name that cannot be shown, or larger than an artifact may be.
            StorageError: the artifacts' root cannot be written.
        """
        if self._order.preflight:
            return
        if self._artifacts >= artifacts.MOST_PER_ATTEMPT:
            raise ArtifactError(
                f"an attempt keeps at most {artifacts.MOST_PER_ATTEMPT} artifacts, but this is one more; "
                "put them into a folder and keep that"
            )
        stored = artifacts.store(self._order, path, name)
        self._artifacts += 1
        self._emit(stored)

    def _say(self, step: int, level: float, values: Mapping[str, float], seconds: float) -> None:
        self._emit(
            Reported(
                key=self._order.key, step=step, resource=level, metrics=values, seconds=seconds, sent_at=time.time()
            )
        )

    # Where resource is a size

    def _hold(self, values: dict[str, float], seconds: float, *, over: bool) -> None:
        """Keep the newest values: the last ones are what the size came to, and the others a line in the log."""
        order = self._order
        self._check_values(values)
        self._held = values
        if order.preflight and order.trainer.function is not None and not self._read_size:
            self._end(_failed(FailureKind.INVALID, reports.size_not_read(order)))
        if order.preflight or over:
            self.finish()
            self._end(Ending(outcome=Outcome.REACHED))
        shown = ", ".join(f"{name}={values[name]:.6g}" for name in dict.fromkeys((order.metric, *order.metrics)))
        self.log(f"step {self._step} at {order.fidelity} {order.size:g}: {shown}")
        if order.longest_s is not None and seconds > order.longest_s:
            self._end(_failed(FailureKind.TIMED_OUT, reports.timed_out(seconds, order)))
        match self._cancelled():
            case CancelMode.STOP:
                self._end(Ending(outcome=Outcome.CANCELLED, reason="stopped at a report"))
            case CancelMode.PAUSE:
                self._end(Ending(outcome=Outcome.PAUSED, reason="paused at a report; it begins again from zero"))

    def finish(self) -> bool:
        """The trainable is through with its size: its last values are the segment's one report, whose step is the
        attempt's fence, for sizes come one after another. False where there are none."""
        if self._held is None or self._order.size is None:
            return False
        values, self._held = self._held, None
        self._say(self._order.key.fence, self._order.size, values, time.monotonic() - self._started)
        self._resource = self._order.size
        return True

    # How a segment ends

    def _check_values(self, values: Mapping[str, float]) -> None:
        """End the attempt where an objective is missing or no finite number."""
        order = self._order
        missing = [name for name in (order.metric, *order.metrics) if name not in values]
        if missing:
            reason = reports.missing_metric(missing[0], values)
            self._end(_failed(FailureKind.MISSING_METRIC, reason, with_traceback=True))
        for name in dict.fromkeys((order.metric, *order.metrics)):
            if not math.isfinite(values[name]):
                self._end(_failed(FailureKind.DIVERGED, reports.diverged(name, values[name], self._step)))

    def _decide(self, values: Mapping[str, float], seconds: float) -> None:
        order = self._order
        self._check_values(values)
        if order.preflight and order.forks and not self.asked_for_state:
            self._end(_failed(FailureKind.INVALID, reports.never_resumes(order)))
        if order.preflight:
            self._end(Ending(outcome=Outcome.REACHED))
        if self._resource >= order.target_resource:
            self._end_after_save(Ending(outcome=Outcome.REACHED))
            return
        if order.longest_s is not None and seconds > order.longest_s:
            self._end(_failed(FailureKind.TIMED_OUT, reports.timed_out(seconds, order)))
        match self._asked_to_end():
            case CancelMode.STOP:
                self._end(Ending(outcome=Outcome.CANCELLED, reason="stopped at a report"))
            case CancelMode.PAUSE:
                self._end_after_save(Ending(outcome=Outcome.PAUSED, reason="paused at a report"))

    def _asked_to_end(self) -> CancelMode | None:
        """Whether somebody asks for the end, or the order does: what is trained again ends where it ended then."""
        ends_at = self._order.ends_at
        if ends_at is not None and self._step is not None and self._step >= ends_at:
            return self._order.ends_as
        return self._cancelled()

    def _over(self) -> NoReturn:
        """Raise the end again: something swallowed it, as a bare `except:` does, or this is the first report after."""
        self._ignored += 1
        if self._ignored > MOST_IGNORED and self._abandon is not None:
            self._abandon()
        raise AttemptEnd

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        raise AttemptEnd

    def _end_after_save(self, ending: Ending) -> None:
        """End now, or let a trainable that saves after its reports go on to its next save."""
        self.settle()
        current = self.checkpoint
        saved_here = current is not None and current.step == self._step
        if saved_here or not self._uses_checkpoints:
            self._end(ending)
        self.ending = ending

    # Checkpoints

    @property
    def restored(self) -> Any:
        """What `load_checkpoint` returns, for trainables that hand over their checkpoints with their reports."""
        return self._resumed.state if self._resumed else None

    def settle(self) -> None:
        """Store the checkpoint that came with a report and is not stored yet, if there is one."""
        offered, self._offered = self._offered, None
        stopped = self.ending is not None and self.ending.outcome is Outcome.CANCELLED
        if offered is None or stopped or self._order.preflight:
            return
        try:
            staged = checkpoints.stage(self._order.storage_root, self._order.key, offered.make())
            self._keep_ref(checkpoints.commit(staged, step=offered.step, resource=offered.resource))
        except StorageError as error:
            self._end(_failed(FailureKind.STORAGE, str(error)))
        self._saved_at = time.monotonic()

    def _store(self, state: Any) -> None:
        if self._keep is not None and self._step is not None:
            self._keep(state, self._step, self._resource)
            return
        self._discard_staged()
        self._staged = checkpoints.stage(self._order.storage_root, self._order.key, state)
        if not self._saves_before_report:
            self._commit()

    def _commit_staged(self) -> None:
        if self._staged is None:
            return
        try:
            self._commit()
        except StorageError as error:
            self._end(_failed(FailureKind.STORAGE, str(error)))

    def _commit(self) -> None:
        assert self._staged is not None
        assert self._step is not None
        staged, self._staged = self._staged, None
        self._keep_ref(checkpoints.commit(staged, step=self._step, resource=self._resource))

    def _keep_ref(self, ref: CheckpointRef) -> None:
        self._refs.append(ref)
        self._emit(Saved(key=self._order.key, checkpoint=ref))
        while len(self._refs) > KEPT_PER_ATTEMPT:
            checkpoints.remove(self._order.storage_root, self._refs.pop(0))

    def _discard_staged(self) -> None:
        if self._staged is not None:
            checkpoints.discard(self._staged)
            self._staged = None

    def close(self) -> None:
        """Called by the session when the trainable is over: keeps what belongs to the last report, drops the rest."""
        if self._staged is None:
            return
        if self._step is None:
            self._discard_staged()
        else:
            self._commit()


def _failed(kind: FailureKind, reason: str, *, with_traceback: bool = False) -> Ending:
    return Ending(outcome=Outcome.FAILED, failure=kind, reason=reason, with_traceback=with_traceback)
