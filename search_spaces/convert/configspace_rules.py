"""Conditions and forbidden combinations between our matchers and ConfigSpace's objects.

ConfigSpace compares with a value by equal, not equal, in, less and greater; "at least" is greater or equal, "not in" is
several "not equal". Where values can be listed, a comparison that it lacks becomes a list of those that match. Its
conditions may join different parents by "or", which ours cannot: those are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from search_spaces.conditions import SETS, Reference, compile_matcher, parse_matcher
from search_spaces.errors import SpaceError
from search_spaces.fields import scalar
from search_spaces.grids import scalar_key
from search_spaces.space import SearchSpace

MAX_LISTED = 1_000
MAX_CLAUSES = 1_000
_CONDITIONS = {
    "EqualsCondition": "==",
    "NotEqualsCondition": "!=",
    "LessThanCondition": "<",
    "GreaterThanCondition": ">",
    "InCondition": "in",
}
_FORBIDDEN = {
    "ForbiddenEqualsClause": "==",
    "ForbiddenInClause": "in",
    "ForbiddenLessThanClause": "<",
    "ForbiddenLessThanEqualsClause": "<=",
    "ForbiddenGreaterThanClause": ">",
    "ForbiddenGreaterThanEqualsClause": ">=",
}
_RELATIONS = {
    "ForbiddenEqualsRelation": "==",
    "ForbiddenLessThanRelation": "<",
    "ForbiddenLessThanEqualsRelation": "<=",
    "ForbiddenGreaterThanRelation": ">",
    "ForbiddenGreaterThanEqualsRelation": ">=",
}
_REVERSED = {op: name for name, op in _FORBIDDEN.items()}
_RELATED = {op: name for name, op in _RELATIONS.items()}


@contextmanager
def at_clause(number: int) -> Iterator[None]:
    """Errors inside tell the clause; those that ConfigSpace itself raises become ours."""
    try:
        yield
    except SpaceError as error:
        raise error.under(f"forbid.{number}") from None
    except (ValueError, TypeError) as error:
        rule = f"the other tool must take this clause, but says: {error}"
        raise SpaceError(rule, got="a refusal", path=f"forbid.{number}", remedy="change it") from error


def matching(space: SearchSpace, name: str, matcher: object) -> list[Any] | None:
    """The values of a parameter that match, where they can be listed."""
    parameter = space.parameters[name]
    if parameter.cardinality is None or parameter.cardinality > MAX_LISTED:
        return None
    scales = {one: parameter.scale for one, parameter in space.parameters.items()}
    tests = compile_matcher(matcher, parameter.scale, scales)
    values = parameter.grid(1)
    return [value for value in values if all(test.holds(parameter.scale.coordinate(value)) for test in tests)]


def to_condition(made: Any, space: SearchSpace, child: str, when: Mapping[str, Any]) -> Any:
    """The condition of a `when`. Raises SpaceError for a comparison that matches nothing at all."""
    import ConfigSpace

    parts = [part for parent, matcher in when.items() for part in _tests(made, space, child, parent, matcher)]
    return parts[0] if len(parts) == 1 else ConfigSpace.AndConjunction(*parts)


def _tests(made: Any, space: SearchSpace, child: str, parent: str, matcher: object) -> list[Any]:
    import ConfigSpace

    pairs, below, above = parse_matcher(matcher), made[child], made[parent]
    if any(op in ("<", ">", "<=", ">=", "not_in") for op, _ in pairs):
        values = matching(space, parent, matcher)
        if values is not None:
            pairs = [("in", values)]
    found: list[Any] = []
    for op, operand in pairs:
        if op in SETS and not operand:
            raise SpaceError("a condition must match some value of its parent", value=matcher, path=parent)
        if op == "in":
            found.append(ConfigSpace.InCondition(below, above, list(operand)))
        elif op == "not_in":
            found += [ConfigSpace.NotEqualsCondition(below, above, value) for value in operand]
        elif op in ("<=", ">="):
            strict = ConfigSpace.LessThanCondition if op == "<=" else ConfigSpace.GreaterThanCondition
            equal = ConfigSpace.EqualsCondition(below, above, operand)
            found.append(ConfigSpace.OrConjunction(strict(below, above, operand), equal))
        else:
            make = next(getattr(ConfigSpace, name) for name, known in _CONDITIONS.items() if known == op)
            found.append(make(below, above, operand))
    return found


def to_forbidden(made: Any, space: SearchSpace, clause: Mapping[str, Any]) -> Any:
    """The clause of one forbidden combination."""
    import ConfigSpace

    parts = [part for name, matcher in clause.items() for part in _forbidding(made, space, name, matcher)]
    return parts[0] if len(parts) == 1 else ConfigSpace.ForbiddenAndConjunction(*parts)


def _forbidding(made: Any, space: SearchSpace, name: str, matcher: object) -> list[Any]:
    import ConfigSpace

    found, left = [], []
    for op, operand in parse_matcher(matcher):
        if isinstance(operand, Reference):
            if op not in _RELATED:
                raise SpaceError("ConfigSpace has no such relation", value=op, path=name, remedy="use two clauses")
            found.append(getattr(ConfigSpace, _RELATED[op])(made[name], made[operand.name]))
        else:
            left.append((op, operand))
    plain = all(op in _REVERSED for op, _ in left) and hasattr(made[name], "lower")
    if left and not plain:  # comparisons that it lacks
        spelled = {op: operand for op, operand in left}
        values = matching(space, name, spelled)
        if values is None:
            raise SpaceError(
                "ConfigSpace has no such comparison", value=matcher, path=name, remedy="use <, <=, > or >="
            )
        return [*found, ConfigSpace.ForbiddenInClause(made[name], values)] if values else [*found, _never(made[name])]
    return [*found, *(_forbidden(made[name], op, operand) for op, operand in left)]


def _forbidden(hyperparameter: Any, op: str, operand: Any) -> Any:
    """One comparison. ConfigSpace 1.2 draws what its own "less than or equal" forbids, so that is said in two parts."""
    import ConfigSpace

    if op in ("<=", ">="):
        return ConfigSpace.ForbiddenOrConjunction(
            _forbidden(hyperparameter, op[0], operand), _forbidden(hyperparameter, "==", operand)
        )
    return getattr(ConfigSpace, _REVERSED[op])(hyperparameter, list(operand) if op == "in" else operand)


def _never(hyperparameter: Any) -> Any:
    raise SpaceError(
        "a forbidden combination must match some value",
        got="none",
        path=hyperparameter.name,
        remedy="remove the clause",
    )


def whens(space: Any, known: SearchSpace) -> dict[str, dict[str, Any]]:
    """The `when` of every conditional parameter. Raises SpaceError for an "or" between different parents."""
    found: dict[str, dict[str, Any]] = {}
    for condition in space.conditions:
        name = str(condition.child.name)
        try:
            for parent, tests in _required(condition, known).items():
                _join(found.setdefault(name, {}), parent, tests)
        except SpaceError as error:
            raise error.under(f"space.{name}.when") from None
    return found


def _required(condition: Any, known: SearchSpace) -> dict[str, list[tuple[str, Any]]]:
    """Per parent the comparisons that must all hold."""
    kind = type(condition).__name__
    found: dict[str, list[tuple[str, Any]]] = {}
    if kind == "AndConjunction":
        for part in condition.components:
            for parent, tests in _required(part, known).items():
                found.setdefault(parent, []).extend(tests)
        return found
    if kind == "OrConjunction":
        return _either([_required(part, known) for part in condition.components], known)
    op = _CONDITIONS.get(kind)
    if op is None:
        raise SpaceError("there is nothing like this condition here", got=kind, remedy="use equals, in, and")
    value = condition.values if op == "in" else condition.value
    return {str(condition.parent.name): [(op, _plain(value, many=op == "in"))]}


def _either(parts: Sequence[Mapping[str, list[tuple[str, Any]]]], known: SearchSpace) -> dict[str, Any]:
    parents = {parent for part in parts for parent in part}
    if len(parents) > 1 or any(len(part) != 1 for part in parts):
        raise SpaceError(
            'conditions on different parents cannot be joined by "or"',
            got=" or ".join(sorted(parents)),
            remedy="make a parameter for each case, or a choice that combines the parents",
        )
    (parent,) = parents
    tests = [part[parent] for part in parts]
    for strict, together in (("<", "<="), (">", ">=")):
        alone = [t[0] for t in tests if len(t) == 1]
        if sorted(op for op, _ in alone) == sorted([strict, "=="]) and len(tests) == 2 and alone[0][1] == alone[1][1]:
            return {parent: [(together, alone[0][1])]}
    if all(len(t) == 1 and t[0][0] in ("==", "in") for t in tests):
        values = [v for t in tests for v in (t[0][1] if t[0][0] == "in" else [t[0][1]])]
        return {parent: [("in", _distinct(values))]}
    listed = [matching(known, parent, _spelled(t)) for t in tests]
    if any(values is None for values in listed):
        raise SpaceError('a parent without listed values takes no "or"', got=parent, remedy="use one range")
    return {parent: [("in", _distinct(v for values in listed for v in values or ()))]}


def clauses(space: Any) -> list[dict[str, Any]]:
    """The `forbid` of its clauses. Raises SpaceError for what cannot be said."""
    found: list[dict[str, Any]] = []
    for number, clause in enumerate(space.forbidden_clauses):
        with at_clause(number):
            for alternative in _alternatives(clause):
                written: dict[str, Any] = {}
                for name, op, operand in alternative:
                    _join(written, name, [(op, operand)])
                found.append(written)
        if len(found) > MAX_CLAUSES:
            raise SpaceError(f"forbid may list at most {MAX_CLAUSES}", got=f"{len(found)} or more", path="forbid")
    return found


def _alternatives(clause: Any) -> list[list[tuple[str, str, Any]]]:
    """The clause as combinations, each of which is forbidden: (name, operator, operand)."""
    kind = type(clause).__name__
    if kind == "ForbiddenOrConjunction":
        return [one for part in clause.components for one in _alternatives(part)]
    if kind == "ForbiddenAndConjunction":
        joined: list[list[tuple[str, str, Any]]] = [[]]
        for part in clause.components:
            joined = [[*before, *one] for before in joined for one in _alternatives(part)]
            if len(joined) > MAX_CLAUSES:
                raise SpaceError(f"forbid may list at most {MAX_CLAUSES}", got=f"{len(joined)} or more")
        return joined
    if kind in _RELATIONS:
        return [[(str(clause.left.name), _RELATIONS[kind], {"param": str(clause.right.name)})]]
    op = _FORBIDDEN.get(kind)
    if op is None:
        raise SpaceError("there is nothing like this clause here", got=kind, remedy="use equals, in, and")
    value = clause.values if op == "in" else clause.value
    return [[(str(clause.hyperparameter.name), op, _plain(value, many=op == "in"))]]


def _join(written: dict[str, Any], name: str, tests: Sequence[tuple[str, Any]]) -> None:
    """Add comparisons of a parameter, all of which must hold."""
    spelled = written.setdefault(name, {})
    for op, operand in tests:
        if op not in spelled:
            spelled[op] = operand
        elif op == "in":
            spelled[op] = [one for one in spelled[op] if scalar_key(one) in set(map(scalar_key, operand))]
        elif op == "!=":
            spelled["not_in"] = [*spelled.get("not_in", []), operand]
        elif op in ("<", "<=", ">", ">=") and not isinstance(operand, dict | str):
            spelled[op] = min(spelled[op], operand) if op.startswith("<") else max(spelled[op], operand)
        elif spelled[op] != operand:
            raise SpaceError("a parameter cannot equal two values", got=f"{spelled[op]!r} and {operand!r}", path=name)


def _distinct(values: Iterable[Any]) -> list[Any]:
    """The values without repetitions; true is not 1."""
    return list({scalar_key(value): value for value in values}.values())


def _spelled(tests: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    _join(written, "it", tests)
    found: dict[str, Any] = written["it"]
    return found


def _plain(value: Any, *, many: bool) -> Any:
    return [scalar(one) for one in value] if many else scalar(value)
