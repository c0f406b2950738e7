"""Which trials train together: methods by structure, and the canonical partition of trials into launches.

A structure is what a configuration has beside its lanes: trials of equal structure can be the lanes of one program.
Their method and greatest width are in the log, so all of this is a pure function of it. Nothing here knows slots or
workers: who shares a launch must not hang on them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hpo_service.core.events import MethodChoice, MethodsChosen
from search_spaces import SearchSpace

T = TypeVar("T")
PLAIN, FUSED = "plain", "fused"
Cohort = Hashable
"""Names trials among which launches are formed: a block of new ones, or a slice of those that a rung promoted."""
BLOCK = 256
"""The most new trials that are placed together; fewer where `parallel` allows less than two such blocks at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """How trials of a structure are trained: at most `width` lanes a launch."""

    method: str
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Trials that go to a worker together, by lane. `method` None: nobody knows yet how they are best trained;
    `params` are those of the first."""

    trials: tuple[int, ...]
    method: str | None
    params: Mapping[str, Any]


class Methods:
    """What the log says about methods so far. Without any event nothing is fused."""

    def __init__(self) -> None:
        self.lanes: frozenset[str] = frozenset()
        self._by_structure: dict[str, Method] = {}
        self._choices: dict[str, MethodChoice] = {}

    @property
    def fuses(self) -> bool:
        """Whether trials of this study can share a launch at all."""
        return bool(self.lanes)

    @property
    def choices(self) -> Sequence[MethodChoice]:
        """The newest choice of every structure that is known."""
        return tuple(self._choices.values())

    @property
    def widest(self) -> int:
        """The greatest width of all structures that are known."""
        return max((method.width for method in self._by_structure.values()), default=1)

    def only_plain(self, structures: float) -> bool:
        """Whether all structures of a study that has so many are known, and none is fused."""
        return len(self._by_structure) >= structures and all(m.method == PLAIN for m in self._by_structure.values())

    def take(self, event: MethodsChosen) -> None:
        """Fold an event in."""
        self.lanes = frozenset(event.lanes)
        for choice in event.choices:
            key = structure_key(choice.structure, ())
            self._by_structure[key] = Method(method=choice.method, width=choice.width)
            self._choices[key] = choice

    def of(self, params: Mapping[str, Any]) -> Method | None:
        """The method of the configuration's structure, where it is known."""
        return self._by_structure.get(structure_key(params, self.lanes))

    def group(self, members: Sequence[tuple[int, Mapping[str, Any]]], *, most: int | None = None) -> list[Group]:
        """Partition (trial, params) pairs by structure, and each structure in its order into launches of even length,
        at most its width (and `most`). What is alone in its structure is trained plainly, measured or not; so is all
        of a study without lanes, where only configurations that are drawn twice are alike."""
        by_structure: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        for trial, params in members:
            by_structure.setdefault(structure_key(params, self.lanes), []).append((trial, params))
        groups: list[Group] = []
        for key, alike in by_structure.items():
            known = self._by_structure.get(key)
            if known is None and len(alike) > 1 and self.fuses:
                groups.append(Group(trials=tuple(t for t, _ in alike), method=None, params=alike[0][1]))
                continue
            fused = known is not None and known.method == FUSED
            width = known.width if known is not None and fused else 1
            for part in even_parts(alike, width if most is None else min(width, max(1, most))):
                method = FUSED if fused and len(part) > 1 else PLAIN
                groups.append(Group(trials=tuple(t for t, _ in part), method=method, params=part[0][1]))
        return groups


def slice_of(name: str, position: int, size: int) -> Cohort:
    """The cohort of what goes on and what is new together: `size` consecutive positions."""
    return (name, position // size)


def block_size(parallel: int) -> int:
    """How many consecutive new trials are placed together: half of what may be open at once, at most `BLOCK`."""
    return max(1, min(BLOCK, parallel // 2))


def structures_of(space: SearchSpace, lanes: frozenset[str]) -> float:
    """At most how many structures the space's configurations have; infinite where a number that is no lane is real."""
    counts = []
    for name, parameter in space.parameters.items():
        if name not in lanes:
            conditional = parameter.when is not None
            counts.append(math.inf if parameter.cardinality is None else parameter.cardinality + conditional)
    return math.prod(counts)


def structure_of(params: Mapping[str, Any], lanes: frozenset[str] | Sequence[str]) -> dict[str, Any]:
    """The parameters that are no lanes."""
    return {name: value for name, value in params.items() if name not in lanes}


def structure_key(params: Mapping[str, Any], lanes: frozenset[str] | Sequence[str]) -> str:
    """Equal for configurations that differ in lanes alone."""
    return json.dumps(structure_of(params, lanes), sort_keys=True)


def even_parts(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Cut a sequence into the fewest parts of at most `most`, their lengths at most one apart, longer ones first."""
    count = -(-len(items) // most)
    short, longer = divmod(len(items), count) if count else (0, 0)
    parts, start = [], 0
    for index in range(count):
        stop = start + short + (index < longer)
        parts.append(items[start:stop])
        start = stop
    return parts
