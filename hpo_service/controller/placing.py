"""Where a study's attempts go: groups of trials become launches, interrupted ones go together again, and what nobody
knows yet how to train waits for its measurement. Decides nothing about trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpo_service import algorithms
from hpo_service.controller import orders, shares, widths
from hpo_service.controller.calibrations import Calibrations, Readiness
from hpo_service.controller.flights import Flights
from hpo_service.controller.open_lanes import OpenLanes
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.filling import Vacancy
from hpo_service.core.gpu_sharing import is_shared
from hpo_service.core.launches import FUSED, Group
from hpo_service.core.proposals import Continue, Proposal, Start
from hpo_service.decider import Decider, Fold, Grouping
from hpo_service.executors.base import Executor
from hpo_service.store import decisions
from hpo_service.store.database import Database
from hpo_service.store.rows import OpenAttempt, Placement, StudyRow
from workers.contract import Launch


@dataclass
class Placing:
    """Shared by the studies of one controller; `width` is how many of a study's new attempts share a place, as far as
    its newest decision shows."""

    db: Database
    executor: Executor
    flights: Flights
    decider: Decider
    calibrations: Calibrations
    lanes: OpenLanes
    storage_root: Path
    artifacts: orders.ArtifactsPlace = orders.IN_STORAGE
    _widths: dict[str, float] = field(default_factory=dict)

    def forget(self, study_id: str) -> None:
        """Somebody else leads the study, or it is over."""
        self._widths.pop(study_id, None)
        self.calibrations.forget(study_id)

    def demand(self, row: StudyRow, definition: StudyDefinition, *, idle: bool) -> shares.Demand:
        """What the study wants of the cluster; no more than it has where it is `idle`."""
        return shares.Demand(
            study_id=row.id,
            cpu=definition.resources.cpu,
            gpu=definition.resources.gpu,
            priority=row.priority,
            open=row.open_attempts,
            parallel=row.open_attempts if idle else row.parallel,
            mean_seconds=self.flights.mean_seconds(row.id),
            occupied=min(row.open_attempts, self.flights.occupied(row.id)),
            width=self._widths.get(row.id, 1.0),
        )

    def grouping(self, row: StudyRow, definition: StudyDefinition, waits: Callable[[bool], None]) -> Grouping:
        """What makes launches of this study's proposals. Where they have to wait `waits` is told: whether they can be
        placed at the next pass, or only once a worker has answered."""

        def group(fold: Fold, proposals: Sequence[Proposal]) -> Mapping[int, Placement] | None:
            known = fold.algorithm.methods
            if row.id not in self._widths and known.widest > 1:
                self._widths[row.id] = float(known.widest)
                waits(True)
                return None  # the share was reckoned without it: the next pass proposes enough to fill launches
            count = sum(isinstance(p, Start | Continue) for p in proposals)
            groups = fold.algorithm.groups(proposals, most=self._most(row, definition, count))
            state = self.calibrations.state(row, definition, known, groups)
            if state is not Readiness.READY:
                waits(state is Readiness.CHOSEN)
                return None
            self._widths[row.id] = max(1.0, min(known.widest, 2 * count / max(1, len(groups))))
            return orders.place_groups(groups, self._launch_size(row, definition, groups))

        return group

    def vacancies(self, row: StudyRow, definition: StudyDefinition) -> list[Vacancy]:
        """Lanes that fell free in the study's launches, where its algorithm decides as results come in."""
        return [] if _in_cohorts(definition) else self.lanes.vacancies(row.id)

    def queues(self, row: StudyRow, definition: StudyDefinition) -> bool:
        """Whether some of the study's own trials wait for a worker: sent to be queued, or interrupted."""
        places = widths.places(definition, self.executor.capacity())
        return self.flights.occupied(row.id) > places + 1e-9 or bool(decisions.interrupted(self.db, row.id))

    def filling(self, vacancies: Sequence[Vacancy], *, alone: bool) -> Grouping:
        """What puts the first of a study's proposals into lanes that fell free; the others are not placed."""

        def group(fold: Fold, proposals: Sequence[Proposal]) -> Mapping[int, Placement]:
            seats = fold.algorithm.seats(proposals, vacancies, alone=alone)
            return {
                trial: Placement(launch=seat.launch, lane=seat.lane, width=seat.width, method=FUSED)
                for trial, seat in seats.items()
            }

        return group

    def waiting(self, row: StudyRow, definition: StudyDefinition) -> list[orders.Relaunch]:
        """Interrupted trials as they go to workers again."""
        last = decisions.last_placements(self.db, row.id)
        if not any(p.method == FUSED for p in last.values()):
            return orders.relaunches(last, lambda _: None)
        with self.decider.lock(row.id):
            algorithm = self.decider.fold(row.id).algorithm
            free = [] if _in_cohorts(definition) else decisions.never_begun(self.db, row.id, list(last))

            def bound(trial: int) -> int | None:
                method = algorithm.method_of(trial)
                return None if method is None else method.width

            bound_ones = {t: p for t, p in last.items() if t not in set(free)}
            return orders.relaunches(bound_ones, bound) + orders.anew(algorithm.regrouped(free))

    def again(
        self, row: StudyRow, definition: StudyDefinition, waiting: Sequence[orders.Relaunch], slots: int
    ) -> list[OpenAttempt]:
        """Open attempts of interrupted trials, as many as there is room for."""
        plain = sum(len(group.trials) for group in waiting if group.width == 1)
        placements = orders.place_again(
            waiting,
            slots=slots,
            room=row.parallel - row.open_attempts,
            parallel=row.parallel,
            size=self._size(row, definition, min(plain, max(slots, 1))),
        )
        if not placements:
            return []
        numbers = sorted(placements)
        return decisions.reopen(self.db, row.id, numbers, epoch=row.epoch, placements=placements)

    def launch(self, definition: StudyDefinition, opened: Sequence[OpenAttempt]) -> None:
        """Send what was opened."""
        for launch in self._noted(definition, opened):
            self.lanes.add(launch)
            self.executor.launch(launch)

    def fill(self, definition: StudyDefinition, opened: Sequence[OpenAttempt]) -> None:
        """Send what was opened to the launches under way that it is for."""
        for launch in self._noted(definition, opened):
            self.lanes.join(launch)
            self.executor.fill(launch.launch_id, launch.orders)

    def _noted(self, definition: StudyDefinition, opened: Sequence[OpenAttempt]) -> Iterator[Launch]:
        """What was opened, by launch, each one noted as under way."""
        for launch in orders.launches(definition, opened, self.storage_root, artifacts=self.artifacts):
            fused = launch.launch_id if launch.method == FUSED else ""
            shared = is_shared(definition.resources)
            keys = (order.key for order in launch.orders)
            self.flights.add(keys, cpu=launch.cpu, gpu=launch.gpu, launch=fused, shared=shared)
            yield launch

    def _most(self, row: StudyRow, definition: StudyDefinition, count: int) -> int:
        """The longest launch of trials that nothing else holds together: every place that has room gets its part."""
        places = widths.places(definition, self.executor.capacity())
        deep = shares.depth(self.flights.mean_seconds(row.id))
        free = min(places, max(1.0, places * deep - self.flights.occupied(row.id)))
        return math.ceil(count / max(1.0, free))

    def _launch_size(self, row: StudyRow, definition: StudyDefinition, groups: Sequence[Group]) -> int:
        return self._size(row, definition, sum(len(g.trials) for g in groups if g.method != FUSED))

    def _size(self, row: StudyRow, definition: StudyDefinition, count: int) -> int:
        """How many plain attempts go to a worker together."""
        places = widths.places(definition, self.executor.capacity())
        return shares.per_launch(self.flights.mean_seconds(row.id), count, places)


def _in_cohorts(definition: StudyDefinition) -> bool:
    """Whether who shares a launch follows from the log alone: nothing joins one later, or goes on in another."""
    return algorithms.synchronous(definition) or algorithms.goes_in_rounds(definition)
