"""What an algorithm cannot serve, said before anything is stored: grid sizes, rung arithmetic, missing horizons.

`check` raises with every broken field; the definition's own rules were checked by `core.definition.parse`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hpo_service.core import auto, blocks, populations
from hpo_service.core.algorithm_specs import (
    AshaSpec,
    AutoSpec,
    BohbSpec,
    DehbSpec,
    GridSpec,
    HyperbandSpec,
    MedianSpec,
    PashaSpec,
    PbtSpec,
    SuccessiveHalvingSpec,
    model_of,
)
from hpo_service.core.auto import full_resource
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.evolution import first_bracket_problems
from hpo_service.core.proposals import UNLIMITED
from hpo_service.core.tables import TOLERANCE, exchanges, halving, hyperband_round, judgements, levels_up, rung_count
from hpo_service.errors import FieldProblem, InvalidInput, Unsupported
from search_spaces import SpaceError

MAX_GRID = 100_000
COUNTED = 2 * MAX_GRID
"""Combinations tied by conditions that are counted one by one, at most."""
SEVERAL_OBJECTIVES = frozenset({"grid", "random", "sobol", "bayesian", "nsga2"})
MAX_PROCESSES = 4
"""Objectives that Gaussian processes serve, at most."""


def check(definition: StudyDefinition) -> None:
    """Raise InvalidInput, or Unsupported where only the algorithm is in the way, naming each broken field."""
    resumes = definition.resumes
    definition = auto.stands_for(definition)
    unsupported = list(_several_objectives(definition))
    if unsupported:
        raise Unsupported.of(*unsupported)
    problems = [*_levels(definition, resumes=resumes), *_grid(definition), *_defaults(definition)]
    problems += _horizon(definition) if resumes else []
    problems += blocks.problems(definition)
    problems += first_bracket_problems(definition)
    problems += populations.problems(definition)
    if not problems:
        problems = list(_budget(definition))
    if problems:
        raise InvalidInput.of(*problems)


def check_change(old: StudyDefinition, new: StudyDefinition) -> None:
    """Raise Unsupported for a changed definition that a running study cannot go on with; `check` the new one too."""
    problems = []
    changed_space = old.space != new.space or old.forbid != new.forbid
    if changed_space and isinstance(old.algorithm, PbtSpec):
        problems.append(
            FieldProblem(
                path="space",
                rule="the space of a population cannot change: its trials go on with values of it",
                remedy="submit a new study",
            )
        )
    if changed_space and auto.stands_for(old).algorithm.name == "grid":
        problems.append(
            FieldProblem(
                path="space",
                rule="the space of a grid cannot change: its points are numbered",
                remedy="submit a new study",
            )
        )
    if ("epochs" in old.space) != ("epochs" in new.space):
        problems.append(
            FieldProblem(
                path="space.epochs",
                rule="epochs cannot come into a space or leave it while the study runs",
                remedy="submit a new study",
            )
        )
    for name in ("algorithm", "objectives", "constraints", "trainer", "seed", "repeats", "baseline"):
        if getattr(old, name) != getattr(new, name):
            path = "objective" if name == "objectives" else name
            problems.append(
                FieldProblem(path=path, rule=f"{path} cannot change while the study runs", remedy="submit a new study")
            )
    if problems:
        raise Unsupported.of(*problems)


segment_target = full_resource
"""How far a trial is trained where no scheduler decides it: see `auto.full_resource`."""


def _several_objectives(definition: StudyDefinition) -> Iterator[FieldProblem]:
    name = definition.algorithm.name
    if len(definition.objectives) > 1 and name not in SEVERAL_OBJECTIVES:
        yield FieldProblem(
            path="objective",
            rule=f"the algorithm {name} serves one objective",
            value=[o.metric for o in definition.objectives],
            remedy="keep one, or use one of the algorithms for several: bayesian, nsga2; grid, random, sobol",
        )
    elif len(definition.objectives) > MAX_PROCESSES and model_of(definition.algorithm) == "gp":
        yield FieldProblem(
            path="objective",
            rule=f"Gaussian processes serve at most {MAX_PROCESSES} objectives: the volume before a front of more is "
            "cut into too many pieces",
            value=[o.metric for o in definition.objectives],
            remedy="set algorithm.surrogate: tpe, or use nsga2",
        )


def _levels(definition: StudyDefinition, *, resumes: bool) -> Iterator[FieldProblem]:
    spec, whole = definition.algorithm, definition.trainer.recipe is not None and resumes
    if isinstance(spec, SuccessiveHalvingSpec | AshaSpec | PashaSpec):
        yield from _powers(spec)
        if whole and spec.min_resource != int(spec.min_resource):
            yield _fractional("algorithm.min_resource", spec.min_resource, _around(spec.min_resource, 1))
        if isinstance(spec, SuccessiveHalvingSpec) and spec.keep > spec.trials:
            yield FieldProblem(
                path="algorithm.keep",
                rule=f"keep must be at most trials={spec.trials}",
                value=spec.keep,
                remedy="lower keep or raise trials",
            )
    elif isinstance(spec, HyperbandSpec | BohbSpec | DehbSpec) and whole:
        yield from _whole_hyperband(spec)
    elif isinstance(spec, MedianSpec):
        yield from _median(spec, whole=whole)
    elif isinstance(spec, PbtSpec):
        yield from _whole_population(spec) if whole else ()
    elif whole:
        for name in ("min_resource", "max_resource"):
            value = getattr(spec, name, None)
            if value is not None and value != int(value):
                yield _fractional(f"algorithm.{name}", value, _around(value, 1))


def _powers(spec: SuccessiveHalvingSpec | AshaSpec | PashaSpec) -> Iterator[FieldProblem]:
    """Of halving: max_resource is min_resource times a power of eta."""
    power = rung_count(spec.min_resource, spec.max_resource, spec.eta) - 1
    below, above = spec.min_resource * spec.eta**power, spec.min_resource * spec.eta ** (power + 1)
    if not math.isclose(spec.max_resource, below, rel_tol=TOLERANCE):
        yield FieldProblem(
            path="algorithm.max_resource",
            rule=(
                f"max_resource must be min_resource={spec.min_resource:g} times a power of eta={spec.eta}, "
                "so that the levels fit"
            ),
            value=spec.max_resource,
            remedy=f"the nearest that fit are {below:g} and {above:g}",
        )


def _whole_hyperband(spec: HyperbandSpec | BohbSpec | DehbSpec) -> Iterator[FieldProblem]:
    """Of a recipe, which trains whole epochs: R·eta^-s is whole for every bracket."""
    power = spec.eta ** (rung_count(spec.min_resource, spec.max_resource, spec.eta) - 1)
    lowest = spec.max_resource / power
    if lowest < 1 - TOLERANCE:
        yield FieldProblem(
            path="algorithm.min_resource",
            rule=f"a recipe trains whole epochs, and the lowest level would be {lowest:g}",
            value=spec.min_resource,
            remedy="set min_resource to 1 or more",
        )
    elif not math.isclose(lowest, round(lowest), rel_tol=TOLERANCE):
        yield FieldProblem(
            path="algorithm.max_resource",
            rule=f"a recipe trains whole epochs: max_resource must be a multiple of eta^s_max = {power}",
            value=spec.max_resource,
            remedy=f"the nearest that fit are {_around(spec.max_resource, power)}",
        )


def _median(spec: MedianSpec, *, whole: bool) -> Iterator[FieldProblem]:
    if spec.grace_resource > spec.max_resource:
        yield FieldProblem(
            path="algorithm.grace_resource",
            rule=f"grace_resource must be at most max_resource={spec.max_resource:g}",
            value=spec.grace_resource,
            remedy="lower grace_resource",
        )
    if spec.max_resource / spec.interval > 100_000:
        yield FieldProblem(
            path="algorithm.interval",
            rule=f"there may be at most 100000 judgements up to max_resource={spec.max_resource:g}",
            value=spec.interval,
            remedy="raise interval",
        )
    for name in ("max_resource", "grace_resource", "interval"):
        value = getattr(spec, name)
        if whole and value != int(value):
            yield _fractional(f"algorithm.{name}", value, _around(value, 1))


def _whole_population(spec: PbtSpec) -> Iterator[FieldProblem]:
    for name in ("interval", "max_resource"):
        value = getattr(spec, name)
        if value != int(value):
            yield _fractional(f"algorithm.{name}", value, _around(value, 1))


def _fractional(path: str, value: float, fitting: str) -> FieldProblem:
    return FieldProblem(
        path=path,
        rule="a recipe trains whole epochs, so this must be a whole number",
        value=value,
        remedy=f"the nearest that fit are {fitting}",
    )


def _around(value: float, unit: int) -> str:
    below, above = math.floor(value / unit) * unit, math.ceil(value / unit) * unit
    return f"{below} and {above}" if below >= unit else f"{above} and {above + unit}"


def _grid(definition: StudyDefinition) -> Iterator[FieldProblem]:
    spec = definition.algorithm
    if not isinstance(spec, GridSpec):
        return
    try:
        size = definition.search_space.grid_size(spec.points, limit=COUNTED)
    except SpaceError as error:
        yield FieldProblem(
            path="algorithm.points",
            rule=f"a grid has at most {MAX_GRID} points",
            value=f"more ({error.rule}, but got {error.got})",
            remedy="lower points, narrow the space, or use sobol",
        )
        return
    if size > MAX_GRID:
        yield FieldProblem(
            path="algorithm.points",
            rule=f"a grid has at most {MAX_GRID} points",
            value=size,
            remedy="lower points, narrow the space, or use sobol",
        )


def _horizon(definition: StudyDefinition) -> Iterator[FieldProblem]:
    if definition.has_scheduler:
        return
    maximum = getattr(definition.algorithm, "max_resource", None)
    if maximum is not None and "epochs" in definition.space:
        yield FieldProblem(
            path="algorithm.max_resource",
            rule="max_resource and a tuned epochs both say how far a trial is trained",
            value=maximum,
            remedy="remove algorithm.max_resource or space.epochs",
        )
    unknown = "epochs" not in definition.space and segment_target(definition, {}) == UNLIMITED
    if unknown and definition.budget.resource is not None:
        yield FieldProblem(
            path="budget.resource",
            rule="a budget of resource is reserved in whole trials, so their length must be known",
            value=definition.budget.resource,
            remedy="set algorithm.max_resource, or bound the study by trials, hours or dollars",
        )


def _defaults(definition: StudyDefinition) -> Iterator[FieldProblem]:
    space = definition.search_space
    if not (definition.baseline and space.has_default):
        return
    try:
        space.default_params()
    except SpaceError as error:
        yield FieldProblem(
            path="space",
            rule="the configuration of the defaults is tried first, so it must be allowed",
            value=str(error),
            remedy="change a default, or set baseline: false",
        )


def _budget(definition: StudyDefinition) -> Iterator[FieldProblem]:
    """A budget of resource holds at least the first trial."""
    limit, needs = definition.budget.resource, least_resource(definition)
    if limit is not None and needs is not None and limit < needs * (1 - TOLERANCE):
        yield FieldProblem(
            path="budget.resource",
            rule=f"the budget must hold at least one trial, which needs {needs:g}",
            value=limit,
            remedy=f"raise it to {needs:g} or more",
        )


def least_resource(definition: StudyDefinition) -> float | None:
    """What the first trial, or the smallest first bracket, reserves; None where parameters decide that."""
    definition = auto.stands_for(definition)
    spec = definition.algorithm
    if isinstance(spec, SuccessiveHalvingSpec):
        return halving(spec).cost(1)
    if isinstance(spec, HyperbandSpec | BohbSpec | DehbSpec):
        return hyperband_round(spec.min_resource, spec.max_resource, spec.eta, anew=not definition.resumes)[0].cost(1)
    if isinstance(spec, AshaSpec | PashaSpec | MedianSpec | AutoSpec):
        return first_levels(definition)[0]
    if spec.max_resource is None and "epochs" in definition.space:
        return None
    target = segment_target(definition, {})
    return None if target == UNLIMITED else target


def first_levels(definition: StudyDefinition) -> Sequence[float]:
    """The levels of an asynchronous scheduler, lowest first."""
    spec = definition.algorithm
    if isinstance(spec, MedianSpec):
        return judgements(spec)
    if isinstance(spec, PbtSpec):
        return exchanges(spec)
    if isinstance(spec, AshaSpec | PashaSpec):
        return levels_up(spec.min_resource, spec.max_resource, spec.eta)
    if isinstance(spec, AutoSpec) and isinstance(auto.stands_for(definition).algorithm, AutoSpec):
        return auto.levels(definition)
    return ()
