"""Acts on `core.gpu_sharing`: changes `resources.gpu` of a study whose trials train one by one, so that several of its
workers share a GPU, and takes that back. Decides nothing by itself.

What was chosen stands in the definition, and why in the log: another controller goes on with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hpo_service.controller.tried import Answers
from hpo_service.core import gpu_sharing
from hpo_service.core.definition import Resources, StudyDefinition, parse
from hpo_service.core.gpu_sharing import Share
from hpo_service.core.launches import structures_of
from hpo_service.decider import Decider
from hpo_service.executors.base import Executor
from hpo_service.store import studies
from hpo_service.store.database import Database
from hpo_service.store.gpu_use import gpu_uses
from hpo_service.store.rows import StudyRow

OFTEN = 8
"""Attempts are looked at again when an eighth more of them have ended."""


@dataclass
class GpuSharing:
    """The shares of every study of one controller. One study is looked at by one thread at a time."""

    db: Database
    executor: Executor
    decider: Decider
    answers: Answers
    _due: dict[str, int] = field(default_factory=dict)  # how many attempts must have ended before it is looked at

    def forget(self, study_id: str) -> None:
        """Somebody else leads the study, or it is over."""
        self._due.pop(study_id, None)

    def step(self, row: StudyRow, definition: StudyDefinition, *, ended: int) -> bool:
        """Share a GPU, or take a share back, where that is due; True when the definition was changed. `ended` counts
        the study's attempts that ended here. Raises DecisionMoved when lease or definition moved meanwhile."""
        crowded, resources = self.answers.take_crowded(row.id), definition.resources
        if not gpu_sharing.applies(resources):
            return False
        workers = gpu_sharing.workers_on(resources.gpu)
        if resources.gpu < 1 and any(gpu_sharing.workers_on(gpu) == workers for gpu in crowded):
            return self._change(row, definition, gpu_sharing.halved(workers))
        if ended < self._due.get(row.id, 0):
            return False
        self._due[row.id] = ended + 1 + ended // OFTEN
        share = self._chosen(row, definition) if resources.gpu == 1 else self._narrowed(row, workers)
        return share is not None and self._change(row, definition, share)

    def _chosen(self, row: StudyRow, definition: StudyDefinition) -> Share | None:
        capacity = self.executor.capacity()
        most = gpu_sharing.room(definition.resources.cpu, row.parallel, cpus=capacity.cpu, gpus=capacity.gpu)
        if most < 2 or not self._one_by_one(row, definition):
            return None
        return gpu_sharing.chosen(gpu_uses(self.db, row.id), most=most)

    def _narrowed(self, row: StudyRow, workers: int) -> Share | None:
        return gpu_sharing.narrowed(workers, gpu_uses(self.db, row.id))

    def _one_by_one(self, row: StudyRow, definition: StudyDefinition) -> bool:
        """Whether it is settled that no two trials of the study ever share a program."""
        with self.decider.lock(row.id):
            methods = self.decider.fold(row.id).algorithm.methods
            return not methods.fuses or methods.only_plain(structures_of(definition.search_space, methods.lanes))

    def _change(self, row: StudyRow, definition: StudyDefinition, share: Share) -> bool:
        resources = gpu_sharing.shared(definition.resources, share)
        document = definition.to_document()
        changed = tuple(f"resources.{name}" for name in _differing(definition.resources, resources))
        studies.patch_study(
            self.db,
            row.id,
            parse({**document, "resources": resources.model_dump(mode="json")}),
            changed=changed,
            reason=share.reason,
            epoch=row.epoch,
            version=row.definition_version,
        )
        return True


def _differing(before: Resources, after: Resources) -> list[str]:
    return [name for name in ("gpu", "share") if getattr(before, name) != getattr(after, name)]
