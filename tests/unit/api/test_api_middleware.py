"""The guards around every request, without the service behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from hpo_service.api.middleware import BodyLimit, HostAndOrigin, SecurityHeaders

LIMIT = 100


class Inner:
    """An application that reads its body and says how long it was."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def call(
    app: Any,
    *,
    method: str = "POST",
    headers: Iterable[tuple[str, str]] = (),
    chunks: Iterable[bytes] = (b"",),
    path: str = "/x",
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request whose body comes in `chunks`."""
    sent: list[Message] = []
    pieces = list(chunks)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        taken += 1
        if taken > len(pieces):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces[taken - 1], "more_body": taken < len(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    asyncio.run(app(scope, receive, send))
    if not sent:
        return 0, {}, b""
    answer = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answer, b"".join(m.get("body", b"") for m in sent[1:])


def test_a_body_over_the_limit_is_refused_by_its_length_alone() -> None:
    inner = Inner()
    status, headers, body = call(BodyLimit(inner, LIMIT), headers=[("content-length", "101")], chunks=[])
    problem = json.loads(body)
    assert (status, headers["content-type"], problem["status"]) == (413, "application/problem+json", 413)
    assert "at most 100 bytes, but got 101" in problem["detail"]
    assert inner.bodies == []


@pytest.mark.parametrize("length", [[], [("content-length", "3")], [("content-length", "x")]])
def test_a_chunked_body_is_counted_whatever_the_header_says(length: list[tuple[str, str]]) -> None:
    inner = Inner()
    chunked = [*length, ("transfer-encoding", "chunked")]
    status, _, _ = call(BodyLimit(inner, LIMIT), headers=chunked, chunks=[b"a" * 60, b"b" * 60])
    assert status == 413
    assert inner.bodies == []


def test_a_body_within_the_limit_arrives_whole() -> None:
    inner = Inner()
    chunks = [b"a" * 60, b"b" * 40]
    status, _, _ = call(BodyLimit(inner, LIMIT), headers=[("transfer-encoding", "chunked")], chunks=chunks)
    assert status == 200
    assert inner.bodies == [b"a" * 60 + b"b" * 40]


def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    inner = Inner()
    assert call(BodyLimit(inner, LIMIT), headers=[("content-length", "5")], chunks=[])[0] == 0
    assert inner.bodies == []


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8421", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("[::1]:8421", True),
        ("hpo.example.org", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.1:8421", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_only_known_hosts_are_served(host: str, allowed: bool) -> None:
    app = HostAndOrigin(Inner(), ["127.0.0.1", "localhost", "::1", "hpo.example.org"], any_address=False)
    status, _, _ = call(app, method="GET", headers=[("host", host)])
    assert status == (200 if allowed else 403)


def test_a_server_on_any_address_takes_addresses_but_no_foreign_names() -> None:
    app = HostAndOrigin(Inner(), ["localhost"], any_address=True)
    assert call(app, method="GET", headers=[("host", "10.0.0.1:8421")])[0] == 200
    assert call(app, method="GET", headers=[("host", "rebound.example:8421")])[0] == 403


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", [], 200),
        ("POST", [("origin", "http://localhost:8421")], 200),
        ("POST", [("origin", "https://localhost:8421")], 200),
        ("POST", [("origin", "http://localhost:3000")], 403),
        ("POST", [("origin", "http://evil.example")], 403),
        ("POST", [("origin", "null")], 403),
        ("DELETE", [("origin", "http://evil.example")], 403),
        ("PATCH", [("sec-fetch-site", "cross-site")], 403),
        ("POST", [("sec-fetch-site", "same-origin")], 200),
        ("GET", [("origin", "http://evil.example")], 200),
    ],
)
def test_state_changes_come_from_the_own_origin(method: str, headers: list[tuple[str, str]], status: int) -> None:
    app = HostAndOrigin(Inner(), ["localhost"], any_address=False)
    answer, _, body = call(app, method=method, headers=[("host", "localhost:8421"), *headers])
    assert answer == status
    if status == 403:
        assert json.loads(body)["errors"][0]["path"] == "header.Origin"


def test_every_response_has_the_security_headers_and_is_timed() -> None:
    seen: list[tuple[int, float]] = []
    app = SecurityHeaders(Inner(), lambda scope, status, seconds: seen.append((status, seconds)))
    _, headers, _ = call(app, method="GET")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script-src 'self';" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert seen[0][0] == 200
    assert seen[0][1] >= 0
