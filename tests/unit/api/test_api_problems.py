"""Every refusal is a problem document, over every route."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from hpo_service.api.routes import trials
from hpo_service.api.uploads import takes_files
from hpo_service.store.database import Database
from tests.unit.api.support import DEFINITION, check, filled, operations


def test_unknown_query_parameters_on_every_route(client: TestClient) -> None:
    for method, path, _ in operations(client):
        answer = client.request(method, filled(path), params={"limitt": "3"})
        if method == "HEAD":  # an answer without a body
            assert answer.status_code == 422, path
            continue
        problem = check(answer, 422)
        assert problem["errors"][0]["path"] == "query.limitt", path
        assert problem["errors"][0]["rule"] == "unknown query parameter"


def test_unknown_studies_on_every_route(client: TestClient) -> None:
    for method, path, _ in operations(client):
        if "{study_id}" in path:
            extra: dict[str, Any] = {"json": {}} if method in ("POST", "PATCH") else {}
            assert "nothing" in check(client.request(method, filled(path), **extra), 404)["detail"]


def test_broken_bodies_on_every_route(client: TestClient, study: str) -> None:
    for method, path, _ in operations(client):
        if method not in ("POST", "PATCH"):
            continue
        path = filled(path).replace("nothing", study)
        if takes_files(method, path):  # bodies of any bytes, which their own tests are about
            continue
        for body, kind in ((b"{", "application/json"), (b"{}", "text/plain"), (b'{"x": NaN}', "application/json")):
            check(client.request(method, path, content=body, headers={"Content-Type": kind}), 422)
        check(client.request(method, path, content=b"[" * 200_000, headers={"Content-Type": "application/json"}), 413)
        problem = check(client.request(method, path, json={"naem": 1}), 422)
        assert any("naem" in item["path"] for item in problem["errors"]), path


@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT"]),
    path=st.text(alphabet="abz09/.%_-é ", max_size=30),
    body=st.binary(max_size=40),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_the_refusal_is_a_problem(client: TestClient, method: str, path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.request(
        method, httpx.URL("http://localhost/api/v1/").join(f"./{path}"), content=body, headers=headers
    )
    if answer.status_code >= 400:
        check(answer)
        assert answer.status_code < 500


def test_a_misspelt_field_is_told_the_nearest(client: TestClient, study: str) -> None:
    problem = check(client.post("/api/v1/studies", json={**DEFINITION, "budgett": {}}), 422)
    assert problem["errors"][0]["remedy"] == "did you mean 'budget'?"
    problem = check(client.post(f"/api/v1/studies/{study}/ask", json={"client_idd": "x"}), 422)
    assert (problem["errors"][0]["path"], problem["errors"][0]["remedy"]) == (
        "client_idd", "did you mean 'client_id'?",
    )  # fmt: skip
    reports = {"reports": [{"trial": 0, "fence": 1, "step": 0, "metrics": {}, "stepp": 1}]}
    problem = check(client.post(f"/api/v1/studies/{study}/reports", json=reports), 422)
    assert problem["errors"][0]["path"] == "reports.0.stepp"


def test_a_misspelt_query_parameter_is_told_the_nearest(client: TestClient) -> None:
    problem = check(client.get("/api/v1/studies?limt=3"), 422)
    assert problem["errors"][0]["remedy"] == "did you mean 'limit'?"


def test_an_unknown_study_is_told_the_nearest(client: TestClient, study: str) -> None:
    assert "external" in check(client.get("/api/v1/studies/extrenal"), 404)["remedy"]
    assert study in check(client.get("/api/v1/studies/external"), 404)["remedy"]


def test_values_out_of_range_are_named(client: TestClient) -> None:
    problem = check(client.get("/api/v1/studies?limit=0"), 422)
    assert (problem["errors"][0]["path"], problem["errors"][0]["value"]) == ("limit", "'0'")


def test_unknown_routes_and_methods(client: TestClient) -> None:
    check(client.get("/nothing/here"), 404)
    problem = check(client.put("/api/v1/studies"), 405)
    assert "GET" in problem["remedy"] or "POST" in problem["remedy"]


def test_a_bug_is_a_problem_too_and_tells_nothing(
    client: TestClient, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(trials.reading, "best", broken)
    quiet = TestClient(client.app, base_url="http://localhost", raise_server_exceptions=False)
    answer = quiet.get(f"/api/v1/studies/{study}/best")
    assert check(answer, 500)["type"] == "urn:hpo:problem:internal"
    assert "secret" not in answer.text


def test_a_database_that_is_away_is_unavailable(
    client: TestClient, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("SELECT 1", {}, Exception("disk I/O error"))

    monkeypatch.setattr(db, "read", away)
    answer = client.get("/api/v1/studies")
    check(answer, 503)
    assert answer.headers["retry-after"]
    check(client.get("/readyz"), 503)
    assert client.get("/healthz").json() == {"status": "ok"}
