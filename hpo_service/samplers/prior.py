"""What past studies say of configurations here, weighted by how well they rank what this study found so far.

The ranking-weighted mixture of Feurer et al. 2018 ("Scalable Meta-Learning for Bayesian Optimization using
Ranking-Weighted Gaussian Process Ensembles", sections 4 and 4.1): a model's weight is how often, over resamplings of
this study's results, it misranks the fewest pairs of them, the study's own model (each result left out) being one of
those that compete. Here chance competes too. What loses has no weight: a prior that misleads is dropped. A pure
function of the log: the resamplings are drawn from a fixed seed. Not here: which studies there are
(`store.warm_starts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hpo_service.core import likeness, past
from hpo_service.core.warm_start import PastResults, WarmStarted
from search_spaces import SearchSpace

Floats = npt.NDArray[np.float64]
Mean = Callable[[Floats], Floats]
"""Points in the unit cube, (n, d) in the order of `SearchSpace.names` (NaN: not active), to (n,): how good past studies
expect them to be, higher is better, in deviations among a past study's results; 0 is their mean."""

RESAMPLINGS = 64
MOST_RESULTS = 80
"""Of more results of this study, an even spread over their ranks."""
HEARD = 4
"""Models that are asked: those of the largest weights."""
LEAST_WEIGHT = 0.02
LEAST_RESULTS = 3
"""Below so many results there is nothing to rank, and every past study counts by how alike it is."""


class Prior:
    """The past studies that a study began from, in its own space."""

    def __init__(self, warm: WarmStarted, space: SearchSpace) -> None:
        self._unordered = likeness.unordered(space)
        alike = {source.study: source.likeness for source in warm.sources}
        self._models = [_model(one, space) for one in warm.prior]
        self._alike = np.array([alike.get(one.study, 1.0) for one in warm.prior])

    def mean(self, points: Floats, values: Sequence[float] | Floats) -> Mean | None:
        """The past studies' mean, weighted by this study's results: points (n, d), values (n,), higher is better, all
        finite. None where no past study helps."""
        weights = self.weights(points, values)
        order = [i for i in np.argsort(-weights, kind="stable").tolist() if weights[i] >= LEAST_WEIGHT]
        heard = order[:HEARD]
        if not heard:
            return None
        share = float(weights.sum() / weights[heard].sum())
        models = [(self._models[i], float(weights[i]) * share) for i in heard]

        def mean(at: Floats) -> Floats:
            places = _whole(at)
            return np.asarray(sum(weight * model.at(places) for model, weight in models), dtype=np.float64)

        return mean

    def weights(self, points: Floats, values: Sequence[float] | Floats) -> Floats:
        """Shape (past studies,): together at most 1; the rest is the study's own model's."""
        told, count = np.asarray(values, dtype=np.float64), len(self._models)
        if count == 0:
            return np.zeros(0)
        if len(told) < LEAST_RESULTS:
            return np.asarray(self._alike / self._alike.sum(), dtype=np.float64)
        kept = _spread(told)
        places, told = _whole(points)[kept], told[kept]
        guesses = [model.at(places) for model in self._models]
        guesses.append(past.left_out(places, told, _own_kernel(places, self._unordered)))
        losses = _misranked(np.stack(guesses), told)
        return _fewest(losses)


def _model(one: PastResults, space: SearchSpace) -> past.PastModel:
    points = _whole(np.stack([likeness.point(params, space) for params in one.params]))
    kernel = past.Kernel(
        lengths=np.array([one.lengths.get(name, np.inf) for name in space.names]),
        noise=one.noise,
        unordered=likeness.unordered(space),
    )
    return past.PastModel(points, past.scores(one.values, maximize=one.maximize), kernel)


def _whole(points: Floats) -> Floats:
    """What is not active is in the middle."""
    return np.where(np.isnan(points), 0.5, points)


def _spread(told: Floats) -> npt.NDArray[np.int64]:
    ranks = np.argsort(told, kind="stable")
    if len(ranks) <= MOST_RESULTS:
        return np.sort(ranks)
    return np.sort(ranks[np.linspace(0, len(ranks) - 1, MOST_RESULTS).round().astype(np.int64)])


def _own_kernel(points: Floats, unordered: npt.NDArray[np.bool_]) -> past.Kernel:
    """Of the study's own model, which only has to be fair competition: one length that grows with the parameters."""
    lengths = np.where(np.ptp(points, axis=0) > 1e-9, 0.5 * max(1.0, points.shape[1]) ** 0.5, np.inf)
    return past.Kernel(lengths=lengths, noise=0.1, unordered=unordered)


def _misranked(guesses: Floats, told: Floats) -> Floats:
    """The share of pairs that each guess (models, n) orders wrongly, in each resampling of the results: shape
    (models, resamplings). Results that are equal are no pair; a guess that cannot tell is half wrong."""
    pairs = told[:, None] < told[None]
    rng = np.random.default_rng(np.random.SeedSequence(len(told)))
    counts = rng.multinomial(len(told), np.full(len(told), 1 / len(told)), size=RESAMPLINGS).astype(np.float64)
    of = np.maximum(np.einsum("bi,bi->b", counts @ pairs, counts), 1.0)
    found = []
    for guess in guesses:
        wrong = np.where(pairs, 0.5 + 0.5 * np.sign(guess[:, None] - guess[None]), 0.0)
        found.append(np.einsum("bi,bi->b", counts @ wrong, counts) / of)
    return np.stack(found)


def _fewest(losses: Floats) -> Floats:
    """How often each past model, of (past models and the own one, resamplings), misranks the fewest. Models that are
    mostly worse than the own one usually is, or than chance, do not compete (section 4.3: dilution)."""
    own, count = losses[-1], len(losses) - 1
    middles = np.median(losses[:count], axis=1)
    barred = (middles > np.quantile(own, 0.95)) | (middles >= 0.5)
    competing = np.where(barred[:, None], np.inf, losses[:count])
    everyone = np.vstack([competing, own])
    least = everyone.min(axis=0)
    wins = (everyone <= least + 1e-12).astype(np.float64)
    wins /= wins.sum(axis=0)
    return np.asarray(wins[:count].mean(axis=1), dtype=np.float64)
