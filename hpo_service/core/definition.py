"""The study definition: one document, the same in REST, SDK, CLI and files.

`parse` turns untrusted data into a `StudyDefinition` or raises `InvalidInput` that names every broken field. What
needs the algorithms' code (grid sizes, rung arithmetic) is checked by `hpo_service.algorithms.check`; what needs a
worker (does the trainer import, is the data there) by preflight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hpo_service.core.definition_model import FREE_PARALLEL, MODEL_PARALLEL, StudyDefinition, default_parallel
from hpo_service.core.definition_parts import (
    MAX_LANES,
    TRAINER_KINDS,
    Budget,
    Confirms,
    Objective,
    Resources,
    Trainer,
)
from hpo_service.core.definition_refusals import refused
from hpo_service.core.definition_rules import broken
from hpo_service.errors import FieldProblem, InvalidInput
from search_spaces.catalog import recipes_schema

__all__ = [
    "FREE_PARALLEL",
    "MAX_LANES",
    "MODEL_PARALLEL",
    "TRAINER_KINDS",
    "Budget",
    "Confirms",
    "Objective",
    "Resources",
    "StudyDefinition",
    "Trainer",
    "default_parallel",
    "json_schema",
    "parse",
]
MAX_DOCUMENT_DEPTH = 32


def parse(document: Any) -> StudyDefinition:
    """The definition in `document`; raises `InvalidInput` naming each broken field, its rule, value and remedy."""
    if not isinstance(document, Mapping):
        raise InvalidInput.of(
            FieldProblem(
                path="",
                rule="a study definition is a mapping",
                value=type(document).__name__,
                remedy="see `hpo schema`",
            )
        )
    _check_depth(document)
    try:
        definition = StudyDefinition.model_validate(document)
    except ValidationError as error:
        raise InvalidInput.of(*refused(error, document)) from None
    problems = broken(definition)
    if problems:
        raise InvalidInput.of(*problems)
    return definition


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the document, for editors; `space` is described by `search_spaces.json_schema`, and
    what recipes take under `x-recipes`, for a recipe's name decides what `trainer.params` may hold."""
    from search_spaces import json_schema as space_schema

    schema = StudyDefinition.model_json_schema()
    objective = {"$ref": "#/$defs/Objective"}
    schema["properties"]["objective"] = {"anyOf": [objective, {"type": "array", "items": objective, "minItems": 1}]}
    schema["properties"].pop("objectives")
    schema["properties"]["parallel"].pop("default")  # it depends on the algorithm, as the description says
    schema["$defs"]["Resources"]["properties"]["share"].pop("default")  # it depends on the trainer
    schema["required"] = ["objective", *(r for r in schema["required"] if r != "objectives")]
    nested = space_schema()
    schema["$defs"] |= nested.pop("$defs", {})
    schema["properties"]["space"] = nested
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, **schema, "title": "Study definition", "x-recipes": recipes_schema()}


def _check_depth(document: Any) -> None:
    level, depth = [document], 0
    while level:
        if depth > MAX_DOCUMENT_DEPTH:
            raise InvalidInput.of(
                FieldProblem(path="", rule=f"a document nests at most {MAX_DOCUMENT_DEPTH} levels", remedy="flatten it")
            )
        children: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                children.extend(item.values())
            elif isinstance(item, list | tuple):
                children.extend(item)
        level, depth = [c for c in children if isinstance(c, Mapping | list | tuple)], depth + 1
