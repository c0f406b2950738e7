"""How the worker's time is divided among those who trained in it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable


class TimeShares:
    """At any moment the time that passes is divided equally among the members: the shares add up to the time during
    which there was one. A member that has left keeps its share."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._each = 0.0  # what a member of the whole time would have by now
        self._since = clock()
        self._entered: dict[Hashable, float] = {}
        self._had: dict[Hashable, float] = {}

    def enter(self, members: Iterable[Hashable]) -> None:
        """From now on these take part; those who do already go on."""
        self._advance()
        for one in members:
            self._entered.setdefault(one, self._each)

    def leave(self, member: Hashable) -> None:
        """From now on this one does not take part."""
        self._advance()
        entered = self._entered.pop(member, None)
        if entered is not None:
            self._had[member] = self._had.get(member, 0.0) + self._each - entered

    def of(self, member: Hashable) -> float:
        """The member's share until now, in seconds."""
        self._advance()
        return self._had.get(member, 0.0) + self._each - self._entered.get(member, self._each)

    def _advance(self) -> None:
        now = self._clock()
        if self._entered:
            self._each += (now - self._since) / len(self._entered)
        self._since = now
