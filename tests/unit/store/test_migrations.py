"""The schema's revisions on SQLite: up, down, the same as the tables, backed up before an upgrade."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from hpo_service.errors import Conflict, InvalidInput, Unavailable
from hpo_service.store import migrate
from hpo_service.store.database import Database, open_database
from hpo_service.store.tables import metadata


def _schema(path: Path) -> set[str]:
    """What SQLite says that it made, without names of automatic things and differences of white space."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'trigger'").fetchall()
    connection.close()
    return {re.sub(r"\s+", "", row[0]) for row in rows if "alembic_version" not in row[0]}


def _at(path: Path, revision: str) -> None:
    """Make a database at an older revision."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(migrate.config(connection), revision)
    engine.dispose()


def test_the_program_knows_its_newest_revision() -> None:
    assert ScriptDirectory.from_config(migrate.config()).get_current_head() == migrate.HEAD


def test_the_migrations_make_the_tables_as_declared(db: Database, tmp_path: Path) -> None:
    with db.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx.conn), metadata) == []
    declared = tmp_path / "declared.db"
    engine = create_engine(f"sqlite:///{declared}")
    metadata.create_all(engine)
    engine.dispose()
    assert _schema(tmp_path / "hpo.db") == _schema(declared)


def test_down_leaves_nothing_and_up_again_works(db: Database, tmp_path: Path) -> None:
    with db.engine.connect().execution_options(hpo_write=True) as connection, connection.begin():
        migrate.downgrade(connection, "base")
    db.close()
    assert _schema(tmp_path / "hpo.db") == set()
    again = open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    with again.read() as tx:
        assert migrate.revision(tx.conn) == migrate.HEAD
    again.close()


def test_an_upgrade_backs_the_file_up_first(tmp_path: Path) -> None:
    path = tmp_path / "hpo.db"
    _at(path, "0001")
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO environments VALUES ('d', '{}', 1)")
    connection.commit()
    connection.close()
    open_database(f"sqlite:///{path}").close()
    (backup,) = tmp_path.glob("hpo.db.backup-0001-*")
    for file, revision in ((backup, "0001"), (path, migrate.HEAD)):
        connection = sqlite3.connect(file)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (revision,)
        assert connection.execute("SELECT digest FROM environments").fetchall() == [("d",)]
        connection.close()
    open_database(f"sqlite:///{path}").close()
    assert len(list(tmp_path.glob("*backup*"))) == 1, "nothing to upgrade, nothing to back up"


def test_studies_from_before_keep_their_best_as_one_improvement(tmp_path: Path) -> None:
    path = tmp_path / "hpo.db"
    _at(path, "0002")
    connection = sqlite3.connect(path)
    study = (
        "INSERT INTO studies (id, name, project, created_by, created_at, state, definition, space_digest, objectives,"
        " retries, priority, parallel, last_seq, finished, failed, best_trial, best_value, best_resource, resource,"
        " cost_microdollars) VALUES (?, 'n', 'default', 'ada', 1, 'finished', '{}', '', '[]', 0, 1, 1, 4, 3, 1,"
        " ?, ?, ?, 40, 9)"
    )
    connection.execute(study, ("with", 2, 0.25, 9.0))
    connection.execute(study, ("without", None, None, None))
    event = (
        "INSERT INTO events (study_id, seq, kind, schema_version, epoch, at, payload) VALUES (?, ?, '', 1, 0, ?, '')"
    )
    connection.executemany(event, [("with", 3, 50), ("with", 4, 70)])
    connection.commit()
    connection.close()
    open_database(f"sqlite:///{path}", backup=False).close()
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT * FROM improvements").fetchall()
    connection.close()
    assert rows == [("with", 4, 2, 0.25, 9.0, 70, 40.0, 9, 4)]


def test_an_upgrade_without_backup(tmp_path: Path) -> None:
    _at(tmp_path / "hpo.db", "0001")
    open_database(f"sqlite:///{tmp_path / 'hpo.db'}", backup=False).close()
    assert list(tmp_path.glob("*backup*")) == []


def test_a_newer_schema_is_refused(db: Database, tmp_path: Path) -> None:
    db.run_write("test", lambda tx: tx.conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="revision is 9999 and the newest known is") as caught:
        open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    assert "upgrade hpo-service" in str(caught.value)
    assert list(tmp_path.glob("*backup*")) == []


def test_nothing_is_made_where_that_is_not_wanted(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no database at"):
        open_database(f"sqlite:///{tmp_path / 'none.db'}", create=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    with pytest.raises(Unavailable, match="empty"):
        open_database(f"sqlite:///{tmp_path / 'empty.db'}", create=False)


@pytest.mark.parametrize("url", ["mysql://root:secret@host/db", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)
