"""How much CPU an action takes at its best. A single reading would tell of the garbage collector, and of what else the
machine does, as much as of the action."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def least_cpu_seconds(action: Callable[[], object], *, times: int = 3) -> float:
    """The least CPU seconds that one of `times` calls takes, without collecting garbage meanwhile."""
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
