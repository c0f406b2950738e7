"""SQLite's write-ahead log stays bounded, though somebody reads at every moment."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from hpo_service.store import database
from hpo_service.store.database import Database, open_database
from hpo_service.store.tx import Tx

READERS = 3
MIB = 2**20


def write_much(db: Database, commits: int) -> None:
    """100 KB a commit, the same row over and over; other bytes each time, for equal ones are not written again."""
    letters = itertools.cycle("abcdef")

    def work(tx: Tx) -> None:
        tx.conn.exec_driver_sql("UPDATE one SET data = ?", (next(letters) * 100_000,))

    for _ in range(commits):
        db.run_write("test", work)


def test_readers_that_overlap_do_not_keep_the_log_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAL_MOST", 2 * MIB)
    monkeypatch.setattr(database, "WAL_LOOK_S", 0.0)
    db, over, reading = (
        open_database(f"sqlite:///{tmp_path / 'hpo.db'}"),
        threading.Event(),
        threading.Barrier(READERS + 1),
    )

    def create(tx: Tx) -> None:
        tx.conn.exec_driver_sql("CREATE TABLE one (data TEXT)")
        tx.conn.exec_driver_sql("INSERT INTO one VALUES ('')")

    def read() -> None:
        first = True
        while not over.is_set():
            with db.read() as tx:
                tx.text("SELECT length(data) FROM one")
                if first:
                    reading.wait()
                    first = False
                over.wait(0.01)

    db.run_write("test", create)
    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        reading.wait()
        write_much(db, 200)
        assert (tmp_path / "hpo.db-wal").stat().st_size < 4 * MIB
    finally:
        over.set()
        for reader in readers:
            reader.join()
    with db.read() as tx:
        assert tx.text("SELECT length(data) AS n FROM one")[0].n == 100_000
    db.close()


def test_a_reader_that_stays_only_puts_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAL_MOST", MIB)
    monkeypatch.setattr(database, "WAL_WAIT_MS", 0)
    db, log = open_database(f"sqlite:///{tmp_path / 'hpo.db'}"), tmp_path / "hpo.db-wal"
    db.run_write("test", lambda tx: tx.conn.exec_driver_sql("CREATE TABLE one AS SELECT '' AS data"))
    with db.read() as tx:
        assert tx.text("SELECT length(data) AS n FROM one")[0].n == 0
        monkeypatch.setattr(database, "WAL_LOOK_S", 0.0)
        write_much(db, 30)
        assert log.stat().st_size > 2 * MIB
        assert tx.text("SELECT length(data) AS n FROM one")[0].n == 0, "its moment stays"
    db._next_look = 0.0
    write_much(db, 1)
    assert log.stat().st_size == 0
    db.close()
