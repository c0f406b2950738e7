"""Fixtures of the conformance suites: the Ray executor, one for the whole module, whose workers stay warm; the users'
code that trainables are made of.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from tests.conformance.executor_harness import Harness, Reader
from tests.conformance.trainable_runs import Make, orders, user_modules
from workers.contract import WorkerSeen


def _kill_process(seen: WorkerSeen) -> None:
    os.kill(seen.detail["pid"], signal.SIGKILL)


@pytest.fixture(scope="module")
def ray_parts(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    storage = tmp_path_factory.mktemp("storage")
    executor = RayExecutor(Settings(), storage, code_paths=[str(Path(__file__).parent)])
    yield Harness(
        executor=executor,
        reader=Reader(executor),
        storage_root=str(storage),
        kill_worker=_kill_process,
        next_trial=itertools.count(),
    )
    executor.close()


@pytest.fixture
def ray_harness(ray_parts: Harness) -> Harness:
    """The module's executor with an empty reader that knows the workers."""
    ray_parts.reader = Reader(ray_parts.executor, workers=ray_parts.reader.workers)
    return ray_parts


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Orders for one trial, with growing fences."""
    return orders(tmp_path)


@pytest.fixture(scope="module")
def user_code() -> Iterator[None]:
    """The modules in `user_code` and in the examples can be imported."""
    with user_modules():
        yield
