"""No draws at all: of a study that trains what it was given, and nothing else."""

from __future__ import annotations

from hpo_service.core.history import TrialRecord
from hpo_service.core.roles import Ask, Draw


class NothingSampler:
    """A `Sampler` that never has a configuration."""

    def draw(self, ask: Ask) -> Draw | None:
        """None."""
        return None

    def spent(self, ask: Ask) -> str | None:
        """Always."""
        return "a confirmation trains its own trials and chooses none"

    def started(self, trial: TrialRecord) -> None:
        """Nothing to note."""

    def rested(self, trial: TrialRecord) -> None:
        """Nothing to note."""
