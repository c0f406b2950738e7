"""Checks a definition as the server can see it, and says what it would run and cost. Stores nothing."""

from __future__ import annotations

from typing import Any

from hpo_service import algorithms
from hpo_service.api import estimating
from hpo_service.api.access import Principal
from hpo_service.api.schemas import PlanAnswer, Validated
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import Forbidden
from hpo_service.settings import Settings
from hpo_service.store.database import Database


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
        estimate=estimating.estimate(
            definition,
            plan,
            estimating.measured(db, definition),
            settings,
            estimating.room_for(db, settings, definition),
        ),
        space_digest=definition.search_space.digest,
    )
