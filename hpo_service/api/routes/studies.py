"""`/studies`: submit, look at, change, steer and delete studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from hpo_service import storage
from hpo_service.api import beginning, patching, planning, schemas, standing
from hpo_service.api.access import ANY_PROJECT, Principal, Role
from hpo_service.api.notes import notes_html
from hpo_service.api.requests import Because, PatchStudy
from hpo_service.api.routing import role, router
from hpo_service.api.state import PrincipalDep, Shared, SharedDep, StudyDep, find_visible
from hpo_service.core import constraints
from hpo_service.core.states import StudyState, goes_on_to
from hpo_service.errors import DecisionMoved, FieldProblem, Forbidden, InvalidInput
from hpo_service.store import pulse, reading, studies
from hpo_service.store.rows import StudyRow

routes: APIRouter = router(prefix="/studies", tag="studies")

EXAMPLE = {
    "name": "digits-hyperband",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-6, "high": 1e-1},
        "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
    },
    "algorithm": {"name": "hyperband", "max_resource": 27, "eta": 3},
    "trainer": {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp"}},
    "budget": {"trials": 200},
    "parallel": 8,
}
Document = Annotated[
    Any, Body(description="A study definition, JSON or YAML; its JSON Schema is at /api/v1/schema.", examples=[EXAMPLE])
]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=1000)]


def answer(shared: Shared, row: StudyRow, *, definition: bool = True, listed: bool = False) -> schemas.Study:
    """The wire form of a study with its best trial's parameters and its pace; in lists without what takes a look-up."""
    params, breaks = None, ""
    if row.best_trial is not None:
        number = row.best_trial
        params = shared.params.get((row.id, number), lambda: reading.trial(shared.db, row.id, number).params)
        bounds = constraints.of(row.definition)
        if bounds and row.best_violation != 0:  # what is broken is looked up: what is kept needs no words
            breaks = constraints.breaks(bounds, reading.trial(shared.db, row.id, number).values)
        if bounds and row.best_violation is None and row.counts.get("finished") and not listed:
            missing = constraints.unreported(bounds, reading.metric_names(shared.db, row.id))
            breaks += f"; {missing}" if missing else ""
    found = schemas.study_answer(row, params, definition=definition, breaks=breaks)
    standing.add_to(found, shared.paces.standing(row))
    if not listed:
        reason = shared.paces.reason(row, lambda: pulse.decision_reason(shared.db, row.id))
        found.decision_reason = reason or row.reason
        began = shared.beginnings.get((row.id, 0), lambda: beginning.told(shared.db, row))
        found.chosen, found.warm_start = began["chosen"], began["warm_start"]
        found.last_report_at = pulse.last_report_at(shared.db, row.id)
        found.notes_html = notes_html(row.notes)
    return found


@routes.post("", status_code=201, openapi_extra=role(Role.EDITOR, located=True))
def create_study(
    request: Request,
    document: Document,
    shared: SharedDep,
    caller: PrincipalDep,
    paused: Annotated[bool, Query(description="Whether it waits until it is resumed.")] = False,
) -> schemas.Study:
    """Submit a study. Refused with every broken field; otherwise it starts as soon as workers are free."""
    definition = planning.checked(document, caller)
    planning.require_code(shared.db, shared.settings, definition)
    begins = StudyState.RUNNING if definition.trainer.external else StudyState.PREFLIGHT
    state = StudyState.PAUSED if paused else begins
    row = studies.create_study(
        shared.db, definition, created_by=caller.name, state=state, remember=request.state.remember
    )
    shared.notify(row.id)
    return answer(shared, row)


@routes.post("/validate", openapi_extra=role(Role.VIEWER, located=True))
def validate_study(document: Document, shared: SharedDep, caller: PrincipalDep) -> schemas.Validated:
    """What a definition would run and cost, without submitting it."""
    return planning.validated(shared.db, shared.settings, planning.checked(document, caller))


@routes.get("", openapi_extra=role(Role.VIEWER))
def list_studies(
    shared: SharedDep,
    caller: PrincipalDep,
    state: Annotated[StudyState | None, Query()] = None,
    project: Annotated[str | None, Query(max_length=63)] = None,
    tag: Annotated[str | None, Query(max_length=100)] = None,
    search: Annotated[str | None, Query(max_length=200, description="Text in name, tags or notes.")] = None,
    name: Annotated[str | None, Query(max_length=200, description="Exactly this name.")] = None,
    definition: Annotated[bool, Query(description="Whether to send the definitions too.")] = False,
    sparkline: Annotated[bool, Query(description="Whether to send best so far as a few points.")] = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> schemas.Page[schemas.Study]:
    """Studies, newest first."""
    if project is not None:
        caller.require_project(project)
    elif caller.project != ANY_PROJECT:
        project = caller.project
    page = studies.list_studies(
        shared.db, state=state, project=project, tag=tag, search=search, name=name, cursor=cursor, limit=limit
    )
    items = [answer(shared, row, definition=definition, listed=True) for row in page.rows]
    if sparkline:
        standing.add_sparklines(shared.db, items)
    return schemas.Page[schemas.Study].model_construct(items=items, next_cursor=page.next_cursor, total=page.total)


@routes.get("/{study_id}", openapi_extra=role(Role.VIEWER))
def get_study(study: StudyDep, shared: SharedDep) -> schemas.Study:
    """One study as it stands."""
    return answer(shared, study)


@routes.patch("/{study_id}", openapi_extra=role(Role.EDITOR))
def patch_study(study: StudyDep, body: PatchStudy, shared: SharedDep) -> schemas.Study:
    """Change a study while it lives: parallel, priority, budget (merged), notes, tags, name, space, timeouts, retries.
    A finished study whose budget grew goes on; a changed space is a new version of it from the next bracket on."""
    patch = body.model_dump(exclude_unset=True)
    with shared.patching:
        current, changed = _patched(shared, study.id, patch)
        if changed:
            shared.notify(study.id)
    return answer(shared, current)


def _patched(shared: Shared, study_id: str, patch: Mapping[str, Any]) -> tuple[StudyRow, bool]:
    """The study with the patch in its definition, and whether that changed it. The controller changes definitions, too:
    then the patch goes into the newer one."""
    while True:
        current = studies.get_study(shared.db, study_id)
        definition, changed = patching.patched(current.definition, patch)
        if not changed:
            return current, False
        version = current.definition_version
        try:
            return studies.patch_study(shared.db, study_id, definition, changed=changed, version=version), True
        except DecisionMoved:
            continue


@routes.delete("/{study_id}", status_code=204, openapi_extra=role(Role.EDITOR))
def delete_study(study: StudyDep, shared: SharedDep, caller: PrincipalDep) -> Response:
    """Delete a study with its trials, checkpoints and artifacts; refused while attempts are open. Others' studies:
    admins only."""
    if study.created_by != caller.name and caller.role is not Role.ADMIN:
        raise Forbidden(
            f"study {study.id} was made by {study.created_by!r}, and only an admin deletes others' studies",
            remedy="ask an admin, or stop it instead",
        )
    paths = studies.delete_study(shared.db, study.id)
    root = shared.settings.resolved_storage
    storage.remove(root, [*paths, *storage.predictions_of(root, study.id)])
    shared.artifacts.remove_study(study.id)
    shared.notify(study.id)
    return Response(status_code=204)


@routes.post("/{study_id}/pause", openapi_extra=role(Role.EDITOR))
def pause_study(study: StudyDep, shared: SharedDep, body: Because | None = None) -> schemas.Study:
    """Launch nothing more; running segments pause at their next report."""
    return _steer(shared, study, StudyState.PAUSED, body, "paused by a user")


@routes.post("/{study_id}/resume", openapi_extra=role(Role.EDITOR))
def resume_study(study: StudyDep, shared: SharedDep, body: Because | None = None) -> schemas.Study:
    """Go on with a paused, stopped or finished study; a failed one, or one that never began, from its preflight."""
    going = (StudyState.RUNNING, StudyState.PREFLIGHT)
    if study.state in going:
        return answer(shared, study)
    target = goes_on_to(study.state, begun=study.external or study.started_at is not None)
    return _steer(shared, study, target, body, "resumed by a user")


@routes.post("/{study_id}/stop", openapi_extra=role(Role.EDITOR))
def stop_study(study: StudyDep, shared: SharedDep, body: Because | None = None) -> schemas.Study:
    """End the study: running trials are cancelled, and what they reported is kept."""
    return _steer(shared, study, StudyState.STOPPED, body, "stopped by a user")


def _steer(shared: Shared, study: StudyRow, state: StudyState, body: Because | None, otherwise: str) -> schemas.Study:
    if study.state is state:
        return answer(shared, study)
    reason = (body.reason if body is not None else "") or otherwise
    row = studies.set_state(shared.db, study.id, state, reason)
    shared.notify(study.id)
    return answer(shared, row)


def visible(shared: Shared, caller: Principal, ids: Sequence[str]) -> list[StudyRow]:
    """The studies of several ids, each visible to the caller. Raises InvalidInput for fewer than one or over 20."""
    if not 1 <= len(ids) <= 20:
        rule = "between 1 and 20 studies are compared"
        raise InvalidInput.of(FieldProblem(path="query.study", rule=rule, value=len(ids), remedy="repeat study=ID"))
    return [find_visible(shared, caller, study_id) for study_id in ids]
