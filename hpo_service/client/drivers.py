"""The two ways to carry out an operation's steps: blocking and awaiting, over httpx.

Here alone the SDK touches sockets and clocks. Not here: what is asked, and what is repeated (`protocol`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import httpx

from hpo_service.client.protocol import Answer, Broken, Program, Reply, Request, Save, Sleep, Step

T = TypeVar("T")


class SyncDriver:
    """Carries steps out on an `httpx.Client`; may be used from several threads."""

    def __init__(self, http: httpx.Client, sleep: Callable[[float], None] = time.sleep) -> None:
        self.http = http
        self.sleep = sleep

    def run(self, program: Program[T]) -> T:
        """The program's result, or the error it raises."""
        answer: Any = None
        with contextlib.closing(program):
            while True:
                try:
                    step = program.send(answer)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # a Program[T] returns T; typeshed says Any
                answer = self._perform(step)

    def _perform(self, step: Step) -> Answer | None:
        if isinstance(step, Sleep):
            self.sleep(step.seconds)
            return None
        request = build(self.http, step.request)
        try:
            response = self.http.send(request, stream=True)
            try:
                if isinstance(step, Save) and response.status_code < 400:
                    with _opened(step) as file:
                        for chunk in response.iter_bytes():
                            file.write(chunk)
                    return reply_of(response, b"")
                return reply_of(response, response.read())
            finally:
                response.close()
        except httpx.TransportError as error:
            return broken(error, self.http.base_url)

    @contextlib.contextmanager
    def lines(self, request: Request) -> Iterator[tuple[Reply, Iterator[str]]]:
        """The reply's status and its lines as they come; raises httpx's transport errors."""
        response = self.http.send(build(self.http, request), stream=True)
        try:
            body = response.read() if response.status_code >= 400 else b""
            yield reply_of(response, body), response.iter_lines()
        finally:
            response.close()

    def close(self) -> None:
        self.http.close()


class AsyncDriver:
    """Carries steps out on an `httpx.AsyncClient`, for asyncio."""

    def __init__(self, http: httpx.AsyncClient, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.http = http
        self.sleep = sleep

    async def run(self, program: Program[T]) -> T:
        """The program's result, or the error it raises."""
        answer: Any = None
        with contextlib.closing(program):
            while True:
                try:
                    step = program.send(answer)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # a Program[T] returns T; typeshed says Any
                answer = await self._perform(step)

    async def _perform(self, step: Step) -> Answer | None:
        if isinstance(step, Sleep):
            await self.sleep(step.seconds)
            return None
        request = build(self.http, step.request)
        try:
            response = await self.http.send(request, stream=True)
            try:
                if isinstance(step, Save) and response.status_code < 400:
                    with _opened(step) as file:
                        async for chunk in response.aiter_bytes():
                            file.write(chunk)
                    return reply_of(response, b"")
                return reply_of(response, await response.aread())
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            return broken(error, self.http.base_url)

    @contextlib.asynccontextmanager
    async def lines(self, request: Request) -> AsyncIterator[tuple[Reply, AsyncIterator[str]]]:
        """The reply's status and its lines as they come; raises httpx's transport errors."""
        response = await self.http.send(build(self.http, request), stream=True)
        try:
            body = await response.aread() if response.status_code >= 400 else b""
            yield reply_of(response, body), response.aiter_lines()
        finally:
            await response.aclose()

    async def close(self) -> None:
        await self.http.aclose()


def build(http: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    """The httpx request; its timeout is the request's own where it names one."""
    more = {} if request.timeout_s is None else {"timeout": request.timeout_s}
    content: Any = request.body
    headers = dict(request.headers)
    if isinstance(content, Path):
        headers["Content-Length"] = str(content.stat().st_size)
        content = _pieces(content) if isinstance(http, httpx.Client) else _pieces_async(content)
    return http.build_request(
        request.method,
        request.path,
        params=list(request.query) or None,
        content=content,
        headers=headers,
        **more,  # type: ignore[arg-type]  # httpx's sentinel for "the client's timeout" is private
    )


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece


async def _pieces_async(path: Path) -> AsyncIterator[bytes]:
    for piece in _pieces(path):
        yield piece


def reply_of(response: httpx.Response, body: bytes) -> Reply:
    return Reply(status=response.status_code, headers=dict(response.headers), body=body)


def broken(error: httpx.TransportError, base_url: httpx.URL) -> Broken:
    """What a transport error means to a person."""
    where = str(base_url).rstrip("/")
    if isinstance(error, httpx.TimeoutException):
        return Broken(message=f"the server at {where} did not answer in time ({type(error).__name__})")
    return Broken(message=f"the server at {where} cannot be reached ({error or type(error).__name__})")


@contextlib.contextmanager
def _opened(step: Save) -> Iterator[BinaryIO]:
    """A file to write to: a path's content appears whole or not at all; a file object is rewound for a retry."""
    target = step.target
    if not isinstance(target, Path):
        if target.seekable():
            target.seek(step.start)
            target.truncate()
        yield target
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with aside.open("wb") as file:
            yield file
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
