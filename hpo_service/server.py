"""`hpo serve`: the API in this process, and a supervised controller as its child. Decides nothing itself.

Neither torch nor Ray is imported here: the server answers within two seconds. The child, whose Ray and workers take
longer, is started before the API is imported, and comes up beside it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import make_url

from hpo_service.api.exposure import require_tokens
from hpo_service.artifact_files import ArtifactFiles
from hpo_service.errors import Conflict, HpoError, Unavailable
from hpo_service.settings import PREFIX, Settings, load_settings
from hpo_service.storage import predictions_of, remove
from hpo_service.store.artifacts import deleted_studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.deleting import finish_deletions
from hpo_service.store.filelock import lock_sqlite

SUPERVISED = "HPO_SUPERVISED"
CONTROLLER = (sys.executable, "-m", "hpo_service.controller")
BACKOFF_S = (0.5, 30.0)
STEADY_S = 60.0
CHILD_ENDS_S = 8.0  # container runtimes kill after ten seconds
log = logging.getLogger(__name__)


def serve(settings: Settings, *, supervise: bool = True) -> int:
    """Serve until SIGTERM or SIGINT; 0 after an orderly end. `supervise=False`: the API alone, the controller runs
    elsewhere.

    Raises Conflict where the port or the database file is taken, or where the address is not loopback and no token
    exists; Unavailable where address or database cannot be reached.
    """
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(_listen(settings)))
        stack.enter_context(_locked(settings))
        db = open_database(settings.resolved_database_url)
        stack.callback(db.close)
        require_tokens(settings, db)
        threading.Thread(target=_finish_deletions, args=(settings, db), name="deletions", daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the API listens, which has handlers of its own
        supervisor = stack.enter_context(_supervised(settings)) if supervise else None
        from hpo_service.api.listening import listen  # lazy: the controller comes up while this is loaded

        listen(
            settings,
            db,
            listener,
            address=_address(settings, listener),
            controller_alive=supervisor.alive if supervisor else None,
            endings=[supervisor.begin_stop] if supervisor else (),
        )
    return 0


class Supervisor:
    """Keeps a controller process running: starts it again, ever more slowly, when it ends by itself."""

    def __init__(self, settings: Settings, command: Sequence[str] = CONTROLLER) -> None:
        self._command = command
        self._environment = child_environment(settings, os.environ)
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        # The child's parent-death signal follows the thread that started it: one thread does, and outlives it.
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the child and watch it."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Have the child ended; returns at once."""
        self._stopping.set()

    def stop(self) -> None:
        """End the child, and wait until it has ended."""
        self.begin_stop()
        self._thread.join(timeout=CHILD_ENDS_S + 5)

    def alive(self) -> bool:
        """Whether the controller process runs now."""
        child = self._child
        return child is not None and child.poll() is None

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._child.pid if self._child is not None else None

    def _run(self) -> None:
        pause_s = BACKOFF_S[0]
        while not self._stopping.is_set():
            began = time.monotonic()
            status = self._one_life()
            if self._stopping.is_set():
                return
            if time.monotonic() - began > STEADY_S:
                pause_s = BACKOFF_S[0]
            log.error("the controller ended with status %s; starting it again in %g s", status, pause_s)
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, BACKOFF_S[1])

    def _one_life(self) -> int:
        child = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,  # its end tells the child that we are gone
            stdout=sys.stderr,
            close_fds=True,  # the database's lock and the listening socket stay ours alone
        )
        self._child = child
        try:
            while not self._stopping.is_set():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return child.wait(timeout=0.2)
            child.terminate()
            try:
                return child.wait(timeout=CHILD_ENDS_S)
            except subprocess.TimeoutExpired:
                child.kill()
                return child.wait()
        finally:
            if child.stdin is not None:
                child.stdin.close()


def child_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """The controller's environment: the settings in force, without the token, which is not its business."""
    kept = {name: value for name, value in environment.items() if name != f"{PREFIX}TOKEN"}
    given = settings.model_dump(exclude={"token"}) | {
        "data": settings.data.absolute(),
        "storage": settings.resolved_storage,
    }
    own = {f"{PREFIX}{name.upper()}": str(value) for name, value in given.items() if value not in (None, "")}
    return {**kept, **own, SUPERVISED: "1"}


@contextlib.contextmanager
def _supervised(settings: Settings) -> Iterator[Supervisor]:
    supervisor = Supervisor(settings)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def _locked(settings: Settings) -> contextlib.AbstractContextManager[object]:
    """The lock of a SQLite file, which one server may use; nothing for PostgreSQL."""
    url = make_url(settings.resolved_database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        return lock_sqlite(url.database)
    return contextlib.nullcontext()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"another program listens on {where}", remedy="end it, or choose another port with HPO_PORT"
            ) from None
        raise Unavailable(f"cannot listen on {where}: {error.strerror}", remedy="check HPO_HOST and HPO_PORT") from None
    return listener


def _address(settings: Settings, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


def _finish_deletions(settings: Settings, db: Database) -> None:
    """Go on with deletions that a crash interrupted."""
    try:
        root, paths = settings.resolved_storage, finish_deletions(db)
        gone = {path.split("/")[1] for path in paths if path.startswith("checkpoints/") and path.count("/") > 2}
        remove(root, [*paths, *(file for study_id in sorted(gone) for file in predictions_of(root, study_id))])
        files = ArtifactFiles(settings.resolved_artifacts)
        for study_id in deleted_studies(db, files.studies()):  # or what a worker wrote after its study was deleted
            files.remove_study(study_id)
    except HpoError as error:
        log.warning("interrupted deletions go on at the next start: %s", error)


def main() -> int:
    """Serve by the settings of the environment; 1 with a plain message where it cannot."""
    try:
        return serve(load_settings(), supervise="--no-controller" not in sys.argv[1:])
    except HpoError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
