"""A fake server and clients that talk to it without waiting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpo_service.client import Client
from tests.unit.client.sdk_fake_server import FakeServer


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def client(server: FakeServer, pauses: list[float]) -> Iterator[Client]:
    with Client("http://server:8421", "secret", transport=server.transport()) as client:
        client._driver.sleep = pauses.append
        yield client


@pytest.fixture
def pauses() -> list[float]:
    """What the client slept, in seconds."""
    return []
