"""Conditions and forbidden combinations, compiled: who depends on whom, who is active, what is refused.

Here: compiling `when` and `forbid` against the parameters, and evaluating them for one configuration.
Not here: the matcher language (`conditions`), many configurations at once (`tables`), whether anything is
left (`feasible`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.conditions import Reference, Test, compile_matcher
from search_spaces.errors import MAX_ERRORS, SpaceError, combine, nearest
from search_spaces.parameters import BaseParameter
from search_spaces.scales import Scale

MAX_CLAUSES = 1_000
MAX_TESTS = 2_000

Tests = tuple[Test, ...]


@dataclass(frozen=True)
class Clause:
    """One forbidden combination: it applies when all of its parameters are active and match."""

    matchers: tuple[tuple[str, Tests], ...]

    @property
    def names(self) -> set[str]:
        """Every parameter that the clause mentions, on either side of a comparison."""
        found = {name for name, _ in self.matchers}
        for _, tests in self.matchers:
            found |= {test.operand.name for test in tests if isinstance(test.operand, Reference)}
        return found


@dataclass(frozen=True)
class Rules:
    """`order`: all names, parents first; `whens`: each conditional one's parents; `clauses`: forbid."""

    order: tuple[str, ...]
    whens: Mapping[str, tuple[tuple[str, Tests], ...]]
    clauses: tuple[Clause, ...]

    def holds(self, name: str, coordinates: Mapping[str, float]) -> bool:
        """Whether a parameter is active, given the coordinates of the active ones among its parents."""
        for parent, tests in self.whens.get(name, ()):
            x = coordinates.get(parent)
            if x is None or not all(test.holds(x) for test in tests):
                return False
        return True

    def broken(self, coordinates: Mapping[str, float]) -> int | None:
        """The number of the first clause that forbids the configuration of these active coordinates."""
        for number, clause in enumerate(self.clauses):
            if _applies(clause, coordinates):
                return number
        return None

    def ancestry(self, names: Iterable[str]) -> set[str]:
        """The names and everything that their being active depends on."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo.extend(parent for parent, _ in self.whens.get(name, ()))
        return found

    def restricted(self, names: set[str]) -> Rules:
        """The same rules seen by those parameters alone (a set closed under `ancestry`)."""
        return Rules(
            order=tuple(name for name in self.order if name in names),
            whens={name: when for name, when in self.whens.items() if name in names},
            clauses=tuple(clause for clause in self.clauses if clause.names <= names),
        )

    def components(self) -> list[set[str]]:
        """The parameters in groups that no condition and no clause ties together."""
        root = {name: name for name in self.order}

        def find(name: str) -> str:
            while root[name] != name:
                root[name] = root[root[name]]
                name = root[name]
            return name

        ties = [{name, *(parent for parent, _ in when)} for name, when in self.whens.items()]
        for tie in [*ties, *(clause.names for clause in self.clauses)]:
            first, *rest = sorted(tie)
            for name in rest:
                root[find(name)] = find(first)
        groups: dict[str, set[str]] = {}
        for name in self.order:
            groups.setdefault(find(name), set()).add(name)
        return list(groups.values())


def _applies(clause: Clause, coordinates: Mapping[str, float]) -> bool:
    for name, tests in clause.matchers:
        x = coordinates.get(name)
        if x is None:
            return False
        for test in tests:
            other = None
            if isinstance(test.operand, Reference):
                other = coordinates.get(test.operand.name)
                if other is None:
                    return False
            if not test.holds(x, other):
                return False
    return True


def compile_rules(parameters: Mapping[str, BaseParameter], forbid: Sequence[Any]) -> Rules:
    """Compile all conditions and clauses; raises one SpaceError that carries up to 20."""
    scales = {name: parameter.scale for name, parameter in parameters.items()}
    errors: list[SpaceError] = []
    whens: dict[str, tuple[tuple[str, Tests], ...]] = {}
    for name, parameter in parameters.items():
        if parameter.when is not None and len(errors) < MAX_ERRORS:
            try:
                whens[name] = _matchers(parameter.when, scales, "when must name parameters of the space")
            except SpaceError as error:
                errors.append(error.under(f"space.{name}.when"))
    if not errors:
        return Rules(_topological(list(parameters), whens), whens, _clauses(forbid, scales))
    raise combine(errors)


def _clauses(forbid: Sequence[Any], scales: Mapping[str, Scale]) -> tuple[Clause, ...]:
    if isinstance(forbid, (str, Mapping)) or not isinstance(forbid, Sequence):
        raise SpaceError(
            "forbid must be a list of combinations",
            value=forbid,
            path="forbid",
            remedy="write - {parameter: matcher, …}",
        )
    if len(forbid) > MAX_CLAUSES:
        raise SpaceError(f"forbid may list at most {MAX_CLAUSES}", got=f"{len(forbid)}", path="forbid")
    found: list[Clause] = []
    errors: list[SpaceError] = []
    for number, clause in enumerate(forbid):
        try:
            found.append(_clause(clause, scales))
        except SpaceError as error:
            errors.append(error.under(f"forbid.{number}"))
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        raise combine(errors)
    tests = sum(len(tests) for clause in found for _, tests in clause.matchers)
    if tests > MAX_TESTS:
        raise SpaceError(f"forbid may hold at most {MAX_TESTS} comparisons", got=f"{tests}", path="forbid")
    return tuple(found)


def _clause(clause: Any, scales: Mapping[str, Scale]) -> Clause:
    if not isinstance(clause, Mapping) or not clause:
        raise SpaceError(
            "a forbidden combination must map parameters to matchers",
            value=clause,
            remedy="write {parameter: matcher, …}",
        )
    return Clause(_matchers(clause, scales, "forbid must name parameters of the space"))


def _matchers(spec: Mapping[str, Any], scales: Mapping[str, Scale], rule: str) -> tuple[tuple[str, Tests], ...]:
    found: list[tuple[str, Tests]] = []
    for name, matcher in spec.items():
        if name not in scales:
            raise SpaceError(rule, value=name, path=str(name)[:128], remedy=nearest(name, scales))
        try:
            found.append((name, compile_matcher(matcher, scales[name], scales)))
        except SpaceError as error:
            raise error.under(name) from None
    return tuple(found)


def _topological(names: list[str], whens: Mapping[str, tuple[tuple[str, Tests], ...]]) -> tuple[str, ...]:
    """All names, parents before children, otherwise by name: the order of declaration plays no part."""
    waiting = {name: len(when) for name, when in whens.items()}
    children: dict[str, list[str]] = {}
    for name, when in whens.items():
        for parent, _ in when:
            children.setdefault(parent, []).append(name)
    ready = [name for name in names if name not in waiting]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        name = heapq.heappop(ready)
        order.append(name)
        for child in children.get(name, ()):
            waiting[child] -= 1
            if waiting[child] == 0:
                heapq.heappush(ready, child)
    if len(order) < len(names):
        raise _cycle(set(names) - set(order), whens)
    return tuple(order)


def _cycle(stuck: set[str], whens: Mapping[str, tuple[tuple[str, Tests], ...]]) -> SpaceError:
    """Follow stuck parents from any stuck child until a name comes back."""
    trail = [min(stuck)]
    while True:
        parent = min(parent for parent, _ in whens[trail[-1]] if parent in stuck)
        if parent in trail:
            loop = [*trail[trail.index(parent) :], parent]
            shown = loop if len(loop) <= 12 else [*loop[:6], "…", *loop[-5:]]
            return SpaceError(
                "conditions must not form a cycle",
                got=" -> ".join(shown),
                value=parent,
                path=f"space.{loop[0]}.when",
                remedy="remove one of these conditions",
            )
        trail.append(parent)
