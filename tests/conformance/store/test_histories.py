"""Random histories: whatever happens in whatever order, counters equal a recomputation and invariants hold."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_service.core.events import AttemptsEnded, AttemptsReopened, Decided, Reported
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.states import TERMINAL_TRIAL, StudyState, TrialState
from hpo_service.store import decisions, reading, studies
from hpo_service.store.database import Database
from tests.storelib import World, start

VALUES = st.sampled_from([0.1, 0.5, 0.5, 2.0, math.nan, math.inf, -math.inf])
OUTCOMES = st.sampled_from(["reached", "completed", "paused", "cancelled", "failed", "lost"])


class Driver:
    """Draws what happens next to one study."""

    def __init__(self, world: World, data: st.DataObject) -> None:
        self.world = world
        self.draw = data.draw
        self.terminal: dict[int, TrialState] = {}

    def rows(self) -> list[Any]:
        return list(reading.iter_trials(self.world.db, self.world.id))

    def decide(self) -> None:
        proposals: list[Proposal] = []
        for row in self.rows():
            choice = self.draw(st.sampled_from(["nothing", "continue", "finish", "stop"]))
            if choice == "stop":
                proposals.append(Stop(trial=row.number, reason="drawn"))
            elif row.state is TrialState.PAUSED and choice == "continue":
                proposals.append(Continue(trial=row.number, target=row.resource + 3, reason="drawn"))
            elif row.state is TrialState.PAUSED and choice == "finish":
                proposals.append(Finish(trial=row.number, reason="drawn"))
            elif row.state is TrialState.WAITING and row.fence == 0 and choice == "continue":
                proposals.append(start(row.number, params=dict(row.params)))
        first = self.world.study.next_trial
        proposals += [start(n) for n in range(first, first + self.draw(st.integers(0, 2)))]
        if proposals:
            self.world.commit(proposals)

    def collect(self) -> None:
        items: list[Any] = []
        for row in self.rows():
            if row.fence == 0 or not self.draw(st.booleans()):
                continue
            fence = max(1, row.fence - self.draw(st.sampled_from([0, 0, 0, 1])))
            for _ in range(self.draw(st.integers(0, 3))):
                step = self.draw(st.integers(0, 5))
                items.append(self.world.report(row.number, step, self.draw(VALUES), fence=fence))
            if self.draw(st.booleans()):
                items.append(self.world.saved(row.number, self.draw(st.integers(0, 5)), fence=fence))
            if self.draw(st.booleans()):
                cost = self.draw(st.integers(0, 9))
                outcome = self.draw(OUTCOMES)
                items.append(self.world.ended(row.number, outcome, fence=fence, resource=1.0, cost_microdollars=cost))
        before = self.world.study.last_seq
        results = self.world.collect(*items)
        again = self.world.collect(*items)
        assert all(b.status != "stored" for b in again), "what was stored is not stored again"
        stored = any(r.status == "stored" for r in results)
        assert stored or self.world.study.last_seq == before

    def reopen(self) -> None:
        waiting = decisions.interrupted(self.world.db, self.world.id)
        if waiting:
            decisions.reopen(self.world.db, self.world.id, waiting, epoch=self.world.epoch, placements={})

    def enqueue(self) -> None:
        studies.enqueue(self.world.db, self.world.id, [{"lr": 0.5, "optimizer": "sgd"}])

    def stop_and_resume(self) -> None:
        studies.set_state(self.world.db, self.world.id, StudyState.STOPPED, "drawn")
        self.world.check_counters()
        studies.set_state(self.world.db, self.world.id, StudyState.RUNNING, "drawn")

    def check(self) -> None:
        self.world.check_counters()
        for row in self.rows():
            if row.number in self.terminal:
                assert row.state is self.terminal[row.number], "an ended trial never changes"
            if row.state in TERMINAL_TRIAL:
                self.terminal[row.number] = row.state
            fences = [a.fence for a in reading.attempts(self.world.db, self.world.id, row.number)]
            assert fences == list(range(1, row.fence + 1))


def replay(world: World) -> dict[int, str]:
    """Trial states by the log alone."""
    states: dict[int, str] = {}
    events = decisions.load_events(world.db, world.id)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    reported: set[tuple[int, int, int]] = set()
    for event in events:
        payload = event.payload
        if payload.kind == "trials_enqueued":
            states |= {t.trial: "waiting" for t in payload.trials}  # type: ignore[union-attr]  # by its kind
        elif isinstance(payload, Decided):
            for p in payload.proposals:
                _apply(states, p)
        elif isinstance(payload, AttemptsReopened):
            states |= {a.trial: "running" for a in payload.attempts}
        elif isinstance(payload, AttemptsEnded):
            states |= {a.trial: a.trial_state for a in payload.attempts}
        elif isinstance(payload, Reported):
            keys = {(r.trial, r.fence, r.step) for r in payload.reports}
            assert len(keys) == len(payload.reports)
            assert not keys & reported
            reported |= keys
    return states


def _apply(states: dict[int, str], proposal: Proposal) -> None:
    before = states.get(proposal.trial)
    if isinstance(proposal, Start | Continue):
        states[proposal.trial] = "running"
    elif isinstance(proposal, Finish):
        states[proposal.trial] = "finished"
    elif before in ("waiting", "paused"):
        states[proposal.trial] = "stopped"


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_history_keeps_the_invariants(db: Database, data: st.DataObject) -> None:
    at = data.draw(st.sampled_from(["last", "best"]))
    direction = data.draw(st.sampled_from(["minimize", "maximize"]))
    world = World(db, objective={"metric": "loss", "direction": direction, "at": at})
    driver = Driver(world, data)
    actions = [driver.decide, driver.collect, driver.collect, driver.reopen, driver.enqueue, driver.stop_and_resume]
    for _ in range(data.draw(st.integers(2, 8))):
        data.draw(st.sampled_from(actions))()
        driver.check()
    assert replay(world) == {row.number: row.state.value for row in driver.rows()}
