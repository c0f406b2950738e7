"""Where problems come from: collections in a folder, synthetic laws, past studies. Small enough to be sent to another
process, which loads them there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpo_service.bench import problems
from hpo_service.bench.past import PastStudy, problem_of
from hpo_service.bench.problems import synthetic
from hpo_service.bench.problems.base import Problem
from hpo_service.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Source:
    """`tasks` names problems by `name` or `collection/name`; none: all. `limits` are the names of a collection that
    count where `tasks` is empty; all of it where it has none."""

    folder: Path | None = None
    studies: tuple[PastStudy, ...] = ()
    tasks: tuple[str, ...] = ()
    limits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def load(self) -> list[Problem]:
        """The problems. Raises InvalidInput where a task is not there, or is held out."""
        if self.studies:
            return self._of([problem_of(study) for study in self.studies])
        if self.folder is None:
            return self._of(synthetic.load())
        there = [name for name in problems.LOADERS if (self.folder / name).is_dir()]
        if not there:
            raise InvalidInput(
                f"a data folder holds {' or '.join(f'{name}/' for name in problems.LOADERS)}, but {self.folder} has "
                "neither",
                remedy="give the folder above them by --data, or leave --data out for synthetic problems",
            )
        found: list[Problem] = []
        for name in there:
            wanted = self._wanted(name, there)
            if wanted is not None:
                found += problems.load(self.folder, name, wanted)
        return (
            found if self.tasks else [one for one in found if one.name in self.limits.get(one.collection, (one.name,))]
        )

    def _of(self, there: list[Problem]) -> list[Problem]:
        if not self.tasks:
            return there
        unknown = [task for task in self.tasks if all(task not in (one.name, one.title) for one in there)]
        if unknown:
            raise InvalidInput(
                f"the tasks are {', '.join(one.title for one in there)}, but got {', '.join(unknown)}",
                remedy="name some of these by --tasks",
            )
        return [one for one in there if one.name in self.tasks or one.title in self.tasks]

    def _wanted(self, collection: str, there: Sequence[str]) -> tuple[str, ...] | None:
        """The tasks asked of this collection; empty for all, None for none. A name without a collection before it is
        LCBench's where it is a number (its loader says which are there), else TaskSet's."""
        if not self.tasks:
            return ()
        own = []
        for task in self.tasks:
            before, slash, name = task.rpartition("/")
            if slash and before not in there:
                raise InvalidInput(f"the collections here are {', '.join(there)}, but got {before!r} in {task!r}")
            guessed = before if slash else "lcbench" if name.isdigit() else "taskset"
            if guessed == collection:
                own.append(name)
        return tuple(own) or None
