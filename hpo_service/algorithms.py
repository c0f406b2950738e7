"""The registry of named sampler × scheduler pairs: what a definition's `algorithm` stands for.

`build` makes the fold, `check` refuses what it could not serve, `plan` tells beforehand what it would run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from hpo_service.core import algorithm_specs as specs
from hpo_service.core import auto, blocks, populations
from hpo_service.core.algorithm import Algorithm
from hpo_service.core.budget import Ledger, Standing
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.evolution import Subpopulations, evolving_round
from hpo_service.core.fold import State, StudyFold
from hpo_service.core.history import History
from hpo_service.core.planning import plan
from hpo_service.core.roles import Ask, Batch, Sampler, Scheduler
from hpo_service.core.rounds import Rounds
from hpo_service.core.suitability import check, check_change, segment_target
from hpo_service.core.tables import HalvingTable, HyperbandTable, halving, hyperband_round, levels_up
from hpo_service.samplers import cmaes, exploring, nsga2
from hpo_service.samplers.advised import Advice
from hpo_service.samplers.bohb import BohbSampler
from hpo_service.samplers.differential import DifferentialSampler
from hpo_service.samplers.enqueued import NothingSampler
from hpo_service.samplers.freeze_thaw.sampler import CurveSampler
from hpo_service.samplers.freeze_thaw.scene import BEGIN
from hpo_service.samplers.generations import GenerationSampler
from hpo_service.samplers.grid import GridSampler
from hpo_service.samplers.independent import Blocks, RandomSampler
from hpo_service.samplers.sobol import SobolSampler
from hpo_service.samplers.surrogate import STARTUP_TRIALS, SurrogateSampler
from hpo_service.schedulers.asynchronous import AsynchronousHalving
from hpo_service.schedulers.evolving import EvolvingBrackets
from hpo_service.schedulers.median import MedianStopping
from hpo_service.schedulers.population import Population
from hpo_service.schedulers.population_async import AsynchronousPopulation
from hpo_service.schedulers.progressive import ProgressiveHalving
from hpo_service.schedulers.single import SingleSegment
from hpo_service.schedulers.synchronous import SynchronousHalving
from hpo_service.schedulers.thawing import Thawing

__all__ = [
    "SYNCHRONOUS",
    "VERSIONS",
    "build",
    "check",
    "check_change",
    "goes_in_rounds",
    "plan",
    "segment_target",
    "startup_trials",
    "surrogate",
    "synchronous",
]

VERSIONS: Mapping[str, int] = {
    "auto": 6,
    "grid": 1,
    "random": 1,
    "sobol": 1,
    "bayesian": 3,
    "cmaes": 1,
    "nsga2": 1,
    "successive_halving": 2,
    "hyperband": 2,
    "bohb": 3,
    "dehb": 1,
    "asha": 2,
    "pasha": 1,
    "median": 2,
    "pbt": 1,
}
"""Counts up when an algorithm would propose something else from the same log; stored with every decision.

2: the Gaussian process, whoever samples from it, is fitted by our own search; of more than 2,000 results TPE is fed the
best 25 and an even spread of all others, which shows it the same as all of them. 3: bohb has the paper's densities
and draws a third of its trials at random; with three objectives or more, `bayesian` with the Gaussian process asks it
about a few places alone in every second draw. auto, 2: a model of learning curves where trials can be judged early; 3:
where it finds nothing better, ranks decide now and then, and new configurations keep away from old ones; 4: of trials
that came far, its model leaves out early values; 5: halving decides most while many trials are on their
way, and what one trial needs to come to the end is kept for it; 6: failures count against a place only where places
tell them.
"""

SYNCHRONOUS = frozenset({"grid", "random", "sobol", "cmaes", "nsga2", "successive_halving", "hyperband", "bohb"})
"""Reserve resource in canonical order: the same trials with any number of workers (with non-adaptive samplers)."""


def build(definition: StudyDefinition, picked: str | None = None) -> Algorithm:
    """The fold of a definition that `check` accepts; it has observed nothing yet. `picked`: what `auto` picked when the
    study was made (`auto.Choice.method`); left out, what it picks now."""
    return fold(definition, picked)


def fold(definition: StudyDefinition, picked: str | None = None) -> StudyFold:
    """`build`, with its facts open to look at: for tests and simulations."""
    name = definition.algorithm.name
    if name == "auto":
        picked = picked or auto.choose(definition).method
    concrete = auto.stands_for(definition, picked)
    spec = concrete.algorithm
    history = History(
        definition.objective,
        definition.search_space,
        keep_curves=isinstance(spec, specs.MedianSpec | specs.PashaSpec)
        or picked == "curves"
        or definition.budget.patience == "auto",
        others=definition.objectives[1:],
        constraints=definition.constraints,
        resumes=definition.resumes,
    )
    state = State(
        definition=definition,
        history=history,
        ledger=Ledger(gives_back=not synchronous(definition), resumes=definition.resumes),
        standing=Standing(
            definition.objective,
            judged_at_rest=isinstance(spec, specs.PbtSpec | specs.AshaSpec | specs.PashaSpec | specs.AutoSpec),
            adapts=_adapts(spec),
        ),
        synchronous=synchronous(definition),
        rounds=Rounds() if goes_in_rounds(definition) else None,
    )
    sampler = _sampler(state, concrete, picked)
    return StudyFold(
        name=name,
        version=VERSIONS[name],
        state=state,
        sampler=sampler,
        scheduler=_scheduler(state, concrete, sampler),
        segment_target=segment_target,
    )


def synchronous(definition: StudyDefinition) -> bool:
    """Whether its algorithm reserves resource in canonical order: see `SYNCHRONOUS`."""
    spec = definition.algorithm
    return spec.synchronous if isinstance(spec, specs.PbtSpec) else spec.name in SYNCHRONOUS


def _adapts(spec: specs.AlgorithmSpec) -> bool:
    """Whether later configurations are chosen by what earlier ones came to."""
    return getattr(spec, "sampler", spec.name) not in ("grid", "random", "sobol")


def goes_in_rounds(definition: StudyDefinition) -> bool:
    """Whether its trials are proposed in whole rounds, so that the same study comes out twice: asked for by
    `deterministic`, needed where proposals hang on who finished first, and possible where a controller places them."""
    if not definition.deterministic or definition.trainer.external:
        return False
    return not synchronous(definition) or surrogate(definition) is not None


def surrogate(definition: StudyDefinition) -> str | None:
    """The model that chooses the definition's configurations (`tpe`, `gp`, `curves`), or None."""
    if isinstance(definition.algorithm, specs.AutoSpec):
        choice = auto.choose(definition)
        definition = auto.stands_for(definition, choice.method)
        if choice.method in ("rungs", "curves"):
            return "tpe" if choice.method == "rungs" else "curves"
    return specs.model_of(definition.algorithm)


def startup_trials(definition: StudyDefinition) -> int:
    """How many trials are drawn at random before the model is asked."""
    spec = auto.stands_for(definition).algorithm
    if isinstance(spec, specs.BohbSpec):
        return 0
    if surrogate(definition) == "curves":
        return BEGIN
    return spec.startup_trials if isinstance(spec, specs.BayesianSpec) else STARTUP_TRIALS


def _sampler(state: State, definition: StudyDefinition, picked: str | None) -> Sampler:
    spec = definition.algorithm
    seed, repeats = definition.seed, definition.repeats
    if definition.confirms is not None:
        return NothingSampler()
    if isinstance(spec, specs.GridSpec):
        return GridSampler(seed, definition.search_space, spec.points, state.history)
    if isinstance(spec, specs.SobolSpec):
        return SobolSampler(seed, state.history, repeats=repeats)
    if isinstance(spec, specs.BohbSpec):
        return BohbSampler(
            seed,
            state.history,
            repeats=repeats,
            random_fraction=spec.random_fraction,
            widened=spec.bandwidth_factor,
        )
    if isinstance(spec, specs.DehbSpec):
        return DifferentialSampler(
            seed,
            state.history,
            Subpopulations(evolving_round(definition)),
            mutation=spec.mutation,
            crossover=spec.crossover,
            repeats=repeats,
        )
    if isinstance(spec, specs.CmaesSpec):
        return GenerationSampler(seed, state.history, cmaes.begin(spec.population), repeats=repeats)
    if isinstance(spec, specs.Nsga2Spec):
        return GenerationSampler(seed, state.history, nsga2.begin(spec.population), repeats=repeats)
    if picked == "curves":
        return CurveSampler(seed, state.history, auto.ladder(definition), repeats=repeats, warm=lambda: state.warm)
    name = "tpe" if picked == "rungs" else surrogate(definition)
    if name is None:
        size = blocks.size(definition)
        shared = blocks.shared(definition)
        return RandomSampler(seed, repeats=repeats, blocks=Blocks(size=size, shared=shared) if size > 1 else None)
    startup = spec.startup_trials if isinstance(spec, specs.BayesianSpec) else None
    return SurrogateSampler(
        seed,
        state.history,
        surrogate=name,
        repeats=repeats,
        startup_trials=startup,
        advice=None if picked is None else Advice(seed, state.history, lambda: state.warm),
    )


def _scheduler(state: State, definition: StudyDefinition, sampler: Sampler) -> Scheduler:
    spec = definition.algorithm
    if isinstance(spec, specs.SuccessiveHalvingSpec):
        return SynchronousHalving(state, HalvingTable(halving(spec)), _used_up(state, sampler))
    if isinstance(spec, specs.HyperbandSpec | specs.BohbSpec):
        anew = not definition.resumes
        table = HyperbandTable(hyperband_round(spec.min_resource, spec.max_resource, spec.eta, anew=anew))
        return SynchronousHalving(
            state, table, _used_up(state, sampler), fits_at_starts=isinstance(spec, specs.BohbSpec)
        )
    if isinstance(spec, specs.AshaSpec):
        return AsynchronousHalving(state, levels_up(spec.min_resource, spec.max_resource, spec.eta), spec.eta)
    if isinstance(sampler, DifferentialSampler):
        return EvolvingBrackets(state, sampler.populations)
    if isinstance(spec, specs.PashaSpec):
        levels = levels_up(spec.min_resource, spec.max_resource, spec.eta)
        epsilon = None if spec.epsilon == "auto" else spec.epsilon
        return ProgressiveHalving(state, levels, spec.eta, epsilon=epsilon)
    if isinstance(spec, specs.MedianSpec):
        return MedianStopping(state, spec)
    if isinstance(spec, specs.PbtSpec):
        explore = functools.partial(exploring.explore, names=populations.mutated(definition), resample=spec.resample)
        if spec.synchronous:
            return Population(state, spec, explore, _used_up(state, sampler))
        return AsynchronousPopulation(state, spec, explore)
    if isinstance(sampler, CurveSampler):
        return Thawing(state, sampler)
    if isinstance(spec, specs.AutoSpec):
        return AsynchronousHalving(state, auto.rungs(definition), auto.ETA)
    varies = spec.max_resource is None and "epochs" in definition.space
    confirms = definition.confirms
    return SingleSegment(
        None if varies else segment_target(definition, {}),
        horizon=None if confirms is None else confirms.horizon,
    )


def _used_up(state: State, sampler: Sampler) -> Callable[[int], bool]:
    history = state.history

    def used_up(space_version: int) -> bool:
        if history.waiting:
            return False
        ask = Ask(
            number=history.next_number,
            space=history.spaces[space_version],
            space_version=space_version,
            history=history,
            batch=Batch(history),
        )
        return sampler.spent(ask) is not None

    return used_up
