"""Problems to measure searches on, by collection."""

from __future__ import annotations

from pathlib import Path

from hpo_service.bench.problems import lcbench, taskset
from hpo_service.bench.problems.base import Problem
from hpo_service.errors import InvalidInput

LOADERS = {"lcbench": lcbench.load, "taskset": taskset.load}


def load(folder: Path, collection: str, tasks: tuple[str, ...] = ()) -> list[Problem]:
    """The collection's problems from `folder/collection`; raises InvalidInput where that is not there."""
    if collection not in LOADERS:
        raise InvalidInput(f"the collections are {', '.join(LOADERS)}, but got {collection!r}")
    if not (folder / collection).is_dir():
        raise InvalidInput(f"{folder / collection} is no folder; give the folder that holds {collection}/ by --data")
    return LOADERS[collection](folder / collection, tasks)
