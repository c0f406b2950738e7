"""Optuna's samplers over data that we hold: a read-only storage, and parameters as Optuna's distributions.

The samplers ask a study for its trials. Here the study's storage is a list made from the fold for one draw, so there
is nothing to keep in step with the log, and nothing that a restart could lose. Imports Optuna: import it lazily.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces import BaseParameter, Choice, SearchSpace, SpaceError

STUDY_ID = 0
NAME = "fold"
MAX_INDEXED = 10_000
"""Ordered parameters with more values than that are continuous to a model."""
_EPOCH = datetime(2000, 1, 1)
optuna.logging.set_verbosity(optuna.logging.ERROR)  # its advice is for people who call it themselves


class Encoding:
    """A space's parameters as distributions: listed ones by index, ordered ones by rank, the others by `to_unit`.

    Constants are left out: there is nothing to learn about them.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.distributions: dict[str, BaseDistribution] = {
            name: _distribution(space.parameters[name])
            for name in space.names
            if space.parameters[name].cardinality != 1
        }

    def encode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that are in the configuration and legal in this space."""
        found: dict[str, Any] = {}
        for name in self.distributions:
            if name in params:
                try:
                    found[name] = self.code(name, params[name])
                except SpaceError:
                    continue
        return found

    def encode_whole(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Every parameter: inactive ones at their center. None where one is illegal in this space."""
        known = self.encode(params)
        if any(name in params and name not in known for name in self.distributions):
            return None
        return {
            name: known[name] if name in known else self.code(name, self.space.parameters[name].center)
            for name in self.distributions
        }

    def decode(self, name: str, code: Any) -> Any:
        """The value of a code."""
        parameter = self.space.parameters[name]
        if isinstance(self.distributions[name], FloatDistribution):
            return parameter.from_unit(float(code))
        return parameter.from_unit((int(code) + 0.5) / (parameter.cardinality or 1))

    def code(self, name: str, value: Any) -> Any:
        """The code of a legal value."""
        parameter = self.space.parameters[name]
        place = parameter.to_unit(value)
        if isinstance(self.distributions[name], FloatDistribution):
            return place
        count = parameter.cardinality or 1
        return min(count - 1, int(place * count))


def _distribution(parameter: BaseParameter) -> BaseDistribution:
    count = parameter.cardinality
    if count is not None and (isinstance(parameter, Choice) or not parameter.scale.ordered):
        return CategoricalDistribution(tuple(range(count)))
    logarithmic = getattr(parameter.scale, "log", False)
    if count is None or count > MAX_INDEXED or logarithmic:
        return FloatDistribution(0.0, 1.0)
    return IntDistribution(0, count - 1)


def observed(position: int, code: Mapping[str, Any], encoding: Encoding, value: float) -> FrozenTrial:
    """A trial with its value."""
    return _trial(position, code, encoding, TrialState.COMPLETE, value)


def running(position: int, code: Mapping[str, Any], encoding: Encoding) -> FrozenTrial:
    """A trial that is on its way."""
    return _trial(position, code, encoding, TrialState.RUNNING, None)


def _trial(
    position: int, code: Mapping[str, Any], encoding: Encoding, state: TrialState, value: float | None
) -> FrozenTrial:
    return FrozenTrial(
        number=position,
        trial_id=position,
        state=state,
        value=value,
        datetime_start=_EPOCH,
        datetime_complete=_EPOCH if value is not None else None,
        params=dict(code),
        distributions={name: encoding.distributions[name] for name in code},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


class View(BaseStorage):
    """A storage of one study whose trials are given; what samplers note about the trial they draw is dropped."""

    def __init__(self, trials: Sequence[FrozenTrial], *, maximize: bool) -> None:
        self._trials = list(trials)
        self._direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE

    def study(self, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        """A study that reads this view."""
        return optuna.load_study(study_name=NAME, storage=self, sampler=sampler)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The given trials; never copies, for samplers only read."""
        if states is None:
            return list(self._trials)
        return [trial for trial in self._trials if trial.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial at that position."""
        return self._trials[trial_id]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Dropped: it concerns the trial being drawn, which is not in the view."""

    def get_study_id_from_name(self, study_name: str) -> int:
        """The one study."""
        return STUDY_ID

    def get_study_name_from_id(self, study_id: int) -> str:
        """The one name."""
        return NAME

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """One objective."""
        return [self._direction]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """None."""
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """None."""
        return {}

    def get_all_studies(self) -> list[Any]:
        """None that could be listed."""
        return []

    def _refuse(self) -> NoReturn:
        raise TypeError("a view of a fold is read-only")

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Refused."""
        self._refuse()

    def delete_study(self, study_id: int) -> None:
        """Refused."""
        self._refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Refused."""
        self._refuse()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Refused."""
        self._refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Refused."""
        self._refuse()

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Refused."""
        self._refuse()

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Refused."""
        self._refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Refused."""
        self._refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Refused."""
        self._refuse()
