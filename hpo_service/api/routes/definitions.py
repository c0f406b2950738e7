"""Definitions to look at and to begin with: `/templates`, and a study's own as YAML."""

from __future__ import annotations

from fastapi import APIRouter, Response

from hpo_service.api import definition_text
from hpo_service.api.access import Role
from hpo_service.api.routing import role, router
from hpo_service.api.schemas import Answer, Items
from hpo_service.api.state import StudyDep

routes: APIRouter = router(tag="studies")


class Template(Answer):
    """A definition that is valid as it stands, with comments."""

    name: str
    title: str
    description: str
    yaml: str


@routes.get("/templates", openapi_extra=role(Role.VIEWER))
def list_templates() -> Items[Template]:
    """Ready definitions to begin with."""
    found = definition_text.templates()
    return Items[Template](
        items=[Template(name=t.name, title=t.title, description=t.description, yaml=t.yaml) for t in found]
    )


@routes.get("/studies/{study_id}/definition.yaml", openapi_extra=role(Role.VIEWER), response_class=Response)
def get_definition(study: StudyDep) -> Response:
    """The study's definition as a person would write it: YAML, without what is the default anyway."""
    text = definition_text.as_yaml(study.definition, comment=f"The definition of the study {study.id}.")
    return Response(text, media_type="application/yaml")
