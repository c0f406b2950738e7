"""What an algorithm is: a fold over a study's events. The protocol, and the plan that it can announce.

An algorithm reads no clock, no environment and no global random state. Its state is never saved: folding the
same log again gives the same state (`folded again = kept alive`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hpo_service.core.events import Event
from hpo_service.core.filling import Seat, Vacancy
from hpo_service.core.launches import Group, Method, Methods
from hpo_service.core.proposals import Proposal


@dataclass(frozen=True, kw_only=True, slots=True)
class RungView:
    """One rung as it stands: `entered` and `promoted` are trial numbers, best first in `entered` where ranked."""

    bracket: int
    rung: int
    resource: float
    size: int | None  # how many trials belong here; None where the algorithm does not fix it
    entered: tuple[int, ...]
    promoted: tuple[int, ...]
    values: tuple[float | None, ...]  # of `entered`, at this rung


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a definition would run, before it runs; totals are None where the budget alone bounds them."""

    brackets: tuple[dict[str, Any], ...]  # [{"bracket", "rungs": [{"rung", "trials", "resource"}]}]
    trials: int | None
    total_resource: float | None
    notes: tuple[str, ...] = ()
    most_resource: float | None = None  # where the total is open: what it cannot exceed


class View(Protocol):
    """What a model sees, for people to look at."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready to be stored."""
        ...


class Algorithm(Protocol):
    """A fold. Guarantees that the conformance suite holds every algorithm to:

    - `propose` changes nothing that a later `propose` can see: what was decided comes back as a `Decided` event.
    - At most `slots` of the returned proposals are Start or Continue; Stop and Finish need no slot. Where trials are
      placed in cohorts, one slot is enough for a whole cohort, and `most` is what they may not exceed.
    - With `slots=0` it still returns the Stop and Finish proposals that are due.
    - Trial numbers of new trials count on from the greatest number seen, without gaps, in canonical order.
    - `view` changes nothing that a later `propose` can see, and is seen by none.
    - A trial in state paused gets a Continue, Stop or Finish, sooner or later, or stays paused with the study ended.
    """

    name: str
    version: int

    def observe(self, event: Event) -> None:
        """Fold one event in; events come in sequence order, each exactly once."""
        ...

    def propose(self, slots: int, *, most: int | None = None) -> Sequence[Proposal]:
        """The proposals that the observed log calls for."""
        ...

    def groups(self, proposals: Sequence[Proposal], *, most: int | None = None) -> Sequence[Group]:
        """The launches that the newest proposals form, at most `most` trials each where nothing else fixes them."""
        ...

    def seats(self, proposals: Sequence[Proposal], vacancies: Sequence[Vacancy], *, alone: bool) -> Mapping[int, Seat]:
        """Lanes of launches under way for the first of the newest proposals, by trial; none where launches are formed
        in cohorts. `alone`: nobody else waits for a worker."""
        ...

    def regrouped(self, trials: Sequence[int]) -> Sequence[Group]:
        """The launches that these trials form, which were placed and never began."""
        ...

    @property
    def methods(self) -> Methods:
        """How trials are trained, by structure, as far as the log says."""
        ...

    def method_of(self, trial: int) -> Method | None:
        """How a known trial's structure is trained now, where that is known."""
        ...

    @property
    def curves(self) -> bool:
        """Whether it looks at whole curves; else, of a log that it has not seen before, the newest report of each
        attempt is enough, and those of open attempts: it comes to the same state."""
        ...

    def ending(self) -> str | None:
        """Why nothing more will be started (a budget, the algorithm's end), or None. Running segments may still be
        on their way; the controller finishes the study once none is open and `propose(1)` is empty."""
        ...

    def rungs(self) -> Sequence[RungView]:
        """The rungs as they stand, for people to look at; empty for algorithms without rungs."""
        ...

    def view(self, *, final: bool) -> View | None:
        """What the model that chose the newest trial sees, for people to look at; None without a model. `final`: the
        model of all that is known now instead, which may take seconds to fit."""
        ...
