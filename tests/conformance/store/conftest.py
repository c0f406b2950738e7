"""The store's conformance suite runs on SQLite and on PostgreSQL; both must behave the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_service.store.database import Database, open_database
from hpo_service.store.tables import metadata
from tests import postgresql
from tests.storelib import World


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with the schema; copied for every test."""
    path = tmp_path_factory.mktemp("template") / "hpo.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A fresh database on a PostgreSQL server; fails where there is no server, unless those tests are left out."""
    if os.environ.get(postgresql.SKIP_VARIABLE) == "1":
        pytest.skip(f"{postgresql.SKIP_VARIABLE}=1 leaves the PostgreSQL tests out")
    url = postgresql.fresh_database()
    yield url
    postgresql.drop_database(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def db_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database with the schema."""
    if request.param == "sqlite":
        path = tmp_path / "hpo.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgresql_url")
    database = open_database(url)
    with database.engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    database.close()
    return url


@pytest.fixture
def db(db_url: str) -> Iterator[Database]:
    database = open_database(db_url)
    yield database
    database.close()


@pytest.fixture
def world(db: Database) -> World:
    return World(db)
