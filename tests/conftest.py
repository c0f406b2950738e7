"""Fixtures that several kinds of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One local Ray with two CPUs for the whole run; executors that are made meanwhile use it and leave it up."""
    from hpo_service.executors.ray_session import Session  # only for those who ask for it
    from hpo_service.settings import Settings

    session = Session.open(Settings(ray_cpus=2), tmp_path_factory.mktemp("storage"))
    yield
    session.close()
