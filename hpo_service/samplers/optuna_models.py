"""Optuna's samplers that keep what they fitted: the Gaussian process with its acquisition function, TPE's densities.

What is kept is the very object that the draw was made from, and nothing reads it but a view (`surrogate_view`): the
draws are those of the plain samplers. Imports Optuna: import it lazily. No data of ours is here (see `optuna_view`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.probability_distributions import _BatchedCategoricalDistributions

Floats = npt.NDArray[np.float64]
Codes = Sequence[dict[str, Any]]
EPS = 1e-10
"""Below this spread Optuna standardises by it (`samplers/_gp/sampler.py`)."""


class GaussianProcess(optuna.samplers.GPSampler):
    """Optuna's GP sampler. `only_fit`: it does not look for the acquisition's maximum, which is most of a draw."""

    def __init__(self, seed: int, *, only_fit: bool = False) -> None:
        super().__init__(seed=seed, n_startup_trials=0, warn_independent_sampling=False)
        self.acquisition: Any = None
        self._only_fit = only_fit

    def _optimize_acqf(self, acqf: Any, best_params: Any) -> Any:
        self.acquisition = acqf
        return best_params[0] if self._only_fit else super()._optimize_acqf(acqf, best_params)


class ParzenEstimators(optuna.samplers.TPESampler):
    """Optuna's TPE sampler. `densities`: those of the good trials and of the rest, as of its newest draw."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
        self.densities: tuple[Any, Any] | None = None

    def _compute_acquisition_func(self, samples: Any, mpe_below: Any, mpe_above: Any) -> Any:
        self.densities = (mpe_below, mpe_above)
        return super()._compute_acquisition_func(samples, mpe_below, mpe_above)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What the process says at some points, in the objective's own units; `acquisition` is the natural logarithm of the
    expected improvement, in those units too."""

    mean: Floats
    deviation: Floats
    acquisition: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedProcess:
    """A fitted Gaussian process with the acquisition function that a trial was chosen by."""

    acquisition: Any
    scale: float
    shift: float
    maximize: bool

    def at(self, codes: Codes) -> Prediction:
        """Predict at configurations in codes, one of every parameter each."""
        torch = importlib.import_module("torch")
        points = self.acquisition.search_space.get_normalized_params([None] * len(codes), list(codes))
        with torch.device("cpu"), torch.no_grad():
            mean, variance = _regressor(self.acquisition).posterior(torch.from_numpy(points))
            expected = self.acquisition.eval_acqf_no_grad(points)
        means: Floats = mean.numpy() * self.scale + self.shift
        return Prediction(
            mean=means if self.maximize else -means,
            deviation=np.sqrt(variance.numpy()) * self.scale,
            acquisition=expected + np.log(self.scale),
        )


def fitted(acquisition: Any, values: Sequence[float], *, maximize: bool) -> FittedProcess:
    """The process of an acquisition function; `values` are those that it was fitted to, which give its scale."""
    signed = np.array(values) if maximize else -np.array(values)
    regressor = _regressor(acquisition)
    # Distances between all observations, by parameter: by far the largest part, and of use to the fit alone.
    regressor._squared_X_diff = regressor._squared_X_diff.new_empty(0)
    return FittedProcess(
        acquisition=acquisition,
        scale=max(EPS, float(np.std(signed))),
        shift=float(np.mean(signed)),
        maximize=maximize,
    )


def _regressor(acquisition: Any) -> Any:
    """Of log expected improvement, or of the one that is conditioned on running trials."""
    conditional = getattr(acquisition, "_cond_gpr", None)
    return acquisition._gpr if conditional is None else conditional._gpr


class Densities:
    """TPE's two densities over parameters that are drawn together, cut along each of them through one configuration:
    `good` of the best trials, `bad` of the rest. `through`: its codes."""

    def __init__(
        self, distributions: Mapping[str, BaseDistribution], good: Any, bad: Any, *, through: Mapping[str, Any]
    ) -> None:
        self.distributions = distributions
        point = [float(one.to_internal_repr(through[name])) for name, one in distributions.items()]
        self._good, self._bad = _Cut(good, point), _Cut(bad, point)

    def along(self, name: str, codes: Sequence[Any]) -> tuple[Floats, Floats]:
        """Their natural logarithms where the parameter `name` has these codes, and the others stay."""
        which = list(self.distributions).index(name)
        places = np.array([[float(self.distributions[name].to_internal_repr(code))] for code in codes])
        return self._good.along(which, places), self._bad.along(which, places)


class _Cut:
    """A mixture of products through one point. Where one dimension moves and the others stay, it is a mixture of that
    dimension alone, whose weights take the others in: the same as `log_pdf`, in a fraction of its time."""

    def __init__(self, estimator: Any, point: Sequence[float]) -> None:
        self._mixture = estimator._mixture_distribution
        self._terms = [_by_kernel(kernels, x) for kernels, x in zip(self._mixture.distributions, point, strict=True)]

    def along(self, which: int, places: Floats) -> Floats:
        staying = (term for dimension, term in enumerate(self._terms) if dimension != which)
        weights = sum(staying, np.log(self._mixture.weights))
        greatest = weights.max()
        moving = [self._mixture.distributions[which]]
        with np.errstate(divide="ignore"):  # a kernel that is too far away to count
            alone = type(self._mixture)(weights=np.exp(weights - greatest), distributions=moving)
            found: Floats = alone.log_pdf(places) + greatest
        return found


def _by_kernel(kernels: Any, x: float) -> Floats:
    """The logarithm of each kernel at one place: categories, truncated normals, and these by steps."""
    if isinstance(kernels, _BatchedCategoricalDistributions):
        found: Floats = np.log(kernels.weights[:, int(x)])
        return found
    low, high = (kernels.adapted_low - kernels.mu) / kernels.sigma, (kernels.adapted_high - kernels.mu) / kernels.sigma
    half = kernels.step / 2
    if half == 0:
        found = _truncnorm.logpdf(np.array([x]), a=low, b=high, loc=kernels.mu, scale=kernels.sigma)
        return found
    left, right = (x - half - kernels.mu) / kernels.sigma, (x + half - kernels.mu) / kernels.sigma
    found = _truncnorm._log_gauss_mass(left, right) - _truncnorm._log_gauss_mass(low, high)
    return found
