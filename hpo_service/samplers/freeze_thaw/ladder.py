"""Where trials pause, and what it costs to come there. Not here: rungs, which are some of the levels (`rungs`)."""

from __future__ import annotations

from collections.abc import Sequence

ROUNDING = 1e-9
"""A level is reached that far short of it, as a share of it."""


class Ladder:
    """`levels` rise, the last one is the end. `resumes`: whether a trial goes on where it was, or begins anew for each
    level, and pays for all of it."""

    def __init__(self, levels: Sequence[float], *, resumes: bool) -> None:
        self.levels = tuple(levels)
        self.end = self.levels[-1]
        self.resumes = resumes

    def above(self, resource: float) -> float:
        """The next level; the end where there is none."""
        return next((level for level in self.levels if level > resource * (1 + ROUNDING)), self.end)

    def price(self, begun: float, target: float) -> float:
        """What it takes of the budget to train from `begun` to `target`."""
        return target - begun if self.resumes else target

    def step(self, resource: float) -> float:
        """The price of the next level."""
        return self.price(resource, self.above(resource))

    def beyond(self, level: float, horizon: float) -> float:
        """The price from a level to the horizon."""
        return self.price(level, horizon) if horizon > level else 0.0
