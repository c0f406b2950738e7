"""Who decides next: the model, ranks, or nobody, so that a configuration begins anywhere.

A model that is sure of what it is wrong about never finds out; what it does not decide keeps a search honest. Not here:
what is decided (`planner`), and who goes on by rank (`promotion`).
"""

from __future__ import annotations

import enum

import numpy as np

ANYWHERE, STILL_ANYWHERE = 0.2, 0.35
"""How often one begins anywhere, whatever the model says: where few configurations come to anything at all, a model of
those that were seen goes on looking where they were. The second where the search stands still."""
BY_RANK = 0.5
"""How often ranks decide of what is left then, where the search stands still."""
MANY = 8
"""While so many are on their way, halving decides most of the time: a model that is asked so often before it hears
anything mostly repeats itself."""
HALVING, LONG_HALVING = 0.65, 0.85
"""How often it does; the second where nothing better was found for long."""
LONG = 0.5
"""The share of what was trained that is long to find nothing better."""


class Turn(enum.Enum):
    """Whose decision it is."""

    MODEL = "what the model expects most of"
    RANKS = "the best by rank; where none is due, the model's"
    HALVING = "the best by rank; where none is due, one begins anywhere"
    ANYWHERE = "one begins anywhere"


def turn(rng: np.random.Generator, *, running: int, standstill: float) -> Turn:
    """Drawn anew for each decision while trials may start. `running` are on their way, `standstill` is the share of
    what was trained that brought nothing better (`progress`)."""
    if running >= MANY:
        return Turn.HALVING if rng.random() < (LONG_HALVING if standstill >= LONG else HALVING) else Turn.MODEL
    if rng.random() < (STILL_ANYWHERE if standstill else ANYWHERE):
        return Turn.ANYWHERE
    return Turn.RANKS if standstill and rng.random() < BY_RANK else Turn.MODEL
