"""A study in memory, for tests of algorithms: virtual workers of random speed over synthetic curves, with losses,
failures, early endings and crashes. It plays store and controller, and holds the fold to the protocol on the way.

Everything random comes from one seed. Nothing here trains, waits or stores.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hpo_service import algorithms
from hpo_service.core import events as ev
from hpo_service.core import seeds
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.fold import StudyFold
from hpo_service.core.proposals import UNLIMITED, Continue, Finish, Proposal, Start, Stop
from hpo_service.core.states import TRIAL_TRANSITIONS, Origin, TrialState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
S = TrialState


@dataclass
class Nature:
    """What trials do, by number alone, so that it is the same whoever trains them and when."""

    seed: int = 0
    failing: float = 0.0  # share of trials that fail at some segment's end
    failing_by: float = 27.0  # they do so before this resource, each at one of its own
    early: float = 0.0  # share that end by themselves before their horizon
    horizon: float = 27.0
    losses: Callable[[int, float], float] | None = None  # instead of synthetic values
    others: Callable[[int, float], tuple[float, ...]] | None = None  # other objectives' and constraints' metrics
    failures: Callable[[int], float] | None = None  # instead of random failures
    ends: Callable[[int], float] | None = None  # instead of random early endings

    def _draw(self, number: int, which: int) -> float:
        return float(seeds.rng(self.seed, number, seeds.Purpose.SIMULATION, which).random())

    def value(self, number: int, resource: float) -> float:
        """A loss that falls with the resource to a floor of the trial's own; curves cross."""
        if self.losses is not None:
            return self.losses(number, resource)
        floor, speed = self._draw(number, 0), 0.2 + 2 * self._draw(number, 1)
        return round(floor + math.exp(-speed * resource / self.horizon * 5), 6)

    def values(self, number: int, resource: float, objectives: int) -> tuple[float, ...]:
        """Of every objective and constraint, in the definition's order."""
        first = self.value(number, resource)
        return (first,) * objectives if self.others is None else (first, *self.others(number, resource))

    def fails_at(self, number: int) -> float:
        """The resource from which on the trial fails."""
        if self.failures is not None:
            return self.failures(number)
        return self._draw(number, 3) * self.failing_by if self._draw(number, 2) < self.failing else math.inf

    def ends_at(self, number: int) -> float:
        """The resource at which the trial ends by itself."""
        if self.ends is not None:
            return self.ends(number)
        if self._draw(number, 4) >= self.early:
            return math.inf
        return 1.0 + math.floor(self._draw(number, 5) * (self.horizon - 1))


@dataclass
class Attempt:
    """An open attempt of the virtual cluster."""

    trial: int
    fence: int
    reached: float
    target: float


@dataclass
class Row:
    """What the store would know of a trial."""

    number: int
    params: Mapping[str, Any]
    origin: Origin
    state: TrialState = S.WAITING
    bracket: int | None = None
    fence: int = 0
    losses: int = 0
    began: float = 0.0  # resource of the parent's checkpoint, where it went on from one
    saved: float = 0.0  # resource of the newest checkpoint
    reached: float = 0.0
    target: float = 0.0
    horizon: float = 0.0
    value: float | None = None
    parent: int | None = None
    segments: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


@dataclass
class Driver:
    """Runs one study to its end. `lag`: how many attempts' news may come between a proposal and its commit."""

    definition: StudyDefinition
    nature: Nature = field(default_factory=Nature)
    workers: int = 4
    seed: int = 0
    losing: float = 0.0
    crashing: float = 0.0
    discarding: float = 0.0
    lag: int = 0
    check_every: int = 0  # fold the whole log again and compare, every so many events; 0: never
    lowered: bool = False  # whether a test lowers the budget below what was given out

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.log: list[ev.Event] = []
        self.algorithm: StudyFold = algorithms.fold(self.definition)
        self.rows: dict[int, Row] = {}
        self.open: list[Attempt] = []
        self.decision = 0
        self.refolds = 0
        self.record(ev.StudyCreated(definition=self.definition.to_document()))

    def record(self, payload: ev.Payload) -> None:
        """Commit one event; the living fold observes it."""
        event = ev.Event(study_id="s", seq=len(self.log) + 1, payload=payload, at=NOON)
        self.log.append(event)
        self.algorithm.observe(event)
        if self.check_every and len(self.log) % self.check_every == 0:
            self.compare()

    def refold(self) -> StudyFold:
        """A new fold of the whole log, read back from JSON as a store would."""
        algorithm = algorithms.fold(parse(self.log[0].payload.to_json()["definition"]))
        for event in self.log:
            payload = type(event.payload).from_json(event.payload.to_json())
            algorithm.observe(ev.Event(study_id="s", seq=event.seq, payload=payload, at=event.at))
        return algorithm

    def compare(self) -> None:
        """Folded again = kept alive."""
        again = self.refold()
        for slots in (self.workers, 1, 0):
            assert list(again.propose(slots)) == list(self.algorithm.propose(slots))
        assert again.ending() == self.algorithm.ending()
        assert list(again.rungs()) == list(self.algorithm.rungs())
        self.refolds += 1

    def enqueue(self, configurations: Sequence[Mapping[str, Any]], retry_of: int | None = None) -> list[int]:
        """Configurations by hand, or one retry."""
        first = max(self.rows, default=-1) + 1
        origin = Origin.ENQUEUED if retry_of is None else Origin.RETRY
        trials = tuple(
            ev.EnqueuedTrial(trial=first + i, params=params, origin=origin, retry_of=retry_of)
            for i, params in enumerate(configurations)
        )
        for trial in trials:
            self.rows[trial.trial] = Row(number=trial.trial, params=trial.params, origin=trial.origin)
        self.record(ev.TrialsEnqueued(trials=trials))
        return [trial.trial for trial in trials]

    def change(self, **changes: Any) -> None:
        """A changed definition; a new space counts its version up."""
        document = {**self.definition.to_document(), **changes}
        changed = parse(document)
        version = getattr(self, "_space_version", 1) + (changed.space != self.definition.space)
        self._space_version = version
        self.definition = changed
        self.record(ev.DefinitionChanged(definition=document, space_version=version, changed=tuple(changes)))

    def run(self, *, until: Callable[[Driver], bool] | None = None, limit: int = 100_000) -> Driver:
        """To the study's end, or until `until` says so."""
        for _ in range(limit):
            if until is not None and until(self):
                return self
            if not self.step():
                self.check_end()
                return self
        raise AssertionError(f"no end after {limit} steps")

    def step(self) -> bool:
        """Decide, else let the cluster go on; False when the study is over."""
        if self.random.random() < self.crashing:
            self.crash()
        slots = self.free()
        if self.random.random() < 0.7 or not self.open:
            proposals = self.propose(slots)
            if proposals and self.random.random() >= self.discarding:
                observed = len(self.log)
                for _ in range(self.random.randint(0, self.lag)):
                    self.advance()
                self.commit(proposals, observed)
                return True
        if self.open:
            self.advance()
            return True
        return self.reopen() or bool(self.algorithm.propose(self.workers)) or self.finished()

    def free(self) -> int:
        """Slots that nothing occupies."""
        return self.workers - len(self.open)

    def ask(self, slots: int) -> list[Proposal]:
        """What the algorithm proposes for so many slots."""
        return list(self.algorithm.propose(slots))

    def finished(self) -> bool:
        """Nothing open, nothing proposed: the fold must say why. Returns False: there is no further step."""
        assert self.algorithm.ending() is not None, "nothing is open or proposed, but the algorithm does not end"
        return False

    def crash(self) -> None:
        """The controller dies and comes back; the fold is made again, some attempts are lost."""
        self.algorithm = self.refold()
        for attempt in [a for a in self.open if self.random.random() < 0.3]:
            self.lose(attempt)

    def propose(self, slots: int) -> list[Proposal]:
        """Proposals, held to the protocol."""
        proposals = self.ask(slots)
        endings = list(self.algorithm.propose(0))
        self.algorithm.ending()
        assert self.ask(slots) == proposals, "propose changed what it proposes"
        assert endings == [p for p in proposals if isinstance(p, Stop | Finish)]
        self.check(proposals, slots)
        return proposals

    def check(self, proposals: Sequence[Proposal], slots: int) -> None:
        """The protocol's guarantees for one round."""
        placed = [p for p in proposals if isinstance(p, Start | Continue)]
        assert len(placed) <= self.allowed(slots)
        assert len({p.trial for p in proposals}) == len(proposals), "a trial is named twice"
        number = max(self.rows, default=-1) + 1
        waiting = [r.number for r in self.rows.values() if r.state is S.WAITING and r.fence == 0]
        for proposal in proposals:
            assert proposal.reason.strip()
            if isinstance(proposal, Start):
                if proposal.trial in self.rows:
                    assert proposal.trial == waiting.pop(0), "enqueued trials start in number order"
                else:
                    assert not waiting or proposal.parent is not None, "enqueued trials come before new ones"
                    assert proposal.trial == number, "numbers count on without gaps"
                    number += 1
                assert 0 < proposal.target <= proposal.horizon
                if proposal.parent is not None:
                    parent = self.rows[proposal.parent]
                    assert proposal.parent_resource in parent.segments, (
                        "a fork begins where a segment of its parent ended"
                    )
                    assert proposal.parent_resource <= parent.saved
                    assert proposal.parent_resource < proposal.target
            else:
                row = self.rows[proposal.trial]
                assert row.state is S.PAUSED
                if isinstance(proposal, Continue):
                    assert row.target < proposal.target <= row.horizon

    def allowed(self, slots: int) -> int:
        """How many attempts a round may open."""
        return max(slots, 0)

    def commit(self, proposals: Sequence[Proposal], observed: int) -> None:
        """What `store.decisions.commit` does."""
        self.decision += 1
        for proposal in proposals:
            if isinstance(proposal, Start) and proposal.trial not in self.rows:
                self.rows[proposal.trial] = Row(number=proposal.trial, params=proposal.params, origin=proposal.origin)
            row = self.rows[proposal.trial]
            row.reasons.append(proposal.reason)
            if isinstance(proposal, Start | Continue):
                self.go(row, S.RUNNING)
                if isinstance(proposal, Start):
                    row.horizon, row.bracket = proposal.horizon, proposal.bracket
                    row.began = row.saved = row.reached = proposal.parent_resource or 0.0
                    row.parent = proposal.parent
                row.target = proposal.target
                row.segments.append(proposal.target)
                row.fence += 1
                self.open.append(Attempt(row.number, row.fence, row.saved, row.target))
            else:
                self.go(row, S.STOPPED if isinstance(proposal, Stop) else S.FINISHED)
        payload = ev.Decided(
            decision=self.decision,
            observed_seq=observed,
            algorithm=self.algorithm.name,
            algorithm_version=self.algorithm.version,
            proposals=tuple(proposals),
        )
        self.record(payload)

    def go(self, row: Row, state: TrialState) -> None:
        """Through the transition table."""
        assert state in TRIAL_TRANSITIONS[row.state], f"{row.state} → {state}"
        row.state = state

    def advance(self) -> None:
        """A random attempt gets some way, to its end, or is lost."""
        if not self.open:
            return
        attempt = self.random.choice(self.open)
        if self.random.random() < self.losing:
            self.lose(attempt)
            return
        end = self.end_of(attempt)
        reach = end if self.random.random() < 0.6 else min(end, attempt.reached + self.random.randint(1, 3))
        self.report(attempt, reach)
        if reach >= end:
            self.end(attempt, end)

    def end_of(self, attempt: Attempt) -> float:
        own = self.nature.ends_at(attempt.trial)
        own = self.nature.horizon if attempt.target == UNLIMITED and own == math.inf else own
        return max(attempt.reached, min(attempt.target, own))

    def report(self, attempt: Attempt, reach: float) -> None:
        levels = [float(step) for step in range(math.floor(attempt.reached) + 1, math.ceil(reach))] + [reach]
        rows = tuple(
            ev.ReportRow(
                trial=attempt.trial,
                fence=attempt.fence,
                step=math.ceil(level * 64),
                resource=level,
                values=self.nature.values(attempt.trial, level, len(self.definition.objectives)),
            )
            for level in levels
            if level > attempt.reached
        )
        attempt.reached = reach
        row = self.rows[attempt.trial]
        row.reached = max(row.reached, reach)
        row.value = self.nature.value(attempt.trial, reach)
        if rows:
            self.record(ev.Reported(reports=rows))

    def end(self, attempt: Attempt, resource: float) -> None:
        row = self.rows[attempt.trial]
        self.open.remove(attempt)
        failed = self.nature.fails_at(attempt.trial) <= resource
        self.go(row, S.FAILED if failed else S.PAUSED)
        row.saved = resource
        outcome = "failed" if failed else "reached" if resource >= attempt.target else "completed"
        self.ended(attempt, outcome, row.state, resource)

    def lose(self, attempt: Attempt) -> None:
        """The worker died: the trial waits, and is placed again from its checkpoint."""
        row = self.rows[attempt.trial]
        self.open.remove(attempt)
        row.losses += 1
        self.go(row, S.WAITING if row.losses <= self.definition.retries else S.FAILED)
        self.ended(attempt, "lost", row.state, attempt.reached)
        if row.state is S.WAITING and self.random.random() < 0.5:
            self.reopen()

    def ended(self, attempt: Attempt, outcome: str, state: TrialState, resource: float) -> None:
        item = ev.EndedAttempt(
            trial=attempt.trial, fence=attempt.fence, outcome=outcome, trial_state=state.value, resource=resource
        )
        self.record(ev.AttemptsEnded(attempts=(item,)))

    def reopen(self) -> bool:
        """Place interrupted trials again."""
        rows = [r for r in self.rows.values() if r.state is S.WAITING and r.fence > 0]
        for row in rows:
            self.go(row, S.RUNNING)
            row.fence += 1
            self.open.append(Attempt(row.number, row.fence, row.saved, row.target))
            change = ev.AttemptChange(trial=row.number, fence=row.fence, target=row.target, from_resource=row.saved)
            self.record(ev.AttemptsReopened(attempts=(change,)))
        return bool(rows)

    def check_end(self) -> None:
        """Nothing hangs, and budgets were kept."""
        states = {row.state for row in self.rows.values() if row.fence > 0}
        assert states <= {S.FINISHED, S.STOPPED, S.FAILED, S.PAUSED}
        budget = self.definition.budget
        if self.lowered:
            return
        started = [row for row in self.rows.values() if row.fence > 0]
        if budget.trials is not None:
            assert len(started) <= budget.trials
        if budget.resource is not None:
            assert sum(row.reached - row.began for row in started) <= budget.resource * (1 + 1e-6)

    def outcome(self) -> dict[int, tuple[Any, ...]]:
        """What must not hang on workers, order or crashes: trials, promotions, ends."""
        return {
            r.number: (dict(r.params), r.origin, r.bracket, tuple(r.segments), r.state, r.value)
            for r in sorted(self.rows.values(), key=lambda r: r.number)
        }

    def winner(self) -> tuple[int, float] | None:
        """The best value among those at the highest resource reached."""
        rows = [r for r in self.rows.values() if r.value is not None and r.state is not S.FAILED]
        if not rows:
            return None
        top = max(r.reached for r in rows)
        best = min((r.value, r.number) for r in rows if r.reached == top and r.value is not None)
        return best[1], best[0]
