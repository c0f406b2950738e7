"""Request bodies: strict JSON or YAML into plain data. Checks form, never meaning."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from hpo_service.documents import load_yaml
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.positions import located

JSON_TYPES = frozenset({"application/json"})
YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})


def parse_body(body: bytes, content_type: str) -> Any:
    """The document in `body`. Raises InvalidInput where it is not UTF-8, not JSON (or YAML, where the content type
    says so), nests too deep, or holds NaN or infinity, which JSON does not know."""
    kind = _kind(content_type)
    if kind not in JSON_TYPES | YAML_TYPES and not kind.endswith("+json"):
        raise _invalid("a body is application/json or application/yaml", kind or "no content type", "set Content-Type")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid(f"a body is UTF-8, byte {error.start} is not", None, "encode it as UTF-8") from None
    return load_yaml(text) if kind in YAML_TYPES else _load_json(text)


def located_in(body: bytes, content_type: str, error: InvalidInput) -> InvalidInput:
    """The same error with the lines of `body`, a document that `parse_body` has read."""
    return located(error, body.decode("utf-8"), is_json=_kind(content_type) not in YAML_TYPES)


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _load_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        rule = f"the body must be JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}"
        place = FieldProblem(path="", rule=rule, remedy="correct the JSON", line=error.lineno, column=error.colno)
        raise InvalidInput.of(place) from None
    except RecursionError:
        raise _invalid("a document nests at most 32 levels", None, "flatten it") from None
    except ValueError as error:  # an integer of more digits than Python converts
        raise _invalid(f"the body must be JSON: {error}", None, "shorten the number") from None


def _refuse_constant(name: str) -> NoReturn:
    raise _invalid("JSON knows no NaN and no infinity", name, 'write "NaN", "Infinity" or "-Infinity" as a string')


def _invalid(rule: str, value: Any, remedy: str) -> InvalidInput:
    return InvalidInput.of(FieldProblem(path="", rule=rule, value=value, remedy=remedy))
