"""PED-ANOVA: which parameters tell the best tenth of the trials from all of them. Pure.

Watanabe et al. 2023 (arXiv:2304.10255), with conditional parameters as in arXiv:2601.20800; Optuna's evaluator of that
name gives the same numbers, and a test holds both equal. Here each parameter is counted into cells at once, so that
100,000 trials take milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hpo_service.views.columns import Bools, Floats, Ints

BEST = 0.1
"""The share of the trials that counts as best."""
CELLS = 50
_NARROWEST = 0.5 / 1.64  # a kernel of that width keeps nine tenths of its mass in its own cell
_TINY = 1e-12


def importances(cells: Mapping[str, tuple[Ints, int, bool]], losses: Floats) -> dict[str, float]:
    """Not yet normalised. `cells` holds, per parameter, the cell of each trial (-1 where it is inactive), how many
    cells there are, and whether they have an order; `losses` are the trials' values, smaller is better."""
    best = losses <= np.partition(losses, math.ceil(BEST * losses.size) - 1)[math.ceil(BEST * losses.size) - 1]
    return {name: _importance(column, count, best, ordered=ordered) for name, (column, count, ordered) in cells.items()}


def _importance(column: Ints, count: int, best: Bools, *, ordered: bool) -> float:
    there = column >= 0
    among_best = int(np.count_nonzero(there & best))
    if count < 2 or not among_best or np.count_nonzero(there) < 2:
        return 0.0
    everywhere = density(np.bincount(column[there], minlength=count), ordered=ordered)
    at_best = density(np.bincount(column[there & best], minlength=count), ordered=ordered)
    divergence = float(everywhere @ ((at_best / everywhere - 1) ** 2))
    share_of_best, share = among_best / np.count_nonzero(best), np.count_nonzero(there) / there.size
    return share_of_best**2 / share * divergence


def density(counts: Ints, *, ordered: bool) -> Floats:
    """A smoothed density over the cells: a kernel per cell that was hit, weighted by its hits, and one flat prior."""
    hit = np.flatnonzero(counts)
    weights = np.append(counts[hit], 1.0)
    kernels = _ordered(hit, counts) if ordered else _unordered(hit, counts.size)
    found: Floats = (weights / weights.sum()) @ kernels + _TINY
    return found


def _unordered(hit: Ints, count: int) -> Floats:
    kernels = np.full((hit.size + 1, count), 1.0 / (hit.size + 1))
    kernels[np.arange(hit.size), hit] += 1
    found: Floats = kernels / kernels.sum(axis=1, keepdims=True)
    return found


def _ordered(hit: Ints, counts: Ints) -> Floats:
    """Normal kernels cut to the cells, their width by Scott's rule (1992)."""
    n = counts.size
    masses = [_masses(_width(hit, counts[hit]), n), _masses(float(n), n)]
    offsets = np.abs(np.arange(n)[None, :] - hit[:, None])
    middle = np.abs(np.arange(n) - (n - 1) / 2)[None, :]
    kernels = np.concatenate([masses[0][2 * offsets], masses[1][(2 * middle).astype(np.int64)]])
    found: Floats = kernels / kernels.sum(axis=1, keepdims=True)
    return found


def _width(hit: Ints, weights: Ints) -> float:
    total, until = int(weights.sum()), np.cumsum(weights)
    mean = (hit @ weights) / total
    spread = math.sqrt(((hit - mean) ** 2 @ weights) / max(1, total - 1))
    low = int(np.searchsorted(until, total // 4, side="left"))
    high = min(hit.size - 1, int(np.searchsorted(until, total * 3 // 4, side="right")))
    between = float(hit[high] - hit[low])
    scott: float = 1.059 * min(between / 1.34, spread) / float(total) ** 0.2
    return max(scott, _NARROWEST)


def _masses(width: float, cells: int) -> Floats:
    """The mass of a cell by its distance from the kernel's middle, in half cells: 0, ½, 1, …"""

    def above(x: float) -> float:
        return 0.5 * math.erfc(x / (width * math.sqrt(2)))

    return np.array([above(k / 2 - 0.5) - above(k / 2 + 0.5) for k in range(2 * cells)])


def shares(importance: Mapping[str, float]) -> Sequence[tuple[str, float]]:
    """The most important first, as shares of one; empty where none matters."""
    total = sum(importance.values())
    if not total > 0:
        return ()
    return sorted(((name, value / total) for name, value in importance.items()), key=lambda item: (-item[1], item[0]))
