"""TPE by Optuna's Parzen estimators, over rows that we hold, and its densities to be looked at.

A draw is the one that Optuna's sampler makes from the same trials, to the last bit; only the way from trials to arrays
is ours, which takes Optuna longer than its model does. What a draw was made from is kept for views (`surrogate_view`),
and read by nothing else. Imports Optuna: import it lazily.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.probability_distributions import _BatchedCategoricalDistributions
from optuna.samplers._tpe.sampler import default_gamma, default_gamma_multiobjective

from hpo_service.samplers.evidence import Evidence

Floats = npt.NDArray[np.float64]


class ParzenEstimators(optuna.samplers.TPESampler):
    """Optuna's TPE sampler. `densities`: those of the good trials and of the rest, as of its newest draw."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
        self.densities: tuple[Any, Any] | None = None

    def choose(
        self, evidence: Evidence, distributions: Mapping[str, BaseDistribution], columns: Sequence[int]
    ) -> dict[str, Any]:
        """Codes of some parameters, drawn jointly; their `columns` in the evidence, of which only trials that have all
        of them count. The same draw as `sample_relative`."""
        space = dict(distributions)
        share = default_gamma_multiobjective if evidence.several else default_gamma
        good = evidence.good(share(len(evidence.ranked)))
        below, above = (self._density(evidence.codes[part][:, columns], space) for part in (good, ~good))
        self.densities = (below, above)
        samples = below.sample(self._rng.rng, self._n_ei_candidates)
        best = self._compare(samples, self._compute_acquisition_func(samples, below, above))
        return {name: one.to_external_repr(best[name]) for name, one in space.items()}

    def _density(self, codes: Floats, space: dict[str, BaseDistribution]) -> Any:
        found = codes[~np.isnan(codes).any(axis=1)]
        observations = {name: found[:, column] for column, name in enumerate(space)}
        return self._parzen_estimator_cls(observations, space, self._parzen_estimator_parameters)


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
