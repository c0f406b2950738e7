"""Live notices: which study moved to which sequence number. One poller per process, however many readers.

A notice says only (study, sequence); the reader then asks for what it wants to know. Readers that are slow get fewer,
newer notices, never a queue.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping

POLL_S = 0.25
CROWD = 10
CROWD_POLL_S = 2.0
READERS_PER_S = 12
"""Of a larger crowd so many readers a second are told: each asks at once, and trials need the machine too."""
PACE_S = 5.0
READERS_PER_PACE_S = 2.5
HEARTBEAT_S = 15.0
logger = logging.getLogger(__name__)

Heads = Mapping[str, tuple[str, int]]
"""Study id → (project, last sequence number)."""


class Notices:
    """Watches the heads of all studies while somebody reads, and wakes the readers when one moved."""

    def __init__(self, read_heads: Callable[[], Heads], *, poll_s: float = POLL_S) -> None:
        self._read_heads = read_heads
        self._poll_s = poll_s
        self._heads: Heads = {}
        self._version = 0
        self._readers = 0
        self._closed = False
        self._changed: asyncio.Event | None = None
        self._poller: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def readers(self) -> int:
        return self._readers

    @property
    def interval_s(self) -> float:
        """Seconds between two looks: a crowd of readers is told less often."""
        if self._readers <= CROWD:
            return self._poll_s
        return max(self._poll_s, CROWD_POLL_S, self._readers / READERS_PER_S)

    @property
    def pace_s(self) -> float:
        """How long a page is to leave its charts as they are, however much moves: longer for a larger crowd."""
        return max(PACE_S, self._readers / READERS_PER_PACE_S)

    def told(self, study_id: str) -> int | None:
        """The sequence number of the study that a crowd of readers was last told of; None where there is no crowd."""
        head = self._heads.get(study_id)
        return None if head is None or self._readers <= CROWD else head[1]

    def close(self) -> None:
        """End every stream; may be called from a signal handler or another thread."""
        self._closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    async def stream(self, wanted: Callable[[str, str], bool], seen: Mapping[str, int] | None) -> AsyncIterator[bytes]:
        """Server-sent events of the studies for which `wanted(study_id, project)` holds, until the reader goes.

        `seen` maps studies to the last sequence number that the reader knows; those that moved on since are told at
        once. None: the reader knows nothing and is told only what moves from now on.
        """
        self._enter()
        try:
            if self._readers <= CROWD or not self._heads:  # else one who comes would wake all the others
                await self._refresh()
            told = dict(seen) if seen is not None else {study: seq for study, (_, seq) in self._heads.items()}
            yield b": connected\n\n"
            while not self._closed:
                changed = self._changed_event()
                for study, (project, seq) in list(self._heads.items()):
                    if told.get(study, 0) < seq and wanted(study, project):
                        told[study] = seq
                        yield _event(study, seq)
                if not await _wait(changed, HEARTBEAT_S) and not self._closed:
                    yield b": still here\n\n"
        finally:
            self._leave()

    def _enter(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._readers += 1
        if self._poller is None or self._poller.done():
            self._poller = self._loop.create_task(self._poll(), name="notices")

    def _leave(self) -> None:
        self._readers -= 1
        if self._readers == 0 and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    async def _poll(self) -> None:
        while not self._closed:
            await asyncio.sleep(self.interval_s)
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            heads = await asyncio.to_thread(self._read_heads)
        except Exception as error:  # the database is away: readers keep their connection, the next look may work
            logger.warning("notices: %s", error)
            return
        if heads != self._heads:
            self._heads = heads
            self._wake()

    def _changed_event(self) -> asyncio.Event:
        if self._changed is None:
            self._changed = asyncio.Event()
        return self._changed

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


async def _wait(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _event(study: str, seq: int) -> bytes:
    data = json.dumps({"study": study, "seq": seq}, separators=(",", ":"))
    return f"id: {study}:{seq}\nevent: notice\ndata: {data}\n\n".encode()
