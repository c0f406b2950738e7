"""Bayesian optimisation: TPE (Bergstra et al. 2011) and Gaussian processes with log expected improvement
(Ament et al. 2023), both by Optuna's samplers.

Every trial gets a fresh sampler, seeded by (study seed, trial number), over data made from the log alone: a draw after
a restart is the draw that would have been. Here: which data, which seed, conditions. Not here: Optuna (see
`optuna_view` and `optuna_models`, imported when the first model is asked, for it is slow to import), and what the
newest model looks like (`surrogate_view`), which is noted here and read by no draw.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_service.core import seeds
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.samplers.independent import RandomSampler
from hpo_service.samplers.observations import Basis, Observations, selection, worst
from hpo_service.samplers.surrogate_view import (
    MAX_NEXT,
    DensityModel,
    ProcessModel,
    Scene,
    SurrogateView,
    incumbent,
    look,
)
from search_spaces import SearchSpace

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo_service.samplers.optuna_models import Densities
    from hpo_service.samplers.optuna_view import Encoding

STARTUP_TRIALS = 10
"""Random trials before a model is asked, where a scheduler's `sampler` has no option for it."""
FED = {"tpe": 2_000, "gp": 300}
"""The most observations that a model is given (see `observations.selection`)."""
RUNNING_FED = {"tpe": 1_000, "gp": 100}
"""The most trials on their way that it is given: the newest."""
TRIES = {"tpe": 8, "gp": 2}
"""Draws of a configuration that is allowed and new, before an independent draw takes its place."""
NAMES = {"tpe": "TPE", "gp": "Gaussian process"}


@dataclass(frozen=True, slots=True)
class _Data:
    """A model's data: `used` are its observations with their values, `trials` those and the ones on their way."""

    trials: list[FrozenTrial]
    used: tuple[tuple[int, float | None], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    """The newest model: whom it was for, its data, and what the Gaussian process is asked by."""

    number: int
    space_version: int
    basis: Basis
    data: _Data
    acquisition: Any


class SurrogateSampler:
    """A `Sampler`. `by_bracket`: the model learns from the brackets that were complete when the trial's own began."""

    def __init__(
        self,
        study_seed: int,
        history: History,
        *,
        surrogate: str,
        repeats: bool,
        startup_trials: int | None,
        by_bracket: bool = False,
    ) -> None:
        self._seed = study_seed
        self._history = history
        self._surrogate = surrogate
        self._repeats = repeats
        self._scheduled = startup_trials is None
        self._startup = STARTUP_TRIALS if startup_trials is None else startup_trials
        self._by_bracket = by_bracket
        self._independent = RandomSampler(study_seed, repeats=repeats)
        self._observations = Observations(history)
        self._encodings: dict[int, Encoding] = {}
        self._codes: dict[tuple[int, int], dict[str, Any] | None] = {}
        self._data: tuple[Any, _Data] = (None, _Data([], ()))
        self._newest: _Fit | None = None  # for `view` alone

    def draw(self, ask: Ask) -> Draw | None:
        """The model's choice; an independent draw at first, and where the model finds nothing new."""
        if ask.number < self._startup:
            return self._independently(ask, f"trial {ask.number} of {self._startup} before the model starts")
        basis = self._basis(ask)
        if basis is None:
            return self._independently(ask, "too few results for a model")
        if self.spent(ask) is not None:
            return None
        encoding = self._encoding(ask.space_version, ask.space)
        if not encoding.distributions:
            return self._independently(ask, "nothing to model")
        data = self._trials(ask, basis, encoding)
        for attempt in range(TRIES[self._surrogate]):
            sampler = self._sampler(seeds.seed32(self._seed, ask.number, *([attempt] * (attempt > 0))))
            params = self._suggest(sampler, data.trials, encoding)
            self._note(sampler, ask, basis, data)
            if ask.space.is_forbidden(params):
                continue
            key = ask.space.config_key(params)
            if self._repeats or not ask.taken(key):
                return Draw(params=params, key=key, reason=self._reason(basis))
        return self._independently(ask, "the model's choices were forbidden or tried before")

    def spent(self, ask: Ask) -> str | None:
        """A finite space is used up once each of its configurations was tried."""
        return self._independent.spent(ask)

    def started(self, trial: TrialRecord) -> None:
        """It is on its way."""
        self._observations.started(trial)

    def rested(self, trial: TrialRecord) -> None:
        """There is something to learn."""
        self._observations.rested(trial)

    def view(self, ask: Ask | None, underway: Mapping[int, str]) -> SurrogateView | None:
        """The newest model, or the one that `ask` would be answered by; None where there is none. `underway`: the
        trials on their way with the reasons that they were started for."""
        fit = self._newest if ask is None else self._fit(ask) or self._newest
        if fit is None:
            return None
        encoding = self._encoding(fit.space_version, self._history.spaces[fit.space_version])
        trials, maximize = self._history.trials, self._history.objective.maximize
        best = incumbent(fit.data.used, trials, encoding, maximize=maximize)
        if best is None:
            return None
        chosen = [number for number, why in underway.items() if why.startswith(f"{NAMES[self._surrogate]} on ")]
        scene = Scene(
            surrogate=self._surrogate,
            trial=fit.number,
            resource=fit.basis.resource,
            used=fit.data.used,
            of=len(fit.basis.observed),
            trials=trials,
            incumbent=best,
            next=tuple(trials[number] for number in sorted(chosen, reverse=True)[:MAX_NEXT]),
            encoding=encoding,
        )
        return look(scene, self._model(fit, encoding, best))

    def _model(self, fit: _Fit, encoding: Encoding, best: TrialRecord) -> ProcessModel | DensityModel:
        models = _optuna_models()
        if self._surrogate == "gp":
            values = [trial.value for trial in fit.data.trials if trial.value is not None]
            maximize = self._history.objective.maximize
            return ProcessModel(models.fitted(fit.acquisition, values, maximize=maximize))
        # Parzen estimators are quick to make: here along the incumbent's conditions, which a draw may not have met.
        sampler = self._sampler(seeds.seed32(self._seed, fit.number))
        codes = encoding.encode_whole(best.params) or {}
        levels: list[Densities] = []

        def follow(study: Any, trial: Any, space: dict[str, Any]) -> dict[str, Any]:
            sampler.sample_relative(study, trial, space)
            levels.append(models.Densities(space, *sampler.densities, through=codes))
            return {name: codes[name] for name in space}

        study, trial = self._asking(sampler, fit.data.trials, encoding)
        _parents_first(encoding, lambda space: follow(study, trial, space))
        return DensityModel(levels)

    def _fit(self, ask: Ask) -> _Fit | None:
        """The model that `ask` would be answered by."""
        basis = None if ask.number < self._startup else self._basis(ask)
        encoding = self._encoding(ask.space_version, ask.space)
        if basis is None or not encoding.distributions:
            return None
        data = self._trials(ask, basis, encoding)
        acquisition = None
        if self._surrogate == "gp":
            sampler = self._sampler(seeds.seed32(self._seed, ask.number), only_fit=True)
            self._suggest(sampler, data.trials, encoding)
            acquisition = sampler.acquisition
        return _Fit(number=ask.number, space_version=ask.space_version, basis=basis, data=data, acquisition=acquisition)

    def _note(self, sampler: Any, ask: Ask, basis: Basis, data: _Data) -> None:
        self._newest = _Fit(
            number=ask.number,
            space_version=ask.space_version,
            basis=basis,
            data=data,
            acquisition=sampler.acquisition if self._surrogate == "gp" else None,
        )

    def _independently(self, ask: Ask, why: str) -> Draw | None:
        draw = self._independent.draw(ask)
        return None if draw is None else Draw(params=draw.params, key=draw.key, reason=f"{draw.reason}: {why}")

    def _reason(self, basis: Basis) -> str:
        level = "" if math.isinf(basis.resource) else f" at resource {basis.resource:g}"
        return f"{NAMES[self._surrogate]} on {len(basis.observed)} results{level}"

    def _basis(self, ask: Ask) -> Basis | None:
        enough = len(ask.space.names) + 1 if self._scheduled else 2
        if self._by_bracket:
            return self._observations.of_brackets(enough, ask.basis or frozenset())
        return self._observations.latest(enough)

    def _encoding(self, version: int, space: SearchSpace) -> Encoding:
        if version not in self._encodings:
            self._encodings[version] = _optuna_view().Encoding(space)
        return self._encodings[version]

    def _trials(self, ask: Ask, basis: Basis, encoding: Encoding) -> _Data:
        """The model's data: what is observed and on its way, and the trials of this round of proposals."""
        stamp = (self._observations.stamp, ask.space_version, ask.basis)
        if self._data[0] != stamp:
            self._data = (stamp, self._logged(ask, basis, encoding))
        logged = self._data[1]
        trials = list(logged.trials)
        for pending in ask.batch.pending:
            code = self._code(pending.params, encoding)
            if code is not None:
                trials.append(_optuna_view().running(len(trials), code, encoding))
        return _Data(trials, logged.used)

    def _logged(self, ask: Ask, basis: Basis, encoding: Encoding) -> _Data:
        maximize = self._history.objective.maximize
        chosen = dict(selection(basis.observed, FED[self._surrogate], maximize=maximize))
        failed = worst(basis.observed, maximize=maximize)
        view = _optuna_view()
        trials: list[FrozenTrial] = []
        used: list[tuple[int, float | None]] = []
        for number in sorted([*chosen, *basis.running[-RUNNING_FED[self._surrogate] :]]):
            code = self._logged_code(number, ask.space_version, encoding)
            if code is None:
                continue
            if number in chosen:
                value = chosen[number]
                used.append((number, value))
                trials.append(view.observed(len(trials), code, encoding, failed if value is None else value))
            else:
                trials.append(view.running(len(trials), code, encoding))
        return _Data(trials, tuple(used))

    def _logged_code(self, number: int, version: int, encoding: Encoding) -> dict[str, Any] | None:
        if (number, version) not in self._codes:
            self._codes[number, version] = self._code(self._history[number].params, encoding)
        return self._codes[number, version]

    def _code(self, params: Any, encoding: Encoding) -> dict[str, Any] | None:
        return encoding.encode_whole(params) if self._surrogate == "gp" else encoding.encode(params)

    def _sampler(self, seed: int, *, only_fit: bool = False) -> Any:
        models = _optuna_models()
        if self._surrogate == "gp":
            # One thread: the matrices are small, and sums do not hang on the number of cores.
            importlib.import_module("torch").set_num_threads(1)
            return models.GaussianProcess(seed, only_fit=only_fit)
        return models.ParzenEstimators(seed)

    def _asking(self, sampler: Any, trials: Sequence[FrozenTrial], encoding: Encoding) -> tuple[Any, FrozenTrial]:
        """The study that a sampler reads, and the trial that it draws for."""
        view = _optuna_view()
        study = view.View(trials, maximize=self._history.objective.maximize).study(sampler)
        return study, view.running(len(trials), {}, encoding)

    def _suggest(self, sampler: Any, trials: Sequence[FrozenTrial], encoding: Encoding) -> dict[str, Any]:
        study, trial = self._asking(sampler, trials, encoding)
        if self._surrogate == "gp":
            codes = sampler.sample_relative(study, trial, dict(encoding.distributions))
            return _build(encoding, codes)
        return _parents_first(encoding, lambda space: sampler.sample_relative(study, trial, space))


def _build(encoding: Encoding, codes: dict[str, Any]) -> dict[str, Any]:
    """The configuration of codes of all parameters: those that turn out inactive are left out."""
    return _parents_first(encoding, lambda space: {name: codes[name] for name in space})


def _parents_first(encoding: Encoding, sample: Any) -> dict[str, Any]:
    """Sample jointly what is active without conditions, then what became active by that, and so on."""
    space = encoding.space
    params: dict[str, Any] = {}
    while todo := [name for name in space.names if name in space.active(params) and name not in params]:
        learned = {name: encoding.distributions[name] for name in todo if name in encoding.distributions}
        codes = sample(learned) if learned else {}
        for name in todo:
            params[name] = encoding.decode(name, codes[name]) if name in codes else space.parameters[name].center
    return {name: params[name] for name in space.parameters if name in params}


def _optuna_view() -> Any:
    return importlib.import_module("hpo_service.samplers.optuna_view")


def _optuna_models() -> Any:
    return importlib.import_module("hpo_service.samplers.optuna_models")
