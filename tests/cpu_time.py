"""How much CPU an action takes at its best, on an ordinary core.

A single reading would tell of the garbage collector, and of what else the machine does, as much as of the action. A
core whose sibling or host is busy takes twice as long for the same work, so that seconds are measured beside a fixed
piece of work.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

ORDINARY_S = 0.010
"""What the fixed work takes on the cores for which the limits were set."""


def least_cpu_seconds(action: Callable[[], object], *, times: int = 3) -> float:
    """The least CPU seconds of an ordinary core that one of `times` calls takes, without collecting garbage
    meanwhile."""
    return _least(action, times) / slowness()


def slowness() -> float:
    """How many times as long as an ordinary core this one takes at the moment; 1 where it is not slower."""
    return max(1.0, _least(_work, 5) / ORDINARY_S)


def _work() -> int:
    found = {str(i): i * i % 97 for i in range(40_000)}
    return sum(sorted(found.values()))


def _least(action: Callable[[], object], times: int) -> float:
    found = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(times):
            began = time.process_time()
            action()
            found.append(time.process_time() - began)
    finally:
        if collecting:
            gc.enable()
    return min(found)
