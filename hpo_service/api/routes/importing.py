"""`POST /studies/{id}/trials/import`: trials that ended elsewhere. The SDK and the command line read other tools' files
where they lie; what comes here is plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, Field

from hpo_service.api import schemas
from hpo_service.api.access import Role
from hpo_service.api.requests import Body, Metrics, Resource, Step, Tag
from hpo_service.api.routing import role, router
from hpo_service.api.state import SharedDep, StudyDep
from hpo_service.core.definition import parse
from hpo_service.core.states import TrialState
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store import importing
from hpo_service.store.rows import GivenTrial
from search_spaces import SearchSpace, SpaceError

routes: APIRouter = router(tag="trials")

MAX_TRIALS = 1_000
MAX_REPORTS = 10_000
MAX_TOLD = 1_000
Scalar = bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | float | Annotated[str, Field(max_length=1_000)] | None
Name = Annotated[str, Field(min_length=1, max_length=128)]


class OldReport(Body):
    step: Step
    resource: Resource | None = Field(default=None, description="Left out: the step + 1.")
    metrics: Metrics


class OldTrial(Body):
    params: dict[Name, Scalar] = Field(max_length=1_000, examples=[{"lr": 0.01, "optimizer": "sgd"}])
    state: Literal["finished", "stopped", "failed"] = "finished"
    metrics: Metrics = Field(
        default={}, description="Final values; one more report where the last one does not say them."
    )
    reports: list[OldReport] = Field(default=[], max_length=MAX_REPORTS)
    resource: Resource | None = Field(default=None, description="How far it was trained. Left out: as its reports say.")
    reason: str = Field(default="", max_length=10_000)
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    tags: list[Tag] = Field(default=[], max_length=100)
    notes: str = Field(default="", max_length=100_000)


class OldTrials(Body):
    trials: list[OldTrial] = Field(default=[], max_length=MAX_TRIALS)
    outside: Literal["keep", "refuse"] = Field(
        default="keep", description="What to do with parameters that the study's space does not allow."
    )
    finish: str | None = Field(
        default=None,
        min_length=1,
        max_length=1_000,
        description="Why the study ends with these; left out: it does not.",
    )


@routes.post(
    "/studies/{study_id}/trials/import",
    status_code=201,
    response_model=schemas.Imported,
    openapi_extra=role(Role.EDITOR),
)
def import_trials(request: Request, study: StudyDep, body: OldTrials, shared: SharedDep) -> schemas.Imported:
    """Bring in trials that ended elsewhere: algorithms learn from them, budgets do not count them. All of a request are
    stored, or none."""
    outside = _outside(parse(study.definition).search_space, body.trials)
    if outside and body.outside == "refuse":
        raise InvalidInput.of(*(problem for _, problem in outside[:20]))
    given = [_given(index, trial) for index, trial in enumerate(body.trials)]
    numbers = importing.import_trials(shared.db, study.id, given, finish=body.finish, remember=request.state.remember)
    shared.notify(study.id)
    told = [schemas.OutsideSpace(trial=numbers[index], message=str(problem)) for index, problem in outside[:MAX_TOLD]]
    return schemas.Imported(trials=numbers, outside=told, outside_count=len({index for index, _ in outside}))


def _outside(space: SearchSpace, trials: Sequence[OldTrial]) -> list[tuple[int, FieldProblem]]:
    found: list[tuple[int, FieldProblem]] = []
    for index, trial in enumerate(trials):
        try:
            space.validate_params(trial.params, path=f"trials.{index}.params")
        except SpaceError as error:
            found += [
                (index, FieldProblem(path=e.path, rule=e.rule, value=e.value, remedy=e.remedy)) for e in error.errors
            ]
    return found


def _given(index: int, trial: OldTrial) -> GivenTrial:
    reports: dict[int, tuple[float, Mapping[str, float]]] = {}
    for one in trial.reports:
        resource = one.step + 1.0 if one.resource is None else one.resource
        if one.step in reports:
            rule = "each step of a trial is reported once"
            path = f"trials.{index}.reports"
            raise InvalidInput.of(FieldProblem(path=path, rule=rule, value=one.step, remedy="keep the newest"))
        reports[one.step] = (resource, one.metrics)
    furthest = max((resource for resource, _ in reports.values()), default=0.0)
    reached = max(furthest, trial.resource or 0.0) or float(bool(trial.metrics))
    last = max(reports, default=-1)
    if any(not _same(reports.get(last, (0.0, {}))[1].get(name), value) for name, value in trial.metrics.items()):
        reports[last + 1] = (reached, trial.metrics)
    return GivenTrial(
        params=trial.params,
        state=TrialState(trial.state),
        resource=reached,
        reports=[(step, *reports[step]) for step in sorted(reports)],
        reason=trial.reason,
        started_at=trial.started_at,
        ended_at=trial.ended_at,
        tags=trial.tags,
        notes=trial.notes,
    )


def _same(told: float | None, value: float) -> bool:
    return told is not None and (told == value or (told != told and value != value))
