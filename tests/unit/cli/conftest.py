"""The command line in-process, against a server in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from hpo_service.cli import app
from hpo_service.cli.base import Session
from tests.unit.client.sdk_fake_server import FakeServer

Run = Callable[..., Result]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    monkeypatch.setenv("HPO_URL", "http://server:8421")
    monkeypatch.setattr("hpo_service.client.drivers.SyncDriver.__init__.__defaults__", (lambda _: None,))
    return FakeServer()


@pytest.fixture
def run(server: FakeServer) -> Run:
    """Runs `hpo` with the words of a line; `input` answers a question."""

    def run(*args: str, input: str | None = None) -> Result:
        return CliRunner().invoke(app, list(args), obj=Session(transport=server.transport()), input=input)

    return run
