"""The study in memory, with trials that share launches: methods are measured when they are first needed, launches are
formed as the controller forms them, a worker takes all of its lanes with it, and what was lost goes together again.

Who shares a launch with whom is written down, and held to the rules on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_service.controller import orders
from hpo_service.core import events as ev
from hpo_service.core.launches import FUSED, Group, structure_of
from hpo_service.core.proposals import Continue, Proposal, Start
from hpo_service.core.states import TrialState
from hpo_service.store.rows import Placement
from tests.conformance.driver import Attempt, Driver

Structure = Mapping[str, Any]


@dataclass(frozen=True)
class Formed:
    """A launch of fresh segments: lanes in order, and how far its first one is to train."""

    trials: tuple[int, ...]
    method: str
    target: float


@dataclass
class FusedDriver(Driver):
    """`width_of` is what measuring a structure gives: 1 is plain. `workers` are places, each for one launch."""

    lanes: tuple[str, ...] = ("lr", "momentum")
    width_of: Callable[[Structure], int] = lambda _: 4
    formed: list[Formed] = field(default_factory=list)
    relaunched: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.placed: dict[int, Placement] = {}  # of each trial's newest attempt
        self.measured: list[Structure] = []
        self._groups: list[Group] = []  # of the newest proposals
        self.record(ev.MethodsChosen(lanes=self.lanes, choices=()))

    @property
    def room(self) -> int:
        return self.definition.parallel - len(self.open)

    def free(self) -> int:
        return min(self.room, self.workers - len({self.placed[a.trial].launch for a in self.open}))

    def ask(self, slots: int) -> list[Proposal]:
        proposals = list(self.algorithm.propose(slots, most=self.room))
        self._groups = self.algorithm.groups(proposals, most=3)
        return proposals

    def allowed(self, slots: int) -> int:
        return max(0, self.room) if slots > 0 else 0

    def propose(self, slots: int) -> list[Proposal]:
        """As the controller: interrupted trials first, then what nobody knows how to train is measured."""
        if self._waiting():
            self.reopen()
            slots = 0 if self._waiting() else self.free()
        proposals = super().propose(slots)
        endings = [p for p in proposals if not isinstance(p, Start | Continue)]
        unknown = [group for group in self._groups if group.method is None]
        if not unknown:
            return proposals
        structures = [structure_of(group.params, self.lanes) for group in unknown]
        wanted = [s for i, s in enumerate(structures) if s not in structures[:i]]
        self.record(ev.MethodsChosen(lanes=self.lanes, choices=tuple(map(self._measure, wanted))))
        return endings

    def _measure(self, structure: Structure) -> ev.MethodChoice:
        assert structure not in self.measured, "a structure is measured once"
        self.measured.append(structure)
        width = self.width_of(structure)
        method = FUSED if width > 1 else "plain"
        return ev.MethodChoice(structure=structure, method=method, width=width, device="cpu", reason="measured")

    def commit(self, proposals: Sequence[Proposal], observed: int) -> None:
        moving = [p for p in proposals if isinstance(p, Start | Continue)]
        groups = self._groups if moving else []
        assert sorted(t for g in groups for t in g.trials) == sorted(p.trial for p in moving), "each in one launch"
        targets = {p.trial: p.target for p in moving}
        for group in groups:
            self._check(group, proposals)
            self.formed.append(Formed(group.trials, group.method or "", targets[group.trials[0]]))
        self.placed |= orders.place_groups(groups, 1)
        super().commit(proposals, observed)
        assert len(self.open) <= self.definition.parallel

    def _check(self, group: Group, proposals: Sequence[Proposal]) -> None:
        rows = {p.trial: p.params for p in proposals if isinstance(p, Start)}
        params = [rows[t] if t in rows else self.rows[t].params for t in group.trials]
        structures = [structure_of(p, self.lanes) for p in params]
        assert all(s == structures[0] for s in structures), "lanes are alike"
        width = self.width_of(structures[0])
        assert len(group.trials) <= width
        assert group.method == (FUSED if len(group.trials) > 1 else "plain")

    def lose(self, attempt: Attempt) -> None:
        """A worker dies with all lanes that are still in training."""
        placement = self.placed[attempt.trial]
        lost = [a for a in self.open if self.placed[a.trial].launch == placement.launch]
        for one in lost:
            super().lose(one)

    def _waiting(self) -> dict[int, Placement]:
        rows = (r for r in self.rows.values() if r.state is TrialState.WAITING and r.fence > 0)
        return {row.number: self.placed[row.number] for row in rows}

    def reopen(self) -> bool:
        """Place interrupted trials again as the controller does; every lane keeps its width."""
        last = self._waiting()

        def bound(trial: int) -> int | None:
            method = self.algorithm.method_of(trial)
            return None if method is None else method.width

        placements = orders.place_again(
            orders.relaunches(last, bound),
            slots=self.free(),
            room=self.room,
            parallel=self.definition.parallel,
            size=1,
        )
        came_from: dict[str, set[str]] = {}
        for number, placement in placements.items():
            came_from.setdefault(placement.launch, set()).add(last[number].launch)
            assert (placement.width, placement.method) == (last[number].width, last[number].method)
            row = self.rows[number]
            self.placed[number] = placement
            self.go(row, TrialState.RUNNING)
            row.fence += 1
            self.open.append(Attempt(number, row.fence, row.saved, row.target))
            change = ev.AttemptChange(trial=number, fence=row.fence, target=row.target, from_resource=row.saved)
            self.record(ev.AttemptsReopened(attempts=(change,)))
        assert all(len(earlier) == 1 for earlier in came_from.values()), "lanes of one launch stay together"
        self.relaunched += len(placements)
        assert len(self.open) <= self.definition.parallel
        return bool(placements)

    def partition(self) -> list[Formed]:
        """Who shared a launch with whom, in canonical order."""
        return sorted(self.formed, key=lambda f: (f.target, f.trials))
