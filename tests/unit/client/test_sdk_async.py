"""The awaiting client: the same methods as the blocking one, and the same answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from hpo_service.client import AsyncClient, AsyncStudy, AsyncTrial, Client, Study, Trial
from tests.unit.client.sdk_fake_server import FakeServer

PAIRS = [(Client, AsyncClient), (Study, AsyncStudy), (Trial, AsyncTrial)]
ITERATORS = {"studies", "trials", "events", "artifacts", "search_logs"}  # iterated, not awaited


def public(kind: type) -> dict[str, Any]:
    found = {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}
    return {name: one for name, one in found.items() if callable(one)}


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS)
def test_every_method_has_its_twin_with_the_same_parameters(blocking: type, awaiting: type) -> None:
    assert public(blocking).keys() == public(awaiting).keys()
    for name, method in public(blocking).items():
        twin = public(awaiting)[name]
        assert list(inspect.signature(method).parameters) == list(inspect.signature(twin).parameters), name
        assert method.__doc__, name
        assert twin.__doc__, name


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS)
def test_exactly_what_does_io_is_awaited(blocking: type, awaiting: type) -> None:
    shared = {name for name in public(blocking) if public(blocking)[name] is public(awaiting)[name]}
    for name in public(blocking).keys() - shared - ITERATORS:
        assert inspect.iscoroutinefunction(inspect.unwrap(public(awaiting)[name], stop=_coroutine)), name
        assert not inspect.iscoroutinefunction(public(blocking)[name]), name


def _coroutine(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function)


def run(server: FakeServer, use: Callable[[AsyncClient], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with AsyncClient("http://server:8421", transport=server.transport()) as client:
            await use(client)

    asyncio.run(main())


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None:
        return

    monkeypatch.setattr("hpo_service.client.drivers.AsyncDriver.__init__.__defaults__", (at_once,))


@pytest.mark.usefixtures("_fast")
def test_a_study_from_submission_to_its_end(server: FakeServer) -> None:
    async def use(client: AsyncClient) -> None:
        server.faults = [httpx.ConnectError("refused")]
        study = await client.create_study({"name": "a"})
        assert len({request.headers["idempotency-key"] for request in server.requests}) == 1
        server.add_trials(study.id, 150)
        server.states = ["running", "finished"]
        assert (await study.wait()) is study
        assert study.best_trial.params["lr"] == 3.2e-4
        assert len([trial async for trial in study.trials(limit=120)]) == 120
        first = await study.trials().first()
        assert first is not None
        assert first.number == 0
        assert [trial.number for trial in await study.best(2)] == [149, 148]
        assert (await client.study("a")).id == study.id
        assert [one.id async for one in client.studies()] == [study.id]
        assert (await (await study.trial(3)).refresh()).number == 3
        assert (await study.pause()).state == "paused"

    run(server, use)


def test_asking_and_telling(server: FakeServer) -> None:
    async def use(client: AsyncClient) -> None:
        server.add_study("st_1", "a")
        study = await client.study("st_1")
        trials = await study.ask(2, lease_s=0.03)
        while not server.beats:
            await asyncio.sleep(0.005)
        assert len(server.beats[0]["trials"]) == 2
        await trials[0].report(1, val_accuracy=0.5)
        await study.tell(trials[0], 0.5)
        with pytest.raises(ZeroDivisionError):
            async with trials[1]:
                _ = 1 / 0
        assert server.body()["state"] == "failed"
        assert trials[0].pulse is not None
        assert trials[0].pulse.held() == []

    run(server, use)


@pytest.mark.usefixtures("_fast")
def test_notices_and_downloads(server: FakeServer, tmp_path: Path) -> None:
    async def use(client: AsyncClient) -> None:
        server.add_study("st_1", "a")
        study = await client.study("st_1")
        line = b'id: st_1:3\nevent: notice\ndata: {"study":"st_1","seq":3}\n\n'
        server.faults = [httpx.Response(503), httpx.ConnectError("refused")]
        server.streams = [httpx.Response(200, content=line)]
        async for notice in study.events(after=2):
            assert notice.seq == 3
            break
        assert server.requests[-1].headers["last-event-id"] == "st_1:2"
        server.answers["GET /studies/st_1/export"] = httpx.Response(200, content=b"number\n")
        await study.export(tmp_path / "a.csv")
        assert (tmp_path / "a.csv").read_bytes() == b"number\n"

    run(server, use)
