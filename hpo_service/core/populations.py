"""Populations: which parameters change when a trial goes on from another's weights, and what definitions may not say.

Not here: the exchange itself (`schedulers`), nor how a value changes (`samplers.exploring`).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator

from hpo_service.core.algorithm_specs import PbtSpec
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.tables import TOLERANCE, exchanges
from hpo_service.errors import FieldProblem
from search_spaces.catalog import RECIPES, lane_names
from search_spaces.parameters import LogNormal, LogUniform, Normal, QLogUniform, QUniform, Uniform

REAL = (Uniform, LogUniform, QUniform, QLogUniform, Normal, LogNormal)
LEAST_SHARE = 1
MOST_LEVELS = 10_000


def mutated(definition: StudyDefinition) -> frozenset[str]:
    """The parameters that change: those of `mutate`; else the tuned lanes of a built-in recipe, or of any other trainer
    the tuned real numbers, which shape no model."""
    spec = definition.algorithm
    given = spec.mutate if isinstance(spec, PbtSpec) else None
    if given is not None:
        return frozenset(given)
    tuned = definition.search_space.parameters
    if definition.trainer.recipe in RECIPES:
        return frozenset(n for n in lane_names(definition.trainer.recipe) if n in tuned and tuned[n].cardinality != 1)
    return frozenset(name for name, parameter in tuned.items() if isinstance(parameter, REAL))


def problems(definition: StudyDefinition) -> Iterator[FieldProblem]:
    """What breaks the rules of population based training; the space is known to be right."""
    spec = definition.algorithm
    if isinstance(spec, PbtSpec):
        yield from _trainer(definition)
        yield from _sizes(definition, spec)
        yield from _mutate(definition, spec)


def _trainer(definition: StudyDefinition) -> Iterator[FieldProblem]:
    trainer = definition.trainer
    if trainer.optuna is not None:
        yield FieldProblem(
            path="trainer.optuna",
            rule="pbt copies the weights of trials, and an Optuna objective keeps no checkpoints",
            value=trainer.optuna,
            remedy="write it as a function that saves and loads checkpoints (docs/own-function.md), or use asha",
        )
    if trainer.external:
        yield FieldProblem(
            path="trainer.external",
            rule="pbt copies the weights of trials, and external workers keep theirs to themselves",
            value=True,
            remedy="let the service train (recipe, function or ray_tune), or use asha",
        )


def _tenth(resource: float) -> float:
    """About a tenth, and a whole number where there is one: recipes train whole epochs."""
    return resource / 10 if resource <= 1 else max(1.0, resource // 10)


def _sizes(definition: StudyDefinition, spec: PbtSpec) -> Iterator[FieldProblem]:
    if spec.quantile * spec.population < LEAST_SHARE - TOLERANCE:
        yield FieldProblem(
            path="algorithm.quantile",
            rule=f"the worst part of a population of {spec.population} must be one trial at least",
            value=spec.quantile,
            remedy=f"raise it to {math.ceil(1000 / spec.population) / 1000:g} or more, or raise population",
        )
    if spec.interval >= spec.max_resource * (1 - TOLERANCE):
        yield FieldProblem(
            path="algorithm.interval",
            rule=f"there must be an exchange before max_resource={spec.max_resource:g}",
            value=spec.interval,
            remedy=f"lower it, to {_tenth(spec.max_resource):g} for example",
        )
    elif spec.max_resource / spec.interval > MOST_LEVELS:
        yield FieldProblem(
            path="algorithm.interval",
            rule=f"there may be at most {MOST_LEVELS} exchanges up to max_resource={spec.max_resource:g}",
            value=spec.interval,
            remedy="raise interval",
        )
    else:
        yield from _budget(definition, spec)


def _budget(definition: StudyDefinition, spec: PbtSpec) -> Iterator[FieldProblem]:
    trials, resource = definition.budget.trials, definition.budget.resource
    least = spec.population * exchanges(spec)[0]
    if trials is not None and trials < spec.population:
        yield FieldProblem(
            path="budget.trials",
            rule=f"the budget must hold the population of {spec.population}; each trial that takes a place is one more",
            value=trials,
            remedy=f"raise it to {spec.population} or more, or leave it out: pbt ends by itself",
        )
    if resource is not None and resource < least * (1 - TOLERANCE):
        yield FieldProblem(
            path="budget.resource",
            rule=f"the budget must hold the first interval of the whole population, which needs {least:g}",
            value=resource,
            remedy=f"raise it to {least:g} or more",
        )
    space = definition.search_space
    known = space.cardinality if space.is_finite else None
    if not definition.repeats and known is not None and known < spec.population:
        yield FieldProblem(
            path="algorithm.population",
            rule=f"the first trials are drawn without repetition, and the space has {known} configurations",
            value=spec.population,
            remedy="widen the space, lower population, or set repeats: true",
        )


def _mutate(definition: StudyDefinition, spec: PbtSpec) -> Iterator[FieldProblem]:
    tuned, recipe = definition.search_space.parameters, definition.trainer.recipe
    lanes = frozenset(lane_names(recipe)) if recipe is not None and recipe in RECIPES else None
    for name in spec.mutate or ():
        if name not in tuned:
            close = difflib.get_close_matches(name, tuned, n=1, cutoff=0.5)
            yield FieldProblem(
                path="algorithm.mutate",
                rule="mutate names parameters of the space",
                value=name,
                remedy=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(tuned)}",
            )
        elif lanes is not None and name not in lanes:
            yield FieldProblem(
                path="algorithm.mutate",
                rule="a structural parameter cannot change while the weights stay",
                value=name,
                remedy=f"leave it out; those that can: {', '.join(sorted(lanes & frozenset(tuned))) or 'none tuned'}",
            )
    if spec.mutate is None and not mutated(definition):
        yield FieldProblem(
            path="algorithm.mutate",
            rule="some tuned parameter must be able to change while the weights stay",
            value=sorted(tuned),
            remedy="tune one such as lr, or name in mutate what may change",
        )
