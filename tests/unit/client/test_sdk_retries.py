"""Which exchanges are repeated, how patiently, and under which idempotency key."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.client import Client, RetryPolicy
from hpo_service.client.protocol import Broken, Reply, checked, encode, plain, retry_after
from hpo_service.errors import (
    Conflict,
    FenceRefused,
    HpoError,
    InvalidInput,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from tests.unit.client.sdk_fake_server import FakeServer, problem


def test_a_post_is_repeated_under_one_key_after_a_broken_connection(
    client: Client, server: FakeServer, pauses: list[float]
) -> None:
    server.faults = [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(503)]
    study = client.create_study({"name": "a"})
    assert study.name == "a"
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 4
    assert len(set(keys)) == 1
    assert len(keys[0]) >= 16
    assert len(pauses) == 3


def test_two_posts_have_two_keys(client: Client, server: FakeServer) -> None:
    client.create_study({"name": "a"})
    client.create_study({"name": "a"})
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 2


def test_a_patch_is_not_repeated(client: Client, server: FakeServer, pauses: list[float]) -> None:
    server.add_study("st_1", "a")
    study = client.study("st_1")
    server.faults = [httpx.ConnectError("refused")]
    with pytest.raises(Unavailable):
        study.patch(parallel=8)
    assert pauses == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_answer_is_tried_again(client: Client, server: FakeServer, status: int) -> None:
    server.add_study("st_1", "a")
    server.faults = [httpx.Response(status)]
    assert client.study("st_1").name == "a"
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422, 500])
def test_other_errors_are_final(client: Client, server: FakeServer, status: int, pauses: list[float]) -> None:
    server.faults = [problem("x", status, "no")]
    with pytest.raises(HpoError):
        client.workers()
    assert pauses == []


def test_retry_after_is_kept_to(client: Client, server: FakeServer, pauses: list[float]) -> None:
    server.add_study("st_1", "a")
    server.faults = [httpx.Response(429, headers={"retry-after": "7"})]
    client.study("st_1")
    assert pauses == [7.0]


def test_a_server_that_wants_an_hour_is_not_waited_for(client: Client, server: FakeServer, pauses: list[float]) -> None:
    server.faults = [httpx.Response(429, headers={"retry-after": "3600"})]
    with pytest.raises(TooManyRequests):
        client.workers()
    assert pauses == []


def test_retry_after_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    asked = retry_after(Reply(status=503, headers={"retry-after": date}))
    assert asked is not None
    assert 25 < asked <= 30
    assert retry_after(Reply(status=503, headers={"retry-after": "soon"})) is None


def test_it_gives_up_after_the_last_retry_and_says_where_it_asked(client: Client, server: FakeServer) -> None:
    server.faults = [httpx.ConnectError("refused")] * 6
    with pytest.raises(Unavailable, match=r"http://server:8421 cannot be reached \(refused\).*hpo serve"):
        client.workers()
    assert len(server.requests) == 6


@given(attempt=st.integers(0, 40), seed=st.integers(0, 1000), most=st.floats(0.5, 30))
def test_pauses_are_bounded_and_jittered(attempt: int, seed: int, most: float) -> None:
    policy = RetryPolicy(retries=50, most_s=most, rng=random.Random(seed))
    pause = policy.pause(attempt, Broken(message="gone"))
    assert pause is not None
    bound = min(most, 0.2 * 2.0**attempt)
    assert bound / 2 <= pause <= bound


def test_the_token_is_sent(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    client.study("st_1")
    assert server.requests[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("slug", "status", "kind"),
    [
        ("invalid-input", 422, InvalidInput),
        ("not-found", 404, NotFound),
        ("conflict", 409, Conflict),
        ("fence-refused", 409, FenceRefused),
        ("unauthorized", 401, Unauthorized),
        ("a-newer-kind", 409, Conflict),
        ("internal", 500, HpoError),
    ],
)
def test_problem_documents_become_errors_of_one_tree(
    client: Client, server: FakeServer, slug: str, status: int, kind: type[HpoError]
) -> None:
    server.faults = [problem(slug, status, "the rule", remedy="the remedy", errors=[{"path": "space.lr", "rule": "r"}])]
    with pytest.raises(kind) as caught:
        client.workers()
    assert caught.value.remedy == "the remedy"
    assert caught.value.problems[0].path == "space.lr"
    assert isinstance(caught.value, HpoError)


def test_an_error_without_a_document_shows_what_came() -> None:
    with pytest.raises(HpoError, match="HTTP 500: <html>"):
        checked(Reply(status=500, body=b"<html>proxy</html>"))


def test_a_missing_token_comes_with_a_remedy() -> None:
    with pytest.raises(Unauthorized, match="HPO_TOKEN"):
        checked(Reply(status=401, body=b""))


def test_special_floats_are_words_on_the_wire() -> None:
    values = {"a": float("nan"), "b": [float("inf"), -float("inf")]}
    assert encode(values) == b'{"a":"NaN","b":["Infinity","-Infinity"]}'


def test_numpy_scalars_are_numbers_on_the_wire() -> None:
    numpy = pytest.importorskip("numpy")
    assert plain({"a": numpy.int64(3), "b": numpy.float32(0.5), "c": numpy.bool_(True), "d": numpy.arange(2)}) == {
        "a": 3,
        "b": 0.5,
        "c": True,
        "d": [0, 1],
    }


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidInput, match="must be JSON"):
        encode({"a": object()})
