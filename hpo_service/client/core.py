"""What the blocking and the awaiting half of the SDK share: connection facts, handles, and one way to make methods.

`blocking` and `awaiting` turn an operation (a function that returns a `Program`) into a method; a pair of classes that
lists the same operations through each is the whole difference between sync and async. Not here: the operations.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from hpo_service.client.protocol import (
    Exchange,
    Program,
    Query,
    Request,
    RetryPolicy,
    encode,
    send,
)
from hpo_service.client.pulse import Pulse
from hpo_service.errors import HpoError

T = TypeVar("T")
P = ParamSpec("P")
H = TypeVar("H", bound="Handle")
S = TypeVar("S", bound="Handle")


@functools.cache
def default_client_id() -> str:
    """Names this process among those that ask for trials; give your own to get its trials back after a crash."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, kw_only=True)
class Core:
    """Facts of one client: where the server is, how exchanges are repeated, who asks for trials."""

    url: str
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    client_id: str = field(default_factory=default_client_id)
    pulses: dict[tuple[str, str], Pulse] = field(default_factory=dict)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Program[Any]:
        """The JSON answer of a request (None when it is empty); `body` is sent as JSON."""
        sent = {"Content-Type": "application/json"} if body is not None else {}
        request = Request(
            method=method,
            path=path,
            query=query,
            body=None if body is None else encode(body),
            headers={"Accept": "application/json", **sent, **(headers or {})},
            timeout_s=timeout_s,
        )
        reply = yield from send(Exchange(request), self.policy)
        return decode(reply.body)

    def post(self, path: str, body: Any) -> Program[Any]:
        """`call` with POST: repeated safely under an idempotency key of its own."""
        return (yield from self.call("POST", path, body=body))

    def get(self, path: str, query: Query = ()) -> Program[Any]:
        return (yield from self.call("GET", path, query=query))


class Handle:
    """Base of `Client`, `Study`, `Trial` and their async twins: the core, and how programs are run.

    `_run` returns a program's result (sync) or an awaitable of it (async); the wrappers below give it its type.
    """

    def __init__(self, core: Core, run: Callable[[Program[Any]], Any]) -> None:
        self._core = core
        self._run = run


def blocking(operation: Callable[Concatenate[H, P], Program[T]]) -> Callable[Concatenate[H, P], T]:
    """A method that carries the operation out and returns its result."""

    @functools.wraps(operation)
    def method(handle: H, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return handle._run(operation(handle, *args, **kwargs))  # type: ignore[no-any-return]  # see Handle

    return method


def awaiting(
    operation: Callable[Concatenate[H, P], Program[T]],
) -> Callable[Concatenate[H, P], Coroutine[Any, Any, T]]:
    """A coroutine method that carries the operation out and returns its result."""

    @functools.wraps(operation)
    async def method(handle: H, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await handle._run(operation(handle, *args, **kwargs))  # type: ignore[no-any-return]  # see Handle

    return method


def blocking_chain(
    operation: Callable[Concatenate[Any, P], Program[None]],
) -> Callable[Concatenate[S, P], S]:
    """Like `blocking`, for an operation that changes its handle: the method returns that handle."""

    @functools.wraps(operation)
    def method(handle: S, /, *args: P.args, **kwargs: P.kwargs) -> S:
        handle._run(operation(handle, *args, **kwargs))
        return handle

    return method


def awaiting_chain(
    operation: Callable[Concatenate[Any, P], Program[None]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, S]]:
    """Like `awaiting`, for an operation that changes its handle: the method returns that handle."""

    @functools.wraps(operation)
    async def method(handle: S, /, *args: P.args, **kwargs: P.kwargs) -> S:
        await handle._run(operation(handle, *args, **kwargs))
        return handle

    return method


def decode(body: bytes) -> Any:
    """A JSON answer; None when it is empty."""
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        start = body[:80].decode("utf-8", "replace")
        raise HpoError(
            f"the answer is not JSON, but starts with {start!r}", remedy="is that an hpo-service server?"
        ) from None
