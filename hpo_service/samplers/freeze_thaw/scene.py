"""What a plan is made for, and what it consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpo_service.samplers.freeze_thaw.evidence import Seen
from hpo_service.samplers.freeze_thaw.failures import Failure
from hpo_service.samplers.freeze_thaw.kernel import Floats
from hpo_service.samplers.freeze_thaw.rungs import Forgotten

BEGIN = 5
"""Configurations of the initial design."""
PROMISES = "promises most for its cost"
"""How the reason of what the model chose begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One decision: paused trial `trial` goes on, or (None) a new one begins at the first of `points` (k, d) that may
    be taken; no points: anywhere. `gain` is the improvement to expect of it at the end of training, in the objective's
    units, None without a model."""

    trial: int | None
    target: float
    reason: str
    points: Floats | None = None
    gain: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """A trial that could go on."""

    trial: int
    resource: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What a plan is made for. `seen` in the order of the log; `paused` who may go on, `running` (trial, target) who is
    on the way; `begun` how many configurations there were, `first` how many come before the model, `look` how far a new
    one goes first; `starts` and `resource` what the budget still holds; `stamp` counts the segments that began or ended
    before; `lawful`: whether `seen` holds the objective's values, or else by how little constraints are broken;
    `forgotten` what trials came to that are not in `seen` any more; `failed` who failed otherwise than by diverging,
    the newest last; `exposed` how far the newest trials came, whatever they came to."""

    seen: Sequence[Seen]
    paused: Sequence[Paused]
    running: Sequence[tuple[int, float]]
    begun: int
    first: int
    look: float
    starts: float
    resource: float
    stamp: int
    forgotten: Forgotten
    lawful: bool = True
    failed: Mapping[int, Failure] = field(default_factory=dict)
    exposed: Mapping[int, float] = field(default_factory=dict)
