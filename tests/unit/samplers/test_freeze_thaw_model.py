"""The curve model's numbers: the likelihood's gradient, what is expected given values, improvement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from hpo_service.samplers.freeze_thaw import fit
from hpo_service.samplers.freeze_thaw.kernel import Floats, Kernel, squares
from hpo_service.samplers.freeze_thaw.posterior import Posterior, Rows, improvement

UNORDERED = np.array([False, False, True])


def rows(count: int, *, seed: int = 0) -> Rows:
    """Values on curves of three parameters, the last one of three listed values."""
    rng = np.random.default_rng(seed)
    points = rng.random((count, 3))
    points[:, 2] = (np.floor(points[:, 2] * 3) + 0.5) / 3
    return Rows(points=points, s=rng.uniform(0.2, 1.0, count), values=rng.standard_normal(count))


def kernel(seed: int = 1) -> Kernel:
    return Kernel.of(fit.start(3) + 0.3 * np.random.default_rng(seed).standard_normal(10))


def covariance(of: Kernel, points: Floats, s: Floats, others: Floats, t: Floats) -> Floats:
    """The formula of the module, pair by pair."""
    scale, a0, a1, a2, b0, b1, _ = np.exp(of.rest)

    def matern(r: float) -> float:
        return (1 + r + r * r / 3) * math.exp(-r)

    found = np.zeros((len(points), len(others)))
    for i, (x, one) in enumerate(zip(points, s, strict=True)):
        for j, (y, two) in enumerate(zip(others, t, strict=True)):
            apart = [0.5 * (a != b) if listed else a - b for a, b, listed in zip(x, y, UNORDERED, strict=True)]
            r = math.sqrt(5 * sum((d / math.exp(w)) ** 2 for d, w in zip(apart, of.scales, strict=True)))
            found[i, j] = (
                matern(r) * (a0 + a1 * one * two + a2 * matern(math.sqrt(5) * abs(one - two) / scale))
                + matern(4 * r) * (b0 + b1 * one * two) + 0.5 + 0.5 * one * two
            )  # fmt: skip
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_likelihood(seed: int) -> None:
    data, at = rows(25, seed=seed), fit.start(3) + 0.4 * np.random.default_rng(seed).standard_normal(10)
    likelihood = fit._Likelihood(squares(data.points, data.points, UNORDERED), data.s, data.values)
    _, gradient = likelihood.loss(at)
    step = 1e-5
    for place in range(len(at)):
        moved = np.eye(len(at))[place] * step
        slope = (likelihood.loss(at + moved)[0] - likelihood.loss(at - moved)[0]) / (2 * step)
        assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    data, at = rows(12), fit.start(3)
    likelihood = fit._Likelihood(squares(data.points, data.points, UNORDERED), data.s, data.values)
    full = covariance(Kernel.of(at), data.points, data.s, data.points, data.s) + Kernel.of(at).noise * np.eye(12)
    expected = 0.5 * data.values @ np.linalg.solve(full, data.values) + 0.5 * np.linalg.slogdet(full)[1]
    assert likelihood.loss(at)[0] + fit._prior(at)[0] == pytest.approx(expected, rel=1e-9)


def test_a_fit_is_likelier_than_where_it_began_and_the_same_again() -> None:
    data = rows(30)
    apart = squares(data.points, data.points, UNORDERED)
    found = fit.fitted(apart, data.s, data.values)
    likelihood = fit._Likelihood(apart, data.s, data.values)
    assert likelihood.loss(np.concatenate([found.scales, found.rest]))[0] < likelihood.loss(fit.start(3))[0]
    again = fit.fitted(apart, data.s, data.values)
    assert np.array_equal(found.scales, again.scales)
    assert np.array_equal(found.rest, again.rest)


def test_a_space_without_parameters_has_a_fit() -> None:
    found = fit.fitted(np.zeros((6, 6, 0)), np.linspace(0.2, 1, 6), np.arange(6.0))
    assert found.scales.shape == (0,)
    assert np.isfinite(found.rest).all()


def test_what_is_expected_is_what_a_direct_solve_gives() -> None:
    data, of, at, s = rows(20), kernel(), rows(7, seed=5).points, np.array([0.3, 1.0])
    posterior = Posterior(of, data, UNORDERED)
    full = covariance(of, data.points, data.s, data.points, data.s) + of.noise * np.eye(20)
    mean, deviation = posterior.at(at, s)
    for column, moment in enumerate(s):
        here = np.full(7, moment)
        to = covariance(of, at, here, data.points, data.s)
        own = covariance(of, at, here, at, here)
        assert mean[:, column] == pytest.approx(to @ np.linalg.solve(full, data.values), abs=1e-9)
        variance = np.diag(own - to @ np.linalg.solve(full, to.T))
        assert deviation[:, column] ** 2 == pytest.approx(variance, abs=1e-9)
        assert np.stack(posterior.along(at, here)) == pytest.approx(np.stack([mean[:, column], deviation[:, column]]))


def test_what_is_on_its_way_changes_no_mean_and_is_known_better() -> None:
    """The expected value that comes in as expected."""
    data, at, s = rows(15), rows(4, seed=8).points, np.full(4, 0.9)
    before = Posterior(kernel(), data, UNORDERED)
    after = before.and_also(at, s)
    elsewhere = rows(6, seed=9).points
    assert after.at(elsewhere, np.ones(1))[0] == pytest.approx(before.at(elsewhere, np.ones(1))[0], abs=1e-7)
    assert (after.along(at, s)[1] < before.along(at, s)[1]).all()
    mean, _ = before.along(at, s)
    again = Posterior(kernel(), before.rows.and_also(at, s, mean), UNORDERED)
    assert np.stack(after.at(elsewhere, s)) == pytest.approx(np.stack(again.at(elsewhere, s)), abs=1e-9)


@pytest.mark.parametrize("z", [-6.0, -3.0, -0.5, 0.0, 1.5, 8.0])
@pytest.mark.parametrize("deviation", [1e-3, 2.0])
def test_improvement_is_the_integral(z: float, deviation: float) -> None:
    gain, likely = improvement(np.array([z * deviation]), np.array([deviation]), 0.0)
    exact, _ = quad(lambda y: y * norm.pdf(y, z, 1.0), 0.0, max(z, 0.0) + 12.0, epsabs=0.0, epsrel=1e-11)
    assert float(gain[0]) == pytest.approx(deviation * exact, rel=1e-4 if z < -4 else 1e-10)
    assert float(likely[0]) == pytest.approx(norm.sf(-z), rel=1e-12)


def test_improvement_is_never_below_zero() -> None:
    gain, _ = improvement(np.full(3, -1e3), np.array([1e-5, 1.0, 30.0]), 1.0)
    assert (gain >= 0).all()
