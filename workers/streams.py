"""Named random streams: every random draw of a recipe comes from one of these, and from nothing else.

A stream is named by (root seed, name, fold, epoch) and derived through SHA-256, so a paused trial repeats the draws of
any epoch without storing generator state, and one trial's draws never depend on another's. The split stream hangs
on `split_seed` alone: all trials of a study are validated on the same rows.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

INITIALISATION = "initialisation"
ORDER = "order"
AUGMENTATION = "augmentation"
DROPOUT = "dropout"
SPLIT = "split"
SUBSET = "subset"


def stream_seed(root: int, name: str, *parts: int) -> int:
    """63 bits named by (root, name, parts), spread by SHA-256."""
    label = "/".join([str(root), name, *map(str, parts)])
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big") >> 1


def split_rng(split_seed: int) -> np.random.Generator:
    """The generator of the data split: the same for every trial with the same `split_seed`."""
    return np.random.default_rng(np.random.SeedSequence(stream_seed(split_seed, SPLIT)))


class Streams:
    """The streams of one trial (and one fold of it). Generators are reused and reseeded at each call."""

    def __init__(self, seed: int, *, fold: int = 0, device: str = "cpu") -> None:
        import torch  # lazy: the split stream must be usable without torch

        self._seed = seed
        self._fold = fold
        self._generators = {
            name: torch.Generator(device=device if name == DROPOUT else "cpu")
            for name in (INITIALISATION, ORDER, AUGMENTATION, DROPOUT)
        }

    def _at(self, name: str, epoch: int) -> torch.Generator:
        generator = self._generators[name]
        generator.manual_seed(stream_seed(self._seed, name, self._fold, epoch))
        return generator

    def initialisation(self) -> torch.Generator:
        """On the CPU, whatever the device: weights start equal on CPU and GPU."""
        return self._at(INITIALISATION, 0)

    def order(self, epoch: int) -> torch.Generator:
        """On the CPU: the order of the training rows in an epoch."""
        return self._at(ORDER, epoch)

    def augmentation(self, epoch: int) -> torch.Generator:
        """On the CPU: flips and shifts of an epoch."""
        return self._at(AUGMENTATION, epoch)

    def dropout(self, epoch: int) -> torch.Generator:
        """On the training device: the dropout masks of an epoch."""
        return self._at(DROPOUT, epoch)
