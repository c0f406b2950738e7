"""Open pages of one running study, as a child process: each holds the stream of notices, asks what changed after each,
and asks its charts anew as often as the server says. Ends when the study does.

What a page draws is left out, and of the answers only `/changes` is read: a browser does both on another machine.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from benchmarks import children

LEAST_S = 0.4  # between two requests for changes, as in the page
PACE_S = 5.0  # between two drawings of a chart, where the server does not ask for more
OVERVIEW = ("/progress", "/curves?choose=top&limit=50", "/sample?limit=5000", "/trials?limit=10&sort=value")
ENDED = ("finished", "stopped", "failed")
PATIENCE_S = 60.0


@dataclass
class Seen:
    """What all pages together did, since `began`."""

    began: float = field(default_factory=time.monotonic)
    cpu_s: float = field(default_factory=time.process_time)
    notices: int = 0
    changes: int = 0
    charts: int = 0
    unchanged: int = 0  # of those, answered by 304
    failures: int = 0
    size: int = 0
    ms: list[float] = field(default_factory=list)  # of requests for changes


def answer(url: str, study: str, pages: int, opening_s: float, burn: float = 0.0) -> dict[str, Any]:
    """Open the pages, follow the study to its end, tell what they did after the first `opening_s` seconds and what CPU
    time that took here. Or open none and use `burn` CPU seconds a second."""
    seen = Seen()
    if burn:
        _burn(f"{url}/api/v1/studies/{study}", burn)
    else:
        asyncio.run(_all(url, study, pages, opening_s, seen))
    spent = {"seconds": time.monotonic() - seen.began, "cpu_s": time.process_time() - seen.cpu_s}
    return {**asdict(seen), **spent}


def _burn(study: str, share: float) -> None:
    began, looked = time.monotonic(), 0.0
    while True:
        now = time.monotonic()
        if now - looked > 1.0:
            looked = now
            if httpx.get(study, timeout=PATIENCE_S).raise_for_status().json()["state"] in ENDED:
                return
        if time.process_time() < share * (now - began):
            sum(range(20_000))
        else:
            time.sleep(0.002)


async def _all(url: str, study: str, pages: int, opening_s: float, seen: Seen) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=PATIENCE_S, limits=limits) as http:
        opened = [_Page(http, study, seen) for _ in range(pages)]
        step = 0.8 * opening_s / max(1, pages)
        await asyncio.gather(_begin(seen, opening_s), *(page.live(step * n) for n, page in enumerate(opened)))


async def _begin(seen: Seen, after_s: float) -> None:
    """Forget what the opening took."""
    await asyncio.sleep(after_s)
    seen.__dict__.update(Seen().__dict__)


class _Page:
    """One reader's page, without a browser."""

    def __init__(self, http: httpx.AsyncClient, study: str, seen: Seen) -> None:
        self._http = http
        self._base = f"/studies/{study}"
        self._seen = seen
        self._seq = 0
        self._pace_s = PACE_S
        self._tags: dict[str, str] = {}
        self._noticed = asyncio.Event()
        self._dirty = asyncio.Event()
        self._ended = False

    async def live(self, after_s: float) -> None:
        """From the opening, a little after the page before, to the study's end."""
        await asyncio.sleep(after_s)
        self._dirty.set()
        helpers = [asyncio.create_task(work()) for work in (self._listen, self._draw)]
        try:
            while not self._ended:
                await self._noticed.wait()
                self._noticed.clear()
                await self._catch_up()
                await asyncio.sleep(LEAST_S)
        finally:
            for helper in helpers:
                helper.cancel()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._http.stream("GET", "/events", timeout=httpx.Timeout(PATIENCE_S)) as stream:
                    self._noticed.set()  # being connected counts as a notice
                    async for line in stream.aiter_lines():
                        if line.startswith("data: "):
                            self._seen.notices += 1
                            if json.loads(line.removeprefix("data: "))["seq"] > self._seq:
                                self._noticed.set()
            except httpx.HTTPError:
                self._seen.failures += 1
                await asyncio.sleep(1.0)

    async def _catch_up(self) -> None:
        began = time.perf_counter()
        body = await self._ask(f"/changes?since={self._seq}")
        if body is None:
            self._noticed.set()
            return
        self._seen.changes += 1
        self._seen.ms.append(1e3 * (time.perf_counter() - began))
        found = json.loads(body)
        self._seq, self._pace_s = found["seq"], max(PACE_S, found["pace_s"])
        self._ended = found["study"]["state"] in ENDED
        if found["changed"]:
            self._dirty.set()

    async def _draw(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            for path in OVERVIEW:
                await self._ask(path)
                self._seen.charts += 1
            await asyncio.sleep(self._pace_s)

    async def _ask(self, path: str) -> bytes | None:
        """The body; None where there is none or it is the one from before."""
        known = {"If-None-Match": self._tags[path]} if path in self._tags else {}
        try:
            answered = await self._http.get(f"{self._base}{path}", headers=known)
            if answered.status_code == 304:
                self._seen.unchanged += 1
                return None
            answered.raise_for_status()
        except httpx.HTTPError:
            self._seen.failures += 1
            await asyncio.sleep(1.0)
            return None
        self._seen.size += len(answered.content)
        if "etag" in answered.headers and not path.startswith("/changes"):
            self._tags[path] = answered.headers["etag"]
        return answered.content


if __name__ == "__main__":
    children.serve(answer)
