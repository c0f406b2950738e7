"""Live notices: parsing, resuming, giving up."""

from __future__ import annotations

import itertools

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.client import Client, RetryPolicy
from hpo_service.client.events import EventStream
from hpo_service.client.results import Notice
from hpo_service.errors import Unauthorized, Unavailable
from tests.unit.client.sdk_fake_server import FakeServer, problem


def stream(*parts: str) -> httpx.Response:
    return httpx.Response(200, content="".join(parts).encode(), headers={"content-type": "text/event-stream"})


def notice(seq: int) -> str:
    return f'id: st_1:{seq}\nevent: notice\ndata: {{"study":"st_1","seq":{seq}}}\n\n'


def test_a_broken_stream_is_resumed_after_the_last_notice(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.streams = [stream(": connected\n\n", notice(3), notice(4)), stream(notice(7))]
    found = list(itertools.islice(client.study("st_1").events(), 3))
    assert [one.seq for one in found] == [3, 4, 7]
    asked = [request for request in server.requests if request.url.path.endswith("/events")]
    assert "last-event-id" not in asked[0].headers
    assert asked[1].headers["last-event-id"] == "st_1:4"


def test_it_starts_where_it_is_told_to(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.streams = [stream(notice(9)), stream(notice(9))]
    assert next(client.study("st_1").events(after=8)) == Notice(study="st_1", seq=9)
    assert server.requests[-1].headers["last-event-id"] == "st_1:8"
    assert next(client.events(since="st_1:2")).seq == 9
    assert server.requests[-1].url.path == "/api/v1/events"


def test_a_busy_server_is_tried_again_and_a_refusal_is_final(
    client: Client, server: FakeServer, pauses: list[float]
) -> None:
    server.add_study("st_1", "a")
    study = client.study("st_1")
    server.faults = [httpx.Response(503, headers={"retry-after": "3"}), httpx.ConnectError("refused")]
    server.streams = [stream(notice(1))]
    assert next(study.events()).seq == 1
    assert pauses[0] == 3
    assert len(pauses) == 2
    server.faults = [problem("unauthorized", 401, "no token")]
    with pytest.raises(Unauthorized):
        next(study.events())


def test_a_server_that_stays_away_is_given_up(client: Client, server: FakeServer, pauses: list[float]) -> None:
    server.add_study("st_1", "a")
    study = client.study("st_1")
    server.faults = [httpx.ConnectError("refused")] * 20
    with pytest.raises(Unavailable, match="cannot be reached"):
        next(study.events())
    assert len(pauses) == 5


@given(seqs=st.lists(st.integers(0, 10**9), max_size=20), comment=st.booleans(), crlf=st.booleans())
def test_every_notice_is_parsed_once(seqs: list[int], comment: bool, crlf: bool) -> None:
    parser = EventStream("/events", policy=RetryPolicy())
    text = "".join((": still here\n\n" if comment else "") + notice(seq) for seq in seqs)
    lines = (text.replace("\n", "\r\n") if crlf else text).split("\n")
    found = [one for line in lines if (one := parser.feed(line)) is not None]
    assert [one.seq for one in found] == seqs
    assert parser.last_id == (f"st_1:{seqs[-1]}" if seqs else None)


def test_half_a_notice_is_dropped_when_the_stream_breaks() -> None:
    parser = EventStream("/events", policy=RetryPolicy())
    parser.feed("id: st_1:5")
    parser.feed('data: {"study":"st_1","seq":5}')
    assert "Last-Event-ID" not in parser.request().headers
    assert parser.feed("") is None


def test_the_server_may_name_the_pause() -> None:
    parser = EventStream("/events", policy=RetryPolicy(first_s=0.1))
    parser.feed("retry: 2500")
    assert parser.retry_s == 2.5
