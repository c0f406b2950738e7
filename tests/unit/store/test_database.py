"""Transactions, the server's lock, many writing processes."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from hpo_service.errors import Conflict, Unavailable
from hpo_service.store import database, logs, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.filelock import lock_sqlite
from hpo_service.store.tx import Tx, clean, to_datetime, utc_us
from tests.storelib import World

HOLD = """
import sys
from hpo_service.store.filelock import lock_sqlite
lock = lock_sqlite(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""
WRITERS, WRITES = 16, 6


def test_sqlite_is_set_up_to_survive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_pragmas: tuple[str, ...]
) -> None:
    monkeypatch.setattr(database, "_PRAGMAS", sqlite_pragmas)
    db = open_database(f"sqlite:///{tmp_path / 'product.db'}")
    with db.read() as tx:
        for pragma, value in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", 30000),
        ):
            assert tx.conn.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    db.close()


def test_a_failed_transaction_is_rolled_back(db: Database) -> None:
    def work(tx: Tx) -> None:
        tx.conn.exec_driver_sql("INSERT INTO environments VALUES ('d', '{}', 1)")
        tx.conn.exec_driver_sql("INSERT INTO environments VALUES ('d', '{}', 1)")

    with pytest.raises(IntegrityError):
        db.run_write("test", work)
    with db.read() as tx:
        assert tx.conn.exec_driver_sql("SELECT count(*) FROM environments").scalar() == 0


def test_the_clock_is_utc_and_round_trips(db: Database) -> None:
    now = db.now()
    assert now.utcoffset() is not None
    assert to_datetime(utc_us(now)) == now


class _Refusal(Exception):
    """What a driver raises when the database asks for another try."""

    sqlstate = "40001"


def test_what_the_database_asks_to_repeat_is_repeated(db: Database) -> None:
    tries = []

    def work(tx: Tx) -> str:
        tries.append(tx)
        if len(tries) < 3:
            raise OperationalError("UPDATE …", None, _Refusal("could not serialize"))
        return "done"

    assert db.run_write("test", work) == "done"
    assert len(tries) == 3


def test_a_database_locked_for_too_long_is_unavailable(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "RETRY_S", 0.0)

    def work(tx: Tx) -> None:
        raise OperationalError("BEGIN", None, sqlite3.OperationalError("database is locked"))

    with pytest.raises(Unavailable, match="busy"):
        db.run_write("test", work)


def test_a_server_that_ended_is_noticed_whatever_the_descriptor() -> None:
    """`select` knows the first 1,024 descriptors only; a server with many listeners has more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 2048), hard), hard))
    here, there = socket.socketpair()
    with here, there:
        high = fcntl.fcntl(here.fileno(), fcntl.F_DUPFD, 1500)
        try:
            for descriptor in (here.fileno(), high):
                assert not database.something_to_read(descriptor)
            there.close()
            for descriptor in (here.fileno(), high):
                assert database.something_to_read(descriptor)
        finally:
            os.close(high)


def test_clean_text() -> None:
    assert clean("a\x00b") == "a\ufffdb"
    assert clean("\ud800") == "?"
    assert clean("plain") == "plain"


def test_one_server_per_file(tmp_path: Path) -> None:
    path = tmp_path / "hpo.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Conflict, match=f"in use by process {holder.pid}"):
        lock_sqlite(path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with lock_sqlite(path) as lock, pytest.raises(Conflict):
        lock_sqlite(lock.path.with_suffix(""))
    lock_sqlite(path).release()


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "hpo.db"
    lock = lock_sqlite(path)
    program = "import sys; print('up', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    lock.release()
    lock_sqlite(path).release()
    child.communicate("")


def _write(url: str, study_id: str, index: int) -> None:
    """One of many writing processes: it enqueues trials, each in a transaction of its own."""
    db = open_database(url)
    for n in range(WRITES):
        studies.enqueue(db, study_id, [{"lr": (index + 1) / (n + 1), "optimizer": "sgd"}])
    db.close()


def test_sixteen_processes_write_and_none_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    db = open_database(url)
    world = World(db)
    context = multiprocessing.get_context("fork")
    db.close()
    children = [context.Process(target=_write, args=(url, world.id, index)) for index in range(WRITERS)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=120)
    assert [child.exitcode for child in children] == [0] * WRITERS
    assert world.study.next_trial == WRITERS * WRITES
    world.check_counters()
    db.close()


def _open(url: str) -> None:
    open_database(url).close()


def test_many_processes_open_a_new_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_open, args=(url,)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=120)
    assert [child.exitcode for child in children] == [0] * 6


def test_texts_that_sqlite_would_take_and_postgresql_not_are_stored(db: Database) -> None:
    world = World(db, notes="nul \x00 here")
    world.start()
    logs.append_logs(db, [(world.id, 0, 1, "\ud800")])
    assert world.study.notes == "nul \ufffd here"
    assert logs.read_log(db, world.id, 0) == ("?", 1)
