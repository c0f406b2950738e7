"""The Gaussian process: fitted here, with Optuna's kernel, prior and search for the acquisition's maximum.

Log expected improvement (Ament et al., NeurIPS 2023), over running trials too; a Matérn 5/2 kernel with a length scale
per parameter. Two things are ours, for Optuna's cost too much: the marginal likelihood's gradient is written out
instead of traced, and running trials are taken into account once instead of at every point. One thread: sums must not
hang on the number of cores. Imports torch and Optuna: import it lazily.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from optuna._gp import acqf as acquisitions
from optuna._gp import prior
from optuna._gp.gp import GPRegressor
from optuna._gp.optim_mixed import optimize_acqf_mixed
from optuna._gp.search_space import SearchSpace as PointSpace
from optuna._gp.search_space import _normalize_one_param
from optuna.distributions import BaseDistribution
from scipy.optimize import minimize

from hpo_service.samplers.evidence import Evidence

Floats = npt.NDArray[np.float64]
EPS = 1e-10
"""Below this spread values are not stretched to unit variance."""
STEPS = 60
"""The most evaluations of the likelihood in one fit; a fit takes 20 to 40 as a rule."""
PRECISION = 1e-2
"""A fit ends at this gradient."""
SAMPLES = 128
"""Futures of the running trials that an expected improvement is the mean over."""
MAX_SEED = 2**31 - 1


class Process:
    """A Gaussian process fitted to the values of some evidence; trials on their way do not count in the fit."""

    def __init__(self, evidence: Evidence, distributions: Mapping[str, BaseDistribution]) -> None:
        torch.set_num_threads(1)
        known = ~evidence.running
        values = evidence.values[known] if evidence.maximize else -evidence.values[known]
        size = float(np.abs(values).max()) or 1.0  # squares of enormous values would overflow
        values = values / size
        shift, scale = float(values.mean()), max(EPS / size, float(values.std()))
        self.shift, self.scale = shift * size, scale * size
        self.log_unit = float(np.log(self.scale))
        self.maximize = evidence.maximize
        self._space = PointSpace(dict(distributions))
        self._points = self._normalized(evidence.codes[known])
        self._values = (values - shift) / scale
        self._regressor = fitted(self._points, self._values, self._space.is_categorical)

    def acquisition(self, evidence: Evidence, rng: np.random.RandomState) -> Any:
        """Log expected improvement on the best value, with the trials of `evidence` that are on their way."""
        threshold = float(self._values.max())
        if not evidence.running.any():
            return acquisitions.LogEI(gpr=self._regressor, search_space=self._space, threshold=threshold)
        return JointImprovement(
            gpr=self._regressor,
            search_space=self._space,
            threshold=threshold,
            n_qmc_samples=SAMPLES,
            qmc_seed=rng.randint(MAX_SEED),
            normalized_params_of_running_trials=self._normalized(evidence.codes[evidence.running]),
        )

    def improvement(self, codes: dict[str, Any]) -> float:
        """The expected improvement on the best value by a configuration in codes, in the objective's own units."""
        alone = acquisitions.LogEI(gpr=self._regressor, search_space=self._space, threshold=float(self._values.max()))
        point = self._space.get_normalized_params([None], [codes])  # type: ignore[list-item]
        return float(np.exp(alone.eval_acqf_no_grad(point)[0])) * self.scale

    def choose(self, acquisition: Any, rng: np.random.RandomState) -> dict[str, Any]:
        """The codes at the acquisition's maximum (`highest`); the best result is a start."""
        best = self._points[[int(np.argmax(self._values))]]
        return highest(acquisition, self._space, best, rng)

    def _normalized(self, codes: Floats) -> Floats:
        """Codes as places in the unit cube; categories stay their index."""
        space = self._space
        columns = [
            _normalize_one_param(codes[:, i], space._scale_types[i], tuple(space._bounds[i]), space._steps[i])
            for i in range(space.dim)
        ]
        return np.stack(columns, axis=1)


class JointImprovement(acquisitions.qLogEI):
    """Optuna's expected improvement of the running trials and one more, together. Who is best among the running ones is
    the same wherever that one is: it is found once per sample, which makes the cost the same for 1 and for 100."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._best = self._cond_gpr.get_fantasy_samples().amax(dim=-1)

    def eval_acqf(self, x: torch.Tensor) -> torch.Tensor:
        """The logarithm of the improvement at points, shape (points, parameters)."""
        mine = self._cond_gpr.sample_joint_posterior(x, return_fantasy=False)
        gains = (torch.maximum(mine, self._best) - self._threshold).clamp_min(acquisitions._EPS).log()
        found: torch.Tensor = torch.special.logsumexp(gains, dim=-1) - float(np.log(gains.shape[-1]))
        return found


def fitted(points: Floats, values: Floats, is_categorical: npt.NDArray[np.bool_]) -> GPRegressor:
    """Optuna's process over points (trials, parameters) and standardised values, with the kernel of the highest
    likelihood times prior; with the kernel that the search begins from where that cannot be found."""
    regressor = GPRegressor(
        is_categorical=torch.from_numpy(is_categorical),
        X_train=torch.from_numpy(points),
        y_train=torch.from_numpy(values),
        inverse_squared_lengthscales=torch.from_numpy(np.ones(points.shape[1])),
        kernel_scale=torch.tensor(1.0),
        noise_var=torch.tensor(1.0),
    )
    likelihood = _Likelihood(regressor._squared_X_diff, regressor._y_train)
    start = np.zeros(points.shape[1] + 2)
    start[-1] = np.log(1.0 - 0.99 * prior.DEFAULT_MINIMUM_NOISE_VAR)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # a search may look far away
            found = minimize(
                likelihood.loss, start, jac=True, method="l-bfgs-b", options={"gtol": PRECISION, "maxfun": STEPS}
            )
            _use(regressor, found.x)
    except RuntimeError:  # a matrix that is not positive definite, or a search that ran off
        _use(regressor, start)
    regressor._squared_X_diff = regressor._squared_X_diff.new_empty(
        0
    )  # by far the largest part, of use to the fit alone
    return regressor


def _use(regressor: GPRegressor, raw: Floats) -> None:
    """Give the process its kernel, and prepare it for predictions."""
    found = np.exp(raw)
    if not np.isfinite(found).all():
        raise RuntimeError("the fit must end at finite numbers")
    regressor.inverse_squared_lengthscales = torch.from_numpy(found[:-2])
    regressor.kernel_scale = torch.tensor(found[-2])
    regressor.noise_var = torch.tensor(found[-1] + prior.DEFAULT_MINIMUM_NOISE_VAR)
    regressor._cov_Y_Y_chol = regressor._cov_Y_Y_inv_Y = None
    regressor._cache_matrix()


class _Likelihood:
    """Minus the logarithm of marginal likelihood times prior, with its gradient (Rasmussen & Williams 2006, 5.9), by
    the logarithms of the inverse squared length scales, of the kernel's scale and of the noise. `squares` are the
    squared distances by parameter, (trials, trials, parameters): symmetric, so each pair of trials is taken once."""

    def __init__(self, squares: torch.Tensor, values: torch.Tensor) -> None:
        self._values = values  # (n, 1)
        self._count = len(values)
        row, column = torch.tril_indices(self._count, self._count, -1).unbind()
        self._pairs = row * self._count + column  # their places in the lower triangle of an (n, n) matrix
        self._squares = squares.reshape(-1, squares.shape[2])[self._pairs]

    def loss(self, raw: Floats) -> tuple[float, Floats]:
        """At one point, shape (d + 2,)."""
        found = np.exp(raw)
        inverse, scale, noise = found[:-2], found[-2], found[-1] + prior.DEFAULT_MINIMUM_NOISE_VAR
        with torch.no_grad():
            correlation, slope = _matern(self._squares @ torch.from_numpy(inverse))
            covariance = torch.zeros(self._count, self._count, dtype=torch.float64)
            covariance.view(-1)[self._pairs] = correlation * scale
            covariance.diagonal().fill_(scale + noise)
            root = torch.linalg.cholesky(covariance)  # reads the lower triangle alone
            weights = torch.cholesky_solve(self._values, root)
            fit = -float(root.diagonal().log().sum()) - 0.5 * float((self._values * weights).sum())
            # By the covariance: (K⁻¹ y yᵀ K⁻¹ - K⁻¹) / 2, of which every pair counts twice.
            change = (weights @ weights.T).sub_(torch.cholesky_inverse(root))
            by_noise = 0.5 * float(change.diagonal().sum())
            by_pair = change.view(-1)[self._pairs]
            by_scale = float(by_pair @ correlation) + by_noise
            by_inverse = ((by_pair * slope) @ self._squares).numpy() * scale
        gradient = np.append(by_inverse, [by_scale, by_noise])
        believed, by_prior = _prior(inverse, scale, noise)
        return -(fit + believed), -(gradient + by_prior) * found


def _matern(squares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The Matérn 5/2 correlation at squared distances, and its derivative by them."""
    root = torch.sqrt(5 * squares)
    decay = torch.exp(-root)
    return decay * ((5 / 3) * squares + root + 1), decay * (root + 1) * (-5 / 6)


def _prior(inverse: Floats, scale: float, noise: float) -> tuple[float, Floats]:
    """The logarithm of Optuna's prior (`optuna._gp.prior`), up to a constant, and its derivatives."""
    believed = -(0.1 / inverse + 0.1 * inverse).sum() + np.log(scale) - scale + 0.1 * np.log(noise) - 30 * noise
    return float(believed), np.append(0.1 / inverse**2 - 0.1, [1 / scale - 1, 0.1 / noise - 30])


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What the process says at some points, in the objective's own units; `acquisition` is the natural logarithm of the
    expected improvement, in those units too."""

    mean: Floats
    deviation: Floats
    acquisition: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedProcess:
    """A fitted process with the acquisition function that a trial was chosen by."""

    process: Process
    acquisition: Any

    def at(self, codes: Sequence[dict[str, Any]]) -> Prediction:
        """Predict at configurations in codes, one of every parameter each."""
        process = self.process
        points = self.acquisition.search_space.get_normalized_params([None] * len(codes), list(codes))
        with torch.no_grad():
            mean, variance = process._regressor.posterior(torch.from_numpy(points))
            expected = self.acquisition.eval_acqf_no_grad(points)
        means: Floats = mean.numpy() * process.scale + process.shift
        return Prediction(
            mean=means if process.maximize else -means,
            deviation=np.sqrt(variance.numpy()) * process.scale,
            acquisition=expected + process.log_unit,
        )


def highest(acquisition: Any, space: PointSpace, starts: Floats | None, rng: np.random.RandomState) -> dict[str, Any]:
    """The codes at the acquisition's maximum, as far as a search from 10 places finds it; `starts` (n, parameters) are
    places in the unit cube that it begins from as well."""
    point, _ = optimize_acqf_mixed(
        acquisition,
        warmstart_normalized_params_array=starts,
        n_preliminary_samples=2048,
        n_local_search=10,
        tol=1e-4,
        rng=rng,
    )
    found: dict[str, Any] = space.get_unnormalized_param(point)
    return found
