"""Committing a decision: proposals through the transition table, attempts opened, one `Decided` event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from hpo_service.core.events import Decided
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.states import TERMINAL_TRIAL, StudyState, TrialState, trial_sources
from hpo_service.errors import Conflict, DecisionMoved
from hpo_service.store import eventlog, idempotency, opening
from hpo_service.store.database import Database
from hpo_service.store.mapping import PARAM_COLUMNS, PARAM_CONFLICT, limit, param_rows, unlimited
from hpo_service.store.opening import Opening
from hpo_service.store.rows import Committed, Placement, Remember
from hpo_service.store.tables import trial_params, trials
from hpo_service.store.tx import Tx, clean, dump

_NEW = (
    "study_id", "number", "state", "reason", "origin", "params", "space_version", "parent", "parent_resource",
    "bracket", "rung", "fence", "target", "horizon", "resource", "attempts", "created_at", "started_at",
)  # fmt: skip
_OPEN = (
    "state",
    "reason",
    "bracket",
    "rung",
    "fence",
    "target",
    "horizon",
    "attempts",
    "started_at",
    "params",
)
_END = ("state", "reason", "ended_at")
_KEYS = ("study_id", "number")
_KNOWN = (
    "SELECT number, state, fence, params, horizon, bracket, rung, attempts, started_at, parent, parent_resource "
    "FROM trials WHERE study_id = ? AND number {among}"
)


@dataclass
class _Plan:
    """What the proposals come to: rows to write, and by how much the study's counters move."""

    study_id: str
    now: int
    new: list[tuple[Any, ...]] = field(default_factory=list)
    params: list[tuple[Any, ...]] = field(default_factory=list)
    reopened: list[tuple[Any, ...]] = field(default_factory=list)
    ended: dict[TrialState, list[tuple[Any, ...]]] = field(default_factory=dict)
    stopping: list[tuple[Any, ...]] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def move(self, source: str | None, target: TrialState) -> None:
        if source is not None:
            self.counts[source] -= 1
        self.counts[target.value] += 1

    def start_new(self, p: Start) -> None:
        self.new.append(
            (
                self.study_id, p.trial, TrialState.RUNNING.value, clean(p.reason), p.origin.value, dump(dict(p.params)),
                p.space_version, p.parent, p.parent_resource, p.bracket, p.rung, 1, limit(p.target), limit(p.horizon),
                p.parent_resource or 0.0, 1, self.now, self.now,
            )
        )  # fmt: skip
        self.params.extend(param_rows(self.study_id, p.trial, p.params))
        self.openings.append(
            Opening(
                trial=p.trial, fence=1, params=p.params, target=p.target, horizon=p.horizon,
                parent=p.parent, parent_resource=p.parent_resource,
            )
        )  # fmt: skip
        self.move(None, TrialState.RUNNING)

    def open_again(self, p: Start | Continue, row: Any) -> None:
        """An enqueued trial's start, or a paused one's next segment."""
        params = dict(p.params) if isinstance(p, Start) else json.loads(row.params)
        horizon = p.horizon if isinstance(p, Start) else unlimited(row.horizon)
        if dump(params) != row.params:
            self.params.extend(param_rows(self.study_id, p.trial, params))
        fence = row.fence + 1
        bracket = row.bracket if p.bracket is None else p.bracket
        rung = row.rung if p.rung is None else p.rung
        self.reopened.append(
            (
                TrialState.RUNNING.value, clean(p.reason), bracket, rung, fence, limit(p.target), limit(horizon),
                row.attempts + 1, self.now if row.started_at is None else row.started_at, dump(params),
                self.study_id, p.trial,
            )
        )  # fmt: skip
        self.openings.append(
            Opening(
                trial=p.trial, fence=fence, params=params, target=p.target, horizon=horizon,
                parent=row.parent, parent_resource=row.parent_resource,
            )
        )  # fmt: skip
        self.move(row.state, TrialState.RUNNING)

    def end(self, p: Stop | Finish, row: Any, state: TrialState) -> None:
        rows = self.ended.setdefault(state, [])
        rows.append((state.value, clean(p.reason), self.now, self.study_id, p.trial))
        self.move(row.state, state)


def commit(
    db: Database,
    study_id: str,
    proposals: Sequence[Proposal],
    *,
    epoch: int,
    decision: int,
    observed_seq: int,
    algorithm: str,
    algorithm_version: int,
    placements: Mapping[int, Placement],
    remember: Remember | None = None,
) -> Committed:
    """Store the proposals as decision `decision + 1` and open their attempts, all or nothing.

    A Stop of a running trial only marks it: it becomes stopped when its attempt ends; of an ended one it says nothing
    new. Raises DecisionMoved when the epoch or the decision number moved, Conflict where a proposal does not fit the
    trial's state, NotFound.
    """

    def work(tx: Tx) -> Committed:
        eventlog.append_once(tx)
        earlier = idempotency.claim(tx, remember)
        if earlier is not None:
            keys = [(int(t), int(f)) for t, f in earlier["opened"]]
            again = opening.load_open(tx, study_id, keys=keys)
            return Committed(seq=earlier["seq"], decision=earlier["decision"], opened=again)
        study = eventlog.lock_study(tx, study_id)
        check_decision(study, epoch=epoch, decision=decision)
        event = Decided(
            decision=decision + 1,
            observed_seq=observed_seq,
            algorithm=algorithm,
            algorithm_version=algorithm_version,
            proposals=tuple(proposals),
        )
        committed = commit_locked(tx, study, event, placements, epoch=epoch)
        opened = [[o.trial, o.fence] for o in committed.opened]
        idempotency.keep(tx, remember, {"seq": committed.seq, "decision": decision + 1, "opened": opened})
        return committed

    return db.run_write("decisions.commit", work)


def commit_locked(
    tx: Tx, study: Row[Any], event: Decided, placements: Mapping[int, Placement], *, epoch: int
) -> Committed:
    """`commit` inside a transaction that holds the study's row and has found it where the event expects it."""
    plan = _plan(tx, study, event.proposals)
    _write(tx, plan)
    opened = opening.open_all(tx, study.id, plan.openings, placements)
    put: dict[str, Any] = {"decision": event.decision}
    if opened and study.started_at is None:
        put["started_at"] = tx.now
    add = {**plan.counts, "open_attempts": len(opened), "next_trial": len(plan.new)}
    seq = eventlog.append(tx, study.id, (event,), add=add, put=put, epoch=epoch)
    return Committed(seq=seq, decision=event.decision, opened=opened)


def check_decision(study: Row[Any], *, epoch: int | None, decision: int | None) -> None:
    """Raises DecisionMoved unless the locked study still stands at `epoch` and `decision` (None: not asked)."""
    for name, expected, found in (("epoch", epoch, study.epoch), ("decision", decision, study.decision)):
        if expected is not None and expected != found:
            raise DecisionMoved(
                f"a decision is committed on the state that it was computed from, but study {study.id} moved from "
                f"{name} {expected} to {found}",
                remedy="fold the log again and propose anew",
            )


def _plan(tx: Tx, study: Row[Any], proposals: Sequence[Proposal]) -> _Plan:
    plan = _Plan(study_id=study.id, now=tx.now)
    known = _known(tx, study, proposals)
    fresh = study.next_trial
    if study.state != StudyState.RUNNING and any(isinstance(p, Start | Continue) for p in proposals):
        raise Conflict(
            f"trials are started only while a study is running, but study {study.id} is {study.state}",
            remedy="resume the study",
        )
    seen: set[int] = set()
    for proposal in proposals:
        if proposal.trial in seen:
            raise Conflict(f"one decision holds at most one proposal per trial, but got two for trial {proposal.trial}")
        seen.add(proposal.trial)
        if isinstance(proposal, Start) and proposal.trial >= study.next_trial:
            if proposal.trial != fresh:
                raise Conflict(
                    f"new trials are numbered on without gaps, but got trial {proposal.trial} where {fresh} is next"
                )
            fresh += 1
            plan.start_new(proposal)
            continue
        row = known.get(proposal.trial)
        if row is None:
            raise Conflict(f"a proposal names a known trial, but study {study.id} has no trial {proposal.trial}")
        _apply(plan, proposal, row)
    return plan


def _apply(plan: _Plan, proposal: Proposal, row: Any) -> None:
    state = TrialState(row.state)
    enqueued, paused = state is TrialState.WAITING and row.fence == 0, state is TrialState.PAUSED
    if (isinstance(proposal, Start) and enqueued) or (isinstance(proposal, Continue) and paused):
        plan.open_again(proposal, row)
    elif isinstance(proposal, Finish) and paused:
        plan.end(proposal, row, TrialState.FINISHED)
    elif isinstance(proposal, Stop):
        if state is TrialState.RUNNING:
            plan.stopping.append((clean(proposal.reason), plan.study_id, proposal.trial))
        elif state not in TERMINAL_TRIAL:
            plan.end(proposal, row, TrialState.STOPPED)
    else:
        kind = type(proposal).__name__.lower()
        raise Conflict(
            f"a proposal must fit its trial's state, but got {kind} for trial {row.number}, which is {row.state}",
            remedy="fold the log again",
        )


def _known(tx: Tx, study: Row[Any], proposals: Sequence[Proposal]) -> dict[int, Any]:
    """The trials that the proposals name, as they stand; to end one, that is all there is to know."""
    numbers = {p.trial for p in proposals if p.trial < study.next_trial}
    ending = {p.trial for p in proposals if isinstance(p, Finish | Stop)}
    found: dict[int, Any] = {n: tx.trials[study.id, n] for n in numbers & ending if (study.id, n) in tx.trials}
    numbers -= found.keys()
    if numbers:
        found |= {row.number: row for row in tx.text(_KNOWN.format(among=tx.in_list), study.id, tx.listed(numbers))}
    return found


def _write(tx: Tx, plan: _Plan) -> None:
    tx.insert(trials, _NEW, plan.new)
    tx.insert(trial_params, PARAM_COLUMNS, plan.params, conflict=PARAM_CONFLICT)
    move_trials(tx, _OPEN, plan.reopened, TrialState.RUNNING)
    for state, rows in plan.ended.items():
        move_trials(tx, _END, rows, state)
    tx.update(trials, _KEYS, ("stop_reason",), plan.stopping)


def move_trials(tx: Tx, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], target: TrialState) -> None:
    """Update trials that go to `target`: rows of `columns`, then study and number. The transition table is the WHERE.

    Raises Conflict when a trial was in no state from which it may go there."""
    sources = ", ".join(sorted(f"'{state.value}'" for state in trial_sources(target)))

    def check(changed: int) -> None:
        if changed != len(rows):
            raise Conflict(
                f"a trial goes to {target.value} only from {sources}, but {len(rows) - changed} of {len(rows)} trials "
                "were in another state",
                remedy="fold the log again",
            )

    tx.update(trials, _KEYS, columns, rows, where=f"t.state IN ({sources})", check=check)
