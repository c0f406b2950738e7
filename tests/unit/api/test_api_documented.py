"""docs/rest.md names every route, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi.testclient import TestClient

from tests.unit.api.support import operations

DOCS = Path(__file__).parents[3] / "docs"
ROUTE = re.compile(
    r"^\| `(GET|HEAD|POST|PATCH|DELETE) (/[^`]*)` \| (?:(public|viewer|runner|editor|admin) \|)?", re.MULTILINE
)


def test_every_route_is_documented_with_its_role(client: TestClient) -> None:
    written = {(m, path): given or "runner" for m, path, given in ROUTE.findall((DOCS / "rest.md").read_text())}
    served = {(m, path.removeprefix("/api/v1")): least for m, path, least in operations(client)}
    assert written == served


def test_the_roles_are_documented() -> None:
    text = (DOCS / "security.md").read_text()
    for role in ("viewer", "runner", "editor", "admin"):
        assert f"| {role} |" in text
