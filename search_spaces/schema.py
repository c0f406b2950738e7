"""The JSON Schema of a space, for editors and for the published schema of study definitions.

Here: the schema only. It describes shapes; the rules between fields are checked by `SearchSpace`.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from search_spaces.parameters import Parameter
from search_spaces.space import MAX_PARAMETERS, NAME


def json_schema(*, ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """JSON Schema (2020-12) of the mapping from names to parameters; definitions under `$defs`.

    `ref_template` says how references point at them, for a schema that lifts them elsewhere.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(dict[str, Parameter])
    schema = adapter.json_schema(ref_template=ref_template)
    schema["title"] = "SearchSpace"
    schema["description"] = "What is tuned: each name maps to a parameter, told apart by its type."
    schema["minProperties"] = 1
    schema["maxProperties"] = MAX_PARAMETERS
    schema["propertyNames"] = {"pattern": "^" + NAME.pattern.removesuffix(r"\Z") + "$"}
    for definition in schema["$defs"].values():
        if "type" in definition.get("properties", {}):
            definition["required"] = ["type", *definition.get("required", [])]
    return schema
