"""The matcher language of `when` and `forbid`: its shape, its meaning, and how it is evaluated.

A matcher is a value (equal), a list (one of), or a mapping of comparisons that must all hold:
`{">": 0.1, "<=": 1}`, `{"in": [...]}`, `{"not_in": [...]}`, `{"==": x}`, `{"!=": x}`. In `forbid` the
operand of a comparison may be another parameter, `{">": {"param": "other"}}`.

Here: parsing matchers and testing coordinates, one number or a whole array at a time. Not here: which
parameters exist and depend on which (that is `space`), and whether anything is left (`feasible`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.errors import SpaceError, nearest

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
SETS = ("in", "not_in")
OPERATORS = (*COMPARISONS, *SETS)
MAX_OPERANDS = 1_000
MAX_PARENTS = 100


@dataclass(frozen=True)
class Reference:
    """The operand is another parameter's value."""

    name: str


@dataclass(frozen=True)
class Test:
    """One comparison of a parameter's coordinate with a coordinate, a set of them, or another's."""

    __test__ = False

    op: str
    operand: float | frozenset[float] | Reference

    def holds(self, x: Any, other: Any = None) -> Any:
        """True where it holds. `x` is a float or an array; `other` the referenced one's, alike."""
        if isinstance(self.operand, frozenset):
            if isinstance(x, float):
                return (x in self.operand) == (self.op == "in")
            return np.isin(x, sorted(self.operand), invert=self.op == "not_in")
        operand = other if isinstance(self.operand, Reference) else self.operand
        return COMPARISONS[self.op](x, operand)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def parse_matcher(spec: object) -> list[tuple[str, Any]]:
    """(operator, operand) pairs of a matcher, shapes checked; paths of errors start at the matcher."""
    if _is_scalar(spec):
        return [("==", spec)]
    if isinstance(spec, (list, tuple)):
        return [("in", _operands(spec, ""))]
    if not isinstance(spec, Mapping) or not spec:
        raise SpaceError(
            "a matcher must be a value, a list of values or a mapping of comparisons",
            value=spec,
            remedy=f"comparisons are {', '.join(OPERATORS)}",
        )
    return [(str(op), _operand(op, operand)) for op, operand in spec.items()]


def _operand(op: object, operand: object) -> Any:
    if op not in OPERATORS:
        raise SpaceError("a comparison must be a known one", value=op, remedy=f"use one of {', '.join(OPERATORS)}")
    if op in SETS:
        return _operands(operand, str(op))
    if isinstance(operand, Mapping):
        name = operand.get("param")
        if len(operand) != 1 or not isinstance(name, str):
            raise SpaceError("the other side must be a value or {param: name}", value=operand, path=str(op))
        return Reference(name)
    if not _is_scalar(operand):
        raise SpaceError("the other side must be a value or {param: name}", value=operand, path=str(op))
    return operand


def _operands(values: object, path: str) -> list[Any]:
    if not isinstance(values, (list, tuple)) or not all(_is_scalar(one) for one in values):
        raise SpaceError("the other side must be a list of values", value=values, path=path)
    if not 1 <= len(values) <= MAX_OPERANDS:
        raise SpaceError(f"there must be 1 to {MAX_OPERANDS} values", got=f"{len(values)}", path=path)
    return list(values)


def check_when(spec: object) -> dict[str, Any] | None:
    """The shape of a `when`; which parents exist is checked by the space."""
    if spec is None:
        return None
    if not isinstance(spec, Mapping) or not 1 <= len(spec) <= MAX_PARENTS:
        raise SpaceError(
            f"when must map 1 to {MAX_PARENTS} parents to matchers",
            value=spec,
            remedy="write when: {parent: value}",
        )
    found: dict[str, Any] = {}
    for parent, matcher in spec.items():
        if not isinstance(parent, str):
            raise SpaceError("a parent must be a parameter's name", value=parent)
        try:
            pairs = parse_matcher(matcher)
        except SpaceError as error:
            raise error.under(parent[:128]) from None
        if any(isinstance(operand, Reference) for _, operand in pairs):
            raise SpaceError("when compares with values only", value=matcher, path=parent[:128], remedy="use forbid")
        found[parent] = list(matcher) if isinstance(matcher, tuple) else matcher
    return found


def canonical_matcher(spec: object) -> dict[str, Any]:
    """One spelling per meaning: `x`, `[x]` and `{"==": x}` are the same, and order does not count."""
    found: dict[str, Any] = {}
    for op, operand in parse_matcher(spec):
        if isinstance(operand, Reference):
            found[op] = {"param": operand.name}
        elif op in SETS and len(operand) == 1:
            found["==" if op == "in" else "!="] = operand[0]
        elif op in SETS:
            found[op] = sorted(operand, key=lambda one: (type(one).__name__, str(one)))
        else:
            found[op] = operand
    return found


def compile_matcher(spec: object, scale: Any, scales: Mapping[str, Any]) -> tuple[Test, ...]:
    """Tests on coordinates for a matcher on a parameter with that scale; `scales` knows all others."""
    return tuple(_compile(op, operand, scale, scales) for op, operand in parse_matcher(spec))


def _compile(op: str, operand: Any, scale: Any, scales: Mapping[str, Any]) -> Test:
    if op in (">", ">=", "<", "<=") and not scale.ordered:
        raise SpaceError(
            "an order comparison needs numbers or an ordinal parameter",
            value=op,
            remedy="use ==, !=, in or not_in",
        )
    if isinstance(operand, Reference):
        other = scales.get(operand.name)
        if other is None:
            raise SpaceError(
                "param must name a parameter of the space",
                value=operand.name,
                path=op,
                remedy=nearest(operand.name, scales),
            )
        if not ((scale.numeric and other.numeric) or scale == other):
            raise SpaceError("two compared parameters must both be numeric", value=operand.name, path=op)
        return Test(op, operand)
    try:
        if op in SETS:
            return Test(op, frozenset(scale.coordinate(scale.parse(one)) for one in operand))
        if scale.numeric and op not in ("==", "!="):
            return Test(op, _bound(operand))
        return Test(op, scale.coordinate(scale.parse(operand)))
    except SpaceError as error:
        raise error.under(op) from None


def _bound(operand: object) -> float:
    if isinstance(operand, bool) or not isinstance(operand, (int, float)) or operand != operand:
        raise SpaceError("the comparison must be with a number", value=operand)
    if abs(operand) > 1e308:
        raise SpaceError("the comparison must be with a finite number", value=operand)
    return float(operand)
