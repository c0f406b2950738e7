"""Randomness by name: every generator is keyed by (study seed, trial number, purpose), never by arrival order.

Here: how keys become generators. Not here: global random state, clocks, anything that draws by itself.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a generator is for. The numbers are part of every study's meaning: never reuse or renumber them."""

    TRIAL = 0  # the root of a trial's own streams, handed to its trainable
    SAMPLE = 1  # an independent draw from the space
    SURROGATE = 2  # the sampler of a surrogate model
    ORDER = 3  # the order of a grid
    SCRAMBLE = 4  # the scrambling of a Sobol sequence
    UNTRIED = 5  # the choice among the configurations left in a small space
    SIMULATION = 6  # synthetic curves and virtual workers
    BLOCK = 7  # what a block of trials shares; keyed by the block's number
    CONFIRMATION = 8  # the seed of a study that confirms this one; keyed by how many did before
    EVOLVE = 10  # a child of differential evolution: its parents, its mutation and its crossover
    PLACE = 11  # where in a discrete value's share of its axis an individual lies, and where it is inactive
    THAW = 12  # what a model of learning curves looks at; keyed by how much had happened before
    EXPLORE = 9  # who goes on from whom in a population, with which changes; keyed by who gave up its place


def sequence(study_seed: int, *key: int) -> np.random.SeedSequence:
    """The seed sequence under `key`: equal keys give equal sequences, different ones independent ones."""
    return np.random.SeedSequence(study_seed, spawn_key=key)


def rng(study_seed: int, number: int, purpose: Purpose, *more: int) -> np.random.Generator:
    """The generator of trial `number` for one purpose; `more` tells repeated tries apart."""
    return np.random.default_rng(sequence(study_seed, number, int(purpose), *more))


def trial_seed(study_seed: int, number: int) -> int:
    """The seed that the trial's trainable gets: 63 bits, the root of its named streams."""
    state = sequence(study_seed, number, int(Purpose.TRIAL)).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def seed32(study_seed: int, number: int, *more: int) -> int:
    """A 32-bit seed for a surrogate's sampler: fresh for every trial, and for every try of one trial."""
    return int(sequence(study_seed, number, *more).generate_state(1, np.uint32)[0])
