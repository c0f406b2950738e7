"""DEHB's subpopulations: who lives in which slot at which resource level (Awad, Mallik & Hutter 2021, section 4).

Pure bookkeeping, shared by who decides how far trials are trained (`schedulers.evolving`) and who chooses their
configurations (`samplers.differential`); and what a definition may not say. Nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpo_service.core.algorithm_specs import DehbSpec
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.tables import TOLERANCE, BracketPlan, hyperband_round
from hpo_service.errors import FieldProblem

Key = tuple[int, float]
"""Sorts best first (`TrialRecord.rank`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """One place of a rung: its level counts from the lowest one of all brackets, its slot within that population."""

    level: int
    slot: int


class Subpopulations:
    """One population per level. Each is as large as the largest rung that any bracket of a round has there; the places
    of later rungs go round through its slots, so that a place's slot hangs on the table alone."""

    def __init__(self, brackets: Sequence[BracketPlan]) -> None:
        self._round = tuple(brackets)
        levels = max(len(plan.levels) for plan in brackets)
        self._first = [levels - len(plan.levels) for plan in brackets]  # the level of each bracket's lowest rung
        placed = [0] * levels
        largest = [0] * levels
        self._before: list[list[int]] = []  # places of each level in earlier brackets of the round
        for plan, first in zip(brackets, self._first, strict=True):
            self._before.append(list(placed))
            for rung, size in enumerate(plan.sizes()):
                placed[first + rung] += size
                largest[first + rung] = max(largest[first + rung], size)
        self._placed = placed
        self.sizes = tuple(largest)
        self.resources = next(plan.levels for plan in brackets if len(plan.levels) == levels)
        self._living: list[dict[int, tuple[Key, int]]] = [{} for _ in range(levels)]  # by slot
        self.elders: list[int] = []  # trials from elsewhere: nobody competes with them, but they may be parents

    def plan(self, bracket: int) -> BracketPlan:
        """The bracket of that number; rounds repeat."""
        return self._round[bracket % len(self._round)]

    def seat(self, bracket: int, rung: int, position: int) -> Seat:
        """Where that place of the rung belongs."""
        rounds, which = divmod(bracket, len(self._round))
        level = self._first[which] + rung
        places = rounds * self._placed[level] + self._before[which][level] + position
        return Seat(level=level, slot=places % self.sizes[level])

    def living(self, seat: Seat) -> int | None:
        """The trial that lives there."""
        found = self._living[seat.level].get(seat.slot)
        return None if found is None else found[1]

    def offer(self, seat: Seat, number: int, key: Key) -> int | None:
        """Selection: the trial takes the slot unless who lives there is better; the other one of the two, if any."""
        there = self._living[seat.level].get(seat.slot)
        if there is not None and there[0] < key:
            return there[1]
        self._living[seat.level][seat.slot] = (key, number)
        return None if there is None else there[1]

    def best(self, level: int, most: int | None = None) -> list[int]:
        """The trials that live at the level, best first; ties go to the lower number."""
        return [number for _, number in sorted(self._living[level].values())[:most]]

    def everyone(self) -> Iterator[int]:
        """All that live anywhere, level by level, and the elders; a trial may come more than once."""
        for living in self._living:
            yield from (living[slot][1] for slot in sorted(living))
        yield from self.elders


def evolving_round(definition: StudyDefinition) -> tuple[BracketPlan, ...]:
    """DEHB's brackets, which are Hyperband's and are repeated; none for other algorithms."""
    spec = definition.algorithm
    if not isinstance(spec, DehbSpec):
        return ()
    return hyperband_round(spec.min_resource, spec.max_resource, spec.eta, anew=not definition.resumes)


def first_bracket_problems(definition: StudyDefinition) -> Iterator[FieldProblem]:
    """What DEHB could not serve; nothing for other algorithms. All evolves from the first bracket: it must fit."""
    spec = definition.algorithm
    if not isinstance(spec, DehbSpec):
        return
    first = evolving_round(definition)[0]
    if len(first.levels) < 2:
        yield FieldProblem(
            path="algorithm.max_resource",
            rule=f"dehb needs two levels or more: max_resource is at least eta={spec.eta} times min_resource",
            value=spec.max_resource,
            remedy=f"raise it to {spec.eta * spec.min_resource:g} or more, lower min_resource, or use random",
        )
        return
    needs, budget, space = f"the {first.trials} trials of the first bracket", definition.budget, definition.search_space
    if budget.trials is not None and budget.trials < first.trials:
        yield FieldProblem(
            path="budget.trials",
            rule=f"{needs} must fit, for all others evolve from them",
            value=budget.trials,
            remedy=f"raise it to {first.trials} or more, raise min_resource, or use hyperband",
        )
    if budget.resource is not None and budget.resource < first.cost() * (1 - TOLERANCE):
        yield FieldProblem(
            path="budget.resource",
            rule=f"{needs} must fit, which need {first.cost():g} with their promotions",
            value=budget.resource,
            remedy=f"raise it to {first.cost():g} or more, raise min_resource, or use hyperband",
        )
    if not definition.repeats and (space.cardinality or first.trials) < first.trials:
        yield FieldProblem(
            path="space",
            rule=f"{needs} must be different configurations",
            value=f"{space.cardinality} configurations",
            remedy="raise min_resource, set repeats: true, or use grid",
        )
