"""What is sent to Ray: the actor class, which finds our `workers` package there and hands every call to its `Worker`.

Class and functions travel by value, and import nothing until they run. Ray puts the controller's working directory in
front of its workers' `sys.path`, where a user may well have a `workers.py`: so ours is imported first, from where the
controller has it, or, on another machine, from where it is installed. This side never imports it. A bundle of code is
unpacked by Ray, and joins `sys.path` when everything of ours is loaded (`workers.own_code`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

TRAIN, CONTROL = "train", "control"
"""Concurrency groups: one launch trains, and the next one is there when it ends; other calls are answered meanwhile."""


def actor_class(ray: Any) -> Any:
    """The Ray actor class; the first argument of its instances is `packages_root()`, the others are `Worker`'s."""
    return ray.remote(concurrency_groups={TRAIN: 2, CONTROL: 4})(by_value()[0])


def packages_root() -> str:
    """The folder in which our packages lie."""
    return str(Path(__file__).resolve().parents[2])


def by_value() -> tuple[type, Callable[[str, str], tuple[int, bool]]]:
    """The actor's class, and a function (packages root, file) -> (contract's version, can it read the file)."""

    def ours(root: str, name: str) -> Any:
        """Our own module of that name: `root` first, where this machine has it, and the working directory never."""
        import importlib
        import os
        import sys

        before = list(sys.path)
        if os.path.isfile(os.path.join(root, "workers", "contract.py")):
            sys.path.insert(0, root)
        else:
            sys.path[:] = [path for path in before if os.path.abspath(path) != os.getcwd()]
        try:
            importlib.import_module("search_spaces")
            return importlib.import_module(name)
        finally:
            sys.path[:] = before

    def enter(away: Any) -> None:
        """Ray unpacked a bundle and started us there: go where its files lie, and forget the controller's folders."""
        import os
        import sys

        os.chdir("own-code")
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:] = [path for path in sys.path if path not in away or path in inherited]

    class TrialWorker:
        def __init__(self, root: str, *args: Any, away: Any = (), **options: Any) -> None:
            if options.get("bundle"):
                enter(away)
            self._worker = ours(root, "workers.actor").Worker(*args, **options)

        def run(self, launch: Any, turn: int) -> Any:
            yield from self._worker.run(launch, turn)

        def cancel(self, key: Any, mode: Any) -> None:
            self._worker.cancel(key, mode)

        def fill(self, launch_id: str, orders: Any) -> None:
            self._worker.fill(launch_id, orders)

        def ping(self) -> Any:
            return self._worker.ping()

        def warm(self) -> Any:
            return self._worker.warm()

    def look_around(root: str, file: str) -> tuple[int, bool]:
        import os

        return ours(root, "workers.contract").CONTRACT_VERSION, os.access(file, os.R_OK)

    return TrialWorker, look_around
