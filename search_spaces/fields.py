"""The field types of parameter definitions: what a number, a whole number and a listed value may be.

Here: the checks of one field at a time. Not here: rules between fields (those stand in `parameters`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator, WithJsonSchema

from search_spaces.conditions import check_when
from search_spaces.errors import SpaceError
from search_spaces.grids import scalar_key

MAX_VALUES = 10_000
MAX_WHOLE = 2**53
MAX_TEXT = 1_000

Scalar = bool | int | float | str | None


def _number(value: object) -> float:
    """A finite float; text that spells a number counts (YAML 1.1 reads 1e-6 as text)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, str, np.number)):
        raise SpaceError("the bound must be a number", value=value)
    try:
        number = float(value if not isinstance(value, np.number) else value.item())
    except (ValueError, TypeError):
        raise SpaceError("the bound must be a number", value=value) from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpaceError("the bound must be a finite number", value=value)
    return number


def _whole(value: object) -> int:
    number = _number(value)
    if number != int(number):
        raise SpaceError("the bound must be a whole number", value=value)
    if abs(number) > MAX_WHOLE:
        raise SpaceError("the bound must lie within ±2**53, where JSON numbers are exact", value=value)
    return int(number)


def scalar(value: object) -> Scalar:
    """A JSON scalar as a plain Python value; NumPy's scalars become Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    if not (value is None or isinstance(value, (bool, int, float, str))):
        raise SpaceError("a value must be a JSON scalar (text, number, true, false or null)", value=value)
    if isinstance(value, float) and not math.isfinite(value):
        raise SpaceError("a value must be finite", value=value)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise SpaceError("a whole number must fit in 64 bits", value=value, remedy="write it as text")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise SpaceError(f"a text must have at most {MAX_TEXT} characters", value=value)
    return value


def _scalars(value: object) -> tuple[Scalar, ...]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise SpaceError("values must be a list", value=value, remedy="write [a, b, …]")
    listed = list(value)
    if not 1 <= len(listed) <= MAX_VALUES:
        raise SpaceError(f"there must be 1 to {MAX_VALUES} values", got=f"{len(listed)}")
    found = tuple(scalar(one) for one in listed)
    seen: set[tuple[str, Any]] = set()
    for one in found:
        if scalar_key(one) in seen:
            raise SpaceError("values must be distinct", value=one, remedy="remove the repeated one")
        seen.add(scalar_key(one))
    return found


_SCALAR_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
_TEST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        **{op: _SCALAR_SCHEMA for op in ("==", "!=")},
        **{op: {"type": ["number", "string"]} for op in (">", ">=", "<", "<=")},
        **{op: {"type": "array", "items": _SCALAR_SCHEMA} for op in ("in", "not_in")},
    },
}
_WHEN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA}, _TEST_SCHEMA]},
}

Number = Annotated[float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Whole = Annotated[int, PlainValidator(_whole), WithJsonSchema({"type": "integer"})]
AnyScalar = Annotated[Any, PlainValidator(scalar), WithJsonSchema(_SCALAR_SCHEMA)]
Scalars = Annotated[
    tuple[Any, ...],
    PlainValidator(_scalars),
    WithJsonSchema({"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1, "maxItems": MAX_VALUES}),
]
When = Annotated[dict[str, Any] | None, PlainValidator(check_when), WithJsonSchema(_WHEN_SCHEMA)]
