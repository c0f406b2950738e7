"""Guards around every request, as plain ASGI: body size, Host and Origin, security headers, timing.

What needs a route or the database (roles, idempotency) is in `routing`.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpo_service.api.problems import problem_response
from hpo_service.api.uploads import takes_files
from hpo_service.errors import FieldProblem, Forbidden, HpoError, TooLarge

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class BodyLimit:
    """Refuses a body over `limit` bytes with 413 before anything parses it, chunked bodies too. Reads the whole body
    (it is small by this very rule) and hands it on in one piece. Uploaded files (`uploads`) pass."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if takes_files(scope["method"], scope["path"]):  # bounded by its route, and never read whole
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._limit:
            return await self._refuse(int(length), scope, receive, send)
        if not length and "transfer-encoding" not in headers:
            return await self._app(scope, receive, send)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":  # gone before the body was whole
                return None
            body += message.get("body", b"")
            if len(body) > self._limit:
                return await self._refuse(len(body), scope, receive, send)
            if not message.get("more_body", False):
                break
        return await self._app(scope, _replay(bytes(body), receive), send)

    async def _refuse(self, size: int, scope: Scope, receive: Receive, send: Send) -> None:
        error = TooLarge(
            f"a body has at most {self._limit} bytes, but got {size} or more",
            remedy="send less at a time; HPO_MAX_BODY_BYTES sets the limit",
        )
        await problem_response(error, scope["path"])(scope, receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


class HostAndOrigin:
    """Refuses requests that call the server by a foreign name (DNS rebinding), and state-changing requests that a
    page of another origin sends (CSRF). Holds on loopback too, where no token protects."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str], *, any_address: bool) -> None:
        self._app = app
        self._allowed = frozenset(name.lower().strip("[]") for name in allowed)
        self._any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        error = self._check(scope["method"], Headers(scope=scope))
        if error is not None:
            return await problem_response(error, scope["path"])(scope, receive, send)
        return await self._app(scope, receive, send)

    def _check(self, method: str, headers: Headers) -> HpoError | None:
        host = headers.get("host", "")
        if not self._known(host):
            return _refused("Host", host, "the server is called by a name that it knows",
                            "call it by its address, or add the name to HPO_ALLOWED_HOSTS")  # fmt: skip
        if method in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if foreign or site in ("cross-site", "same-site"):
            return _refused("Origin", origin or site, "only the server's own pages change its state",
                            "call the API from a program instead of another site's page")  # fmt: skip
        return None

    def _known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self._allowed:
            return True
        return self._any_address and _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refused(header: str, value: str, rule: str, remedy: str) -> Forbidden:
    problem = FieldProblem(path=f"header.{header}", rule=rule, value=value, remedy=remedy)
    return Forbidden(f"{header}: {rule}, but got {value[:200]!r}", remedy=remedy, problems=(problem,))


class SecurityHeaders:
    """Adds the security headers to every response, and tells `observe` how many seconds passed until it began: live
    streams and exports end when their readers like."""

    def __init__(self, app: ASGIApp, observe: Callable[[Scope, int, float], None]) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, answered = time.monotonic(), False

        async def send_with_headers(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self._observe(scope, message["status"], time.monotonic() - began)
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                static = scope["path"].startswith("/static/")  # asked for again each time, and mostly unchanged
                headers.setdefault("cache-control", "no-cache" if static else "no-store")
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            if not answered:
                self._observe(scope, 500, time.monotonic() - began)
