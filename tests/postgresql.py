"""A PostgreSQL server for tests: the one that HPO_TEST_POSTGRESQL_URL names, else a temporary one on loopback.

The temporary server runs from the installed binaries (PATH, Debian's /usr/lib/postgresql) as an ordinary user, for
PostgreSQL refuses root. It is stopped when the test process exits.
"""

from __future__ import annotations

import atexit
import functools
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg

URL_VARIABLE = "HPO_TEST_POSTGRESQL_URL"
SKIP_VARIABLE = "HPO_SKIP_POSTGRESQL"
START_TIMEOUT_S = 60


class NoServerError(RuntimeError):
    """No PostgreSQL could be had; says what to do."""


@functools.cache
def server_url() -> str:
    """The URL of a server on which this process may make databases. Raises NoServerError."""
    given = os.environ.get(URL_VARIABLE)
    if given:
        return given
    return _Server().url


def fresh_database() -> str:
    """The URL of a new, empty database; `drop_database` removes it."""
    base = server_url()
    name = f"hpo_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return _with_database(base, name)


def drop_database(url: str) -> None:
    """Remove a database that `fresh_database` made, whoever is still connected."""
    name = url.rsplit("/", 1)[-1].partition("?")[0]
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _with_database(base: str, name: str) -> str:
    head, _, query = base.partition("?")
    scheme, _, rest = head.partition("://")
    changed = f"{scheme}://{rest.split('/', 1)[0]}/{name}"
    return f"{changed}?{query}" if query else changed


def binaries() -> Path:
    """The folder of `initdb` and `pg_ctl`. Raises NoServerError."""
    folders = [os.path.dirname(os.path.realpath(found)) for found in [shutil.which("initdb")] if found]
    folders += sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    for folder in folders:
        if all((Path(folder) / program).exists() for program in ("initdb", "pg_ctl", "postgres")):
            return Path(folder)
    raise NoServerError(
        "the tests need a PostgreSQL server, but none is installed and none is named; install postgresql, set "
        f"{URL_VARIABLE} to a server's URL, or set {SKIP_VARIABLE}=1 to leave these tests out"
    )


def _as_user() -> list[str]:
    """What runs a command as an ordinary user: nothing, or `runuser` when this process is root."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return ["runuser", "-u", name, "--"]
    raise NoServerError("PostgreSQL refuses root, and there is no user postgres or nobody to run it")


class _Server:
    """A temporary server on a free loopback port, with its data in a folder of its own."""

    def __init__(self) -> None:
        self._bin = binaries()
        self._as = _as_user()
        self._root = Path(tempfile.mkdtemp(prefix="hpo-postgresql-"))
        if self._as:
            user = pwd.getpwnam(self._as[2])
            os.chown(self._root, user.pw_uid, user.pw_gid)
        self._owner = os.getpid()
        self._data = self._root / "data"
        port = _free_port()
        self._run("initdb", "-D", str(self._data), "-U", "hpo", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200"
        options += " -c fsync=off -c shared_buffers=64MB"
        log = str(self._root / "log")
        atexit.register(self.stop)
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-o", options, "-w", "-t", str(START_TIMEOUT_S), "start")
        self.url = f"postgresql://hpo@127.0.0.1:{port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as, str(self._bin / program), *arguments],
            capture_output=True,
            text=True,
            cwd=self._root,
            timeout=2 * START_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise NoServerError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")

    def stop(self) -> None:
        """Stop the server and remove its data; nothing in a forked child."""
        if os.getpid() != self._owner:
            return
        subprocess.run(
            [*self._as, str(self._bin / "pg_ctl"), "-D", str(self._data), "-m", "immediate", "stop"],
            capture_output=True,
            cwd="/",
            timeout=START_TIMEOUT_S,
        )
        shutil.rmtree(self._root, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
