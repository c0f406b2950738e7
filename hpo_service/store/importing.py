"""Trials that ended elsewhere, written in one transaction per batch: rows, values, reports, one attempt each, the log.

What their values come to is worked out by the rules of `batch`, as for trials that are trained here. They cost nothing
and use no budget; the best trial may well be one of them. Reading other tools' files is no business of the server's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from hpo_service.core.events import Payload, StudyStateChanged
from hpo_service.core.imported import ImportedTrial, TrialsImported
from hpo_service.core.states import Origin, StudyState, TrialState, study_sources
from hpo_service.errors import Conflict
from hpo_service.store import eventlog, idempotency, improvements, scoring
from hpo_service.store.batch import Batch, Work, reason_of
from hpo_service.store.collecting import best_of, goals_of, reported_of, write_reports, write_values
from hpo_service.store.database import Database
from hpo_service.store.mapping import PARAM_COLUMNS, param_rows
from hpo_service.store.rows import GivenTrial, Remember, ReportItem
from hpo_service.store.tables import IMPORTED, attempts, trial_params, trial_tags, trials
from hpo_service.store.tx import Tx, clean, dump, utc_us

_TRIAL = (
    "study_id", "number", "state", "reason", "origin", "params", "space_version", "fence", "resource", "step",
    "value_kind", "value", "sort_value", "metrics", "attempts", "seconds", "created_at", "started_at", "ended_at",
    "tags", "notes", "violation",
)  # fmt: skip
_ATTEMPT = (
    "study_id", "trial", "fence", "state", "outcome", "failure", "reason", "method", "resource", "last_step",
    "opened_at", "started_at", "reported_at", "ended_at",
)  # fmt: skip
_OUTCOMES = {TrialState.FINISHED: "completed", TrialState.STOPPED: "cancelled", TrialState.FAILED: "failed"}


@dataclass
class _Taken:
    """A given trial with what its reports come to."""

    given: GivenTrial
    work: Work
    failure: str | None = None
    reason: str = ""


@dataclass
class _Plan:
    """What the batch comes to, in memory."""

    batch: Batch
    taken: list[_Taken] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def import_trials(
    db: Database,
    study_id: str,
    given: Sequence[GivenTrial],
    *,
    finish: str | None = None,
    remember: Remember | None = None,
) -> list[int]:
    """Store the trials under the next numbers, which are returned; with a known idempotency key those given then.

    A finished trial whose objective is missing or not finite is stored as failed, by the rule that holds here. `finish`
    ends the study with that reason, where nothing is open. Raises NotFound, and Conflict where it cannot be ended or
    one trial's reports contradict each other.
    """

    def work(tx: Tx) -> list[int]:
        earlier = idempotency.claim(tx, remember)
        if earlier is not None:
            return [int(n) for n in earlier["trials"]]
        study = eventlog.lock_study(tx, study_id)
        plan = _plan(tx, study, given)
        payloads, put = _ending(study, finish, tx.now)
        if plan.taken:
            _write_trials(tx, study, plan)
            payloads = [_event(plan), *([reported_of(plan.batch)] if plan.batch.reports else []), *payloads]
        if payloads:
            _append(tx, study, plan, payloads, put)
        numbers = [t.work.number for t in plan.taken]
        idempotency.keep(tx, remember, {"trials": numbers})
        return numbers

    return db.run_write("importing.import_trials", work)


def _plan(tx: Tx, study: Row[Any], given: Sequence[GivenTrial]) -> _Plan:
    works = {n: _blank(n) for n in range(study.next_trial, study.next_trial + len(given))}
    batch = Batch(
        study_id=study.id, goals=goals_of(study.objectives, study.constraints), retries=0, now=tx.now, works=works
    )
    plan = _Plan(batch)
    for (number, work), trial in zip(works.items(), given, strict=True):
        for step, resource, metrics in trial.reports:
            told = batch.apply(
                ReportItem(study_id=study.id, trial=number, fence=1, step=step, resource=resource, metrics=metrics)
            )
            if told.status not in ("stored", "repeated"):
                raise Conflict(told.message, remedy="give each step of a trial once")
        plan.taken.append(_settled(plan, work, trial))
    return plan


def _blank(number: int) -> Work:
    """A trial whose only attempt is about to be told of."""
    return Work(
        number=number, state=TrialState.RUNNING, fence=1, resource=0.0, step=None, metrics={}, losses=0, cost=0,
        seconds=0.0, stop_reason=None, open=True, outcome=None, last_step=None, attempt_resource=0.0, started=True,
        reported_at=None, lease_s=None, attempt_seconds=0.0,
    )  # fmt: skip


def _settled(plan: _Plan, work: Work, given: GivenTrial) -> _Taken:
    metric = plan.batch.goals.metric
    value = work.metrics.get(metric)
    state, failure, reason = given.state, None, given.reason
    if state is TrialState.FINISHED and not isinstance(value, float):
        what = "is missing" if value is None else f"is {value}"
        state, failure = TrialState.FAILED, "missing_metric" if value is None else "diverged"
        reason = reason_of(failure, f"the objective {metric!r} {what}")
    elif state is TrialState.FAILED:
        failure = "exception"
    work.state, work.resource = state, max(work.resource, float(given.resource))
    plan.counts[state.value] += 1
    return _Taken(given, work, failure, clean(reason) or f"{state.value} elsewhere")


def _event(plan: _Plan) -> TrialsImported:
    goals = plan.batch.goals
    metric = goals.metric
    return TrialsImported(
        trials=tuple(
            ImportedTrial(
                trial=t.work.number,
                params=dict(t.given.params),
                state=t.work.state,
                resource=t.work.resource,
                value=scoring.number(t.work.metrics[metric]) if metric in t.work.metrics else None,
                reason=t.reason,
                others=tuple(map(scoring.number, goals.others(t.work.metrics))) if goals.more else (),
            )
            for t in plan.taken
        )
    )


def _ending(study: Row[Any], finish: str | None, now: int) -> tuple[list[Payload], dict[str, Any]]:
    """The event and the columns of a study that ends here."""
    if finish is None or study.state == StudyState.FINISHED:
        return [], {}
    if study.open_attempts or StudyState(study.state) not in study_sources(StudyState.FINISHED):
        raise Conflict(
            f"a study is finished when it is running or paused and nothing is open, but study {study.id} is "
            f"{study.state} with {study.open_attempts} open attempts",
            remedy="leave finish out",
        )
    put = {"state": StudyState.FINISHED.value, "reason": clean(finish), "ended_at": now}
    return [StudyStateChanged(state=StudyState.FINISHED, reason=finish)], put


def _append(tx: Tx, study: Row[Any], plan: _Plan, payloads: Sequence[Payload], put: dict[str, Any]) -> None:
    best = best_of(tx, study, plan.batch, [t.work for t in plan.taken])
    add: dict[str, float] = {**plan.counts, "next_trial": len(plan.taken), "imported": len(plan.taken)}
    columns = {**put, **best, "decision": study.decision + 1}
    last = eventlog.append(tx, study.id, payloads, add=add, put=columns)
    improvements.append(tx, study, last, best=best, add=add)
    if plan.batch.reports:
        write_reports(tx, plan.batch, last - len(payloads) + 2)


def _write_trials(tx: Tx, study: Row[Any], plan: _Plan) -> None:
    rows, tried, params, tags = [], [], [], []
    for t in plan.taken:
        work, given, key = t.work, t.given, (study.id, t.work.number)
        metric = plan.batch.goals.metric
        kind, number = scoring.columns(work.metrics.get(metric))
        created, started, ended = _times(given, tx.now)
        own = list(dict.fromkeys(clean(tag) for tag in given.tags))
        rows.append(
            (
                *key, work.state.value, t.reason, Origin.IMPORTED.value, dump(dict(given.params)), study.space_version,
                1, work.resource, work.step, kind, number, work.rank_value(metric), dump(work.metrics), 1,
                (ended - started) / 1e6, created, started, ended, dump(own), clean(given.notes),
                plan.batch.goals.violation(work.metrics),
            )
        )  # fmt: skip
        tried.append(
            (
                *key, 1, "closed", _OUTCOMES[work.state], t.failure, t.reason, IMPORTED, work.resource, work.last_step,
                created, started, ended if work.reported else None, ended,
            )
        )  # fmt: skip
        params += param_rows(*key, given.params)
        tags += [(study.id, tag, work.number) for tag in own]
    tx.insert(trials, _TRIAL, rows)
    tx.insert(attempts, _ATTEMPT, tried)
    tx.insert(trial_params, PARAM_COLUMNS, params)
    tx.insert(trial_tags, ("study_id", "tag", "trial"), tags)
    write_values(tx, plan.batch, [t.work for t in plan.taken])


def _times(given: GivenTrial, now: int) -> tuple[int, int, int]:
    """When it was made, begun and over: as told, in that order, else now."""
    ended = now if given.ended_at is None else min(utc_us(given.ended_at), now)
    started = ended if given.started_at is None else min(utc_us(given.started_at), ended)
    return started, started, ended
