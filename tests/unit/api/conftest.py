"""A real service in this process: SQLite in a temporary folder, no controller, an external study to play with."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpo_service.api.app import create_app
from hpo_service.settings import Settings
from hpo_service.store import access
from hpo_service.store.database import Database, open_database
from tests.unit.api.support import DEFINITION

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for another HTTP client; httpx is the one that the SDK is built on
    from fastapi.testclient import TestClient


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "hpo.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


@pytest.fixture
def db(settings: Settings, empty_database: Path) -> Iterator[Database]:
    shutil.copy(empty_database, settings.data / "hpo.db")
    database = open_database(settings.resolved_database_url)
    yield database
    database.close()


@pytest.fixture
def changed() -> list[str]:
    """The studies that the service said were changed."""
    return []


@pytest.fixture
def client(settings: Settings, db: Database, changed: list[str]) -> Iterator[TestClient]:
    """A client of a loopback server."""
    with TestClient(create_app(settings, db, notify=changed.append), base_url="http://localhost") as found:
        yield found


@pytest.fixture
def open_client(settings: Settings, db: Database) -> Iterator[TestClient]:
    """A client of a server that listens everywhere, where tokens are needed; it sends none by itself."""
    access.create_token(db, name="first", role="admin", project="*", may_submit_code=True, ttl=None)
    public = settings.model_copy(update={"host": "0.0.0.0"})
    with TestClient(create_app(public, db), base_url="http://localhost") as found:
        yield found


@pytest.fixture
def bearer(db: Database) -> Callable[..., dict[str, str]]:
    """Makes a token and returns the header that carries it."""

    def make(role: str, project: str = "*", *, may_submit_code: bool = False) -> dict[str, str]:
        _, secret = access.create_token(
            db, name=f"{role}-{project}", role=role, project=project, may_submit_code=may_submit_code, ttl=None
        )
        return {"Authorization": f"Bearer {secret}"}

    return make


@pytest.fixture
def study(client: TestClient) -> str:
    """The id of an external study."""
    answer = client.post("/api/v1/studies", json=DEFINITION)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
