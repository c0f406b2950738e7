"""Checks a definition as the server can see it, and says what it would run and cost. Stores nothing."""

from __future__ import annotations

from typing import Any

from hpo_service import algorithms
from hpo_service.api import estimating
from hpo_service.api.access import Principal
from hpo_service.api.schemas import PlanAnswer, Validated
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import FieldProblem, Forbidden, InvalidInput, NotFound
from hpo_service.settings import Settings
from hpo_service.storage import bundle_path
from hpo_service.store import bundles, warm_starts
from hpo_service.store.database import Database


def checked(document: Any, caller: Principal) -> StudyDefinition:
    """The definition in `document`, checked by the algorithm too. Raises InvalidInput naming each broken field, and
    Forbidden for another project or for code from a caller who may not submit any."""
    definition = parse(document)
    if definition.confirms is not None:
        raise InvalidInput.of(
            FieldProblem(
                path="confirms",
                rule="only a confirmation confirms: it is begun from the study whose trials it trains again",
                value=definition.confirms.study,
                remedy="run `hpo confirm STUDY`, or POST /studies/{id}/confirmations; for a search, remove confirms",
            )
        )
    algorithms.check(definition)
    caller.require_project(definition.project)
    require_permission(definition, caller)
    return definition


def require_permission(definition: StudyDefinition, caller: Principal) -> None:
    """Raises Forbidden for code from a caller who may not submit any."""
    trainer = definition.trainer
    if trainer.code is not None and not caller.may_submit_code:
        raise Forbidden(
            f"trainer.{trainer.kind} runs code on the workers, which the token {caller.name!r} may not submit",
            remedy="use a token made with hpo token create --code, or a recipe of the service's",
        )


def require_code(db: Database, settings: Settings, definition: StudyDefinition, *, use: bool = True) -> None:
    """Raises InvalidInput where the definition's bundle was not uploaded to its project, or where it wants packages
    that the administrator does not let studies install. `use`: a study is about to be made, the bundle stays."""
    trainer, problems = definition.trainer, []
    if trainer.pip and not settings.allow_pip:
        rule = "this server does not let studies install packages"
        remedy = "have them installed on the workers, or ask the administrator to set HPO_ALLOW_PIP=true"
        problems.append(FieldProblem(path="trainer.pip", rule=rule, value=list(trainer.pip), remedy=remedy))
    problems += [
        FieldProblem(
            path=f"trainer.pip.{index}",
            rule="a package is named, not an option of pip",
            value=package,
            remedy="write it like timm==1.0.15",
        )
        for index, package in enumerate(trainer.pip)
        if package.strip().startswith("-")
    ]
    if trainer.bundle is not None and not _known(db, settings, definition, use=use):
        rule = f"the project {definition.project!r} has no bundle of code of this digest"
        remedy = "upload it: hpo submit FILE --code FOLDER, or client.create_study(…, code=FOLDER)"
        problems.append(FieldProblem(path="trainer.bundle", rule=rule, value=trainer.bundle, remedy=remedy))
    if problems:
        raise InvalidInput.of(*problems)


def _known(db: Database, settings: Settings, definition: StudyDefinition, *, use: bool) -> bool:
    digest = definition.trainer.bundle or ""
    if not (settings.resolved_storage / bundle_path(digest)).is_file():
        return False
    if not use:
        return bundles.find_bundle(db, digest, definition.project) is not None
    try:
        bundles.use_bundle(db, digest, definition.project)
    except NotFound:
        return False
    return True


def validated(db: Database, settings: Settings, definition: StudyDefinition) -> Validated:
    """What `definition` would run: the normalised document, the plan and an estimate of its cost.

    Raises InvalidInput for code that is not there, and for past studies that it could not begin from."""
    require_code(db, settings, definition, use=False)
    plan = algorithms.plan(definition)
    warm = warm_starts.begun_from(db, definition)
    notes = [*plan.notes, *([] if warm is None else [f"begins from {warm.text}"])]
    return Validated(
        definition=definition.to_document(),
        plan=PlanAnswer(
            brackets=[dict(bracket) for bracket in plan.brackets],
            trials=plan.trials,
            total_resource=plan.total_resource,
            notes=notes,
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
