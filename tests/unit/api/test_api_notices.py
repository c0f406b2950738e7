"""Live notices: one poller for all readers, resume, no queues, orderly ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from hpo_service.api.notices import Notices


class Source:
    """Heads that a test moves by hand; counts how often they were read."""

    def __init__(self) -> None:
        self.heads: dict[str, tuple[str, int]] = {"a": ("p", 3), "b": ("q", 7)}
        self.reads = 0

    def __call__(self) -> dict[str, tuple[str, int]]:
        self.reads += 1
        return dict(self.heads)


async def notice(stream: AsyncIterator[bytes]) -> tuple[str, dict[str, Any]]:
    """Id and data of the next notice, comments skipped."""
    while True:
        text = (await asyncio.wait_for(anext(stream), timeout=5)).decode()
        if not text.startswith(":"):
            lines = dict(line.split(": ", 1) for line in text.strip().split("\n"))
            assert lines["event"] == "notice"
            return lines["id"], json.loads(lines["data"])


def anything(_: str, __: str) -> bool:
    return True


def test_a_new_reader_is_told_what_moves_and_nothing_else() -> None:
    async def main() -> None:
        source = Source()
        notices = Notices(source, poll_s=0.01)
        stream = notices.stream(anything, None)
        assert (await anext(stream)).startswith(b": ")
        source.heads["b"] = ("q", 8)
        assert await notice(stream) == ("b:8", {"study": "b", "seq": 8})
        await stream.aclose()
        assert notices.readers == 0

    asyncio.run(main())


def test_a_returning_reader_is_told_at_once_what_moved() -> None:
    async def main() -> None:
        notices = Notices(Source(), poll_s=0.01)
        stream = notices.stream(lambda study, _: study == "a", {"a": 1})
        assert await notice(stream) == ("a:3", {"study": "a", "seq": 3})
        await stream.aclose()

    asyncio.run(main())


def test_a_slow_reader_gets_the_newest_number_only() -> None:
    async def main() -> None:
        source = Source()
        notices = Notices(source, poll_s=0.01)
        stream = notices.stream(anything, None)
        await anext(stream)
        for seq in range(4, 50):
            source.heads["a"] = ("p", seq)
        assert await notice(stream) == ("a:49", {"study": "a", "seq": 49})
        await stream.aclose()

    asyncio.run(main())


def test_many_readers_share_one_poller() -> None:
    async def main() -> None:
        source = Source()
        notices = Notices(source, poll_s=0.01)
        streams = [notices.stream(anything, None) for _ in range(8)]
        for stream in streams:
            await anext(stream)
        first = source.reads
        source.heads["a"] = ("p", 4)
        assert [await notice(stream) for stream in streams] == [("a:4", {"study": "a", "seq": 4})] * 8
        assert source.reads - first < 8
        for stream in streams:
            await stream.aclose()

    asyncio.run(main())


def test_a_crowd_of_readers_is_told_less_often() -> None:
    async def main() -> None:
        notices = Notices(Source(), poll_s=0.01)
        streams = [notices.stream(anything, None) for _ in range(100)]
        for stream in streams[:10]:
            await anext(stream)
        assert (notices.interval_s, notices.pace_s) == (0.01, 5.0)
        assert notices.told("a") is None
        await anext(streams[10])
        assert (notices.told("a"), notices.told("nobody")) == (3, None)
        assert notices.interval_s == 2.0
        for stream in streams[11:]:
            await anext(stream)
        assert (notices.interval_s, notices.pace_s) == (100 / 12, 40.0)
        for stream in streams:
            await stream.aclose()

    asyncio.run(main())


def test_closing_ends_every_stream() -> None:
    async def main() -> None:
        notices = Notices(Source(), poll_s=0.01)
        stream = notices.stream(anything, None)
        await anext(stream)
        rest = asyncio.ensure_future(collect(stream))
        await asyncio.sleep(0)
        notices.close()
        assert await asyncio.wait_for(rest, timeout=5) == []

    asyncio.run(main())


def test_a_database_that_is_away_does_not_end_the_stream() -> None:
    async def main() -> None:
        source = Source()
        broken = True

        def read() -> dict[str, tuple[str, int]]:
            if broken:
                raise OSError("away")
            return source()

        notices = Notices(read, poll_s=0.01)
        stream = notices.stream(anything, {"a": 0, "b": 7})
        await anext(stream)
        broken = False
        assert await notice(stream) == ("a:3", {"study": "a", "seq": 3})
        await stream.aclose()

    asyncio.run(main())


async def collect(stream: AsyncIterator[bytes]) -> list[bytes]:
    return [piece async for piece in stream if not piece.startswith(b":")]
