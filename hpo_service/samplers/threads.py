"""Modules of proposals that are slow to import, in a process that computes on one thread from then on.

Their matrices are small: more threads take twice the CPU for the same answer, from trials that train on the same
machine, and may round otherwise. Limited are the libraries of NumPy and SciPy in this process; what its children read
from their environment stays as it is. Torch's threads are not its process' but each thread's: who computes with torch
sets them there (`process`, `hypervolume`).
"""

from __future__ import annotations

import importlib
from types import ModuleType

_known: dict[str, ModuleType] = {}


def imported(name: str) -> ModuleType:
    """The module of this name under `hpo_service.samplers`, with the numeric libraries that it brought limited to one
    thread."""
    if name not in _known:
        module = importlib.import_module(f"hpo_service.samplers.{name}")
        _limit()
        _known[name] = module
    return _known[name]


def _limit() -> None:
    import threadpoolctl  # reads which libraries are loaded: after the import

    threadpoolctl.threadpool_limits(limits=1, user_api="blas")
