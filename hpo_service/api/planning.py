"""Checks a definition as the server can see it, and says what it would run and cost. Stores nothing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from hpo_service import algorithms
from hpo_service.api.access import Principal
from hpo_service.api.schemas import Estimate, PlanAnswer, Validated
from hpo_service.core.algorithm import Plan
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import Forbidden
from hpo_service.settings import Settings
from hpo_service.store import reading, studies
from hpo_service.store.database import Database

PAST_STUDIES = 5
PAST_TRIALS = 200


def checked(document: Any, caller: Principal) -> StudyDefinition:
    """The definition in `document`, checked by the algorithm too. Raises InvalidInput naming each broken field, and
    Forbidden for another project or for code from a caller who may not submit any."""
    definition = parse(document)
    algorithms.check(definition)
    caller.require_project(definition.project)
    trainer = definition.trainer
    if trainer.code is not None and not caller.may_submit_code:
        field = "function" if trainer.function else "recipe"
        raise Forbidden(
            f"trainer.{field} runs code on the workers, which the token {caller.name!r} may not submit",
            remedy="use a token made with hpo token create --submit-code, or a recipe of the service's",
        )
    return definition


def validated(db: Database, settings: Settings, definition: StudyDefinition) -> Validated:
    """What `definition` would run: the normalised document, the plan and an estimate of its cost."""
    plan = algorithms.plan(definition)
    return Validated(
        definition=definition.to_document(),
        plan=PlanAnswer(
            brackets=[dict(bracket) for bracket in plan.brackets],
            trials=plan.trials,
            total_resource=plan.total_resource,
            notes=list(plan.notes),
        ),
        estimate=estimate(definition, plan, _measured(db, definition), settings),
        space_digest=definition.search_space.digest,
    )


def estimate(definition: StudyDefinition, plan: Plan, measured: Sequence[float], settings: Settings) -> Estimate:
    """Dollars and hours of the plan, from `measured` seconds per resource of past trials (their median).

    hours = total resource × seconds per resource ÷ (3600 × parallel): a lower bound where fewer than `parallel` fit.
    """
    open_end = plan.total_resource is None
    total = plan.most_resource if open_end else plan.total_resource
    per_resource = statistics.median(measured) if measured else None
    per: dict[str, float | None] = {
        "seconds_per_resource": per_resource,
        "cpu_hour_dollars": settings.cpu_hour_dollars,
        "gpu_hour_dollars": settings.gpu_hour_dollars,
    }
    if per_resource is None:
        return Estimate(dollars=None, hours=None, per=per, basis="unknown: no past study trained with this trainer")
    if total is None:
        return Estimate(dollars=None, hours=None, per=per, basis="unknown: the budget bounds no resource")
    trainer_hours = total * per_resource / 3600
    price = definition.resources.cpu * settings.cpu_hour_dollars + definition.resources.gpu * settings.gpu_hour_dollars
    basis = (
        f"the median of {len(measured)} past trials of this trainer, {per_resource:.3g} s per resource, with "
        f"{definition.parallel} trials at a time"
    )
    if open_end:
        basis = f"at most, if every trial went all the way: {basis}"
    if definition.trainer.external:
        price, basis = 0.0, basis + "; external workers cost the service nothing"
    return Estimate(dollars=trainer_hours * price, hours=trainer_hours / definition.parallel, per=per, basis=basis)


def _measured(db: Database, definition: StudyDefinition) -> list[float]:
    """Seconds per resource of the trials of the newest studies with the same trainer."""
    trainer = definition.to_document()["trainer"]
    found: list[float] = []
    used = 0
    for study in studies.list_studies(db, project=definition.project, limit=200).rows:
        if used == PAST_STUDIES:
            break
        if not _same_trainer(study.definition, trainer) or study.resource <= 0:
            continue
        rows = reading.trials(db, study.id, sort="-resource", limit=PAST_TRIALS).rows
        ratios = [row.seconds / row.resource for row in rows if row.resource > 0 and row.seconds > 0]
        used += bool(ratios)
        found += ratios
    return found


def _same_trainer(document: Mapping[str, Any], trainer: Mapping[str, Any]) -> bool:
    return bool(document.get("trainer") == trainer)
