"""The Bayesian view: along one parameter, what the model that decides expects, and where it looks next.

Whoever decides for the study made it and stored it; here one parameter's part is read. Nothing is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from hpo_service import algorithms
from hpo_service.api import answers
from hpo_service.api.access import Role
from hpo_service.api.routes.charts import COLUMNAR
from hpo_service.api.routing import role, router
from hpo_service.api.state import SharedDep, StudyDep
from hpo_service.core.definition import parse
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store import surrogate_views
from hpo_service.store.rows import StudyRow
from hpo_service.store.surrogate_views import StoredView
from search_spaces.errors import nearest

routes: APIRouter = router(prefix="/studies/{study_id}", tag="charts")

_COLUMNS = ("x", "mean", "low", "high", "good", "bad", "acquisition")
_FACTS = ("surrogate", "acquisition_name", "trial", "resource", "observations_used", "of")


@routes.get("/surrogate", openapi_extra=role(Role.VIEWER), **COLUMNAR)
def get_surrogate(
    request: Request,
    study: StudyDep,
    shared: SharedDep,
    parameter: Annotated[str | None, Query(max_length=128, description="Left out: the first one.")] = None,
) -> Response:
    """What the surrogate expects along one parameter, the others at the incumbent: mean and 95 % band (`gp`, and
    `curves` at the end of training) or the densities of good and other trials (`tpe`), the acquisition function, the
    observations, the newest proposals."""
    stored = surrogate_views.view(shared.db, study.id)
    made = study.last_seq if stored is None else int(stored.at.timestamp() * 1e6)

    def build() -> Mapping[str, Any]:
        return _none(study) if stored is None else _answer(stored, parameter)

    return answers.respond(shared.answers, request, study_id=study.id, seq=made, build=build, exact=True)


def _none(study: StudyRow) -> dict[str, Any]:
    return {"seq": study.last_seq, "available": False, "note": _why_none(study), "parameter": None, "parameters": []}


def _why_none(study: StudyRow) -> str:
    definition = parse(study.definition)
    startup = algorithms.startup_trials(definition)
    if algorithms.surrogate(definition) is None:
        return (
            f"{definition.algorithm.name} chooses without a model; auto picks one for most definitions, algorithm: "
            "{name: bayesian} has one, and so do bohb and the schedulers that take sampler: tpe or gp"
        )
    if study.next_trial < startup:
        return f"trial {study.next_trial} of {startup} before the model starts"
    return "the model has chosen no trial yet: it starts when enough trials have reached one level with a finite value"


def _answer(stored: StoredView, parameter: str | None) -> dict[str, Any]:
    document = stored.document
    lines, left_out = document["lines"], document["left_out"]
    if parameter is not None and parameter not in lines and parameter not in left_out:
        known = [*lines, *left_out]
        raise InvalidInput.of(
            FieldProblem(
                path="query.parameter",
                rule="it must be a parameter of the space",
                value=parameter,
                remedy=nearest(parameter, known),
            )
        )
    name = parameter if parameter is not None else next(iter(lines), None)
    line = lines.get(name)
    facts = {
        "seq": stored.seq,
        "made_at": stored.at.timestamp(),
        "available": line is not None,
        "note": "" if line else left_out.get(name, "no parameter can be shown"),
        "parameter": name,
        "parameters": list(lines),
        "left_out": left_out,
        **{key: document[key] for key in _FACTS},
    }
    return facts if line is None else {**facts, **_along(document, line)}


def _along(document: Mapping[str, Any], line: Mapping[str, Any]) -> dict[str, Any]:
    kind = "number" if line["labels"] is None else "category"
    return {
        "axis": {"type": kind, "log": line["log"], "labels": line["labels"]},
        **{column: line[column] for column in _COLUMNS},
        "incumbent": {**document["incumbent"], "x": line["incumbent"]},
        "observed": {**document["observed"], "x": line["observed"]},
        "next": [{**trial, "x": x} for trial, x in zip(document["next"], line["next"], strict=True)],
    }
