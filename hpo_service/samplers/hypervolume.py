"""Gaussian processes of several objectives, or of one under constraints: one process for each, taken as independent.

Where the next trial goes: the logarithm of the expected hypervolume improvement, times the probability that every
constraint is kept (S. Daulton et al., NeurIPS 2020; S. Ament et al., NeurIPS 2023; J. Gardner et al., ICML 2014). The
processes are independent and the boxes that nobody dominates are disjoint, so the expectation is a sum of products of
expected improvements: exact, without samples (K. Yang et al., J. Global Optimization 75, 2019). Trials on their way
are taken at the values that are expected of them. Imports torch and Optuna: import it lazily.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from optuna._gp import acqf as acquisitions
from optuna._gp.gp import GPRegressor
from optuna._gp.search_space import SearchSpace as PointSpace
from optuna._gp.search_space import _normalize_one_param
from optuna._hypervolume import get_non_dominated_box_bounds
from optuna.distributions import BaseDistribution

from hpo_service.samplers.evidence import Evidence
from hpo_service.samplers.fronts import Integers, fronts
from hpo_service.samplers.judged import Judged
from hpo_service.samplers.nearby import around
from hpo_service.samplers.process import fitted, highest

Floats = npt.NDArray[np.float64]
EPS = 1e-10
NEAR, FAR = -5.0, -1e3
"""Standard deviations below which an expected improvement is reckoned by other formulas, where one would cancel."""
SQRT_2, SQRT_2PI = math.sqrt(2), math.sqrt(2 * math.pi)
MARGIN = 0.1
"""The reference point lies so far behind the better half of the trials, of the width of an objective there."""
MAX_FRONT = {2: 240, 3: 120, 4: 40}
"""By objectives, how many trials of the front a volume is reckoned on: the boxes beside them are the cost of a draw."""
STARTS = 5
"""The search for the maximum starts from so many trials of the front, beside the best of 2048 places."""
BOLD, FEW = 0.5, 32
"""From three objectives on, that share of the draws is the best of `FEW` places anywhere and as many around the front.
Processes know least of the cube's corners, and somewhere there one of many objectives may be very good: a search for
the maximum goes to them for long. Corners are few."""
MAX_SEED = 2**31 - 1


class _Output:
    """One process: of an objective (negated, if it is to be minimised) or of how well a constraint is kept."""

    def __init__(self, points: Floats, values: Floats, is_categorical: npt.NDArray[np.bool_]) -> None:
        size = float(np.abs(values).max()) or 1.0  # squares of enormous values would overflow
        values = values / size
        shift, scale = float(values.mean()), max(EPS / size, float(values.std()))
        self.shift, self.scale = shift * size, scale * size
        self.values: Floats = (values - shift) / scale
        self.regressor = fitted(points, self.values, is_categorical)

    @property
    def zero(self) -> float:
        """Where zero is, in its units."""
        return -self.shift / self.scale

    def believing(self, running: torch.Tensor) -> tuple[GPRegressor, Floats]:
        """The process with trials on their way at their expected values, and these."""
        if not len(running):
            return self.regressor, np.zeros(0)
        regressor = copy.copy(self.regressor)
        with torch.no_grad():
            mean, _ = regressor.posterior(running)
            regressor.append_running_data(running, mean)
        return regressor, mean.numpy()


class Processes:
    """Fitted to what is judged of some evidence; trials on their way do not count in the fit. `shift` and `scale` are
    of the first objective, as in `process.Process`; `log_unit`: the logarithm of what the improvement is counted in."""

    def __init__(self, evidence: Evidence, distributions: Mapping[str, BaseDistribution]) -> None:
        torch.set_num_threads(1)
        judged = evidence.judged
        assert judged is not None, "several objectives or constraints are judged"
        self._judged: Judged = judged
        self._space = PointSpace(dict(distributions))
        rows = np.flatnonzero(judged.rested)
        self._points = _normalized(self._space, evidence.codes[rows])
        self._feasible = judged.feasible[rows]
        categorical = self._space.is_categorical
        self._objectives = [
            _Output(self._points, -judged.losses[rows, k], categorical) for k in range(judged.losses.shape[1])
        ]
        self._constraints = []
        for excess in judged.excess[rows].T:
            known = np.isfinite(excess)
            if known.sum() >= 2 and np.ptp(excess[known]) > EPS * np.abs(excess[known]).max():
                self._constraints.append(_Output(self._points[known], -excess[known], categorical))
        if not self._feasible.any() and not self._constraints:  # nothing tells where constraints are kept: all count
            self._feasible = ~judged.failed[rows]
        self.maximize = evidence.maximize
        self._regressor = self._objectives[0].regressor
        first = self._objectives[0]
        self.shift, self.scale = first.shift, first.scale
        self.log_unit = float(sum(np.log(output.scale) for output in self._objectives))

    def acquisition(self, evidence: Evidence, rng: np.random.RandomState) -> Any:
        """The logarithm of the (hypervolume) improvement times the probability that all constraints are kept, with the
        trials of `evidence` that are on their way. While nothing is feasible, of the probability alone; while nothing
        tells where they are kept (not reported, or the same everywhere), of the improvement alone."""
        running = torch.from_numpy(_normalized(self._space, evidence.codes[evidence.running]))
        objectives, expected = zip(*(output.believing(running) for output in self._objectives), strict=True)
        constraints, kept = [], np.ones(len(running), dtype=np.bool_)
        for output in self._constraints:
            regressor, believed = output.believing(running)
            constraints.append(acquisitions.LogPI(regressor, self._space, output.zero))
            kept &= believed >= output.zero
        values = np.stack([output.values for output in self._objectives], axis=1)[self._feasible]
        values = np.concatenate([values, np.stack(expected, axis=1)[kept]]) if len(values) else values
        return _Feasible(self._space, objectives, _improvement(self._space, objectives, values), constraints)

    def choose(self, acquisition: Any, rng: np.random.RandomState) -> dict[str, Any]:
        """The codes at the acquisition's maximum (`highest`); some of the front are starts. Of many objectives, now and
        then those of the best of a few places."""
        front = self._points[self._judged.front[np.flatnonzero(self._judged.rested)]]
        if len(self._objectives) > 2 and rng.random_sample() < BOLD:
            few = self._few(front, rng)
            best = few[int(np.argmax(acquisition.eval_acqf_no_grad(few)))]
            found: dict[str, Any] = self._space.get_unnormalized_param(best)
            return found
        size = min(STARTS, len(front))
        starts = front[rng.choice(len(front), size=size, replace=False)] if size else None
        return highest(acquisition, self._space, starts, rng)

    def _few(self, front: Floats, rng: np.random.RandomState) -> Floats:
        """Places (n, parameters) anywhere, and some that share what is not changed with one of the `front`: continuous
        parameters are moved, others drawn anew."""
        space = self._space
        anywhere: Floats = space.sample_normalized_params(FEW, rng)
        if not len(front):
            return anywhere
        centres = front[rng.randint(len(front), size=FEW)]
        near, moved = around(centres, rng)
        anew, discrete = space.sample_normalized_params(FEW, rng), space.discrete_indices
        near[:, discrete] = np.where(moved[:, discrete], anew[:, discrete], centres[:, discrete])
        return np.concatenate([anywhere, near])


class _Feasible(acquisitions.BaseAcquisitionFunc):
    """Improvement and feasibility together, in logarithms."""

    def __init__(
        self, space: PointSpace, objectives: Sequence[GPRegressor], improvement: Any, constraints: Sequence[Any]
    ) -> None:
        self._parts = [part for part in (improvement, *constraints) if part is not None]
        super().__init__(np.mean([regressor.length_scales for regressor in objectives], axis=0), space)

    def eval_acqf(self, x: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(x.shape[:-1], dtype=torch.float64)
        for part in self._parts:
            found = found + part.eval_acqf(x)
        return found


class LogHypervolumeImprovement(acquisitions.BaseAcquisitionFunc):
    """The logarithm of the volume that a point is expected to add beyond `values`, (trials, objectives), all of which
    are to be maximised; volumes are reckoned from `behind`."""

    def __init__(self, space: PointSpace, regressors: Sequence[GPRegressor], values: Floats, behind: Floats) -> None:
        self._regressors = regressors
        below, above = get_non_dominated_box_bounds(-values, -behind)
        self._lower = torch.from_numpy(-above)
        self._upper = torch.from_numpy(-below)
        super().__init__(np.mean([regressor.length_scales for regressor in regressors], axis=0), space)

    def eval_acqf(self, x: torch.Tensor) -> torch.Tensor:
        """At points, shape (points, parameters)."""
        volume = torch.zeros((*x.shape[:-1], len(self._lower)), dtype=torch.float64)
        for k, regressor in enumerate(self._regressors):
            mean, variance = regressor.posterior(x)
            mean, deviation = mean[..., None], torch.sqrt(variance + EPS)[..., None]
            beyond = _log_improvement((mean - self._lower[:, k]) / deviation)
            open_ended = torch.isinf(self._upper[:, k])
            upper = torch.where(open_ended, 0.0, self._upper[:, k])
            too_far = _log_improvement((mean - upper) / deviation)
            cut = torch.log1p(-torch.exp((too_far - beyond).clamp(max=-EPS)))
            volume = volume + beyond + torch.where(open_ended, 0.0, cut) + deviation.log()
        found: torch.Tensor = torch.special.logsumexp(volume, dim=-1)
        return found


def _log_improvement(z: torch.Tensor) -> torch.Tensor:
    """The logarithm of the expectation of max(0, z + standard normal), in three pieces (Ament et al. 2023, equation 9).
    Each is only reckoned where it holds: gradients of the others would not be numbers."""
    near, middle, far = z.clamp(min=NEAR), z.clamp(FAR, NEAR), z.clamp(max=FAR)
    density = torch.exp(-0.5 * near.square()) / SQRT_2PI
    above = torch.log(density + near * 0.5 * torch.special.erfc(-near / SQRT_2))
    tail = torch.log1p(SQRT_2PI / 2 * middle * torch.special.erfcx(-middle / SQRT_2))
    between = -0.5 * middle.square() - math.log(SQRT_2PI) + tail
    beyond = -0.5 * far.square() - math.log(SQRT_2PI) - 2 * torch.log(-far)
    return torch.where(z > NEAR, above, torch.where(z > FAR, between, beyond))


def reference(values: Floats, ranks: Integers) -> Floats:
    """The point that volumes are reckoned from, shape (objectives,): a tenth of the width behind the worst of each
    objective among the better half of the trials, in whole fronts of those `ranks`. Behind the first front alone it
    could not grow at its ends; behind everything, the largest volumes were promised where one objective is good and
    the others are bad. `values` (trials, objectives) are to be maximised."""
    middle = np.sort(ranks)[(len(ranks) - 1) // 2]
    better = values[ranks <= middle]
    worst = better.min(axis=0)
    width = better.max(axis=0) - worst
    found: Floats = worst - MARGIN * np.where(width > 0, width, 1.0)
    return found


def _improvement(space: PointSpace, regressors: Sequence[GPRegressor], values: Floats) -> Any:
    """The acquisition of what is better than `values`; None where there are none."""
    if not len(values):
        return None
    if len(regressors) == 1:
        return acquisitions.LogEI(gpr=regressors[0], search_space=space, threshold=float(values.max()))
    ranks = fronts(-values, np.zeros(len(values)))
    front = values[ranks == 0]
    most = MAX_FRONT[len(regressors)]
    if len(front) > most:  # an even spread along the first objective
        front = front[np.argsort(front[:, 0], kind="stable")]
        front = front[np.linspace(0, len(front) - 1, most).round().astype(np.int64)]
    return LogHypervolumeImprovement(space, regressors, front, reference(values, ranks))


def _normalized(space: PointSpace, codes: Floats) -> Floats:
    """Codes as places in the unit cube; categories stay their index."""
    columns = [
        _normalize_one_param(codes[:, i], space._scale_types[i], tuple(space._bounds[i]), space._steps[i])
        for i in range(space.dim)
    ]
    return np.stack(columns, axis=1)
