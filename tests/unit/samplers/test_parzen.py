"""TPE over rows draws what Optuna's own sampler draws from the same trials, to the last bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from hpo_service.samplers.encoding import Codes, Encoding
from hpo_service.samplers.evidence import Evidence
from hpo_service.samplers.parzen import ParzenEstimators
from search_spaces import SearchSpace

SPACE = SearchSpace.from_definition(
    {
        "optimizer": {"type": "choice", "values": ["sgd", "adam", None]},
        "momentum": {"type": "uniform", "low": 0.5, "high": 0.9, "when": {"optimizer": "sgd"}},
        "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
        "units": {"type": "integer", "low": 1, "high": 500},
        "layers": {"type": "log_integer", "low": 1, "high": 64},
        "width": {"type": "ordinal", "values": ["small", "medium", "large"]},
        "kind": {"type": "constant", "value": "mlp"},
    }
)
GROUPS = (["lr", "optimizer", "units"], ["momentum"], ["optimizer"], ["layers", "lr", "momentum", "units", "width"])


def optunas(
    seed: int, rows: list[tuple[dict[str, Any], float | None]], encoding: Encoding, names: list[str], maximize: bool
) -> dict[str, Any]:
    """A draw of Optuna's sampler, asked in Optuna's way."""
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    for params, value in rows:
        code = encoding.encode(params)
        state = TrialState.RUNNING if value is None else TrialState.COMPLETE
        distributions = {name: encoding.distributions[name] for name in code}
        study.add_trial(optuna.trial.create_trial(state=state, value=value, params=code, distributions=distributions))
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
    space = {name: encoding.distributions[name] for name in names}
    trial = study._storage.get_trial(study._storage.create_new_trial(study._study_id))
    return sampler.sample_relative(study, trial, space)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(2, 70),
    running=st.integers(0, 9),
    ties=st.booleans(),
    maximize=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    names=st.sampled_from(GROUPS),
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_draw_is_optunas(count: int, running: int, ties: bool, maximize: bool, seed: int, names: list[str]) -> None:
    rng = np.random.default_rng(seed)
    encoding = Encoding(SPACE)
    values: list[float | None] = (rng.integers(0, 4, count) / 2 if ties else rng.normal(size=count)).tolist()
    for place in rng.permutation(count)[: min(running, count - 2)]:
        values[place] = None
    rows = [(SPACE.sample(rng), value) for value in values]
    codes = Codes(encoding, whole=False).of(np.arange(count), lambda number: rows[number][0])
    evidence = Evidence(codes=codes, values=np.array([math.nan if v is None else v for v in values]), maximize=maximize)
    space = {name: encoding.distributions[name] for name in names}
    found = ParzenEstimators(seed).choose(evidence, space, encoding.columns(names))
    assert found == optunas(seed, rows, encoding, names, maximize)


def test_rows_are_made_once() -> None:
    encoding = Encoding(SPACE)
    rng = np.random.default_rng(1)
    trials = [SPACE.sample(rng) for _ in range(20)]
    made: list[int] = []

    def params(number: int) -> dict[str, Any]:
        made.append(number)
        return trials[number]

    codes = Codes(encoding, whole=False)
    first = codes.of(np.array([0, 3, 5]), params)
    assert made == [0, 3, 5]
    again = codes.of(np.array([3, 19, 0]), params)
    assert made == [0, 3, 5, 19]
    assert np.array_equal(again[[2, 0]], first[[0, 1]], equal_nan=True)
    for row, trial in zip(again, (trials[3], trials[19], trials[0]), strict=True):
        code = encoding.encode(trial)
        assert [None if math.isnan(x) else x for x in row] == [code.get(name) for name in encoding.distributions]


def test_a_trial_that_the_space_does_not_allow_has_no_whole_row() -> None:
    encoding = Encoding(SPACE)
    legal = SPACE.sample(np.random.default_rng(1))
    whole = Codes(encoding, whole=True).of(np.array([0, 1]), lambda n: {**legal, "units": [7, 501][n]})
    assert not np.isnan(whole[0]).any()
    assert np.isnan(whole[1]).all()
    partly = Codes(encoding, whole=False).of(np.array([1]), lambda n: {**legal, "units": 501})
    assert np.isnan(partly[0][encoding.columns(["units"])]).all()
    assert not np.isnan(partly[0][encoding.columns(["lr"])]).any()
