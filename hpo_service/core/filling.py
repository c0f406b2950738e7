"""Which trials take lanes that fell free in fused launches under way: a pure rule for algorithms that decide as results
come in. Synchronous ones have cohorts, and who shares a launch there must not hang on what is free.

A launch costs the same however many of its lanes are alive: a lane that is filled costs nothing, as long as the launch
does not last longer for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_service.core.launches import FUSED, Methods, structure_key


@dataclass(frozen=True, kw_only=True, slots=True)
class Vacancy:
    """Free lanes of a launch that trains: its longest trial has `left` resource to go; `params` are of one of them."""

    launch: str
    width: int
    lanes: tuple[int, ...]
    left: float
    params: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A trial that is to be trained by `way` of resource."""

    trial: int
    params: Mapping[str, Any]
    way: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """The lane that a trial takes."""

    launch: str
    lane: int
    width: int


def pays(vacancy: Vacancy, ways: Sequence[float], *, more: float, alone: bool) -> bool:
    """Whether trials that go so far are worth their lanes. They are where the launch ends no later for it.

    Where it does, nobody else may wait for the worker (`alone`), and either as many trials are still to come (`more`)
    as keep the launch full, or what the lanes train is at least what all lanes together go on for.
    """
    longest = max(ways)
    if longest <= vacancy.left:
        return True
    over = longest - vacancy.left
    return alone and (more >= vacancy.width or over * vacancy.width <= sum(ways))


def seats(
    candidates: Sequence[Candidate], vacancies: Sequence[Vacancy], methods: Methods, *, more: float, alone: bool
) -> dict[int, Seat]:
    """The lane of each of the first candidates, as far as all of them find one that pays; whoever comes behind one that
    finds none goes without, for trials are started in their order. `more` is how many may come after all of these."""
    for count in range(len(candidates), 0, -1):
        taken = _seated(candidates[:count], vacancies, methods)
        if taken is None:
            continue
        later = more + len(candidates) - count
        if all(pays(vacancy, [c.way for c in members], more=later, alone=alone) for vacancy, members in taken):
            return {
                candidate.trial: Seat(launch=vacancy.launch, lane=lane, width=vacancy.width)
                for vacancy, members in taken
                for candidate, lane in zip(members, vacancy.lanes, strict=False)
            }
    return {}


def _seated(
    candidates: Sequence[Candidate], vacancies: Sequence[Vacancy], methods: Methods
) -> list[tuple[Vacancy, list[Candidate]]] | None:
    """Who takes whose lanes: launches that last longest first; None where somebody finds none of their structure."""
    members: dict[str, list[Candidate]] = {vacancy.launch: [] for vacancy in vacancies}
    by_structure: dict[str, list[Vacancy]] = {}
    for vacancy in sorted(vacancies, key=lambda v: (-v.left, v.launch)):
        method = methods.of(vacancy.params)
        if method is not None and method.method == FUSED and method.width >= vacancy.width:  # not narrowed since
            by_structure.setdefault(structure_key(vacancy.params, methods.lanes), []).append(vacancy)
    for candidate in candidates:
        alike = by_structure.get(structure_key(candidate.params, methods.lanes), [])
        roomy = next((v for v in alike if len(members[v.launch]) < len(v.lanes)), None)
        if roomy is None:
            return None
        members[roomy.launch].append(candidate)
    return [(vacancy, members[vacancy.launch]) for vacancy in vacancies if members[vacancy.launch]]
