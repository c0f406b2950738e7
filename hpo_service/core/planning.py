"""What a definition would run, before it runs: its brackets, number of trials and total resource.

Answers come from the same arithmetic that the schedulers use (`core.tables`), with the budget taken into account.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hpo_service.core import auto
from hpo_service.core.algorithm import Plan
from hpo_service.core.algorithm_specs import (
    AutoSpec,
    BohbSpec,
    CmaesSpec,
    GridSpec,
    HyperbandSpec,
    PbtSpec,
    SuccessiveHalvingSpec,
)
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.evolution import evolving_round
from hpo_service.core.history import EXACT_CARDINALITY
from hpo_service.core.proposals import UNLIMITED
from hpo_service.core.suitability import check, first_levels, segment_target
from hpo_service.core.tables import TOLERANCE, BracketPlan, exchanges, halving, hyperband_round
from search_spaces.parameters import Choice


def plan(definition: StudyDefinition) -> Plan:
    """The plan of a definition; raises what `check` raises."""
    check(definition)
    if isinstance(definition.algorithm, AutoSpec):
        return _picked(definition)
    return _plan(definition)


def _picked(definition: StudyDefinition) -> Plan:
    """The plan of what `auto` picks, which it says first."""
    choice = auto.choose(definition)
    found = _plan(auto.stands_for(definition, choice.method))
    return replace(found, notes=(f"auto picks {choice.text}", *found.notes))


def _plan(definition: StudyDefinition) -> Plan:
    spec = definition.algorithm
    if isinstance(spec, SuccessiveHalvingSpec):
        return _bracketed(definition, (halving(spec),), repeated=False)
    if isinstance(spec, HyperbandSpec | BohbSpec):
        brackets = hyperband_round(spec.min_resource, spec.max_resource, spec.eta, anew=not definition.resumes)
        return _bracketed(definition, brackets, repeated=True)
    if isinstance(spec, PbtSpec):
        return _population(definition, spec)
    brackets = evolving_round(definition)
    if brackets:
        return _evolving(definition, brackets)
    levels = first_levels(definition)
    return _asynchronous(definition, levels) if levels else _single(definition)


def _bracketed(definition: StudyDefinition, brackets: Sequence[BracketPlan], *, repeated: bool) -> Plan:
    trials_left = _limit(_trial_limit(definition))
    resource_left = _limit(definition.budget.resource)
    notes = _notes(definition)
    if repeated and trials_left == resource_left == math.inf:
        rows = tuple(_row(index, bracket, bracket.trials) for index, bracket in enumerate(brackets))
        notes.append("the brackets are repeated until the budget ends")
        return Plan(brackets=rows, trials=None, total_resource=None, notes=tuple(notes))
    rounds = _whole_rounds(brackets, trials_left, resource_left) if repeated else 0
    shown = [_row(index, bracket, bracket.trials) for index, bracket in enumerate(brackets)] if rounds else []
    if rounds:
        whole = f"all {len(brackets)} brackets run" if len(brackets) > 1 else "the bracket runs"
        notes.append(f"{whole} in full{_times(rounds)}")
    trials = rounds * sum(bracket.trials for bracket in brackets)
    total = rounds * sum(bracket.cost() for bracket in brackets)
    for index, bracket in enumerate(brackets, start=rounds * len(brackets)):
        room = min(trials_left - trials, bracket.entrants_for(resource_left - total))
        entrants = int(min(bracket.trials, room))
        if entrants > 0:
            trials, total = trials + entrants, total + bracket.cost(entrants)
            shown.append(_row(index, bracket, entrants))
        if entrants < bracket.trials:
            if entrants > 0:
                notes.append(f"bracket {index} is cut from {bracket.trials} to {entrants} trials by the budget")
            break
    return Plan(brackets=tuple(shown), trials=trials, total_resource=total, notes=tuple(notes))


def _evolving(definition: StudyDefinition, brackets: Sequence[BracketPlan]) -> Plan:
    """Brackets whose number hangs on who is free, until the budget ends."""
    trials = _trial_limit(definition)
    bounds = [definition.budget.resource, None if trials is None else trials * brackets[0].levels[-1]]
    notes = [
        *_notes(definition),
        "in the first bracket trials are promoted; in all others every place of every rung is a new trial",
        "the brackets are repeated until the budget ends",
    ]
    return Plan(
        brackets=tuple(_row(index, bracket, bracket.trials) for index, bracket in enumerate(brackets)),
        trials=trials,
        total_resource=definition.budget.resource,
        notes=tuple(notes),
        most_resource=min((bound for bound in bounds if bound is not None), default=None),
    )


def _times(rounds: int) -> str:
    return {1: "", 2: ", twice"}.get(rounds, f", {rounds} times")


def _whole_rounds(brackets: Sequence[BracketPlan], trials_left: float, resource_left: float) -> int:
    by_trials = trials_left / sum(bracket.trials for bracket in brackets)
    by_resource = resource_left * (1 + TOLERANCE) / sum(bracket.cost() for bracket in brackets)
    return math.floor(min(by_trials, by_resource))


def _row(index: int, bracket: BracketPlan, entrants: int) -> dict[str, Any]:
    sizes = bracket.sizes(entrants)
    rungs = [
        {"rung": i, "trials": size, "resource": level}
        for i, (size, level) in enumerate(zip(sizes, bracket.levels, strict=True))
    ]
    return {"bracket": index, "label": bracket.label, "rungs": rungs}


def _asynchronous(definition: StudyDefinition, levels: Sequence[float]) -> Plan:
    trials = _trial_limit(definition)
    notes = [*_notes(definition), *_never_whole(definition, levels[-1])]
    if definition.algorithm.name == "median":
        notes.append(f"trials are judged at {len(levels) - 1} levels before {levels[-1]:g}")
        rows: tuple[dict[str, Any], ...] = ()
    else:
        rungs = [{"rung": i, "trials": None, "resource": level} for i, level in enumerate(levels)]
        rows = ({"bracket": 0, "label": "grows as trials come", "rungs": rungs},)
        notes.append("how many trials each rung gets is decided while they run")
        if definition.algorithm.name == "pasha" and len(levels) > 2:
            notes.append(f"trials go beyond resource {levels[1]:g} only while their ranking still changes")
    most = None if trials is None else trials * levels[-1]
    bounds = [bound for bound in (most, definition.budget.resource) if bound is not None]
    if bounds:
        notes.append(f"at most {min(bounds):g} of resource in all")
    return Plan(
        brackets=rows,
        trials=trials,
        total_resource=definition.budget.resource,
        notes=tuple(notes),
        most_resource=min(bounds, default=None),
    )


def _never_whole(definition: StudyDefinition, whole: float) -> Iterator[str]:
    """That the budget holds no training to its end, `whole` in resource."""
    limit = definition.budget.resource
    if limit is not None and limit < whole * (1 - TOLERANCE):
        stated = getattr(definition.algorithm, "max_resource", None) is not None
        yield (
            f"budget.resource {limit:g} is less than one training to its end, {whole:g}: no trial can come to its end; "
            f"raise budget.resource to {whole:g} or more{', or lower algorithm.max_resource' if stated else ''}"
        )


def _population(definition: StudyDefinition, spec: PbtSpec) -> Plan:
    """One rung for each interval that the budget holds, of the whole population."""
    resource, size = _limit(definition.budget.resource), spec.population
    levels = [level for level in exchanges(spec) if size * level <= resource * (1 + TOLERANCE)]
    share = math.floor(spec.quantile * size + TOLERANCE)
    most = size + share * (len(levels) - 1)
    limit = definition.budget.trials
    notes = _notes(definition)
    notes.append(f"at each level up to {share} of {size} trials give up their places to new ones")
    if limit is not None and limit < most:
        notes.append(f"budget.trials: after {limit - size} new ones everyone stays")
    if len(levels) < len(exchanges(spec)):
        notes.append(f"budget.resource ends it at resource {levels[-1]:g} of {spec.max_resource:g}")
    rungs = [{"rung": i, "trials": size, "resource": level} for i, level in enumerate(levels)]
    return Plan(
        brackets=({"bracket": 0, "label": "population", "rungs": rungs},),
        trials=None,
        total_resource=size * levels[-1],
        notes=tuple(notes),
        most_resource=size * levels[-1],
    )


def _single(definition: StudyDefinition) -> Plan:
    trials = _trial_limit(definition)
    notes = _notes(definition)
    target = UNLIMITED if "epochs" in definition.space else segment_target(definition, {})
    if target == UNLIMITED:
        notes.append("how far each trial is trained is decided by its parameters or its trainable")
        return Plan(brackets=(), trials=trials, total_resource=definition.budget.resource, notes=tuple(notes))
    if definition.budget.resource is not None:
        fit = math.floor(definition.budget.resource / target * (1 + 1e-9))
        trials = fit if trials is None else min(trials, fit)
    total = None if trials is None else trials * target
    notes.append(f"each trial is trained to resource {target:g}")
    return Plan(brackets=(), trials=trials, total_resource=total, notes=tuple(notes))


def _trial_limit(definition: StudyDefinition) -> int | None:
    """The most trials that budget, grid and a finite space allow."""
    spec, space = definition.algorithm, definition.search_space
    limits = [definition.budget.trials]
    if isinstance(spec, GridSpec):
        limits.append(space.grid_size(spec.points))
    elif not definition.repeats and space.is_finite and (space.cardinality or math.inf) <= EXACT_CARDINALITY:
        limits.append(space.cardinality)
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def _limit(value: float | None) -> float:
    return math.inf if value is None else value


def _notes(definition: StudyDefinition) -> list[str]:
    notes = []
    if definition.baseline and definition.search_space.has_default:
        notes.append("the first trial is the configuration of the defaults")
    also = [n for n in ("hours", "dollars", "patience", "target") if getattr(definition.budget, n) is not None]
    if isinstance(definition.algorithm, CmaesSpec) and not _has_numbers(definition):
        notes.append(
            "cmaes moves a normal distribution over numbers, and this space has none: it is little better than random "
            "here; bayesian learns from choices, and grid tries each once"
        )
    if also:
        notes.append(f"may end sooner by {', '.join(f'budget.{name}' for name in also)}")
    return notes


def _has_numbers(definition: StudyDefinition) -> bool:
    """Whether any parameter that is tuned is a number, or an order of choices, which is one to a model."""
    tuned = (p for p in definition.search_space.parameters.values() if p.cardinality != 1)
    return any(not isinstance(p, Choice) for p in tuned)
