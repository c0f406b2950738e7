"""Verbs of studies: create, read, change, move through states, enqueue trials. Deleting is in `deleting`."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update

from hpo_service.core import auto
from hpo_service.core.algorithm_specs import AutoSpec
from hpo_service.core.definition import Budget, StudyDefinition, parse
from hpo_service.core.events import (
    AttemptsEnded,
    DefinitionChanged,
    EndedAttempt,
    EndingDeclared,
    EnqueuedTrial,
    Payload,
    StudyCreated,
    StudyStateChanged,
    TrialsEnqueued,
    WarmStarted,
)
from hpo_service.core.states import ENDED_STUDY, Origin, StudyState, TrialState, study_sources
from hpo_service.errors import Conflict, DecisionMoved, InvalidInput, NotFound
from hpo_service.store import eventlog, idempotency, warm_starts
from hpo_service.store.committing import check_decision, move_trials
from hpo_service.store.database import Database
from hpo_service.store.deleting import delete_study
from hpo_service.store.finding import active_studies, find_study, get_study, list_studies
from hpo_service.store.mapping import PARAM_COLUMNS, PARAM_CONFLICT, constraints_column, param_rows, study_row
from hpo_service.store.rows import Remember, StudyRow
from hpo_service.store.tables import attempts, studies, study_tags, trial_params, trial_tags, trials
from hpo_service.store.tx import Tx, clean, dump

__all__ = [
    "active_studies",
    "annotate_trial",
    "create_study",
    "delete_study",
    "enqueue",
    "find_study",
    "get_study",
    "list_studies",
    "patch_study",
    "set_ending",
    "set_state",
]
_ID = re.compile("s[a-z2-7]{16}")
_TRIAL = (
    "study_id", "number", "state", "reason", "origin", "params", "space_version", "retry_of", "horizon", "created_at",
)  # fmt: skip


def new_id(prefix: str) -> str:
    """An opaque id: the prefix and 80 random bits in base 32."""
    return prefix + base64.b32encode(secrets.token_bytes(10)).decode().lower()


def is_id(text: str) -> bool:
    """Whether this could be the id of a study."""
    return _ID.fullmatch(text) is not None


def was_given(db: Database, study_id: str) -> bool:
    """Whether there is, or was, a study with this id."""
    with db.read() as tx:
        return tx.first(select(studies.c.id).where(studies.c.id == study_id)) is not None


def create_study(
    db: Database,
    definition: StudyDefinition,
    *,
    created_by: str,
    state: StudyState = StudyState.PREFLIGHT,
    remember: Remember | None = None,
    confirmed: Sequence[Mapping[str, Any]] = (),
) -> StudyRow:
    """Store a new study in `state` (preflight, running or paused). A known idempotency key: the study made then.
    `confirmed`: the configurations that a confirmation trains, its first trials. Raises InvalidInput for past studies
    that it cannot begin from."""
    if state not in (StudyState.PREFLIGHT, StudyState.RUNNING, StudyState.PAUSED):
        raise Conflict(f"a study begins in preflight, running or paused, but got {state.value}")
    warm, refused = _begun_from(db, definition)  # takes its time: not while others wait to write

    def work(tx: Tx) -> StudyRow:
        earlier = idempotency.claim(tx, remember)
        if earlier is not None:
            return _read(tx, earlier["study_id"])
        if refused is not None:
            raise refused
        study_id, document = new_id("s"), definition.to_document()
        row = {
            **_columns(definition),
            "id": study_id,
            "created_by": clean(created_by),
            "created_at": tx.now,
            "state": state.value,
            "external": definition.trainer.external,
        }
        tx.execute(insert(studies).values(row))
        _write_tags(tx, study_id, definition.tags)
        created: list[Payload] = [
            StudyCreated(definition=document, chosen=_chosen(definition)),
            *([] if warm is None else [warm]),
            StudyStateChanged(state=state, reason="created"),
        ]
        if confirmed:
            queued = tuple(
                EnqueuedTrial(trial=i, params=dict(params), origin=Origin.CONFIRM, retry_of=None)
                for i, params in enumerate(confirmed)
            )
            _insert_waiting(tx, study_id, 1, queued)
            created.append(TrialsEnqueued(trials=queued))
        eventlog.append(tx, study_id, created, add={"next_trial": len(confirmed), "waiting": len(confirmed)})
        idempotency.keep(tx, remember, {"study_id": study_id})
        return _read(tx, study_id)

    return db.run_write("studies.create", work)


def patch_study(
    db: Database,
    study_id: str,
    definition: StudyDefinition,
    *,
    changed: tuple[str, ...],
    reason: str = "",
    epoch: int | None = None,
    version: int | None = None,
) -> StudyRow:
    """Replace the definition; `changed` names the paths that differ, `reason` says why where no user did. A change of
    the space makes a new version of it; a finished study whose budget grew goes on. Raises NotFound, and DecisionMoved
    when the lease's `epoch` or the `version` of the definition that was changed is given and moved."""

    def work(tx: Tx) -> StudyRow:
        row = eventlog.lock_study(tx, study_id)
        check_decision(row, epoch=epoch, decision=None)
        if version is not None and version != row.definition_version:
            raise DecisionMoved(
                f"version {version} of the definition of study {study_id} was changed, but by now there is version "
                f"{row.definition_version}",
                remedy="read it again, and change that",
            )
        before = parse(_read(tx, study_id).definition)
        columns = _columns(definition)
        new_space = columns["space_digest"] != row.space_digest
        put = {
            **columns,
            "definition_version": row.definition_version + 1,
            "space_version": row.space_version + (1 if new_space else 0),
            "decision": row.decision + 1,
        }
        events: list[Payload] = [
            DefinitionChanged(
                definition=definition.to_document(),
                space_version=put["space_version"],
                changed=changed,
                reason=clean(reason),
            )
        ]
        if row.state == StudyState.FINISHED and grew(before.budget, definition.budget):
            raised = "the budget was raised"
            put |= {"state": StudyState.RUNNING.value, "reason": raised, "ended_at": None}
            events.append(StudyStateChanged(state=StudyState.RUNNING, reason=raised))
        eventlog.append(tx, study_id, events, put=put, epoch=epoch or 0)
        _write_tags(tx, study_id, definition.tags)
        return _read(tx, study_id)

    return db.run_write("studies.patch", work)


_REMEDIES = {
    StudyState.FINISHED: "it has ended already; raise its budget to go on, or delete it",
    StudyState.STOPPED: "it was stopped already; resume it to go on, or delete it",
    StudyState.FAILED: "it has failed already; see its reason, then resume it for another preflight, or delete it",
}


def set_state(
    db: Database,
    study_id: str,
    state: StudyState,
    reason: str,
    *,
    epoch: int | None = None,
    decision: int | None = None,
) -> StudyRow:
    """Take the study to `state`; a no-op where it is there already. Stopping closes its open attempts as cancelled and
    their trials as stopped. Raises Conflict where the transition table does not allow it, NotFound, and DecisionMoved
    when `epoch` or `decision` is given and moved, or when attempts are open of a study that is to be finished."""

    def work(tx: Tx) -> StudyRow:
        row = eventlog.lock_study(tx, study_id)
        check_decision(row, epoch=epoch, decision=decision)
        if row.state == state.value:
            return study_row(row)
        if StudyState(row.state) not in study_sources(state):
            sources = ", ".join(sorted(study_sources(state)))
            raise Conflict(
                f"a study becomes {state.value} only from {sources}, but study {study_id} is {row.state}",
                remedy=_REMEDIES.get(StudyState(row.state), "look at its state first"),
            )
        if state is StudyState.FINISHED and row.open_attempts:
            raise DecisionMoved(f"study {study_id} cannot finish while {row.open_attempts} attempts are open")
        events: list[Payload] = []
        add: dict[str, float] = {}
        if state is StudyState.STOPPED:
            events, add = _cancel_open(tx, study_id, reason)
        events.append(StudyStateChanged(state=state, reason=reason))
        put = {
            "state": state.value,
            "reason": clean(reason),
            "decision": row.decision + 1,
            "ended_at": tx.now if state in ENDED_STUDY else None,
        }
        eventlog.append(tx, study_id, events, add=add, put=put, epoch=epoch or 0)
        return _read(tx, study_id)

    return db.run_write("studies.set_state", work)


def set_ending(db: Database, study_id: str, reason: str, epoch: int) -> None:
    """Write that a budget which the log alone cannot show (hours, dollars) is used up, or with an empty reason that it
    no longer is. Nothing where that is written already. Raises DecisionMoved when the epoch moved."""

    def work(tx: Tx) -> None:
        row = eventlog.lock_study(tx, study_id)
        check_decision(row, epoch=epoch, decision=None)
        if row.ending_reason != reason:
            put = {"ending_reason": clean(reason), "decision": row.decision + 1}
            eventlog.append(tx, study_id, [EndingDeclared(reason=reason)], put=put, epoch=epoch)

    db.run_write("studies.set_ending", work)


def enqueue(
    db: Database,
    study_id: str,
    configurations: Sequence[Mapping[str, Any]],
    *,
    origin: Origin = Origin.ENQUEUED,
    retry_of: Sequence[int | None] | None = None,
    remember: Remember | None = None,
) -> list[int]:
    """Add waiting trials with the given parameters; their numbers. With a known idempotency key: the numbers given
    then. The caller has validated the configurations against the space."""
    sources = list(retry_of) if retry_of is not None else [None] * len(configurations)
    if len(sources) != len(configurations):
        raise Conflict(f"retry_of names one trial per configuration, but got {len(sources)} for {len(configurations)}")

    def work(tx: Tx) -> list[int]:
        earlier = idempotency.claim(tx, remember)
        if earlier is not None:
            return [int(n) for n in earlier["trials"]]
        row = eventlog.lock_study(tx, study_id)
        queued = tuple(
            EnqueuedTrial(trial=row.next_trial + i, params=dict(params), origin=origin, retry_of=source)
            for i, (params, source) in enumerate(zip(configurations, sources, strict=True))
        )
        if not queued:
            return []
        _insert_waiting(tx, row.id, row.space_version, queued)
        add = {"next_trial": len(queued), "waiting": len(queued)}
        put = {"decision": row.decision + 1}
        eventlog.append(tx, study_id, [TrialsEnqueued(trials=queued)], add=add, put=put)
        numbers = [t.trial for t in queued]
        idempotency.keep(tx, remember, {"trials": numbers})
        return numbers

    return db.run_write("studies.enqueue", work)


def annotate_trial(
    db: Database, study_id: str, number: int, *, tags: Sequence[str] | None = None, notes: str | None = None
) -> None:
    """Replace a trial's tags, notes or both. Raises NotFound."""

    def work(tx: Tx) -> None:
        eventlog.lock_study(tx, study_id)
        where = (trials.c.study_id == study_id, trials.c.number == number)
        if tx.first(select(trials.c.number).where(*where)) is None:
            raise NotFound(f"study {study_id} has no trial {number}")
        if notes is not None:
            tx.execute(update(trials).where(*where).values(notes=clean(notes)))
        if tags is not None:
            kept = list(dict.fromkeys(clean(tag) for tag in tags))
            tx.execute(update(trials).where(*where).values(tags=dump(kept)))
            tx.execute(delete(trial_tags).where(trial_tags.c.study_id == study_id, trial_tags.c.trial == number))
            tx.insert(trial_tags, ("study_id", "tag", "trial"), [(study_id, tag, number) for tag in kept])

    db.run_write("studies.annotate_trial", work)


def grew(before: Budget, after: Budget) -> bool:
    """Whether some bound of the budget was raised, removed or moved so that a finished study can go on."""
    for name in ("trials", "resource", "hours", "dollars"):
        old, new = getattr(before, name), getattr(after, name)
        if old is not None and (new is None or new > old):
            return True
    if before.patience is not None and _more_patient(before, after):
        return True
    return before.target is not None and after.target != before.target


def _begun_from(db: Database, definition: StudyDefinition) -> tuple[WarmStarted | None, InvalidInput | None]:
    """What it begins from, or why it cannot: that is no matter to who asks again for a study that was made."""
    try:
        return warm_starts.begun_from(db, definition), None
    except InvalidInput as error:
        return None, error


def _chosen(definition: StudyDefinition) -> dict[str, str]:
    """What `auto` picks; nothing for an algorithm that was named."""
    return auto.choose(definition).to_json() if isinstance(definition.algorithm, AutoSpec) else {}


def _more_patient(before: Budget, after: Budget) -> bool:
    if isinstance(before.patience, int) and isinstance(after.patience, int):
        return after.patience > before.patience
    if before.patience == after.patience:  # auto
        return (before.worth, before.min_delta) != (after.worth, after.min_delta)
    return True


def _read(tx: Tx, study_id: str) -> StudyRow:
    row = tx.first(select(studies).where(studies.c.id == study_id, studies.c.deleted_at.is_(None)))
    if row is None:
        raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
    return study_row(row)


def _columns(definition: StudyDefinition) -> dict[str, Any]:
    return {
        "name": clean(definition.name),
        "project": definition.project,
        "definition": dump(definition.to_document()),
        "space_digest": definition.search_space.digest,
        "objectives": dump([o.model_dump(mode="json") for o in definition.objectives]),
        "constraints": constraints_column(definition.constraints),
        "retries": definition.retries,
        "priority": definition.priority,
        "parallel": definition.parallel,
        "tags": dump([clean(tag) for tag in definition.tags]),
        "notes": clean(definition.notes),
        "confirms": None if definition.confirms is None else definition.confirms.study,
    }


def _write_tags(tx: Tx, study_id: str, tags: Sequence[str]) -> None:
    tx.execute(delete(study_tags).where(study_tags.c.study_id == study_id))
    unique = dict.fromkeys(clean(tag) for tag in tags)
    tx.insert(study_tags, ("study_id", "tag"), [(study_id, tag) for tag in unique])


def _insert_waiting(tx: Tx, study_id: str, space_version: int, queued: Sequence[EnqueuedTrial]) -> None:
    rows, params = [], []
    for t in queued:
        rows.append(
            (
                study_id, t.trial, TrialState.WAITING.value, f"{t.origin.value}: waits to be placed", t.origin.value,
                dump(dict(t.params)), space_version, t.retry_of, None, tx.now,
            )
        )  # fmt: skip
        params.extend(param_rows(study_id, t.trial, t.params))
    tx.insert(trials, _TRIAL, rows)
    tx.insert(trial_params, PARAM_COLUMNS, params, conflict=PARAM_CONFLICT)


def _cancel_open(tx: Tx, study_id: str, reason: str) -> tuple[list[Payload], dict[str, float]]:
    """Close every open attempt as cancelled, its trial as stopped; the event and the counters' moves."""
    a = attempts.c
    rows = tx.all(
        select(a.trial, a.fence, a.resource).where(a.study_id == study_id, a.state == "open").order_by(a.trial)
    )
    if not rows:
        return [], {}
    why = clean(reason) or "the study was stopped"
    tx.execute(
        update(attempts)
        .where(a.study_id == study_id, a.state == "open")
        .values(state="closed", outcome="cancelled", reason=why, ended_at=tx.now, lease_expires_at=None)
    )
    stopped = [(TrialState.STOPPED.value, why, tx.now, study_id, row.trial) for row in rows]
    move_trials(tx, ("state", "reason", "ended_at"), stopped, TrialState.STOPPED)
    ended = tuple(
        EndedAttempt(
            trial=row.trial,
            fence=row.fence,
            outcome="cancelled",
            trial_state=TrialState.STOPPED.value,
            resource=row.resource,
            reason=why,
        )
        for row in rows
    )
    n = len(rows)
    return [AttemptsEnded(attempts=ended)], {"running": -n, "stopped": n, "open_attempts": -n}
