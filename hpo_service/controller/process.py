"""The controller as a process: signals, the parent's death, the database and Ray."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import uuid

from hpo_service.controller.garbage import look_rarely
from hpo_service.controller.loop import Controller
from hpo_service.errors import HpoError
from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from hpo_service.store import decisions, workers
from hpo_service.store.database import open_database

SUPERVISED = "HPO_SUPERVISED"
"""Set by the server for its child: end with the parent. Not a setting: nobody sets it by hand."""
JOINING_S = 60.0
WARM = 8
"""Workers of the usual shape that a local Ray starts before anybody asks: as many as it has CPUs, at most this many."""
PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)


def main(settings: Settings) -> int:
    """Run a controller until a signal, or the parent's death, ends it; the exit status."""
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    look_rarely()
    stop = threading.Event()
    end_on_signals(stop)
    supervised = bool(os.environ.get(SUPERVISED))
    if supervised:
        die_with_parent()
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    settings.resolved_storage.mkdir(parents=True, exist_ok=True)
    db = open_database(settings.resolved_database_url)
    if db.is_sqlite and supervised:
        # one server per file, one controller per server: whoever led before is dead, and so are its workers
        decisions.release_leases(db)
        workers.forget_workers(db, None)
    executor = RayExecutor(settings, settings.resolved_storage)
    end_on_signals(stop)  # again: Ray has put its own handlers in their place
    try:
        controller = Controller(
            db=db,
            executor=executor,
            settings=settings,
            holder=holder,
            storage_root=settings.resolved_storage,
            grace_s=JOINING_S if settings.ray_address else 0.0,
        )
        if not settings.ray_address:
            executor.warm(1.0, 0.0, min(WARM, int(executor.capacity().cpu)))
        log.info("controller %s leads", holder)
        controller.run(stop)
    finally:
        executor.close()
        with contextlib.suppress(HpoError):
            workers.forget_workers(db, holder)
        db.close()
    return 0


def end_on_signals(stop: threading.Event) -> None:
    """A polite signal sets `stop`: leases are released and Ray is left in order."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def die_with_parent() -> None:
    """End this process when its parent ends: by the kernel on Linux, by the end of standard input everywhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.read(0, 4096):  # not sys.stdin: a thread inside its lock aborts the interpreter's polite end
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
