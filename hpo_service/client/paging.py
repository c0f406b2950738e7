"""Lists that are read page by page, as far as somebody iterates. Sync and async share the walk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Generic, TypeVar

from hpo_service.client.protocol import Program
from hpo_service.client.results import Page

T = TypeVar("T")
PAGE = 100
Fetch = Callable[[str | None, int], Program[Page]]


class Walk(Generic[T]):
    """Where an iteration stands: which page to fetch next, how many items are still wanted."""

    def __init__(self, fetch: Fetch, make: Callable[[Any], T], limit: int | None) -> None:
        self._fetch, self._make = fetch, make
        self._cursor: str | None = None
        self._left = limit
        self.done = limit is not None and limit <= 0

    def next_page(self) -> Program[list[T]]:
        """The items of the next page, at most as many as are still wanted."""
        size = PAGE if self._left is None else min(self._left, PAGE)
        page = yield from self._fetch(self._cursor, size)
        items = [self._make(item) for item in page.items]
        if self._left is not None:
            items = items[: self._left]
            self._left -= len(items)
        self._cursor = page.next_cursor
        self.done = self._cursor is None or self._left == 0
        return items


class Pages(Generic[T]):
    """An iterable that fetches its pages while it is iterated; each iteration starts anew."""

    def __init__(
        self,
        run: Callable[[Program[Any]], Any],
        fetch: Fetch,
        make: Callable[[Any], T],
        limit: int | None,
    ) -> None:
        self._run = run
        self._fetch, self._make, self._limit = fetch, make, limit

    def __iter__(self) -> Iterator[T]:
        walk = Walk(self._fetch, self._make, self._limit)
        while not walk.done:
            yield from self._run(walk.next_page())

    def first(self) -> T | None:
        """The first item, None of an empty list."""
        return next(iter(self), None)


class AsyncPages(Generic[T]):
    """Like `Pages`, for `async for`."""

    def __init__(
        self,
        run: Callable[[Program[Any]], Awaitable[Any]],
        fetch: Fetch,
        make: Callable[[Any], T],
        limit: int | None,
    ) -> None:
        self._run = run
        self._fetch, self._make, self._limit = fetch, make, limit

    async def __aiter__(self) -> AsyncIterator[T]:
        walk = Walk(self._fetch, self._make, self._limit)
        while not walk.done:
            for item in await self._run(walk.next_page()):
                yield item

    async def first(self) -> T | None:
        """The first item, None of an empty list."""
        async for item in self:
            return item
        return None
