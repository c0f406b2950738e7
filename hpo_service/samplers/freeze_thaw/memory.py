"""What the log told the curve model: what segments came to, who is on the way, who could go on.

Here: which values count, and which are forgotten. Not here: the model, what is decided by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo_service.core.history import TrialRecord
from hpo_service.core.states import Origin, TrialState
from hpo_service.samplers.freeze_thaw.evidence import Evidence, Seen
from hpo_service.samplers.freeze_thaw.failures import Failure
from hpo_service.samplers.freeze_thaw.rungs import Forgotten
from hpo_service.samplers.freeze_thaw.scene import Paused

MOST = 2_000
"""So many values are remembered; then half of them are forgotten. What is left are the best trials, with a quarter of
`MOST`, and an even spread of the others by rank with as much: a decision costs the same however long a study is. A
trial that is forgotten stays paused."""
EXPOSED = 1_000
"""Of so many trials it is known how far they came, also of those that are forgotten."""
HUGE = 1e150
"""Values further from 0 count as that far: their differences and squares are still numbers."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A value as it came, higher is better, and by how much constraints are broken."""

    trial: int
    resource: float
    value: float
    violation: float


class Memory:
    """Of one study. `levels`: where trials pause. `sign`: 1 where higher values are better, -1 where lower ones are."""

    def __init__(self, levels: Sequence[float], sign: float) -> None:
        self._levels = levels
        self.sign = sign
        self._told: list[_Told] = []
        self._paused: dict[int, float] = {}
        self._room = MOST
        self._begun: set[int] = set()  # trials whose first segment was taken in
        self._broken, self._breaking = 0.0, 0  # what is known to be broken while nothing is lawful, and by how many
        self.seen: list[Seen] = []
        """What was told, as it is judged now, in the order of the log."""
        self.running: dict[int, float] = {}
        """Trials on the way, and their targets."""
        self.lawful = False
        """Whether a trial with a value keeps all constraints."""
        self.failed: dict[int, Failure] = {}
        """Trials that failed otherwise than by diverging. In `seen` they are as bad as those, at their targets."""
        self.exposed: dict[int, float] = {}
        """How far the newest trials came, the newest last."""
        self.forgotten = Forgotten(levels)
        """What trials came to that are not in `seen` any more."""
        self.imported = 0
        """Counts trials from elsewhere that told a value."""
        self.stamp = 0
        """Counts segments that began or ended."""
        self.changes = 0
        """Counts everything that may change a plan."""
        self.upheavals = 0
        """Counts how often more than the newest entry of `seen` changed."""

    def started(self, trial: TrialRecord) -> None:
        """A segment is on its way."""
        self._happened()
        self._paused.pop(trial.number, None)
        self.running[trial.number] = trial.target

    def rested(self, trial: TrialRecord) -> None:
        """A segment came to an end, and told a value unless somebody stopped it."""
        self._happened()
        self.running.pop(trial.number, None)
        self._paused.pop(trial.number, None)
        if trial.state is TrialState.STOPPED and trial.origin is not Origin.IMPORTED:
            return
        score = trial.value if trial.state is TrialState.STOPPED else trial.score
        value = math.nan if score is None or not math.isfinite(score) else max(-HUGE, min(self.sign * score, HUGE))
        self.imported += trial.origin is Origin.IMPORTED and math.isfinite(value)
        reach = min(trial.reach, self._levels[-1])
        if trial.state is TrialState.FAILED or reach <= 0:
            reach = max(self._levels[0], min(trial.target, self._levels[-1]))
        if trial.state is TrialState.PAUSED and not trial.completed and reach < self._levels[-1]:
            ends = trial.rung is not None and trial.rung >= len(self._levels) - 1
            if not ends:  # one that is a rounding error short of the end has come to it
                self._paused[trial.number] = trial.resource
        early = self._first_report(trial, reach)
        if early is not None:
            self._take(early)
        if trial.state is TrialState.FAILED and not _diverged(trial):
            self._failed(trial, reach)
        self._note(trial)
        self._take(_Told(trial.number, reach, value, trial.violation))
        if len(self._told) >= self._room:
            self._forget()

    def _failed(self, trial: TrialRecord, target: float) -> None:
        """One that raised or was lost; what it had come to in its last segment counts."""
        end = self._levels[-1]
        imported = trial.origin is Origin.IMPORTED
        told = _newest_reports(trial)
        reach = max([trial.segment_from, *(resource for resource, _ in told), trial.reach if imported else 0.0])
        self.failed[trial.number] = Failure(target=target, reach=min(reach, end))
        finite = [resource for resource, value in told if math.isfinite(value)] or [trial.reach] * imported
        if finite and finite[-1] > 0 and trial.value is not None and math.isfinite(trial.value):
            value = max(-HUGE, min(self.sign * trial.value, HUGE))
            self._take(_Told(trial.number, min(finite[-1], end), value, trial.violation))

    def _first_report(self, trial: TrialRecord, reach: float) -> _Told | None:
        """Of a first segment that reported on its way: how curves begin is known only from there."""
        curve, known = trial.curve, trial.number in self._begun
        self._begun.add(trial.number)
        if (
            known
            or trial.segment_from > 0
            or curve is None
            or len(curve) < 2
            or curve.resources[0] >= reach * (1 - 1e-9)
        ):
            return None
        value = curve.values[0]
        told = max(-HUGE, min(self.sign * value, HUGE)) if math.isfinite(value) else math.nan
        return _Told(trial.number, curve.resources[0], told, trial.violation)

    def _note(self, trial: TrialRecord) -> None:
        """How far it came, whatever it came to: who fails is told from the newest trials, good or bad."""
        failure = self.failed.get(trial.number)
        self.exposed.pop(trial.number, None)
        self.exposed[trial.number] = min(trial.reach, self._levels[-1]) if failure is None else failure.reach
        if len(self.exposed) > EXPOSED:
            del self.exposed[next(iter(self.exposed))]

    def over(self, trial: int) -> None:
        """A paused trial goes on no more."""
        self.changes += 1
        self._paused.pop(trial, None)

    def paused(self) -> list[Paused]:
        """Who could go on, by number: not those whose newest value is none."""
        newest = {one.trial: one.value for one in self.seen}
        return [Paused(trial=n, resource=r) for n, r in sorted(self._paused.items()) if math.isfinite(newest[n])]

    def _happened(self) -> None:
        self.stamp += 1
        self.changes += 1

    def _take(self, one: _Told) -> None:
        self._told.append(one)
        if not self.lawful and one.violation == 0 and math.isfinite(one.value):
            self.lawful = True
            self.forgotten.outdo()
            self._judge_anew()
        elif not self.lawful and 0 < one.violation < math.inf:
            if not self._breaking:
                self.forgotten.outdo()
            self._broken, self._breaking = self._broken + one.violation, self._breaking + 1
            self._judge_anew()
        else:
            self.seen.append(self._judged(one))

    def _judged(self, one: _Told) -> Seen:
        """What breaks a constraint is as bad as what diverged; while nothing keeps them all, the least broken is
        best. A metric may be measured at the end alone: until then what is not known counts by the value, and once
        others are known to break something, as much as those do on the average."""
        if not math.isfinite(one.value):
            return Seen(one.trial, one.resource, math.nan)
        unknown = math.isinf(one.violation)
        early = unknown and one.resource < self._levels[-1]
        if (one.violation == 0 or early) and (self.lawful or not self._broken):
            value = one.value
        elif self.lawful or (unknown and not early):
            value = math.nan
        else:
            value = -(self._broken / self._breaking if early else one.violation)
        return Seen(one.trial, one.resource, max(-HUGE, value) if math.isfinite(value) else math.nan)

    def _judge_anew(self) -> None:
        self.seen = [self._judged(one) for one in self._told]
        self.upheavals += 1

    def _forget(self) -> None:
        evidence = Evidence(self.seen)
        kept, rows, share = set(self.running), 0, MOST // 4
        order = iter(evidence.order)
        for trial in order:
            kept.add(trial)
            rows += len(evidence.curves[trial])
            if rows >= share:
                break
        others = list(order)
        every = math.ceil(sum(len(evidence.curves[trial]) for trial in others) / share)
        kept.update(others[:: max(1, every)])
        for trial, curve in evidence.curves.items():
            if trial not in kept:
                self.forgotten.take(curve)
        self._told = [one for one in self._told if one.trial in kept]
        self._paused = {n: r for n, r in self._paused.items() if n in kept}
        self._room = max(MOST, 2 * len(self._told))
        self._judge_anew()


def _diverged(trial: TrialRecord) -> bool:
    elsewhere = trial.origin is Origin.IMPORTED and trial.value is not None and not math.isfinite(trial.value)
    return trial.diverged or elsewhere


def _newest_reports(trial: TrialRecord) -> list[tuple[float, float]]:
    """Resource and value of the reports of the trial's newest attempt."""
    curve = trial.curve
    if curve is None:
        return []
    rows = zip(curve.fences, curve.resources, curve.values, strict=True)
    return [(resource, value) for fence, resource, value in rows if fence == trial.fence]
