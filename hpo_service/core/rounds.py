"""Rounds: how an algorithm whose proposals hang on what is known comes to the same study twice.

As many trials as may be open at once are proposed together, and the next ones only when all of those rest. What they
came to is taken in by trial number, whoever finished first. So the number of workers, the order in which results arrive
and a crash in between change nothing; the price is that free workers wait for the slowest trial of a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Rounds:
    """Which trials of the round are on their way, and which rest but were not taken in yet."""

    _open: set[int] = field(default_factory=set)
    _resting: set[int] = field(default_factory=set)

    @property
    def under_way(self) -> bool:
        """Whether a trial of the round is still to come to rest."""
        return bool(self._open)

    def began(self, trial: int) -> None:
        """A segment of the trial was decided on."""
        self._open.add(trial)

    def rested(self, trial: int) -> None:
        """It came to rest: `over` says when it is to be taken in."""
        self._open.discard(trial)
        self._resting.add(trial)

    def over(self) -> Sequence[int]:
        """The trials to take in now, by number, each once: none while others are on their way."""
        if self._open:
            return ()
        resting, self._resting = sorted(self._resting), set()
        return resting
