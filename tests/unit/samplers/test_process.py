"""The Gaussian process: our likelihood and acquisition are Optuna's, at a fraction of their cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._gp import acqf, prior
from optuna._gp.gp import GPRegressor, fit_kernel_params

from hpo_service.samplers import process
from hpo_service.samplers.encoding import Encoding
from hpo_service.samplers.evidence import Evidence
from search_spaces import SearchSpace

SPACE = SearchSpace.from_definition(
    {
        "x": {"type": "uniform", "low": 0, "high": 1},
        "units": {"type": "integer", "low": 1, "high": 40},
        "kind": {"type": "choice", "values": ["a", "b", "c"]},
    }
)
ENCODING = Encoding(SPACE)
CATEGORICAL = np.array([name == "kind" for name in ENCODING.distributions])


def evidence(count: int, seed: int, *, running: int = 0) -> Evidence:
    rng = np.random.default_rng(seed)
    sampled = [ENCODING.encode(SPACE.sample(rng)) for _ in range(count + running)]
    codes = np.array([[code[name] for name in ENCODING.distributions] for code in sampled], dtype=float)
    x, kind, units = (codes[:, ENCODING.columns([name])[0]] for name in ("x", "kind", "units"))
    values = np.sin(5 * x) + 0.3 * kind + units / 40 + 0.01 * rng.normal(size=len(codes))
    values[count:] = np.nan
    return Evidence(codes=codes, values=values, maximize=False)


def optunas(points: np.ndarray, values: np.ndarray, raw: np.ndarray) -> GPRegressor:
    """Optuna's process with a kernel of these parameters, traced."""
    leaf = torch.from_numpy(raw).requires_grad_(True)
    regressor = GPRegressor(
        is_categorical=torch.from_numpy(CATEGORICAL),
        X_train=torch.from_numpy(points),
        y_train=torch.from_numpy(values),
        inverse_squared_lengthscales=torch.exp(leaf[:-2]),
        kernel_scale=torch.exp(leaf[-2]),
        noise_var=torch.exp(leaf[-1]) + prior.DEFAULT_MINIMUM_NOISE_VAR,
    )
    regressor.leaf = leaf
    return regressor


def loss_of(regressor: GPRegressor) -> torch.Tensor:
    return -regressor.marginal_log_likelihood() - prior.default_log_prior(regressor)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(2, 30), seed=st.integers(0, 999), raw=st.lists(st.floats(-4, 3), min_size=5, max_size=5))
def test_the_likelihood_and_its_gradient_are_those_that_optuna_traces(count: int, seed: int, raw: list[float]) -> None:
    fitted = process.Process(evidence(count, seed), ENCODING.distributions)
    start = np.array(raw)
    traced = optunas(fitted._points, fitted._values, start)
    expected = loss_of(traced)
    expected.backward()
    ours = process._Likelihood(traced._squared_X_diff, traced._y_train)
    loss, gradient = ours.loss(start)
    assert loss == pytest.approx(expected.item(), rel=1e-8, abs=1e-8)
    assert gradient == pytest.approx(traced.leaf.grad.numpy(), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_a_fit_is_as_likely_as_optunas(seed: int) -> None:
    fitted = process.Process(evidence(40, seed), ENCODING.distributions)
    theirs = fit_kernel_params(
        fitted._points, fitted._values, CATEGORICAL, prior.default_log_prior, prior.DEFAULT_MINIMUM_NOISE_VAR, False
    )
    ours = fitted._regressor

    def loss(regressor: Any) -> float:
        kernel = [*regressor.inverse_squared_lengthscales.tolist(), regressor.kernel_scale.item()]
        noise = regressor.noise_var.item() - prior.DEFAULT_MINIMUM_NOISE_VAR
        return loss_of(optunas(fitted._points, fitted._values, np.log([*kernel, noise]))).item()

    assert loss(ours) <= loss(theirs) + 0.02


@settings(max_examples=10, deadline=None)
@given(running=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_improvement_with_running_trials_is_optunas(running: int, seed: int) -> None:
    known = evidence(12, seed, running=running)
    fitted = process.Process(known, ENCODING.distributions)
    ours = fitted.acquisition(known, np.random.RandomState(seed))
    theirs = acqf.qLogEI(
        gpr=fitted._regressor,
        search_space=fitted._space,
        threshold=float(fitted._values.max()),
        n_qmc_samples=process.SAMPLES,
        qmc_seed=np.random.RandomState(seed).randint(process.MAX_SEED),
        normalized_params_of_running_trials=fitted._normalized(known.codes[known.running]),
    )
    points = fitted._space.sample_normalized_params(64, np.random.RandomState(1))
    assert ours.eval_acqf_no_grad(points) == pytest.approx(theirs.eval_acqf_no_grad(points), rel=1e-9)
    assert float(ours.eval_acqf_no_grad(points[3])) == pytest.approx(float(theirs.eval_acqf_no_grad(points[3])))
    for mine, other in zip(ours.eval_acqf_with_grad(points[0]), theirs.eval_acqf_with_grad(points[0]), strict=True):
        assert mine == pytest.approx(other, rel=1e-6, abs=1e-9)


def test_a_fit_makes_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    loss = process._Likelihood.loss
    monkeypatch.setattr(process._Likelihood, "loss", lambda self, raw: made.append(1) or loss(self, raw))
    monkeypatch.setattr(process, "STEPS", 5)
    monkeypatch.setattr(process, "PRECISION", 1e-12)
    process.Process(evidence(30, 1), ENCODING.distributions)
    assert 5 <= len(made) <= 5 + 21  # a search along one line is ended, not broken off


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0, 1.0], [0.0, 1e300, 0.0, 1.0]])
def test_equal_and_enormous_values_are_fitted_too(values: list[float]) -> None:
    codes = np.tile(evidence(1, 0).codes, (4, 1))  # one place, measured four times
    known = Evidence(codes=codes, values=np.array(values), maximize=False)
    fitted = process.Process(known, ENCODING.distributions)
    rng = np.random.RandomState(0)
    found = fitted.choose(fitted.acquisition(known, rng), rng)
    assert set(found) == set(ENCODING.distributions)


def test_where_no_likelihood_can_be_had_the_first_kernel_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, raw: Any) -> Any:
        raise torch.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr(process._Likelihood, "loss", broken)
    fitted = process.Process(evidence(10, 1), ENCODING.distributions)
    assert fitted._regressor.inverse_squared_lengthscales.tolist() == [1.0, 1.0, 1.0]
