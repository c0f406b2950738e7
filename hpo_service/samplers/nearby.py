"""Places near others in the unit cube, from a small step to half the cube, in a few parameters or in all. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NARROW, WIDE = 0.02, 0.5
"""The widths of draws around a place."""


def around(centres: Floats, rng: np.random.Generator | np.random.RandomState) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """A place near each of the `centres` (n, d), each with a width of its own, and which of its parameters moved."""
    count, dimension = centres.shape
    width = np.exp(rng.uniform(np.log(NARROW), np.log(WIDE), (count, 1)))
    share = np.maximum(rng.random((count, 1)), 1.5 / max(1, dimension))
    moved = rng.random((count, dimension)) < share
    steps = moved * width * rng.standard_normal((count, dimension))
    return np.clip(centres + steps, 0.0, 1.0), moved
