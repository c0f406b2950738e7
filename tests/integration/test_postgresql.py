"""What only a real PostgreSQL shows: its migrations, deadlocks that are repeated, many writers, an absent server."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, update

from hpo_service.errors import Conflict, Unavailable
from hpo_service.store import collecting, migrate
from hpo_service.store.database import Database, open_database
from hpo_service.store.tables import metadata, studies
from hpo_service.store.tx import Tx
from tests import postgresql
from tests.storelib import World

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url() -> Iterator[str]:
    if os.environ.get(postgresql.SKIP_VARIABLE) == "1":
        pytest.skip(f"{postgresql.SKIP_VARIABLE}=1 leaves the PostgreSQL tests out")
    made = postgresql.fresh_database()
    yield made
    postgresql.drop_database(made)


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    database = open_database(url)
    yield database
    database.close()


def test_migrations_up_down_and_as_declared(url: str, db: Database) -> None:
    with db.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx.conn), metadata) == []
        assert migrate.revision(tx.conn) == migrate.HEAD
    with db.engine.begin() as connection:
        migrate.downgrade(connection, "base")
    with db.engine.begin() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_proc WHERE proname LIKE 'refuse_%%'").scalar() == 0
    open_database(url).close()
    with db.read() as tx:
        assert migrate.revision(tx.conn) == migrate.HEAD


def test_a_newer_schema_is_refused(url: str, db: Database) -> None:
    db.run_write("test", lambda tx: tx.conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="9999"):
        open_database(url)


def test_many_open_an_empty_database_at_once(url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        for opened in pool.map(open_database, [url] * 6):
            opened.close()


def test_a_deadlock_is_repeated(db: Database) -> None:
    one, two = World(db), World(db)
    barrier = threading.Barrier(2)
    tries: list[str] = []

    def touch(order: tuple[str, str]) -> None:
        first = True

        def work(tx: Tx) -> None:
            nonlocal first
            tries.append(order[0])
            for study_id in order:
                tx.execute(update(studies).where(studies.c.id == study_id).values(notes=studies.c.notes + "x"))
                if first:
                    first = False
                    barrier.wait(30)

        db.run_write("test", work)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(touch, (one.id, two.id)), pool.submit(touch, (two.id, one.id))]:
            done.result(60)
    assert len(tries) == 3
    assert (one.study.notes, two.study.notes) == ("xx", "xx")


def test_writers_of_the_same_studies_take_turns(db: Database) -> None:
    worlds = [World(db) for _ in range(4)]
    for world in worlds:
        world.start(8)

    def write(k: int) -> list[str]:
        order = worlds if k % 2 else worlds[::-1]
        found = []
        for step in range(5):
            items = [w.report(k, step, step / 10) for w in order]
            found += [r.status for r in collecting.collect(db, items)]
        return found

    with ThreadPoolExecutor(8) as pool:
        statuses = [s for found in pool.map(write, range(8)) for s in found]
    assert statuses == ["stored"] * len(statuses)
    for world in worlds:
        world.check_counters()


def test_an_absent_server_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        open_database("postgresql://hpo@127.0.0.1:1/hpo")


def test_a_server_that_dies_is_unavailable_and_comes_back(url: str, db: Database) -> None:
    world = World(db)
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"

    def killed(tx: Tx) -> None:
        tx.conn.exec_driver_sql("SELECT 1")
        other = open_database(url)
        with other.engine.begin() as connection:
            connection.exec_driver_sql(end)
        other.close()
        tx.conn.exec_driver_sql("SELECT 1")

    with pytest.raises(Unavailable):
        db.run_write("test", killed)
    assert world.study.id == world.id
