"""Trials trained again, through both halves of the SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from hpo_service.client import AsyncClient, Client
from hpo_service.client.reproductions import Reproduction
from hpo_service.errors import Conflict
from tests.unit.client.sdk_fake_server import FakeServer, problem

PLACE = "/studies/st_1/trials/0/reproductions"
WAITING: dict[str, Any] = {"id": "r1", "study_id": "st_1", "trial": 0, "state": "waiting", "document": None}
DONE: dict[str, Any] = {
    **WAITING, "state": "done", "equal": False, "verdict": "Not the same", "cost_microdollars": 2_000_000,
    "document": {"hints": ["look"], "environment": [{"what": "package numpy", "was": "1", "now": "2"}]},
}  # fmt: skip


@pytest.fixture
def asked(server: FakeServer) -> FakeServer:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    server.answers[f"POST {PLACE}"] = httpx.Response(201, json=WAITING)
    server.answers[f"GET {PLACE}/r1"] = httpx.Response(200, json=DONE)
    server.answers[f"GET {PLACE}"] = httpx.Response(200, json={"items": [DONE]})
    server.answers["GET /studies/st_1/trials/0/record"] = httpx.Response(200, json={"format": "hpo-trial-record"})
    return server


def test_reproducing_waits_for_the_answer(client: Client, asked: FakeServer, pauses: list[float]) -> None:
    seen: list[str] = []
    found = client.study("st_1").trial(0).reproduce(observe=lambda one: seen.append(one.state))
    assert (found.equal, found.verdict, found.ended, found.cost_dollars) == (False, "Not the same", True, 2.0)
    assert found.hints == ("look",)
    assert found.differences[0]["what"] == "package numpy"
    assert seen == ["waiting", "done"]
    assert pauses == [0.5]
    assert "idempotency-key" in asked.last("POST").headers


def test_it_may_be_left_alone_and_looked_at_later(client: Client, asked: FakeServer) -> None:
    trial = client.study("st_1").trial(0)
    left = trial.reproduce(wait=False)
    assert (left.state, left.document, left.ended) == ("waiting", {}, False)
    assert [one.state for one in trial.reproductions()] == ["done"]
    assert trial.record() == {"format": "hpo-trial-record"}


def test_patience_ends(client: Client, asked: FakeServer) -> None:
    asked.answers[f"GET {PLACE}/r1"] = httpx.Response(200, json=WAITING)
    with pytest.raises(TimeoutError, match="it goes on"):
        client.study("st_1").trial(0).reproduce(timeout_s=0.0)


def test_refusals_come_through(client: Client, asked: FakeServer) -> None:
    asked.answers[f"POST {PLACE}"] = problem("conflict", 409, "trial 0 is in training")
    with pytest.raises(Conflict, match="in training"):
        client.study("st_1").trial(0).reproduce()


def test_the_awaiting_half_does_the_same(asked: FakeServer) -> None:
    async def go() -> tuple[Reproduction, list[Reproduction]]:
        async with AsyncClient("http://server:8421", "secret", transport=asked.transport()) as client:
            trial = await (await client.study("st_1")).trial(0)
            return await trial.reproduce(poll_s=0.0), await trial.reproductions()

    found, listed = asyncio.run(go())
    assert found.verdict == listed[0].verdict == "Not the same"
