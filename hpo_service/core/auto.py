"""What `algorithm: auto` picks for a definition, and why: a pure function of the definition as it was submitted.

The pick is made once, written into the study's first event, and kept when the definition changes. Here: the rules, and
the definition that a pick stands for. Not here: the code of what was picked (`algorithms`), past studies (`portfolio`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hpo_service.core.algorithm_specs import AlgorithmSpec, AutoSpec, BayesianSpec, GridSpec, Nsga2Spec, SobolSpec
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.proposals import UNLIMITED
from hpo_service.core.tables import TOLERANCE, exact
from search_spaces import BaseParameter, SearchSpace
from search_spaces.catalog import RECIPES

Method = Literal["curves", "rungs", "gp", "tpe", "grid", "sobol", "nsga2"]
METHODS: tuple[str, ...] = get_args(Method)

SMALL_SPACE = 64
"""A space of at most so many configurations is tried out whole, where the budget holds all of them."""
MANY_PARAMETERS = 20
"""Beyond so many tuned parameters a Gaussian process of a few hundred results knows little more than its prior."""
CONDITIONAL_SHARE = 1 / 3
"""From this share of conditional parameters on, most places of a process's cube stand for no difference at all."""
LARGE_BUDGET = 1000
"""With room for more full trainings than that, results outnumber by far what a process is fed."""
MANY_TRAININGS = 500
"""Of several objectives: with room for more, generations come as far as a model and take no time to think."""
MOST_PROCESSES = 2
"""Objectives up to which Gaussian processes find more than TPE does (docs/search-quality.md, "Several objectives")."""
FEWEST_SEGMENTS = 3.0
"""Where max_resource is less than so many times min_resource, there is nothing to judge early."""
FEWEST_EPOCHS = 8
"""From so many epochs on, the first segment of `curves` has two: one value does not say how a curve goes on."""
ETA = 3
FINEST, GROWTH, CLOSE = 27.0, 1.42, 0.15
"""Of `curves`: the first level as a share of a full training, how levels grow, and how near the last but one may be."""
STARTUP = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What `auto` picked, and why, in words that follow a colon."""

    method: Method
    reason: str

    @property
    def text(self) -> str:
        """For people: the pick in words, and the reason."""
        return f"{NAMES[self.method]}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        return {"method": self.method, "reason": self.reason, "text": self.text}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Choice:
        return cls(method=document["method"], reason=document["reason"])


NAMES: Mapping[str, str] = {
    "curves": "a model of learning curves, by which trials pause and go on",
    "rungs": "asynchronous rungs, with configurations from TPE",
    "gp": "a Gaussian process of final values",
    "tpe": "TPE on final values",
    "grid": "every configuration",
    "sobol": "a Sobol sequence",
    "nsga2": "NSGA-II, generations that are bred from the front",
}


def choose(definition: StudyDefinition) -> Choice:
    """The pick for a definition whose algorithm is `auto`, by rules that are tried in this order."""
    space = definition.search_space
    size, most = space.cardinality, trainings(definition)
    if size is not None and size <= min(SMALL_SPACE, most) and most < math.inf and not definition.repeats:
        return Choice(method="grid", reason=f"the space has {size} configurations, and the budget holds all of them")
    tuned, conditional = _tuned(space)
    wide = _why_wide(len(tuned), len(conditional))
    if len(definition.objectives) > 1:
        return _of_several(definition, wide, most)
    whole = _why_whole(definition)
    if whole is None:
        sized = "" if definition.resumes else f", anew at each of {len(rungs(definition))} {_sizes(definition)}"
        if wide is not None:
            return Choice(method="rungs", reason=f"trials can be judged early{sized}, and {wide}")
        far = _resource(definition)
        return Choice(
            method="curves", reason=f"one objective, and trials of up to {far:g} that can be judged early{sized}"
        )
    if wide is None and LARGE_BUDGET < most < math.inf:
        wide = f"the budget holds {most:g} trainings, more than a process can take in"
    if wide is not None:
        return Choice(method="tpe", reason=f"{whole}, and {wide}")
    return Choice(method="gp", reason=f"{whole}, and {_count(len(tuned), 'parameter')} to learn about")


def _of_several(definition: StudyDefinition, wide: str | None, most: float) -> Choice:
    """For several objectives, of which nobody knows how to judge trials early."""
    count = len(definition.objectives)
    if MANY_TRAININGS < most < math.inf:
        return Choice(method="nsga2", reason=f"{count} objectives, and a budget of {most:g} trainings")
    if wide is None and count > MOST_PROCESSES:
        wide = f"beyond {MOST_PROCESSES} it has found more than Gaussian processes"
    if wide is not None:
        return Choice(method="tpe", reason=f"{count} objectives, and {wide}")
    reason = f"{count} objectives, and it tries where the volume before their front may grow most"
    return Choice(method="gp", reason=reason)


def stands_for(definition: StudyDefinition, method: str | None = None) -> StudyDefinition:
    """The definition with the algorithm that `auto` stands for, where that is one that can be named (grid, sobol,
    bayesian); unchanged for what only `auto` has (`curves`, `rungs`), and for any other algorithm."""
    spec = definition.algorithm
    if not isinstance(spec, AutoSpec):
        return definition
    far = spec.max_resource
    named: Mapping[str, AlgorithmSpec] = {
        "grid": GridSpec(max_resource=far),
        "sobol": SobolSpec(max_resource=far),
        "nsga2": Nsga2Spec(max_resource=far),
        "gp": BayesianSpec(surrogate="gp", max_resource=far, startup_trials=STARTUP),
        "tpe": BayesianSpec(surrogate="tpe", max_resource=far, startup_trials=STARTUP),
    }
    found = named.get(method or choose(definition).method)
    return definition if found is None else definition.model_copy(update={"algorithm": found})


def full_resource(definition: StudyDefinition, params: Mapping[str, Any]) -> float:
    """How far a trial with these parameters is trained where no scheduler decides it, in resource.

    `algorithm.max_resource`, else `epochs` among its parameters, else among the trainer's, else the recipe's
    default; UNLIMITED where the trainable ends by itself.
    """
    maximum = getattr(definition.algorithm, "max_resource", None)
    if maximum is not None:
        return float(maximum)
    recipe = RECIPES.get(definition.trainer.recipe or "")
    declared = recipe.parameters.get("epochs") if recipe else None
    given = (params.get("epochs"), definition.trainer.params.get("epochs"), declared and declared.default)
    for epochs in given:
        if isinstance(epochs, int | float) and not isinstance(epochs, bool) and 0 < epochs < math.inf:
            return float(epochs)
    return UNLIMITED


def trainings(definition: StudyDefinition) -> float:
    """How many trainings to the end the budget holds; infinite where neither trials nor resource bound it."""
    budget, far = definition.budget, _resource(definition)
    bounds = [float(budget.trials)] if budget.trials is not None else []
    if budget.resource is not None and far != UNLIMITED:
        bounds.append(budget.resource * (1 + TOLERANCE) // far)
    return min(bounds, default=math.inf)


def levels(definition: StudyDefinition) -> tuple[float, ...]:
    """Where trials are looked at, lowest first: of `curves` and of `rungs`."""
    return ladder(definition) if choose(definition).method == "curves" else rungs(definition)


def ladder(definition: StudyDefinition) -> tuple[float, ...]:
    """Of `curves`: from a 27th of max_resource, but no less than min_resource, each level 1.4 times the one before;
    whole numbers where both ends are, and for a recipe. Of sizes, which are trained anew each time, as `rungs`."""
    if not definition.resumes:
        return rungs(definition)
    spec, far = definition.algorithm, _resource(definition)
    least = spec.min_resource if isinstance(spec, AutoSpec) else 1.0
    whole = definition.trainer.recipe is not None or (far == int(far) and least == int(least))
    first = max(least, far / FINEST)
    if whole and far >= FEWEST_EPOCHS:
        first = max(first, 2.0)
    found = [float(math.ceil(exact(first))) if whole else exact(first)]
    while found[-1] < far * (1 - TOLERANCE):
        level = found[-1] * GROWTH
        found.append(min(far, max(found[-1] + 1.0, float(round(level))) if whole else level))
    if len(found) > 2 and found[-1] - found[-2] < CLOSE * far:
        found.pop(-2)
    return tuple(found)


def rungs(definition: StudyDefinition) -> tuple[float, ...]:
    """Of `rungs`: max_resource divided by powers of 3 as long as that is not below min_resource; whole numbers for a
    recipe, which trains whole epochs."""
    spec, far = definition.algorithm, _resource(definition)
    least = spec.min_resource if isinstance(spec, AutoSpec) else 1.0
    found = [exact(far)]
    while (level := far / ETA ** len(found)) >= least * (1 - TOLERANCE):
        whole = definition.trainer.recipe is not None and definition.resumes
        found.append(float(math.ceil(exact(level))) if whole else exact(level))
    return tuple(reversed(found))


def _sizes(definition: StudyDefinition) -> str:
    return {"data_fraction": "shares of the data", "width": "widths"}.get(definition.fidelity, "resolutions")


def _resource(definition: StudyDefinition) -> float:
    return UNLIMITED if "epochs" in definition.space and definition.resumes else full_resource(definition, {})


def _tuned(space: SearchSpace) -> tuple[list[BaseParameter], list[BaseParameter]]:
    """The parameters that have more than one value, and those of them that have a condition."""
    tuned = [space.parameters[name] for name in space.names if space.parameters[name].cardinality != 1]
    return tuned, [parameter for parameter in tuned if parameter.when]


def _why_wide(tuned: int, conditional: int) -> str | None:
    """Why the space is none for a Gaussian process, or None."""
    if tuned > MANY_PARAMETERS:
        return f"{tuned} parameters are more than {MANY_PARAMETERS}"
    if conditional > tuned * CONDITIONAL_SHARE:
        return f"{conditional} of {_count(tuned, 'parameter')} hang on conditions"
    return None


def _why_whole(definition: StudyDefinition) -> str | None:
    """Why trials are trained in one piece, or None where they can be judged early."""
    spec, far = definition.algorithm, _resource(definition)
    least = spec.min_resource if isinstance(spec, AutoSpec) else 1.0
    if "epochs" in definition.space and definition.resumes:
        return "epochs are tuned, so each trial has its own length"
    if far == UNLIMITED:
        return "nothing says how far a trial can be trained (max_resource)"
    if far < FEWEST_SEGMENTS * least:
        return f"trials of {far:g} have too few steps to be judged early"
    if definition.trainer.kind == "optuna":
        return "an Optuna objective keeps no checkpoints, so a trial that pauses begins anew"
    return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
