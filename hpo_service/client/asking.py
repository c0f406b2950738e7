"""Training trials yourself: ask for them, report, tell how they ended. For studies with `trainer: {external: true}`.

Each operation is written once; the heartbeats between them are `pulse`'s.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

from hpo_service.client.core import Core
from hpo_service.client.protocol import Program, Sleep, address
from hpo_service.client.pulse import Pulse
from hpo_service.client.results import Assignment, TrialSnapshot
from hpo_service.client.study_operations import StudyBase, TrialBase, refresh
from hpo_service.errors import Conflict, FenceRefused, HpoError, InvalidInput

LEASE_S = 60.0
POLL_S = (0.2, 2.0)  # between two askings while nothing can be started: first and longest pause
REASON_LENGTH = 2000
GONE = frozenset({"fenced", "closed"})


def pulse_of(core: Core, study_id: str, client_id: str | None, lease_s: float) -> Pulse:
    """The pulse of this client in the study; one for all its handles."""
    key = (study_id, client_id or core.client_id)
    if key not in core.pulses:
        core.pulses[key] = Pulse(study_id=study_id, client_id=key[1], lease_s=lease_s)
    core.pulses[key].lease_s = lease_s
    return core.pulses[key]


def ask_for(study: StudyBase, pulse: Pulse, *, n: int, wait_s: float | None) -> Program[list[Assignment]]:
    """Tops this client's open trials up to `n` and returns them all; waits while none can be started.

    Empty when the study has ended or `wait_s` passed; `study.ended` then tells which.
    """
    if n < 1:
        raise InvalidInput(f"n must be at least 1, but got {n}", remedy="ask for 1 trial or more")
    deadline = None if wait_s is None else time.monotonic() + wait_s
    pause_s = POLL_S[0]
    while True:
        body = {"client_id": pulse.client_id, "n": n, "lease_s": pulse.lease_s}
        answer = yield from study._core.post(address("studies", study.id, "ask"), body)
        found = [Assignment.parse(item) for item in answer.get("trials", ())]
        for one in found:
            pulse.hold(one.trial, one.fence)
        if found:
            return found
        if answer.get("ended"):
            yield from refresh(study)
            return []
        if deadline is not None and time.monotonic() >= deadline:
            return []
        yield Sleep(pause_s)
        pause_s = min(POLL_S[1], 1.5 * pause_s)


class AskedTrial(TrialBase):
    """A trial that this client may be training: `assignment` and `pulse` are None where it only looks on."""

    assignment: Assignment | None = None
    pulse: Pulse | None = None

    @property
    def fence(self) -> int:
        """The number of the attempt that this handle speaks for."""
        return self.assignment.fence if self.assignment else self.info.fence

    @property
    def target(self) -> float | None:
        """The resource to train to in this attempt; None or infinite: as far as you like."""
        return self.assignment.target if self.assignment else self.info.target

    @property
    def from_resource(self) -> float:
        """The resource of the checkpoint that the service has of it; 0 for a trial that you train yourself, for only
        you have its weights."""
        return self.assignment.from_resource if self.assignment else self.info.resource

    @property
    def seed(self) -> int:
        """The trial's own seed, for an asked trial."""
        return self.assignment.seed if self.assignment else 0

    @property
    def should_stop(self) -> bool:
        """Whether the server wants no more of this attempt: stopped, paused, or given to another. Updated by
        heartbeats and reports."""
        return self.pulse is not None and (self.number, self.fence) in self.pulse.stopped

    def _assign(self, assignment: Assignment, pulse: Pulse) -> None:
        """Makes this the handle of an asked trial."""
        self.assignment, self.pulse = assignment, pulse


def snapshot_of(study_id: str, assignment: Assignment) -> TrialSnapshot:
    """What is known of a trial that was just asked for."""
    return TrialSnapshot(
        study_id=study_id,
        number=assignment.trial,
        state="running",
        params=assignment.params,
        fence=assignment.fence,
        target=assignment.target,
        horizon=assignment.horizon,
        resource=assignment.from_resource,
    )


def report(trial: AskedTrial, /, step: int, resource: float | None = None, **metrics: float) -> Program[None]:
    """Reports metric values at a step (at `resource`, which is `step` unless given); returns once they are stored.

    Repeating a report is fine. Raises `FenceRefused` when a newer attempt exists, `ReportContradicts` when other values
    are stored for that step.
    """
    if not metrics:
        raise InvalidInput("a report has at least one metric, but got none", remedy="write val_loss=…")
    one = {"trial": trial.number, "fence": trial.fence, "step": step, "metrics": metrics}
    if resource is not None:
        one["resource"] = resource
    try:
        answer = yield from trial._core.post(address("studies", trial.study_id, "reports"), {"reports": [one]})
    except FenceRefused:
        _stopped(trial)
        raise
    for result in answer.get("results", ()):
        if result.get("status") in GONE or result.get("stop"):
            _stopped(trial)


def _stopped(trial: AskedTrial) -> None:
    if trial.pulse is not None:
        trial.pulse.stop(trial.number, trial.fence)


def tell_trial(
    trial: AskedTrial,
    value: float | None = None,
    *,
    values: Sequence[float] | None = None,
    metrics: dict[str, float] | None = None,
    resource: float | None = None,
    state: Literal["completed", "failed"] = "completed",
    reason: str = "",
) -> Program[None]:
    """Says how the attempt ended: with the first objective's value, with `values` of every objective in their order,
    with `metrics`, or by what was reported.

    `state="failed"` records a failure with its reason. The trial's heartbeats end.
    """
    given = {"value": value, "values": values, "metrics": metrics, "resource": resource, "reason": reason or None}
    body: dict[str, Any] = {"trial": trial.number, "fence": trial.fence, "state": state}
    body |= {name: one for name, one in given.items() if one is not None}
    try:
        answer = yield from trial._core.post(address("studies", trial.study_id, "tell"), body)
    finally:
        if trial.pulse is not None:
            trial.pulse.let_go(trial.number)
    trial.info = TrialSnapshot.parse(answer)


def leave(trial: AskedTrial, error: BaseException | None) -> Program[None]:
    """The end of a `with` block: tells completed or, after an exception, failed; once, and not when interrupted."""
    pulse = trial.pulse
    if pulse is None or (trial.number, trial.fence) not in pulse.held():
        return
    if error is not None and not isinstance(error, Exception):
        pulse.let_go(trial.number)  # interrupted: the lease lapses and the trial goes on elsewhere
    elif error is not None:
        yield from tell_trial(trial, state="failed", reason=f"{type(error).__name__}: {error}"[:REASON_LENGTH])
    else:
        yield from tell_trial(trial)


def beat(core: Core, pulse: Pulse) -> Program[None]:
    """One heartbeat for every open trial; whatever the server no longer knows should stop."""
    held = pulse.held()
    place = address("studies", pulse.study_id, "heartbeat")
    try:
        pulse.heard((yield from core.post(place, pulse.body())))
    except Conflict:
        for trial, fence in held:
            pulse.stop(trial, fence)
    except HpoError:
        return  # the next beat tries again; a lease that lapses costs nothing but a new attempt


def fence_of(study: StudyBase, number: int) -> tuple[Pulse, int]:
    """The pulse and fence of a trial that this client asked for in the study."""
    for (study_id, _), pulse in study._core.pulses.items():
        if study_id == study.id and number in pulse.open:
            return pulse, pulse.open[number]
    raise InvalidInput(
        f"tell takes a trial that this client asked for, but trial {number} is not open here",
        remedy="pass the trial that ask() returned",
    )


def tell(
    study: StudyBase,
    trial: AskedTrial | int,
    value: float | None = None,
    *,
    values: Sequence[float] | None = None,
    metrics: dict[str, float] | None = None,
    resource: float | None = None,
    state: Literal["completed", "failed"] = "completed",
    reason: str = "",
) -> Program[None]:
    """Says how an asked trial (the handle, or its number) ended; see `Trial.tell`."""
    if isinstance(trial, int):
        pulse, fence = fence_of(study, trial)
        assignment = Assignment(trial=trial, fence=fence, params={})
        trial = AskedTrial(study._core, study._run, snapshot_of(study.id, assignment))
        trial._assign(assignment, pulse)
    yield from tell_trial(trial, value, values=values, metrics=metrics, resource=resource, state=state, reason=reason)
