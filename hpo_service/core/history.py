"""What happened to a study's trials, folded from its events. One record per trial, O(1) per event.

Here: facts (states, values, resource, cost, which configurations were tried). Not here: decisions, budgets.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpo_service.core import constraints as constrained
from hpo_service.core.constraints import Constraint
from hpo_service.core.curves import Curve
from hpo_service.core.definition import Objective
from hpo_service.core.events import EndedAttempt, EnqueuedTrial, ReportRow
from hpo_service.core.imported import ImportedTrial
from hpo_service.core.proposals import UNLIMITED, Continue, Finish, Start, Stop
from hpo_service.core.states import TERMINAL_TRIAL, Origin, TrialState
from hpo_service.core.values import is_better, rank_key
from search_spaces import SearchSpace, SpaceError

DIVERGED = "diverged"
"""How the reason of an attempt begins that failed because its value was no finite number."""
EXACT_CARDINALITY = 100_000
"""Up to this many configurations a finite space's cardinality is exact, and it can be used up."""


class TrialRecord:
    """One trial as the log tells it. Treat it as read-only outside `History`."""

    __slots__ = (
        "began",
        "bracket",
        "completed",
        "cost_microdollars",
        "curve",
        "diverged",
        "fence",
        "gain",
        "horizon",
        "key",
        "losses",
        "number",
        "origin",
        "others",
        "params",
        "resource",
        "retry_of",
        "rung",
        "segment_from",
        "space_version",
        "started",
        "state",
        "step",
        "target",
        "value",
        "violation",
        "violations",
    )

    def __init__(self, number: int, params: Mapping[str, Any], key: str, origin: Origin) -> None:
        self.number = number
        self.params = params
        self.key = key
        self.origin = origin
        self.state = TrialState.WAITING
        self.space_version = 1
        self.retry_of: int | None = None
        self.started = False
        self.completed = False  # its trainable ended by itself, before the target
        self.diverged = False  # it failed, for its value was no finite number
        self.bracket: int | None = None
        self.rung: int | None = None
        self.began = 0.0  # the resource that it took over from another trial's checkpoint
        self.segment_from = 0.0  # where its newest segment began
        self.target = 0.0
        self.horizon = 0.0
        self.resource = 0.0  # reached
        self.value: float | None = None  # of the first objective, by `objective.at`
        self.step = -1  # of the report that `value` is of, where the last one counts
        self.fence = 0
        self.gain: float | None = None  # what a model expected of it when its newest segment was decided
        self.losses = 0
        self.cost_microdollars = 0
        self.curve: Curve | None = None
        self.others: tuple[float | None, ...] = ()  # values of the objectives after the first; None: not finite
        self.violations: tuple[float | None, ...] = ()  # of each constraint (`Constraint.violation`)
        self.violation = 0.0  # their `constraints.total`: what trials are ranked by before their values

    @property
    def values(self) -> tuple[float | None, ...]:
        """The value of every objective, each by its own `at`; None where it is missing or not finite."""
        return (_finite(self.value), *self.others)

    @property
    def feasible(self) -> bool | None:
        """Whether it keeps every constraint; None where that is not known. True without constraints."""
        return constrained.feasible(self.violation)

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL_TRIAL

    @property
    def at_rest(self) -> bool:
        """Whether no segment of it is on its way: it is at its target, or over."""
        return self.started and (self.state is TrialState.PAUSED or self.terminal)

    @property
    def score(self) -> float | None:
        """Its value where ranks are taken: None, which ranks last, for a failed or stopped one."""
        if self.state in (TrialState.FAILED, TrialState.STOPPED):
            return None
        return _finite(self.value)

    def rank(self, *, maximize: bool) -> tuple[int, float]:
        """Sorts best first where ranks are taken: feasible trials by `score`, then by how little they break."""
        return rank_key(self.score, maximize=maximize, violation=self.violation)

    @property
    def reach(self) -> float:
        """The resource that its value counts for: a trial that ended by itself counts as having come to its end. One
        that came from elsewhere did not come further than trials are trained here."""
        if self.completed:
            return self.horizon
        return min(self.resource, self.horizon) if self.origin is Origin.IMPORTED else self.resource


class History:
    """The trials of a study. `keep_curves`: whether whole curves are wanted, or the last values are enough. `others`:
    the objectives after the first. `resumes`: whether a segment goes on from the one before, or begins from zero."""

    def __init__(
        self,
        objective: Objective,
        space: SearchSpace,
        *,
        keep_curves: bool = False,
        others: Sequence[Objective] = (),
        constraints: Sequence[Constraint] = (),
        resumes: bool = True,
    ) -> None:
        self.objective = objective
        self.objectives = (objective, *others)
        self.constraints = tuple(constraints)
        self._others = len(others)
        self._unknown = (math.nan,) * (len(others) + len(self.constraints))
        self.keep_curves = keep_curves or objective.at == "best"
        self.trials: dict[int, TrialRecord] = {}
        self.waiting: dict[int, TrialRecord] = {}  # enqueued, not started; in number order
        self.next_number = 0
        self.started = 0
        self.sampled = 0  # started trials that an algorithm chose
        self.spaces: dict[int, SearchSpace] = {1: space}
        self.space_version = 1
        self.keys: set[str] = set()
        self._inside: dict[int, int] = {}
        self.resumes = resumes

    @property
    def progress(self) -> float:
        """The sum of the trials' own resource, of those that were trained here."""
        return math.fsum(r.resource - r.began for r in self.trials.values() if r.origin is not Origin.IMPORTED)

    @property
    def space(self) -> SearchSpace:
        return self.spaces[self.space_version]

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self.trials.values())

    def __getitem__(self, number: int) -> TrialRecord:
        return self.trials[number]

    def change_space(self, version: int, space: SearchSpace) -> None:
        """From now on trials are drawn from `space`, unless their bracket began under an older one."""
        self.spaces[version] = space
        self.space_version = version

    def enqueue(self, trial: EnqueuedTrial) -> TrialRecord:
        """A configuration given by hand, or a retry: it waits."""
        record = self._add(trial.trial, trial.params, trial.origin, self.space_version)
        record.retry_of = trial.retry_of
        self.waiting[record.number] = record
        return record

    def take_in(self, trial: ImportedTrial, horizon: float) -> TrialRecord:
        """A trial that ended elsewhere. `horizon`: how far one like it is trained here, which is what a finished one
        counts as, whatever the units there; a stopped one counts where it was stopped."""
        record = self._add(trial.trial, trial.params, Origin.IMPORTED, self.space_version)
        record.started, record.state = True, trial.state
        record.completed = trial.state is TrialState.FINISHED
        record.horizon, record.value, record.fence = horizon, trial.value, 1
        if self._unknown and trial.others:
            self._come_to(record, trial.others)
        self._reach(record, trial.resource)
        record.target = record.reach if trial.state is TrialState.STOPPED else horizon
        return record

    def start(self, proposal: Start, *, key: str | None = None) -> TrialRecord:
        """A new trial, or an enqueued one that waited, begins its first segment. `key`: that of its configuration."""
        record = self.waiting.pop(proposal.trial, None)
        if record is None:
            record = self._add(proposal.trial, proposal.params, proposal.origin, proposal.space_version, key=key)
            self.sampled += 1
        record.started = True
        record.state = TrialState.RUNNING
        record.horizon = proposal.horizon
        record.gain = proposal.gain
        if proposal.parent is not None and proposal.parent_resource is not None:
            record.began = proposal.parent_resource
            self._reach(record, proposal.parent_resource)
        self._segment(record, proposal.target, proposal.bracket, proposal.rung)
        self.started += 1
        return record

    def go_on(self, proposal: Continue) -> TrialRecord:
        """A paused trial begins its next segment."""
        record = self.trials[proposal.trial]
        record.state = TrialState.RUNNING
        record.gain = proposal.gain
        self._segment(record, proposal.target, proposal.bracket, proposal.rung)
        return record

    def end(self, proposal: Stop | Finish) -> TrialRecord:
        """A paused trial is over. A running one that is to stop is over when its attempt's end is observed."""
        record = self.trials[proposal.trial]
        if isinstance(proposal, Finish):
            record.state = TrialState.FINISHED
        elif record.state is not TrialState.RUNNING:
            record.state = TrialState.STOPPED
            self.waiting.pop(record.number, None)
        return record

    def reopened(self, number: int, fence: int) -> None:
        """An interrupted trial was placed again, under a new fence, with the same target."""
        record = self.trials[number]
        record.state = TrialState.RUNNING
        record.fence = max(record.fence, fence)

    def report(self, row: ReportRow) -> TrialRecord:
        """One report: resource reached, and the value by `objective.at` over the canonical curve."""
        record = self.trials[row.trial]
        value = row.values[0] if row.values else math.nan
        if self._unknown and row.step >= record.step:
            self._come_to(record, row.values[1:])
        if self.keep_curves:
            if record.curve is None:
                record.curve = Curve()
            record.curve.add(step=row.step, fence=row.fence, resource=row.resource, value=value)
        if self.objective.at == "best" and record.curve is not None:
            record.value = self._best_value(record, value, appended=row.step > record.step)
            record.step = max(record.step, row.step)
        elif row.step > record.step or (row.step == record.step and row.fence >= record.fence):
            record.value, record.step = value, row.step
        record.fence = max(record.fence, row.fence)
        self._reach(record, row.resource)
        return record

    def ended(self, attempt: EndedAttempt) -> TrialRecord:
        """An attempt is over; the trial is paused at its target, waits to go on, or is over itself."""
        record = self.trials[attempt.trial]
        record.cost_microdollars += attempt.cost_microdollars
        record.losses += attempt.outcome == "lost"
        record.fence = max(record.fence, attempt.fence)
        record.state = TrialState(attempt.trial_state)
        record.completed = record.completed or attempt.outcome == "completed"
        record.diverged = record.state is TrialState.FAILED and attempt.reason.startswith(DIVERGED)
        self._reach(record, attempt.resource)
        return record

    def inside(self, version: int) -> int | None:
        """How many different configurations of that version's space were tried; None where it cannot be used up."""
        space = self.spaces[version]
        if not space.is_finite or (space.cardinality or math.inf) > EXACT_CARDINALITY:
            return None
        if version not in self._inside:
            seen = {trial.key: trial.params for trial in self.trials.values()}
            self._inside[version] = sum(_legal(space, params) for params in seen.values())
        return self._inside[version]

    def key_of(self, params: Mapping[str, Any], version: int) -> str:
        """What makes configurations equal; also for one that the space does not allow (any more)."""
        try:
            return self.spaces[version].config_key(params)
        except SpaceError:
            return json.dumps(dict(params), sort_keys=True)

    def _add(
        self, number: int, params: Mapping[str, Any], origin: Origin, version: int, *, key: str | None = None
    ) -> TrialRecord:
        record = TrialRecord(number, params, key or self.key_of(params, version), origin)
        record.space_version = version
        if self._unknown:
            self._come_to(record, self._unknown)
        self.trials[number] = record
        self.next_number = max(self.next_number, number + 1)
        if record.key not in self.keys:
            self.keys.add(record.key)
            for known in self._inside:
                self._inside[known] += _legal(self.spaces[known], params)
        return record

    def _come_to(self, record: TrialRecord, values: Sequence[float]) -> None:
        """The objectives after the first, and the constraints' metrics, as of the trial's newest report."""
        told = (*values, *self._unknown[len(values) :])
        record.others = tuple(_finite(value) for value in told[: self._others])
        if self.constraints:
            pairs = zip(self.constraints, told[self._others :], strict=True)
            record.violations = tuple(constraint.violation(value) for constraint, value in pairs)
            record.violation = constrained.total(self.constraints, record.violations)

    def _segment(self, record: TrialRecord, target: float, bracket: int | None, rung: int | None) -> None:
        record.segment_from = record.resource if self.resumes else 0.0
        record.target = target
        record.bracket = bracket
        record.rung = rung

    def _reach(self, record: TrialRecord, resource: float) -> None:
        if resource > record.resource:
            record.resource = resource

    def _best_value(self, record: TrialRecord, value: float, *, appended: bool) -> float | None:
        maximize = self.objective.maximize
        if not appended and record.curve is not None:
            return record.curve.best(maximize=maximize)
        if record.value is None or not math.isfinite(record.value):
            return value
        return value if is_better(value, record.value, maximize=maximize) else record.value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _legal(space: SearchSpace, params: Mapping[str, Any]) -> bool:
    try:
        space.validate_params(params)
    except SpaceError:
        return False
    return True


def progress_of(record: TrialRecord) -> float:
    """What the newest segment was to bring, in resource; 0 for an unlimited one."""
    return 0.0 if record.target == UNLIMITED else max(0.0, record.target - record.segment_from)
