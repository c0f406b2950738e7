"""Who may call what: every route × every role, by the OpenAPI document, so that a new route cannot be left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service.api.access import Role
from hpo_service.api.app import create_app
from hpo_service.errors import Conflict
from hpo_service.settings import Settings
from hpo_service.store import access
from hpo_service.store.database import Database
from tests.unit.api.support import DEFINITION, filled, operations

Bearer = Callable[..., dict[str, str]]
PAGES = {
    "/", "/new", "/compare", "/workers", "/studies/{study_id}", "/studies/{study_id}/trials/{number}", "/static",
    "/static/vendor/plotly-{version}.min.js", "/{path:path}", "/api/v1/openapi.json",
}  # fmt: skip
RANK = {role.value: rank for rank, role in enumerate(Role)}


def call(client: TestClient, method: str, path: str, headers: dict[str, str]) -> int:
    """The status of a request that goes no further than authorisation: its body and Last-Event-ID are wrong."""
    extra: dict[str, Any] = {"json": {"no such field": 1}} if method in ("POST", "PATCH") else {}
    return client.request(method, filled(path), headers={**headers, "Last-Event-ID": "broken"}, **extra).status_code


def test_every_role_on_every_route(open_client: TestClient, bearer: Bearer) -> None:
    tokens = {role.value: bearer(role.value) for role in Role if role is not Role.PUBLIC}
    seen = 0
    for method, path, least in operations(open_client):
        status = call(open_client, method, path, {})
        assert status == 401 if least != "public" else status not in (401, 403), (method, path)
        assert least == "public" or call(open_client, method, path, {"Authorization": "Bearer wrong"}) == 401
        for role, headers in tokens.items():
            status = call(open_client, method, path, headers)
            if RANK[role] < RANK[least]:
                assert status == 403, (method, path, role)
            else:
                assert status not in (401, 403), (method, path, role)
            seen += 1
    assert seen > 100


def test_every_route_is_in_the_document_or_is_a_page(client: TestClient) -> None:
    documented = {path for _, path, _ in operations(client)}
    templates = set(open_paths(client.app.routes, ""))  # type: ignore[attr-defined]  # it is a FastAPI
    assert templates - documented == PAGES


def open_paths(routes: Any, prefix: str) -> Iterator[str]:
    """Paths of routes, included routers looked into."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from open_paths(inner.routes, prefix + route.include_context.prefix)
        else:
            yield prefix + route.path


def test_reading_needs_only_a_viewer(client: TestClient) -> None:
    for method, path, least in operations(client):
        if method == "GET" and "doctor" not in path and "tokens" not in path:
            assert least in ("viewer", "public"), path
        if method in ("PATCH", "DELETE"):
            assert least in ("editor", "admin"), path


def test_loopback_needs_no_token_but_refuses_a_wrong_one(client: TestClient, bearer: Bearer) -> None:
    assert client.get("/api/v1/studies").status_code == 200
    assert client.get("/api/v1/studies", headers=bearer("viewer")).status_code == 200
    for wrong in ("Bearer wrong", "Basic dTpw", "Bearer ", "nonsense"):
        answer = client.get("/api/v1/studies", headers={"Authorization": wrong})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_on_loopback_keeps_its_role(client: TestClient, bearer: Bearer) -> None:
    assert client.post("/api/v1/studies", json=DEFINITION, headers=bearer("runner")).status_code == 403


def test_any_other_address_needs_a_token_to_begin_with(settings: Settings, db: Database) -> None:
    public = settings.model_copy(update={"host": "192.0.2.1"})
    with pytest.raises(Conflict, match="hpo token create"):
        create_app(public, db)


def test_a_revoked_token_is_refused_at_once(open_client: TestClient, db: Database) -> None:
    row, secret = access.create_token(db, name="t", role="viewer", project="*", may_submit_code=False, ttl=None)
    headers = {"Authorization": f"Bearer {secret}"}
    assert open_client.get("/api/v1/studies", headers=headers).status_code == 200
    access.revoke_token(db, row.id)
    assert open_client.get("/api/v1/studies", headers=headers).status_code == 401


def test_another_projects_study_does_not_exist(open_client: TestClient, bearer: Bearer) -> None:
    mine = bearer("editor", "mine")
    document = {**DEFINITION, "project": "theirs"}
    assert open_client.post("/api/v1/studies", json=document, headers=mine).status_code == 403
    theirs = open_client.post("/api/v1/studies", json=document, headers=bearer("editor", "theirs")).json()["id"]
    for path in (f"/studies/{theirs}", f"/studies/{theirs}/trials", f"/compare?study={theirs}"):
        assert open_client.get(f"/api/v1{path}", headers=mine).status_code == 404, path
    assert open_client.get("/api/v1/studies?project=theirs", headers=mine).status_code == 403
    assert open_client.get("/api/v1/studies", headers=mine).json()["items"] == []
    everybody = open_client.get("/api/v1/studies", headers=bearer("viewer")).json()["items"]
    assert [item["id"] for item in everybody] == [theirs]


@pytest.mark.parametrize("trainer", [{"function": "mine:train"}, {"recipe": "mine:Recipe"}])
def test_submitting_code_is_a_permission_of_its_own(
    trainer: dict[str, str], open_client: TestClient, bearer: Bearer
) -> None:
    document = {**DEFINITION, "trainer": trainer}
    for path in ("/api/v1/studies", "/api/v1/studies/validate"):
        refused = open_client.post(path, json=document, headers=bearer("admin"))
        assert (refused.status_code, "--code" in refused.json()["remedy"]) == (403, True)
    allowed = open_client.post("/api/v1/studies", json=document, headers=bearer("editor", may_submit_code=True))
    assert allowed.status_code == 201
    assert allowed.json()["state"] == "preflight"


def test_only_admins_delete_others_studies(open_client: TestClient, bearer: Bearer) -> None:
    alice, bob, admin = bearer("editor", "default"), bearer("editor"), bearer("admin")
    made = [open_client.post("/api/v1/studies", json=DEFINITION, headers=alice).json()["id"] for _ in range(2)]
    assert open_client.delete(f"/api/v1/studies/{made[0]}", headers=bob).status_code == 403
    assert open_client.delete(f"/api/v1/studies/{made[0]}", headers=alice).status_code == 204
    assert open_client.delete(f"/api/v1/studies/{made[1]}", headers=admin).status_code == 204


def test_tokens_over_rest(open_client: TestClient, bearer: Bearer) -> None:
    admin = bearer("admin", "mine")
    body = {"name": "ci", "role": "runner", "project": "mine"}
    made = open_client.post("/api/v1/tokens", json=body, headers=admin).json()
    assert made["token"]["role"] == "runner"
    secret = {"Authorization": f"Bearer {made['secret']}"}
    assert open_client.get("/api/v1/studies", headers=secret).status_code == 200
    listed = open_client.get("/api/v1/tokens", headers=admin)
    assert made["secret"] not in listed.text
    assert {item["project"] for item in listed.json()["items"]} == {"mine"}
    everywhere = open_client.post("/api/v1/tokens", json={**body, "project": "*"}, headers=admin)
    assert everywhere.status_code == 403
    code = open_client.post("/api/v1/tokens", json={**body, "may_submit_code": True}, headers=admin)
    assert code.status_code == 403
    gone = open_client.delete(f"/api/v1/tokens/{made['token']['id']}", headers=admin)
    assert gone.status_code == 204
    assert open_client.get("/api/v1/studies", headers=secret).status_code == 401


def test_a_tokens_secret_is_not_kept_for_a_repeated_request(client: TestClient) -> None:
    key = {"Idempotency-Key": "k1"}
    first = client.post("/api/v1/tokens", json={"name": "a"}, headers=key)
    again = client.post("/api/v1/tokens", json={"name": "a"}, headers=key)
    assert (first.status_code, again.status_code) == (201, 409)
    assert "shown once" in again.json()["detail"]
    assert len(client.get("/api/v1/tokens").json()["items"]) == 1
