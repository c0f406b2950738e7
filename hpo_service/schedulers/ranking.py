"""A sorted sequence in blocks: putting an item into 100,000 others moves a block, not all of them. Knows no trials."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=Any)
BLOCK = 1_000
"""The most items of a block; then it is cut in two."""


class Ranking(Generic[T]):
    """Items in ascending order, no two equal."""

    def __init__(self, block: int = BLOCK) -> None:
        self._most = block
        self._blocks: list[list[T]] = []
        self._lasts: list[T] = []  # the greatest item of each block
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        for block in self._blocks:
            yield from block

    def add(self, item: T) -> None:
        """Put the item into its place."""
        self._size += 1
        if not self._blocks:
            self._blocks.append([item])
            self._lasts.append(item)
            return
        at = min(bisect_left(self._lasts, item), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, item)
        if len(block) > self._most:
            half = len(block) // 2
            self._blocks[at : at + 1] = [block[:half], block[half:]]
            self._lasts[at : at + 1] = [block[half - 1], block[-1]]
        else:
            self._lasts[at] = block[-1]

    def remove(self, item: T) -> None:
        """Take out an item that is here."""
        at = bisect_left(self._lasts, item)
        block = self._blocks[at]
        del block[bisect_left(block, item)]
        self._size -= 1
        if block:
            self._lasts[at] = block[-1]
        else:
            del self._blocks[at], self._lasts[at]

    def place(self, item: T) -> int:
        """How many items are smaller."""
        at = bisect_left(self._lasts, item)
        if at == len(self._blocks):
            return self._size
        return sum(map(len, self._blocks[:at])) + bisect_left(self._blocks[at], item)

    def at(self, place: int) -> T:
        """The item that `place` others are smaller than. Raises IndexError."""
        for block in self._blocks:
            if place < len(block):
                return block[place]
            place -= len(block)
        raise IndexError(place)
