"""Pages of attempts: nothing twice, nothing left out, busy time counted once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.views.timeline import OVERLAP, page, timeline, union

NOW = 100_000_000


def attempt(trial: int, opened: int, length: int | None, worker: str | None = "w", **more: Any) -> Any:
    """An attempt; times in seconds, no length: it is open."""
    row: dict[str, Any] = {
        "trial": trial, "fence": 1, "state": "open" if length is None else "closed",
        "outcome": None if length is None else "reached", "worker_id": worker, "client_id": None, "node": "n",
        "device": "cpu", "launch": "", "lane": 0, "width": 1, "method": "plain", "from_resource": 0.0,
        "resumed_from": None, "resource": 1.0, "opened_at": opened * 1_000_000, "started_at": opened * 1_000_000,
        "reported_at": None, "ended_at": None if length is None else (opened + length) * 1_000_000, **more,
    }  # fmt: skip
    return SimpleNamespace(**row)


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda p: (p[0], p[0] + p[1])), max_size=12)


@settings(deadline=None)
@given(SPANS)
def test_a_union_counts_every_moment_once(spans: list[tuple[int, int]]) -> None:
    assert union(spans) == len({moment for first, last in spans for moment in range(first, last)})


ATTEMPTS = st.lists(st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 20))), max_size=30).map(
    lambda pairs: [attempt(i, opened, length, f"w{i % 3}") for i, (opened, length) in enumerate(pairs)]
)


@settings(deadline=None)
@given(ATTEMPTS, st.integers(5, 12))
def test_pages_hold_every_attempt_once(attempts: list[Any], limit: int) -> None:
    seen: list[int] = []
    until: int | None = None
    for _ in range(len(attempts) + 1):
        rows = sorted(
            (a for a in attempts if until is None or a.opened_at < until), key=lambda a: (-a.opened_at, -a.trial)
        )
        opened = [a for a in attempts if a.state == "open"]
        found = page(rows[: limit + OVERLAP], opened, limit=limit, until=until, now=NOW)
        sent = timeline(found, of=len(attempts), now=NOW)
        for worker in sent["workers"]:
            assert 0 <= worker["utilisation"] <= 1
        first = until is None
        seen += [a.trial for a in found.shown if a.opened_at >= found.since or not first]
        if first:
            assert {a.trial for a in opened} <= set(sent["attempts"]["trial"])
        if found.more_before is None:
            break
        until = found.more_before
    moments: dict[int, int] = {}
    for one in attempts:
        moments[one.opened_at] = moments.get(one.opened_at, 0) + 1
    if max(moments.values(), default=0) <= limit:
        assert sorted(seen) == list(range(len(attempts)))
    else:
        assert len(seen) == len(set(seen))


def test_what_began_before_the_page_keeps_its_worker_busy() -> None:
    rows = [attempt(2, 50, 10), attempt(1, 40, 10), attempt(0, 0, 45)]
    found = page(rows, [], limit=2, until=None, now=NOW)
    sent = timeline(found, of=3, now=NOW)
    assert (sent["from"], sent["until"], sent["more_before"]) == (40.0, 60.0, 40.0)
    (worker,) = sent["workers"]
    assert (worker["busy_s"], worker["utilisation"], worker["attempts"]) == (20.0, 1.0, 2)


def test_lanes_count_once_failures_are_counted_and_who_waits_is_counted() -> None:
    rows = [
        attempt(3, 20, None, None),
        attempt(2, 10, 10, lane=1, width=2),
        attempt(1, 10, 10, lane=0, width=2, outcome="failed"),
    ]
    sent = timeline(page(rows, [], limit=10, until=None, now=30_000_000), of=3, now=30_000_000)
    (worker,) = sent["workers"]
    assert (worker["busy_s"], worker["utilisation"], worker["failures"]) == (10.0, 0.5, 1)
    assert sent["attempts"]["worker"] == [0, 0]
    assert sent["attempts"]["end"] == [20.0, 20.0]
    assert (sent["waiting"], sent["shown"], sent["of"]) == (1, 2, 3)
    assert sent["chosen"] == "all that a worker has begun"


def fused(trial: int, launch: str, lane: int, **more: Any) -> Any:
    return attempt(trial, 10, 10, launch=launch, lane=lane, width=4, method="fused", **more)


def test_a_launch_is_told_once_with_what_became_of_its_lanes() -> None:
    rows = [
        attempt(9, 30, 5, launch="alone", method="plain"),
        fused(2, "b", 2, outcome="failed", ended_at=14_000_000),
        fused(1, "b", 1),
        fused(0, "b", 0),
    ]
    sent = timeline(page(rows, [], limit=10, until=None, now=NOW), of=4, now=NOW)
    assert sent["attempts"]["launch"] == [-1, 0, 0, 0]
    (launch,) = sent["launches"]
    assert launch == {
        "id": "b", "method": "fused", "width": 4, "trials": 3, "worker": 0, "start": 10.0, "end": 20.0,
        "outcomes": {"reached": 2, "failed": 1},
    }  # fmt: skip


def test_lanes_that_were_filled_later_are_told_apart() -> None:
    rows = [
        attempt(3, 13, 4, launch="b", lane=1, width=4, method="fused"),
        fused(1, "b", 1, ended_at=12_000_000),
        fused(0, "b", 0),
        attempt(9, 30, 5, launch="alone", method="plain"),
    ]
    sent = timeline(page(rows, [], limit=10, until=None, now=NOW), of=4, now=NOW)
    assert sent["attempts"]["filled"] == [True, False, False, False]
    assert sent["launches"][0]["trials"] == 3


def test_a_launch_with_an_open_lane_has_no_end() -> None:
    rows = [fused(1, "b", 1, state="open", outcome=None, ended_at=None), fused(0, "b", 0)]
    (launch,) = timeline(page(rows, [], limit=10, until=None, now=NOW), of=2, now=NOW)["launches"]
    assert (launch["end"], launch["outcomes"]) == (None, {"open": 1, "reached": 1})


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=12, unique=True))
def test_every_lane_points_at_its_launch(lanes: list[tuple[str, int]]) -> None:
    rows = [fused(i, launch, lane) for i, (launch, lane) in enumerate(lanes)]
    sent = timeline(page(rows, [], limit=50, until=None, now=NOW), of=len(rows), now=NOW)
    ids = [sent["launches"][at]["id"] for at in sent["attempts"]["launch"]]
    assert ids == [launch for launch, _ in lanes]
    assert sum(one["trials"] for one in sent["launches"]) == len(rows)
