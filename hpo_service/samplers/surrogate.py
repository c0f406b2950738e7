"""Bayesian optimisation: TPE (Bergstra et al. 2011) and Gaussian processes with log expected improvement
(Ament et al. 2023), both by Optuna's samplers.

Every trial gets a fresh sampler, seeded by (study seed, trial number), over data made from the log alone: a draw after
a restart is the draw that would have been. Here: which data, which seed, conditions. Not here: Optuna (see
`optuna_view`, imported when the first model is asked, for it is slow to import).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpo_service.core import seeds
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.samplers.independent import RandomSampler
from hpo_service.samplers.observations import Basis, Observations, selection, worst
from search_spaces import SearchSpace

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo_service.samplers.optuna_view import Encoding

STARTUP_TRIALS = 10
"""Random trials before a model is asked, where a scheduler's `sampler` has no option for it."""
FED = {"tpe": 2_000, "gp": 300}
"""The most observations that a model is given (see `observations.selection`)."""
RUNNING_FED = {"tpe": 1_000, "gp": 100}
"""The most trials on their way that it is given: the newest."""
TRIES = {"tpe": 8, "gp": 2}
"""Draws of a configuration that is allowed and new, before an independent draw takes its place."""


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
        self._view: tuple[Any, list[FrozenTrial]] = (None, [])

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
        trials = self._trials(ask, basis, encoding)
        for attempt in range(TRIES[self._surrogate]):
            params = self._suggest(trials, encoding, seeds.seed32(self._seed, ask.number, *([attempt] * (attempt > 0))))
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

    def _independently(self, ask: Ask, why: str) -> Draw | None:
        draw = self._independent.draw(ask)
        return None if draw is None else Draw(params=draw.params, key=draw.key, reason=f"{draw.reason}: {why}")

    def _reason(self, basis: Basis) -> str:
        name = {"tpe": "TPE", "gp": "Gaussian process"}[self._surrogate]
        level = "" if math.isinf(basis.resource) else f" at resource {basis.resource:g}"
        return f"{name} on {len(basis.observed)} results{level}"

    def _basis(self, ask: Ask) -> Basis | None:
        enough = len(ask.space.names) + 1 if self._scheduled else 2
        if self._by_bracket:
            return self._observations.of_brackets(enough, ask.basis or frozenset())
        return self._observations.latest(enough)

    def _encoding(self, version: int, space: SearchSpace) -> Encoding:
        if version not in self._encodings:
            self._encodings[version] = _optuna_view().Encoding(space)
        return self._encodings[version]

    def _trials(self, ask: Ask, basis: Basis, encoding: Encoding) -> list[FrozenTrial]:
        """The model's data: what is observed and on its way, and the trials of this round of proposals."""
        stamp = (self._observations.stamp, ask.space_version, ask.basis)
        if self._view[0] != stamp:
            self._view = (stamp, self._logged(ask, basis, encoding))
        trials = list(self._view[1])
        for pending in ask.batch.pending:
            code = self._code(pending.params, encoding)
            if code is not None:
                trials.append(_optuna_view().running(len(trials), code, encoding))
        return trials

    def _logged(self, ask: Ask, basis: Basis, encoding: Encoding) -> list[FrozenTrial]:
        maximize = self._history.objective.maximize
        chosen = dict(selection(basis.observed, FED[self._surrogate], maximize=maximize))
        failed = worst(basis.observed, maximize=maximize)
        view = _optuna_view()
        trials: list[FrozenTrial] = []
        for number in sorted([*chosen, *basis.running[-RUNNING_FED[self._surrogate] :]]):
            code = self._logged_code(number, ask.space_version, encoding)
            if code is None:
                continue
            if number in chosen:
                value = chosen[number]
                trials.append(view.observed(len(trials), code, encoding, failed if value is None else value))
            else:
                trials.append(view.running(len(trials), code, encoding))
        return trials

    def _logged_code(self, number: int, version: int, encoding: Encoding) -> dict[str, Any] | None:
        if (number, version) not in self._codes:
            self._codes[number, version] = self._code(self._history[number].params, encoding)
        return self._codes[number, version]

    def _code(self, params: Any, encoding: Encoding) -> dict[str, Any] | None:
        return encoding.encode_whole(params) if self._surrogate == "gp" else encoding.encode(params)

    def _suggest(self, trials: Sequence[FrozenTrial], encoding: Encoding, seed: int) -> dict[str, Any]:
        import optuna  # slow to import: only studies with a model need it

        if self._surrogate == "gp":
            # One thread: the matrices are small, and sums do not hang on the number of cores.
            importlib.import_module("torch").set_num_threads(1)
            sampler: Any = optuna.samplers.GPSampler(seed=seed, n_startup_trials=0, warn_independent_sampling=False)
        else:
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
        view = _optuna_view()
        study = view.View(trials, maximize=self._history.objective.maximize).study(sampler)
        trial = view.running(len(trials), {}, encoding)
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
