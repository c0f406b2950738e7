"""The rungs that an algorithm's brackets have, before anybody stands on them: levels, sizes, and what is still to come.

The arithmetic is the schedulers' own (`core.tables`), with the budget taken into account as they do. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo_service.core.algorithm_specs import (
    AshaSpec,
    AutoSpec,
    BohbSpec,
    DehbSpec,
    HyperbandSpec,
    MedianSpec,
    PashaSpec,
    SuccessiveHalvingSpec,
)
from hpo_service.core.auto import choose, stands_for
from hpo_service.core.definition import Budget, StudyDefinition
from hpo_service.core.evolution import evolving_round
from hpo_service.core.suitability import first_levels
from hpo_service.core.tables import BracketPlan, HalvingTable, HyperbandTable, halving, hyperband_round


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """One bracket: the resource level of each rung, and how many trials belong there (None where nothing fixes it)."""

    bracket: int
    label: str | None
    levels: tuple[float, ...]
    sizes: tuple[int | None, ...]


def has_rungs(definition: StudyDefinition) -> bool:
    """Whether the study's algorithm compares trials at levels."""
    known = isinstance(definition.algorithm, DehbSpec | AshaSpec | PashaSpec | MedianSpec)
    return known or synchronous(definition) or isinstance(stands_for(definition).algorithm, AutoSpec)


def has_thresholds(definition: StudyDefinition) -> bool:
    """Whether the best of a level go on. A model of learning curves sends on whom it expects most of."""
    return not (isinstance(definition.algorithm, AutoSpec) and choose(definition).method == "curves")


def without_rungs(definition: StudyDefinition) -> str:
    """Why there are none, where there are none."""
    return f"The algorithm {definition.algorithm.name} trains every trial to its end: it has no rungs."


def synchronous(definition: StudyDefinition) -> bool:
    """Whether a rung is judged as a whole, once all its trials are in."""
    return isinstance(definition.algorithm, SuccessiveHalvingSpec | HyperbandSpec | BohbSpec)


def ladders(definition: StudyDefinition, entered: Sequence[int], *, judged: bool) -> tuple[list[Ladder], list[Ladder]]:
    """Those of the brackets that began, and those that are to come: at most one round ahead.

    `entered` counts the trials that entered each bracket; `judged` says whether the newest one's lowest rung was.
    """
    if isinstance(definition.algorithm, DehbSpec):
        return _evolving(evolving_round(definition), len(entered))
    if not synchronous(definition):
        levels = tuple(first_levels(definition))
        only = Ladder(bracket=0, label=None, levels=levels, sizes=(None,) * len(levels))
        return ([only], []) if entered else ([], [only])
    table, length = _table(definition)
    begun, before, reserved = [], 0, 0.0
    size = 0
    for index, n in enumerate(entered):
        plan = table.plan(index, entered=before)
        if plan is None:
            break
        closed = judged or index < len(entered) - 1
        size = n if closed else max(n, _size(definition.budget, plan, before, reserved))
        begun.append(_ladder(index, plan, size))
        before, reserved = before + size, reserved + plan.cost(size)
    return begun, _coming(definition.budget, table, range(len(begun), len(begun) + length), before, reserved)


def evolving(definition: StudyDefinition) -> bool:
    """Whether trials of all brackets but the first enter at the rung where they stay."""
    return isinstance(definition.algorithm, DehbSpec)


def _evolving(plans: Sequence[BracketPlan], begun: int) -> tuple[list[Ladder], list[Ladder]]:
    """How many brackets begin hangs on who is free: one round is shown ahead."""
    rounds = ((index, plans[index % len(plans)]) for index in range(begun + len(plans)))
    found = [_ladder(index, plan, plan.trials) for index, plan in rounds]
    return found[:begun], found[begun:]


def _table(definition: StudyDefinition) -> tuple[HalvingTable | HyperbandTable, int]:
    spec = definition.algorithm
    if isinstance(spec, SuccessiveHalvingSpec):
        return HalvingTable(halving(spec)), 1
    assert isinstance(spec, HyperbandSpec | BohbSpec)
    brackets = hyperband_round(spec.min_resource, spec.max_resource, spec.eta, anew=not definition.resumes)
    return HyperbandTable(brackets), len(brackets)


def _coming(
    budget: Budget, table: HalvingTable | HyperbandTable, indexes: range, before: int, reserved: float
) -> list[Ladder]:
    found: list[Ladder] = []
    for index in indexes:
        plan = table.plan(index, entered=before)
        size = 0 if plan is None else _size(budget, plan, before, reserved)
        if plan is None or size == 0:
            break
        found.append(_ladder(index, plan, size))
        before, reserved = before + size, reserved + plan.cost(size)
        if size < plan.trials:
            break
    return found


def _ladder(index: int, plan: BracketPlan, size: int) -> Ladder:
    label = plan.label if plan.label.startswith("s=") else None
    return Ladder(bracket=index, label=label, levels=plan.levels, sizes=plan.sizes(size))


def _size(budget: Budget, plan: BracketPlan, before: int, reserved: float) -> int:
    """How many trials may enter; `SynchronousHalving` cuts a bracket in the same way."""
    size = plan.trials
    if budget.trials is not None:
        size = min(size, max(0, budget.trials - before))
    if budget.resource is not None:
        size = min(size, plan.entrants_for(max(0.0, budget.resource - reserved)))
    return size
