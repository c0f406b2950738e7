"""Collecting what workers say: one transaction for a batch across all studies, each item accepted or refused alone."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select

from hpo_service.core.events import AttemptsEnded, Payload, Reported, ReportRow
from hpo_service.core.states import TERMINAL_TRIAL
from hpo_service.store import blobstore, eventlog, improvements, scoring, texts
from hpo_service.store.batch import Batch, Report, Work
from hpo_service.store.committing import move_trials
from hpo_service.store.database import Database
from hpo_service.store.rows import Collected, CollectItem, EndedItem, ReportItem, SavedItem, StartedItem
from hpo_service.store.scoring import Best, Goals
from hpo_service.store.tables import attempts, environments, reports, trial_values, trials
from hpo_service.store.turns import Read
from hpo_service.store.tx import Standing, Tx, clean, dump

__all__ = ["Collected", "collect", "lose_attempts"]
_PROGRESS = ("resource", "step", "value_kind", "value", "sort_value", "metrics")
_END = ("state", "reason", *_PROGRESS, "losses", "cost_microdollars", "seconds", "ended_at")
_ATTEMPT_PROGRESS = ("resource", "last_step", "reported_at", "lease_expires_at")
_ATTEMPT_END = (
    "state", "outcome", "failure", "reason", "traceback", *_ATTEMPT_PROGRESS, "seconds", "cost_microdollars",
    "peak_memory_bytes", "gpu_peak_memory_bytes", "gpu_utilisation", "ended_at",
)  # fmt: skip
_ATTEMPT_START = (
    "worker_id", "node", "device", "resumed_from", "resumed_path", "environment_digest", "code_digest", "data_digest",
    "started_at",
)  # fmt: skip
_WORKS = (
    "SELECT t.number, t.state, t.fence, t.resource, t.step, t.metrics, t.losses, t.cost_microdollars, t.seconds, "
    "t.stop_reason, a.state, a.outcome, a.last_step, a.resource, a.started_at, a.reported_at, a.lease_s, a.seconds "
    "FROM trials AS t LEFT JOIN attempts AS a "
    "ON a.study_id = t.study_id AND a.trial = t.number AND a.fence = t.fence "
    "WHERE t.study_id = ? AND t.number {among}"
)
"""Trials with their newest attempt, in the order of `Work.of`."""
_ATTEMPT_KEYS = ("study_id", "trial", "fence")
_REPORT = ("study_id", "trial", "fence", "step", "seq", "resource", "value_kind", "value", "metrics", "at")
_VALUE = ("study_id", "trial", "name", "kind", "number")
_VALUE_CONFLICT = "ON CONFLICT (study_id, trial, name) DO UPDATE SET kind = excluded.kind, number = excluded.number"


def collect(db: Database, items: Sequence[CollectItem]) -> list[Collected]:
    """Store the items; what became of each, in their order. "Stored" means committed.

    Idempotent on (trial, fence, step). A fenced, closed, contradicting or unknown item is refused alone.
    """

    def work(tx: Tx) -> list[Collected]:
        eventlog.append_once(tx)
        return collect_locked(tx, items)

    return db.run_write("collecting.collect", work) if items else []


def works_of(tx: Tx, study_id: str, numbers: Iterable[int]) -> Read:
    """What reads the trials of these numbers for `collect_locked`."""
    return _WORKS.format(among=tx.in_list), (study_id, tx.listed(numbers))


def collect_locked(
    tx: Tx, items: Sequence[CollectItem], works: Sequence[Sequence[Any]] | None = None
) -> list[Collected]:  # fmt: skip
    """`collect` inside a transaction, which then holds the studies' rows. `works`: what `works_of` read, for items that
    are all of one study."""
    results: list[Collected | None] = [None] * len(items)
    by_study: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        by_study.setdefault(item.study_id, []).append(index)
    rows = eventlog.lock_studies(tx, by_study)
    for study_id in sorted(by_study):
        mine = by_study[study_id]
        if study_id not in rows:
            gone = Collected(status="unknown", message=f"there is no study {study_id!r}")
            for index in mine:
                results[index] = gone
            continue
        batch = _load(tx, rows[study_id], [items[i] for i in mine], works)
        for index in mine:
            results[index] = batch.apply(items[index])
        _store(tx, rows[study_id], batch)
    return [result for result in results if result is not None]


def lose_attempts(
    db: Database,
    study_id: str,
    keys: Iterable[tuple[int, int]],
    reason: str,
    *,
    charge: Callable[[float], int] | None = None,
) -> list[Collected]:
    """End the open attempts (trial, fence) as lost. They trained until their last report as far as is known;
    `charge` turns those seconds into micro-dollars."""
    wanted = set(keys)
    a = attempts.c
    with db.read() as tx:
        rows = tx.all(select(attempts).where(a.study_id == study_id, a.state == "open").order_by(a.trial))
    items = []
    for row in rows:
        if (row.trial, row.fence) in wanted:
            start = row.started_at or row.opened_at
            seconds = max((row.reported_at or start) - start, 0) / 1e6
            items.append(
                EndedItem(
                    study_id=study_id,
                    trial=row.trial,
                    fence=row.fence,
                    outcome="lost",
                    resource=row.resource,
                    seconds=seconds,
                    reason=reason,
                    cost_microdollars=charge(seconds) if charge else 0,
                )
            )
    return collect(db, items)


def _load(
    tx: Tx, study: Row[Any], items: Sequence[CollectItem], read: Sequence[Sequence[Any]] | None
) -> Batch:  # fmt: skip
    """What the items of one study need to know of it."""
    numbers = sorted({item.trial for item in items})
    rows = tx.texts(works_of(tx, study.id, numbers))[0] if read is None else read
    works = {row[0]: Work.of(row) for row in rows}
    batch = Batch(
        study_id=study.id,
        goals=goals_of(study.objectives, study.constraints),
        retries=study.retries,
        now=tx.now,
        works=works,
    )
    _load_doubtful(tx, batch, items)
    holding = {i.trial for i in items if isinstance(i, SavedItem) or (isinstance(i, EndedItem) and i.checkpoint)}
    if holding:
        batch.saved = blobstore.stored(tx, study.id, holding)
    return batch


def _load_doubtful(tx: Tx, batch: Batch, items: Sequence[CollectItem]) -> None:
    """The stored reports that an item might repeat or, where the best one counts, replace."""
    doubtful: set[int] = set()
    redo: set[int] = set()
    for item in items:
        work = batch.works.get(item.trial)
        if not isinstance(item, ReportItem) or work is None or item.fence != work.fence:
            continue
        if not work.open or (work.last_step is not None and item.step <= work.last_step):
            doubtful.add(item.trial)
        if batch.goals.best and work.step is not None and item.step <= work.step:
            redo.add(item.trial)
    if not doubtful | redo:
        return
    c = reports.c
    statement = select(c.trial, c.fence, c.step, c.resource, c.metrics).where(
        c.study_id == batch.study_id, tx.among(c.trial, doubtful | redo)
    )
    for number in redo:
        batch.works[number].curve = {}
    for row in tx.all(statement.order_by(c.trial, c.fence, c.step)):
        metrics = json.loads(row.metrics)
        work = batch.works[row.trial]
        if row.fence == work.fence:
            batch.known[(row.trial, row.fence, row.step)] = Report(
                row.trial, row.fence, row.step, row.resource, metrics
            )
        if work.curve is not None:
            work.curve[row.step] = (row.fence, metrics)


@functools.lru_cache(maxsize=1024)
def goals_of(objectives: str, constraints: str | None) -> Goals:
    """What is optimised and what is bounded, of a study's stored objectives and constraints."""
    return Goals.load(objectives, constraints)


def _store(tx: Tx, study: Row[Any], batch: Batch) -> None:
    touched = [work for work in batch.works.values() if work.touched]
    _write_starts(tx, batch)
    _write_violations(tx, batch, touched)
    _write_trials(tx, batch, touched)
    _write_attempts(tx, batch, touched)
    _write_late(tx, batch)
    write_values(tx, batch, touched)
    _write_checkpoints(tx, batch)
    payloads: list[Payload] = []
    if batch.reports:
        payloads.append(reported_of(batch))
    if batch.ended:
        payloads.append(AttemptsEnded(attempts=tuple(batch.ended)))
    if not payloads and not batch.late:
        return
    put = best_of(tx, study, batch, touched)
    add: dict[str, float] = {
        **batch.counts,
        "open_attempts": -len(batch.ended),
        "cost_microdollars": sum(e.cost_microdollars for e in batch.ended)
        + sum(item.cost_microdollars for _, item in batch.late),
        "resource": sum(work.resource - work.old_resource for work in touched),
    }
    last = eventlog.append(tx, study.id, payloads, add=add, put=put)
    improvements.append(tx, study, last, best=put, add=add)
    write_reports(tx, batch, last - len(payloads) + 1)


def reported_of(batch: Batch) -> Reported:
    """The event of the batch's reports, in canonical order."""
    goals = batch.goals
    others: dict[int, tuple[float, ...]] = {}
    if goals.more:
        told = {r.trial: batch.works[r.trial].metrics for r in batch.reports}
        others = {n: tuple(map(scoring.number, goals.others(metrics))) for n, metrics in told.items()}
    rows = [
        ReportRow(
            trial=r.trial,
            fence=r.fence,
            step=r.step,
            resource=r.resource,
            values=(scoring.number(r.metrics.get(goals.metric)), *others.get(r.trial, ())),
        )
        for r in sorted(batch.reports, key=lambda r: (r.trial, r.fence, r.step))
    ]
    return Reported(reports=tuple(rows))


def best_of(tx: Tx, study: Row[Any], batch: Batch, touched: Sequence[Work]) -> dict[str, Any]:
    """What the best trial becomes, as columns of the study; empty where it stays."""
    goals = batch.goals
    best = Best.of(study, goals)
    for work in touched:
        best.consider(work.number, work.rank_value(goals.metric), work.resource, goals.violation(work.metrics))
    if best.stale:
        best = scoring.look_up_best(tx, study.id, maximize=goals.maximize, constrained=bool(goals.constraints))
    found = {"best_trial": best.trial, "best_value": best.value, "best_resource": best.resource}
    if goals.constraints:
        found["best_violation"] = best.violation
    return found if any(getattr(study, name) != value for name, value in found.items()) else {}


def _write_violations(tx: Tx, batch: Batch, touched: Sequence[Work]) -> None:
    goals = batch.goals
    if goals.constraints:
        rows = [(goals.violation(work.metrics), batch.study_id, work.number) for work in touched if work.reported]
        tx.update(trials, ("study_id", "number"), ("violation",), rows)


def _write_trials(tx: Tx, batch: Batch, touched: Sequence[Work]) -> None:
    going: list[tuple[Any, ...]] = []
    ended: dict[Any, list[tuple[Any, ...]]] = {}
    for work in touched:
        kind, number = scoring.columns(work.metrics.get(batch.goals.metric))
        progress = (
            work.resource, work.step, kind, number, work.rank_value(batch.goals.metric), dump(work.metrics),
        )  # fmt: skip
        key = (batch.study_id, work.number)
        if work.ended is None:
            going.append((*progress, *key))
        else:
            at = batch.now if work.state in TERMINAL_TRIAL else None
            ended.setdefault(work.state, []).append(
                (work.state.value, work.reason, *progress, work.losses, work.cost, work.seconds, at, *key)
            )
            tx.trials[key] = Standing(work.number, work.state.value, work.fence)
    tx.update(trials, ("study_id", "number"), _PROGRESS, going)
    for state, rows in ended.items():
        move_trials(tx, _END, rows, state)


def _write_attempts(tx: Tx, batch: Batch, touched: Sequence[Work]) -> None:
    going: list[tuple[Any, ...]] = []
    ended: list[tuple[Any, ...]] = []
    for work in touched:
        key = (batch.study_id, work.number, work.fence)
        reported_at = batch.now if work.reported else work.reported_at
        if work.ended is None:
            lease = None if work.lease_s is None else batch.now + int(work.lease_s * 1e6)
            going.append((work.attempt_resource, work.last_step, reported_at, lease, *key))
            continue
        item = work.ended
        ended.append(
            (
                "closed", item.outcome, work.failure, work.ended_reason, clean(item.traceback), work.attempt_resource,
                work.last_step, reported_at, None, item.seconds, item.cost_microdollars, item.peak_memory_bytes,
                item.gpu_peak_memory_bytes, item.gpu_utilisation, batch.now, *key,
            )
        )  # fmt: skip
    tx.update(attempts, _ATTEMPT_KEYS, _ATTEMPT_PROGRESS, going)
    tx.update(attempts, _ATTEMPT_KEYS, _ATTEMPT_END, ended)


def _write_late(tx: Tx, batch: Batch) -> None:
    """What attempts had cost whose study was stopped before they said so."""
    bill = ("seconds", "cost_microdollars")
    of_trials = [(work.seconds, work.cost, batch.study_id, work.number) for work, _ in batch.late]
    of_attempts = [(i.seconds, i.cost_microdollars, batch.study_id, i.trial, i.fence) for _, i in batch.late]
    tx.update(trials, ("study_id", "number"), bill, of_trials)
    tx.update(attempts, _ATTEMPT_KEYS, bill, of_attempts)


def write_values(tx: Tx, batch: Batch, touched: Sequence[Work]) -> None:
    """The metric values of trials that changed."""
    rows: list[tuple[Any, ...]] = []
    for work in touched:
        for name, value in work.metrics.items():
            if work.before.get(name) != value:
                rows.append((batch.study_id, work.number, clean(name), *scoring.columns(value)))
    tx.insert(trial_values, _VALUE, rows, conflict=_VALUE_CONFLICT)


def write_reports(tx: Tx, batch: Batch, seq: int) -> None:
    """The rows of the batch's reports, under the event `seq` that tells of them."""
    metric, study_id, now = batch.goals.metric, batch.study_id, batch.now
    if batch.goals.more:
        _write_standings(tx, batch, seq)
        return
    rows: list[tuple[Any, ...]] = [
        (
            study_id, r.trial, r.fence, r.step, seq, r.resource, *scoring.columns(r.metrics.get(metric)),
            dump(r.metrics), now,
        )
        for r in batch.reports
    ]  # fmt: skip
    tx.insert(reports, _REPORT, rows)


def _write_standings(tx: Tx, batch: Batch, seq: int) -> None:
    """The same rows, with what the trials came to in what is more than the first objective."""
    goals, works = batch.goals, batch.works
    rows: list[tuple[Any, ...]] = [
        (
            batch.study_id, r.trial, r.fence, r.step, seq, r.resource, *scoring.columns(r.metrics.get(goals.metric)),
            dump(r.metrics), batch.now, json.dumps(goals.others(works[r.trial].metrics)),
        )
        for r in batch.reports
    ]  # fmt: skip
    tx.insert(reports, (*_REPORT, "standing"), rows)


def _write_checkpoints(tx: Tx, batch: Batch) -> None:
    """Add the new ones; drop the rows of an attempt's files that its worker has removed since."""
    if not batch.checkpoints:
        return
    blobstore.add(tx, batch.checkpoints)
    old = []
    for trial, fence in dict.fromkeys((n.trial, n.fence) for n in batch.checkpoints):
        steps = batch.saved[(trial, fence)]
        old += [(trial, fence, s, steps[s]) for s in sorted(steps)[: -blobstore.KEPT_PER_ATTEMPT]]
    blobstore.remove(tx, batch.study_id, old)


def _write_starts(tx: Tx, batch: Batch) -> None:
    if not batch.started:
        return
    documents: dict[str, Mapping[str, Any]] = {}
    told: dict[int, tuple[str | None, str | None, str | None]] = {}  # by the document's identity: lanes share theirs
    rows: list[tuple[Any, ...]] = []
    for item in batch.started:
        digests = told.get(id(item.environment))
        if digests is None:
            digests = told[id(item.environment)] = _digests(item)
            if digests[0] is not None:
                documents.setdefault(digests[0], item.environment)
        rows.append(
            (
                clean(item.worker_id), clean(item.node), clean(item.device), item.resumed_from,
                clean(item.resumed_path) or None, *digests, batch.now, item.study_id, item.trial, item.fence,
            )
        )  # fmt: skip
    known = {r.digest for r in tx.all(select(environments.c.digest).where(tx.among(environments.c.digest, documents)))}
    new = {digest: document for digest, document in documents.items() if digest not in known}
    rest = [(digest, _canonical(texts.without(document)), batch.now) for digest, document in new.items()]
    tx.insert(environments, ("digest", "document", "created_at"), rest, conflict="ON CONFLICT DO NOTHING")
    texts.keep(tx, new.values())
    tx.update(attempts, _ATTEMPT_KEYS, _ATTEMPT_START, rows)


def _digests(item: StartedItem) -> tuple[str | None, str | None, str | None]:
    """Of the environment, its code and its data."""
    code, data = item.environment.get("code"), item.environment.get("data")
    return _environment_digest(item), _part_digest(code), _part_digest(data)


def _canonical(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _environment_digest(item: StartedItem) -> str | None:
    """The digest that the document holds of itself, else that of its canonical JSON."""
    if not item.environment:
        return None
    own = item.environment.get("digest")
    return own if isinstance(own, str) and len(own) == 64 else _sha256(_canonical(item.environment))


def _part_digest(part: Any) -> str | None:
    """The SHA-256 of what says which code or data it was: the part's canonical JSON."""
    return _sha256(_canonical(part)) if part else None
