"""Work that takes too long for a request: done on a thread of its own, piece by piece; whoever asks gets what is there.
Holds nothing that must survive.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

KEPT = 256
WAITING = 16
"""So many pieces of work are under way or wait their turn; whoever asks for more is to ask again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What was made of which data. `made` is what the maker gave, `fresh` whether it is of the data asked about."""

    made: Any
    fresh: bool


class Background:
    """Results by question. Of a question one piece of work is under way at most; newer data waits to be asked for."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="background")
        self._guard = threading.Lock()
        self._made: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()
        self._under_way: dict[Hashable, Future[None]] = {}

    def get(self, key: Hashable, data: Hashable, make: Callable[[], Any], *, wait_s: float) -> Result | None:
        """The result for `key`: of `data` if that is there within `wait_s`, else the last one, else None. What `make`
        raises is the caller's, once; the next asking tries again."""
        with self._guard:
            known = self._made.get(key)
            if known is not None and known[0] == data:
                return Result(made=known[1], fresh=True)
            under_way = self._under_way.get(key)
            if under_way is None and len(self._under_way) < WAITING:
                under_way = self._under_way[key] = self._pool.submit(self._make, key, data, make)
        if under_way is not None:
            done, _ = wait([under_way], timeout=wait_s)
            if done:
                under_way.result()
        with self._guard:
            known = self._made.get(key)
        return None if known is None else Result(made=known[1], fresh=known[0] == data)

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _make(self, key: Hashable, data: Hashable, make: Callable[[], Any]) -> None:
        try:
            made = make()
            with self._guard:
                self._made[key] = (data, made)
                self._made.move_to_end(key)
                while len(self._made) > KEPT:
                    self._made.popitem(last=False)
        finally:
            with self._guard:
                self._under_way.pop(key, None)
