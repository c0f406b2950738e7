"""Commands of the service, from serve to doctor and tokens; and the documentation of all commands."""

from __future__ import annotations

import json
import socket
import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from hpo_service.cli import app, checks
from hpo_service.cli.base import globals_first
from hpo_service.cli.completion import study_names
from hpo_service.client.results import Check
from hpo_service.errors import Unavailable
from hpo_service.settings import Settings
from tests.unit.cli.conftest import Run
from tests.unit.client.sdk_fake_server import FakeServer

ROOT = Path(__file__).resolve().parents[3]


def commands() -> Iterator[str]:
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from (f"{name} {inner}" for inner in command.commands)
        else:
            yield name


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_is_documented_and_has_help(run: Run, command: str) -> None:
    assert f"`hpo {command}" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    done = run(*command.split(), "--help")
    assert done.exit_code == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    ("command", "module", "function"), [("serve", "server", "serve"), ("controller", "controller.process", "main")]
)
def test_serve_and_controller_get_the_settings(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, module: str, function: str
) -> None:
    given: list[Settings] = []
    stand_in = types.ModuleType(f"hpo_service.{module}")
    supervised: list[bool] = []

    def run_with(settings: Settings, *, supervise: bool = True) -> None:
        given.append(settings)
        supervised.append(supervise)

    setattr(stand_in, function, run_with)
    monkeypatch.setitem(sys.modules, f"hpo_service.{module}", stand_in)
    monkeypatch.setenv("HPO_RAY_CPUS", "3")
    more = ["--host", "::1", "--port", "99", "--no-controller"] if command == "serve" else []
    done = run(command, "--data", str(tmp_path), "--database-url", "postgresql://x", *more)
    assert done.exit_code == 0, done.output
    assert given[0].data == tmp_path
    assert given[0].database_url == "postgresql://x"
    assert given[0].ray_cpus == 3
    assert supervised == [command != "serve"]
    if more:
        assert (given[0].host, given[0].port) == ("::1", 99)


def test_a_wrong_setting_names_its_variable(run: Run) -> None:
    done = run("serve", "--port", "99999")
    assert done.exit_code == 1
    assert "HPO_PORT" in done.stderr


def test_a_missing_extra_names_the_command_that_installs_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hpo_service.server", None)
    done = run("serve")
    assert done.exit_code == 1
    assert "pip install 'hpo-service[server]'" in done.stderr


def test_schema_and_version_need_no_server(run: Run, server: FakeServer) -> None:
    assert "space" in json.loads(run("schema").stdout)["properties"]
    assert run("version").stdout.startswith("hpo-service ")
    assert "python" in json.loads(run("version", "--json").stdout)
    assert not server.requests


def test_workers(run: Run, server: FakeServer) -> None:
    server.answers["GET /workers"] = httpx.Response(200, json={"items": []})
    assert "no workers" in run("workers").stdout
    worker = {"id": "w1", "node": "n", "state": "busy", "device": "cpu", "cpu": 1.0, "seen_at": "2026-01-01T00:00:00Z"}
    server.answers["GET /workers"] = httpx.Response(200, json={"items": [worker]})
    assert "w1" in run("workers").stdout


def test_doctor_is_content_without_a_server(run: Run, server: FakeServer, tmp_path: Path) -> None:
    server.faults = [httpx.ConnectError("refused")] * 9
    done = run("doctor", "--data", str(tmp_path / "new"))
    assert "python" in done.stdout
    assert "will be made by the first `hpo serve`" in done.stdout
    assert "start one with `hpo serve`" in done.stdout
    assert not (tmp_path / "new").exists()
    assert list(tmp_path.iterdir()) == []


def test_doctor_ends_with_1_and_a_remedy_when_something_is_broken(run: Run, server: FakeServer, tmp_path: Path) -> None:
    broken = {"name": "controller", "ok": False, "detail": "no controller has a lease", "remedy": "start hpo serve"}
    server.answers["GET /doctor"] = httpx.Response(200, json={"checks": [broken]})
    done = run("doctor", "--data", str(tmp_path))
    assert done.exit_code == 1
    assert "server: controller" in done.stdout
    assert "→ start hpo serve" in done.stdout
    found = json.loads(run("doctor", "--data", str(tmp_path), "--json").stdout)["checks"]
    assert {"python", "packages", "database", "storage", "port", "accelerators", "ray"} <= {
        one["name"] for one in found
    }


def test_a_storage_that_cannot_be_written_is_broken(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    found = checks.check_storage(Settings(storage=blocked / "inner"))
    assert not found.ok
    assert "HPO_STORAGE" in found.remedy


def test_a_port_of_another_program_is_broken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(10)
        found = checks._survived(lambda: checks.check_port(Settings(port=other.getsockname()[1])))
    assert isinstance(found, Check)
    assert not found.ok
    assert "another program" in found.detail


def test_a_check_that_breaks_does_not_break_the_doctor() -> None:
    def check_moon() -> Check:
        raise RuntimeError("too far\naway")

    found = checks._survived(check_moon)
    assert isinstance(found, Check)
    assert (found.name, found.ok, found.detail) == ("moon", False, "too far")


def test_a_ray_cluster_that_does_not_answer_is_broken() -> None:
    found = checks.check_ray(Settings(ray_address="127.0.0.1:1"))
    assert not found.ok
    assert "HPO_RAY_ADDRESS" in found.remedy


def test_passwords_are_not_shown() -> None:
    found = checks.check_settings(Settings(database_url="postgresql+psycopg://me:hush@db/hpo", token="secret"))
    assert "hush" not in found.detail
    assert "secret" not in found.detail
    assert "postgresql+psycopg://me:…@db/hpo" in found.detail


class Access:
    """The store's access verbs, in memory."""

    rows: list[types.SimpleNamespace]

    def __init__(self) -> None:
        self.rows = []

    def create_token(self, db: object, *, ttl: timedelta | None, **fields: Any) -> tuple[Any, str]:
        expires = None if ttl is None else datetime(2026, 1, 1, tzinfo=UTC) + ttl
        row = types.SimpleNamespace(
            id=f"tk_{len(self.rows)}",
            created_at=datetime.now(UTC),
            expires_at=expires,
            revoked_at=None,
            used_at=None,
            **fields,
        )
        self.rows.append(row)
        return row, "s3cret"

    def list_tokens(self, db: object) -> list[Any]:
        return self.rows

    def revoke_token(self, db: object, id: str) -> None:
        next(row for row in self.rows if row.id == id).revoked_at = datetime.now(UTC)


@pytest.fixture
def access(monkeypatch: pytest.MonkeyPatch) -> Access:
    found = Access()
    database = types.SimpleNamespace(open_database=lambda url: types.SimpleNamespace(close=lambda: None))
    stand_ins = {"hpo_service.store.access": found, "hpo_service.store.database": database}
    monkeypatch.setattr("hpo_service.cli.server.needs", lambda module, extra: stand_ins[module])
    return found


def test_a_token_is_made_listed_and_revoked(run: Run, access: Access, tmp_path: Path) -> None:
    done = run("token", "create", "ci", "--role", "runner", "--days", "1", "--data", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert done.stdout == "s3cret\n"
    assert "token tk_0 for 'ci': role runner, project *, until 2026-01-02" in done.stderr
    made = json.loads(run("token", "create", "x", "--days", "0", "--code", "--json", "--data", str(tmp_path)).stdout)
    assert made == {"id": "tk_1", "name": "x", "role": "editor", "project": "*", "secret": "s3cret"}
    assert access.rows[1].may_submit_code is True
    assert access.rows[1].expires_at is None
    assert run("token", "revoke", "tk_1", "--data", str(tmp_path)).exit_code == 0
    listed = run("token", "list", "--data", str(tmp_path)).stdout
    assert "expired" in listed
    assert "revoked" in listed
    assert "s3cret" not in listed
    unknown = run("token", "revoke", "tk_9", "--data", str(tmp_path))
    assert unknown.exit_code == 1
    assert "hpo token list" in unknown.stderr
    assert run("token", "create", "x", "--role", "king").exit_code == 2


def test_completion_is_silent_when_the_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_URL", "http://127.0.0.1:1")
    assert study_names("a") == []


def test_completion_offers_names_and_ids(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> None:
    from hpo_service.client import Client

    server.add_study("st_1", "alpha")
    server.add_study("st_2", "beta")
    monkeypatch.setattr("hpo_service.client.Client", lambda **options: Client(transport=server.transport(), **options))
    assert study_names("al") == ["alpha"]
    assert study_names("st_") == ["st_2", "st_1"]


def test_global_options_are_moved_to_the_front() -> None:
    assert globals_first(["a", "--json", "--url", "u", "b", "--token=t", "--debug"]) == [
        "--json", "--url", "u", "--token=t", "--debug", "a", "b",
    ]  # fmt: skip
    assert globals_first(["a", "--", "--json"]) == ["a", "--", "--json"]
    assert globals_first(["a", "--url"]) == ["--url", "a"]


def test_needs_passes_on_what_is_installed() -> None:
    from hpo_service.cli.server import needs

    assert needs("json", "server") is json
    with pytest.raises(Unavailable, match="nothing_of_that_name is not installed"):
        needs("nothing_of_that_name", "server")
