"""The actor class that is sent to Ray: it finds our `workers` package there, and hands every call to its `Worker`.

The class travels by value, and imports nothing until it runs. Ray puts the controller's working directory in front of
its workers' `sys.path`, where a user may well have a `workers.py`: so ours is imported first, from where the controller
has it, or, on another machine, from where it is installed. This side never imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

TRAIN, CONTROL = "train", "control"  # concurrency groups: one call trains, others are answered meanwhile


def actor_class(ray: Any) -> Any:
    """The Ray actor class; give it resources with `.options(num_cpus=…, num_gpus=…)`."""
    return ray.remote(concurrency_groups={TRAIN: 1, CONTROL: 4})(_trial_worker())


def packages_root() -> str:
    """The folder in which our packages lie."""
    return str(Path(__file__).resolve().parents[2])


def _trial_worker() -> Any:
    class TrialWorker:  # inside a function, so that it is pickled by value
        def __init__(self, root: str, *args: Any, **options: Any) -> None:
            import importlib
            import os
            import sys

            known = os.path.isfile(os.path.join(root, "workers", "contract.py"))
            before = list(sys.path)
            if known:
                sys.path.insert(0, root)
            else:
                sys.path[:] = [path for path in sys.path if os.path.abspath(path) != os.getcwd()]
            try:
                importlib.import_module("search_spaces")
                self._worker = importlib.import_module("workers.actor").Worker(*args, **options)
            finally:
                sys.path[:] = before

        def run(self, launch: Any) -> Any:
            yield from self._worker.run(launch)

        def cancel(self, key: Any, mode: Any) -> None:
            self._worker.cancel(key, mode)

        def ping(self) -> Any:
            return self._worker.ping()

        def warm(self) -> Any:
            return self._worker.warm()

    return TrialWorker
