"""What deploys the service names settings, commands and options that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
import yaml

from hpo_service.cli import app
from hpo_service.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8") + (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_every_setting_named_exists() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", TEXT))
    assert named
    assert named <= {PREFIX + name.upper() for name in Settings.model_fields}


def test_every_command_named_exists_with_its_options() -> None:
    group: Any = typer.main.get_command(app)
    used = re.findall(r"\bhpo (?:--json )?(serve|controller|token create)\b([^\n|>']*)", TEXT)
    assert {name for name, _ in used} == {"serve", "controller", "token create"}
    for name, rest in used:
        command = group
        for part in name.split():
            command = command.commands[part]
        known = {option for p in command.params for option in [*p.opts, *p.secondary_opts]}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, name


def test_nothing_but_the_api_is_published_and_that_on_loopback() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert list(published) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in published["api"])


def test_services_wait_for_what_they_need() -> None:
    services = COMPOSE["services"]
    for name in ("ray-worker", "controller"):
        assert services[name]["depends_on"] == {"ray-head": {"condition": "service_healthy"}}
    assert all("healthcheck" in services[name] for name in ("database", "ray-head", "api"))
