"""The two roles that an algorithm is made of: a sampler chooses configurations, a scheduler how far each is trained.

Protocols and the values they exchange. `core.fold` plays them together; who fills them: `samplers`, `schedulers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from hpo_service.core.algorithm import RungView, View
from hpo_service.core.budget import Purse
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.launches import Cohort
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from search_spaces import SearchSpace


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """A configuration, chosen for the next trial. `key` is its `config_key`."""

    params: Mapping[str, Any]
    key: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """A trial of the same round of proposals, with a lower number: not in the log yet, but sure to run."""

    number: int
    params: Mapping[str, Any]
    key: str


class Batch:
    """The new trials of one round of proposals, in number order."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.pending: list[Pending] = []
        self.keys: set[str] = set()
        self.fresh = 0  # different configurations that no earlier trial had
        self.cursor = 0  # where a sampler that goes through a sequence is, in this round

    def add(self, pending: Pending) -> None:
        """One more trial is sure to run."""
        self.pending.append(pending)
        if pending.key not in self.keys:
            self.keys.add(pending.key)
            self.fresh += pending.key not in self._history.keys


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What a sampler is asked: the configuration of trial `number`, which is to be drawn from `space`."""

    number: int
    space: SearchSpace
    space_version: int
    history: History
    batch: Batch
    bracket: int | None = None
    rung: int | None = None
    position: int | None = None  # of its place, within the rung
    basis: frozenset[int] | None = None  # brackets that a model may learn from; None: all that is known

    def taken(self, key: str) -> bool:
        """Whether a trial with a lower number has this configuration."""
        return key in self.history.keys or key in self.batch.keys

    def used_up(self) -> bool:
        """Whether every configuration of a finite space was tried."""
        inside = self.history.inside(self.space_version)
        return inside is not None and inside + self.batch.fresh >= (self.space.cardinality or 0)


class Sampler(Protocol):
    """Chooses configurations. `draw` is a pure function of what was observed: it changes nothing that counts."""

    def draw(self, ask: Ask) -> Draw | None:
        """The configuration for `ask.number`, or None when there is none left (then `spent` says why)."""
        ...

    def spent(self, ask: Ask) -> str | None:
        """Why nothing is left to draw, or None; cheap."""
        ...

    def started(self, trial: TrialRecord) -> None:
        """A trial began a segment."""
        ...

    def rested(self, trial: TrialRecord) -> None:
        """A segment ended: the trial is paused at `trial.target`, or over."""
        ...


@runtime_checkable
class Expecting(Protocol):
    """A sampler, or a scheduler, with a model that can say what going on is worth (see `core.patience`)."""

    def expected_gain(self) -> float | None:
        """By how much the configuration that was drawn last, trained to the end, is expected to improve on the best
        value: in the objective's units, at least 0; None where that was no choice of the model."""
        ...


@runtime_checkable
class Viewed(Protocol):
    """A sampler with a model that can be looked at. Looking changes nothing that a later `draw` can see."""

    def view(self, ask: Ask | None, underway: Mapping[int, str]) -> View | None:
        """The newest model that a draw asked, or the one that `ask` would be answered by; None where there is none.
        `underway`: trials in their first segment with the reasons that they were started for."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Fork:
    """A new trial that is not drawn: it goes on from another one's checkpoint, with parameters of its own."""

    params: Mapping[str, Any]
    parent: int
    parent_resource: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Room for one new trial. `target` None: the configuration says how far (its epochs), or there is no limit.

    `fork` is who takes it, unless an enqueued trial does: that one is trained from zero, and pays for what it does not
    take over. `together`: its launch is formed with the paused trials of this name that go on (`core.launches`).
    """

    reason: str
    target: float | None = None
    horizon: float | None = None
    bracket: int | None = None
    rung: int | None = None
    space_version: int | None = None  # of the bracket that it belongs to
    basis: frozenset[int] | None = None
    prepaid: bool = False  # its resource is reserved with its bracket's
    position: int | None = None  # within its bracket
    fork: Fork | None = None
    together: str | None = None


class Scheduler(Protocol):
    """Decides how far each trial is trained. `endings`, `continues` and `places` change nothing."""

    def places(self) -> Iterator[Place]:
        """Room for new trials, in canonical order, as if each yielded place were taken at once."""
        ...

    def full(self) -> str | None:
        """Why there is no room for new trials and will be none, or None."""
        ...

    def endings(self) -> Iterable[Stop | Finish]:
        """Paused trials that are over, by number."""
        ...

    def continues(self, slots: int, purse: Purse) -> Iterable[Continue]:
        """At most `slots` paused trials that go on; what is not prepaid is taken from the purse."""
        ...

    def cohorts(self, size: int) -> Iterator[tuple[Cohort, Sequence[Continue]]]:
        """All paused trials that go on, in cohorts of at most `size`. Which cohort a trial is in does not hang on which
        of the others went on before. Asked of synchronous schedulers only, which reserve ahead."""
        ...

    def started(self, trial: TrialRecord, proposal: Start, observed_seq: int) -> None:
        """A trial took a place."""
        ...

    def applied(self, trial: TrialRecord, proposal: Proposal) -> None:
        """A Continue, Stop or Finish was committed."""
        ...

    def rested(self, trial: TrialRecord, seq: int) -> None:
        """A segment ended, by the event `seq`."""
        ...

    def review(self, seq: int) -> None:
        """The definition changed: look again at what waits for it."""
        ...

    def rungs(self) -> Sequence[RungView]:
        """The rungs as they stand."""
        ...
