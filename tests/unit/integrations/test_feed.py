"""The log as batches: bounded, from any position, over a server that goes away, and each trial's end in one of them."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpo_service as hpo
from hpo_service.client.results import Event
from hpo_service.errors import Unavailable
from hpo_service.integrations import feed
from hpo_service.integrations.feed import NUMBERS, SPAN, Batch, Feed, look_ups, trials_of
from tests.unit.integrations.conftest import DEFINITION, train

Told = list[tuple[int, int, float]]


def points(batches: list[Batch]) -> Told:
    return [(one.trial, one.step, one.metrics["loss"]) for batch in batches for one in batch.points]


@pytest.fixture
def trained(study: hpo.Study) -> Told:
    for number in range(4):
        train(study, number, fail=number == 2)
    return [(number, step, number + 1 / step) for number in range(4) for step in (1, 2, 3)]


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_batches_of_any_size_say_the_same(
    study: hpo.Study, trained: Told, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(feed, "MOST_TRIALS", most)
    monkeypatch.setattr(feed, "PAGE", most)
    batches = list(Feed(study).batches(0))
    assert points(batches) == trained
    assert [batch.after for batch in batches] == [0, *(batch.seq for batch in batches[:-1])]
    assert batches[-1].seq == study.refresh().info.last_seq
    ended = [number for batch in batches for number in batch.ended]
    assert sorted(ended) == [0, 1, 2, 3], "each trial ends in one batch"
    assert sorted(number for batch in batches for number in batch.begun) == [0, 1, 2, 3]


def test_it_goes_on_from_every_position(study: hpo.Study, trained: Told) -> None:
    whole = list(itertools.chain.from_iterable(trials_of(event.payload) for event in study.event_log()))
    assert whole
    for event in study.event_log():
        before = points(list(Feed(study).batches(0)))
        after = points(list(Feed(study).batches(event.seq)))
        assert before[len(before) - len(after) :] == after


def test_the_end_of_the_log_is_no_batch(study: hpo.Study, trained: Told) -> None:
    assert Feed(study).read(study.refresh().info.last_seq) is None


def test_pages_shrink_where_events_are_long(study: hpo.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def log(after: int, *, limit: int, metrics: bool = False) -> list[Event]:
        asked.append(limit)
        rows = [[0, 1, step, float(step), [1.0], {"loss": 1.0}] for step in range(600)]
        events = range(after + 1, min(after + limit, 100) + 1)
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            Event(seq=seq, kind="reported", at=at + timedelta(seconds=seq), payload={"reports": rows}) for seq in events
        ]

    monkeypatch.setattr(study, "event_log", log)
    monkeypatch.setattr(Feed, "trials", lambda self, numbers: ())
    sizes = [len(batch.points) for batch in Feed(study).batches(0)]
    assert sum(sizes) == 60_000
    assert max(sizes) <= feed.MOST_POINTS + 8 * 600
    assert max(asked) <= 16


def test_a_server_that_is_away_is_waited_for_while_following(sdk: hpo.Client) -> None:
    study = sdk.create_study(DEFINITION | {"budget": {"trials": 1}})
    train(study, 0)
    real = sdk._driver.http._transport
    pauses: list[float] = []

    class Away(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused")

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            sdk._driver.http._transport = real

    sdk._driver.sleep = lambda seconds: None
    sdk._driver.http._transport = Away()
    found = list(Feed(study, sleep=sleep).batches(0, follow=True, poll_s=0.5))
    assert pauses == [0.5, 0.5, 0.5]
    assert len(points(found)) == 3
    sdk._driver.http._transport = Away()
    with pytest.raises(Unavailable):
        list(Feed(study, sleep=sleep).batches(0))


def test_numbers_that_are_not_finite_are_floats(study: hpo.Study) -> None:
    trial = study.ask(wait_s=0)
    assert trial is not None
    trial.report(1, loss=float("inf"), other=float("nan"))
    (batch,) = Feed(study).batches(0)
    (point,) = batch.points
    assert math.isinf(point.metrics["loss"])
    assert math.isnan(point.metrics["other"])


def holds(filter: str, number: int) -> bool:
    if filter.startswith("number:"):
        return number in map(int, filter.removeprefix("number:").split(","))
    low, high = (int(term.split("=")[1]) for term in filter.split())
    return low <= number <= high


@given(st.sets(st.integers(0, 5_000), max_size=900))
def test_look_ups_find_every_number_and_few_others(numbers: set[int]) -> None:
    filters = list(look_ups(sorted(numbers)))
    found = [number for filter in filters for number in range(5_001) if holds(filter, number)]
    assert len(found) == len(set(found)), "no trial is found twice"
    assert numbers <= set(found)
    assert len(found) <= 2 * len(numbers)
    for filter in filters:
        assert len(filter) <= 4096
        assert sum(holds(filter, number) for number in range(5_001)) <= (NUMBERS if ":" in filter else SPAN)


def test_numbers_far_apart_are_named() -> None:
    assert list(look_ups([1, 2, 3, 900, 90_000])) == ["number:1,2,3,900", "number>=90000 number<=90000"]
    assert list(look_ups(range(2_000))) == ["number>=0 number<=999", "number>=1000 number<=1999"]
