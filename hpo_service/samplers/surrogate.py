"""Bayesian optimisation: TPE (Bergstra et al. 2011) and Gaussian processes with log expected improvement
(Ament et al. 2023), both by Optuna's samplers.

Every trial gets a fresh sampler, seeded by (study seed, trial number), over data made from the log alone: a draw after
a restart is the draw that would have been. Data is kept up, never gathered again: what one draw costs does not grow
with the study. Here: which data, which seed, conditions. Not here: Optuna (see `encoding`, `parzen` and
`process`, imported when the first model is asked, for it is slow to import), and what the newest model looks like
(`surrogate_view`), which is noted here and read by no draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpo_service.core import seeds
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.samplers.advised import Advice
from hpo_service.samplers.evidence import Evidence
from hpo_service.samplers.independent import RandomSampler
from hpo_service.samplers.levels import Rule
from hpo_service.samplers.observations import Basis, Observations
from hpo_service.samplers.outcomes import Outcomes
from hpo_service.samplers.surrogate_view import (
    MAX_NEXT,
    DensityModel,
    ProcessModel,
    Scene,
    SurrogateView,
    acquisition_name,
    incumbent,
    look,
)
from hpo_service.samplers.threads import imported

if TYPE_CHECKING:
    from hpo_service.samplers.encoding import Codes, Encoding
    from hpo_service.samplers.hypervolume import Processes
    from hpo_service.samplers.judged import Judged
    from hpo_service.samplers.parzen import Densities
    from hpo_service.samplers.process import Process

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

STARTUP_TRIALS = 10
"""Random trials before a model is asked, where a scheduler's `sampler` has no option for it."""
FED = {"tpe": Rule(limit=2_000, best=25, newest=0), "gp": Rule(limit=240, best=120, newest=60)}
"""The observations that a model is given (see `levels`). TPE takes at most 25 for good ones, and all others for a
picture of the rest: an even spread of them shows the same. A process is to be exact where values are good."""
RUNNING_FED = {"tpe": 1_000, "gp": 100}
"""The most trials on their way that it is given: the newest."""
TRIES = {"tpe": 8, "gp": 2}
"""Draws of a configuration that is allowed and new, before an independent draw takes its place."""
NAMES = {"tpe": "TPE", "gp": "Gaussian process"}


class _Logged:
    """A model's data as the log has it: `evidence`, and the `numbers` and `values` of those of its trials that have a
    result (NaN: failed). `process`: the Gaussian process of it, once one was asked for; a pure function of it too."""

    def __init__(self, evidence: Evidence, numbers: Integers, values: Floats) -> None:
        self.evidence = evidence
        self.process: Process | Processes | None = None
        self._numbers = numbers
        self._values = values

    @property
    def empty(self) -> bool:
        """Whether there is nothing to learn from."""
        judged = self.evidence.judged
        return bool(self.evidence.running.all()) or (judged is not None and judged.empty)

    @property
    def used(self) -> tuple[tuple[int, float | None], ...]:
        """The trials that the model was fed, with their values."""
        pairs = zip(self._numbers.tolist(), self._values.tolist(), strict=True)
        return tuple((number, None if math.isnan(value) else value) for number, value in pairs)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """The newest model: whom it was for, its data (`evidence`: with the trials of the same round of proposals), and
    what the Gaussian process was asked by."""

    number: int
    space_version: int
    basis: Basis
    logged: _Logged
    evidence: Evidence
    acquisition: Any = None


class SurrogateSampler:
    """A `Sampler`: the model learns from all that is known (`bohb` has one that does not). `advice`: what past studies
    say, where there are any, as long as the model cannot be asked."""

    def __init__(
        self,
        study_seed: int,
        history: History,
        *,
        surrogate: str,
        repeats: bool,
        startup_trials: int | None,
        advice: Advice | None = None,
    ) -> None:
        self._seed = study_seed
        self._history = history
        self._surrogate = surrogate
        self._repeats = repeats
        self._scheduled = startup_trials is None
        self._startup = STARTUP_TRIALS if startup_trials is None else startup_trials
        self._advice = advice
        self._independent = RandomSampler(study_seed, repeats=repeats)
        self._observations = Observations(history)
        self._outcomes = Outcomes(history)
        self._encodings: dict[int, tuple[Encoding, Codes]] = {}  # by version of the space
        self._logged: tuple[Any, _Logged] | None = None  # the newest, with what it is of
        self._newest: _Fit | None = None  # for `view` alone
        self._gain: Callable[[], float] | None = None  # of the newest draw

    def draw(self, ask: Ask) -> Draw | None:
        """The model's choice; an independent draw at first, and where the model finds nothing new."""
        self._gain = None
        if ask.number < self._startup:
            return self._independently(ask, f"trial {ask.number} of {self._startup} before the model starts")
        basis = self._basis(ask)
        if basis is None:
            return self._independently(ask, "too few results for a model")
        if self.spent(ask) is not None:
            return None
        if not self._encoding(ask.space_version)[0].distributions:
            return self._independently(ask, "nothing to model")
        logged = self._data(ask, basis)
        if logged.empty:
            return self._independently(ask, "no result lies in the space")
        evidence = self._with_pending(ask, logged)
        for attempt in range(TRIES[self._surrogate]):
            seed = seeds.seed32(self._seed, ask.number, *([attempt] * (attempt > 0)))
            params, acquisition = self._choose(ask, logged, evidence, seed)
            self._newest = self._fit_of(ask, basis, logged, evidence, acquisition)
            if ask.space.is_forbidden(params):
                continue
            key = ask.space.config_key(params)
            if self._repeats or not ask.taken(key):
                if self._surrogate == "gp" and not self._scheduled and not self._outcomes.wanted:
                    self._gain = partial(self._improvement, ask.space_version, logged, params)
                return Draw(params=params, key=key, reason=self._reason(basis))
        return self._independently(ask, "the model's choices were forbidden or tried before")

    def expected_gain(self) -> float | None:
        """What the Gaussian process of final values expects of the configuration that was drawn last; None where it was
        drawn independently, by TPE, or for the lower resource that there are results of."""
        return None if self._gain is None else self._gain()

    def _improvement(self, version: int, logged: _Logged, params: Mapping[str, Any]) -> float:
        codes = self._encoding(version)[0].encode_whole(params)
        process: Any = logged.process  # a configuration was chosen by it
        return 0.0 if codes is None else float(process.improvement(codes))

    def spent(self, ask: Ask) -> str | None:
        """A finite space is used up once each of its configurations was tried."""
        return self._independent.spent(ask)

    def started(self, trial: TrialRecord) -> None:
        """It is on its way."""
        self._observations.started(trial)

    def rested(self, trial: TrialRecord) -> None:
        """There is something to learn."""
        self._observations.rested(trial)
        self._outcomes.rested(trial)

    def view(self, ask: Ask | None, underway: Mapping[int, str]) -> SurrogateView | None:
        """The newest model, or the one that `ask` would be answered by; None where there is none. `underway`: the
        trials on their way with the reasons that they were started for."""
        fit = self._newest if ask is None else self._fit(ask) or self._newest
        if fit is None:
            return None
        encoding, _ = self._encoding(fit.space_version)
        trials, maximize = self._history.trials, self._history.objective.maximize
        used = fit.logged.used
        best = incumbent(self._eligible(used), trials, encoding, maximize=maximize)
        if best is None:
            return None
        chosen = [number for number, why in underway.items() if why.startswith(f"{NAMES[self._surrogate]} on ")]
        scene = Scene(
            surrogate=self._surrogate,
            acquisition_name=acquisition_name(
                self._surrogate,
                objectives=len(self._history.objectives),
                constrained=bool(self._history.constraints),
            ),
            trial=fit.number,
            resource=fit.basis.resource,
            used=used,
            of=fit.basis.observed,
            trials=trials,
            incumbent=best,
            next=tuple(trials[number] for number in sorted(chosen, reverse=True)[:MAX_NEXT]),
            encoding=encoding,
        )
        return look(scene, self._model(fit, encoding, best))

    def _eligible(self, used: Sequence[tuple[int, float | None]]) -> Sequence[tuple[int, float | None]]:
        """Those of the trials that break the constraints least: all of them, where there are none."""
        least = min((self._history[number].violation for number, value in used if value is not None), default=0.0)
        return [(number, value) for number, value in used if self._history[number].violation <= least]

    def _model(self, fit: _Fit, encoding: Encoding, best: TrialRecord) -> ProcessModel | DensityModel:
        if self._surrogate == "gp":
            fitted = imported("process").FittedProcess(process=fit.logged.process, acquisition=fit.acquisition)
            return ProcessModel(fitted)
        # Parzen estimators are quick to make: here along the incumbent's conditions, which a draw may not have met.
        parzen = imported("parzen")
        sampler = parzen.ParzenEstimators(seeds.seed32(self._seed, fit.number))
        codes = encoding.encode_whole(best.params) or {}
        levels: list[Densities] = []

        def follow(space: dict[str, Any]) -> dict[str, Any]:
            for group in self._groups(space):
                sampler.choose(fit.evidence, group, encoding.columns(group))
                levels.append(parzen.Densities(group, *sampler.densities, through=codes))
            return {name: codes[name] for name in space}

        _parents_first(encoding, follow)
        return DensityModel(levels)

    def _fit(self, ask: Ask) -> _Fit | None:
        """The model that `ask` would be answered by."""
        basis = None if ask.number < self._startup else self._basis(ask)
        if basis is None or not self._encoding(ask.space_version)[0].distributions:
            return None
        logged = self._data(ask, basis)
        if logged.empty:
            return None
        evidence = self._with_pending(ask, logged)
        acquisition = None
        if self._surrogate == "gp":
            rng = np.random.RandomState(seeds.seed32(self._seed, ask.number))
            acquisition = self._process(ask, logged).acquisition(evidence, rng)
        return self._fit_of(ask, basis, logged, evidence, acquisition)

    def _fit_of(self, ask: Ask, basis: Basis, logged: _Logged, evidence: Evidence, acquisition: Any) -> _Fit:
        return _Fit(
            number=ask.number,
            space_version=ask.space_version,
            basis=basis,
            logged=logged,
            evidence=evidence,
            acquisition=acquisition,
        )

    def _independently(self, ask: Ask, why: str) -> Draw | None:
        advised = None if self._advice is None or self.spent(ask) is not None else self._advice.draw(ask)
        draw = advised or self._independent.draw(ask)
        return None if draw is None else Draw(params=draw.params, key=draw.key, reason=f"{draw.reason}: {why}")

    def _reason(self, basis: Basis) -> str:
        level = "" if math.isinf(basis.resource) else f" at resource {basis.resource:g}"
        return f"{NAMES[self._surrogate]} on {basis.observed} results{level}"

    def _basis(self, ask: Ask) -> Basis | None:
        enough = len(ask.space.names) + 1 if self._scheduled else 2
        return self._observations.latest(enough)

    def _encoding(self, version: int) -> tuple[Encoding, Codes]:
        if version not in self._encodings:
            module = imported("encoding")
            encoding = module.Encoding(self._history.spaces[version])
            self._encodings[version] = (encoding, module.Codes(encoding, whole=self._surrogate == "gp"))
        return self._encodings[version]

    def _data(self, ask: Ask, basis: Basis) -> _Logged:
        """What is observed and on its way, as the log has it; kept until the next event that changes it."""
        key = (basis.stamp, ask.space_version, ask.basis)
        if self._logged is None or self._logged[0] != key:
            self._logged = (key, self._gathered(ask.space_version, basis))
        return self._logged[1]

    def _gathered(self, version: int, basis: Basis) -> _Logged:
        rule = FED[self._surrogate]
        fed = basis.level.fed(rule, self._outcomes.best(rule.best) if self._outcomes.wanted else None)
        running = np.array(basis.running[-RUNNING_FED[self._surrogate] :], dtype=np.int64)
        numbers = np.concatenate([fed.numbers, running])
        order = np.argsort(numbers)
        values = np.concatenate([fed.told, np.full(len(running), np.nan)])[order]
        codes = self._encoding(version)[1].of(numbers[order], lambda number: self._history[number].params)
        given: Any = slice(None)
        if self._surrogate == "gp":  # it cannot take a trial that lacks a parameter
            known = ~np.isnan(codes).any(axis=1)
            codes, values, given = codes[known], values[known], np.isin(fed.numbers, numbers[order][known])
            order = order[known]
        maximize = self._history.objective.maximize
        judged = None
        if self._outcomes.wanted:
            told = np.concatenate([fed.values, np.full(len(running), np.nan)])[order]
            judged = self._judged(numbers[order], told, ~np.isnan(values))
        evidence = Evidence(codes=codes, values=values, maximize=maximize, judged=judged)
        return _Logged(evidence, fed.numbers[given], fed.values[given])

    def _judged(self, numbers: Integers, told: Floats, rested: npt.NDArray[np.bool_]) -> Judged:
        """What several objectives and constraints make of these trials. `told`: of the first objective at the model's
        level, NaN for failed trials and those on their way."""
        losses, excess, violations = self._outcomes.of(numbers.tolist(), rested)
        if not self._outcomes.several:
            losses[:, 0] = -told if self._history.objective.maximize else told
        found: Judged = imported("judged").Judged(losses=losses, excess=excess, violations=violations, rested=rested)
        return found

    def _with_pending(self, ask: Ask, logged: _Logged) -> Evidence:
        """The data with the trials of this round of proposals."""
        codes = self._encoding(ask.space_version)[1]
        rows = [row for pending in ask.batch.pending if (row := codes.row(pending.params)) is not None]
        return logged.evidence.with_running(rows)

    def _process(self, ask: Ask, logged: _Logged) -> Process | Processes:
        if logged.process is None:
            encoding, _ = self._encoding(ask.space_version)
            judged = logged.evidence.judged is not None
            made = imported("hypervolume").Processes if judged else imported("process").Process
            logged.process = made(logged.evidence, encoding.distributions)
        return logged.process

    def _choose(self, ask: Ask, logged: _Logged, evidence: Evidence, seed: int) -> tuple[dict[str, Any], Any]:
        """The model's choice, and what the Gaussian process was asked by."""
        encoding, _ = self._encoding(ask.space_version)
        if self._surrogate == "gp":
            process, rng = self._process(ask, logged), np.random.RandomState(seed)
            acquisition = process.acquisition(evidence, rng)
            return _build(encoding, process.choose(acquisition, rng)), acquisition
        sampler = imported("parzen").ParzenEstimators(seed)

        def sample(space: dict[str, Any]) -> dict[str, Any]:
            codes: dict[str, Any] = {}
            for group in self._groups(space):
                codes |= sampler.choose(evidence, group, encoding.columns(group))
            return codes

        return _parents_first(encoding, sample), None

    def _groups(self, space: dict[str, Any]) -> list[dict[str, Any]]:
        """What TPE draws together: all parameters, but each by itself where there are several objectives (as Ozaki et
        al. 2022 do): good trials then lie along a front, not around one place."""
        return [{name: one} for name, one in space.items()] if self._outcomes.several else [space]


def _build(encoding: Encoding, codes: dict[str, Any]) -> dict[str, Any]:
    """The configuration of codes of all parameters: those that turn out inactive are left out."""
    return _parents_first(encoding, lambda space: {name: codes[name] for name in space})


def _parents_first(encoding: Encoding, sample: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Sample jointly what is active without conditions, then what became active by that, and so on."""
    space = encoding.space
    params: dict[str, Any] = {}
    while True:
        active = space.active(params)
        todo = [name for name in space.names if name in active and name not in params]
        if not todo:
            return {name: params[name] for name in space.parameters if name in params}
        learned = {name: encoding.distributions[name] for name in todo if name in encoding.distributions}
        codes = sample(learned) if learned else {}
        for name in todo:
            params[name] = encoding.decode(name, codes[name]) if name in codes else space.parameters[name].center
