"""Fixtures that several kinds of tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# before anything loads a numeric library: the models here are small, and threads that wait for each other by spinning
# take the cores from the servers, workers and browsers that tests start
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hpo_service.store import database


@pytest.fixture(scope="session", autouse=True)
def sqlite_pragmas() -> Iterator[tuple[str, ...]]:
    """SQLite in this process does not wait for the disk, just as the tests' PostgreSQL does not. What a killed process
    leaves is the same; the servers that tests start as processes of their own wait as they always do. Gives what the
    product sets."""
    hurried = database._PRAGMAS
    unhurried = tuple(pragma.replace("synchronous=FULL", "synchronous=OFF") for pragma in hurried)
    assert unhurried != hurried
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_PRAGMAS", unhurried)
        yield hurried


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One local Ray with two CPUs for the whole run; executors that are made meanwhile use it and leave it up."""
    from hpo_service.executors.ray_session import Session  # only for those who ask for it
    from hpo_service.settings import Settings

    session = Session.open(Settings(ray_cpus=2), tmp_path_factory.mktemp("storage"))
    yield
    session.close()
