"""What is to be trained again: whatever became of a trial's attempts, every report that counts comes up once more, each
run from a checkpoint that an earlier run has kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import record
from workers.contract import TrainerSpec
from workers.errors import InvalidOrderError
from workers.record import Point, Record, Segment, Source


def a_record(
    trial: int, segments: list[Segment], curve: list[Point], parents: dict[int, Record] | None = None
) -> Record:
    return Record(
        study_id="s", trial=trial, trainer=TrainerSpec(function="m:f"), params={}, seed=1, metrics=("loss",),
        directions=("minimize",), deterministic=False, test=False, cpu=1, gpu=0, processes=1, stall_timeout_s=None,
        trial_timeout_s=None, segments=tuple(segments), curve=tuple(curve), parents=parents or {},
    )  # fmt: skip


def a_segment(fence: int, resumed: Source | None, outcome: str = "reached") -> Segment:
    return Segment(
        fence=fence, from_resource=0.0, target=9.0, horizon=9.0, method="plain", width=1, lane=0, resumed=resumed,
        outcome=outcome, failure="exception" if outcome == "failed" else None, environment=None,
    )  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> Record:
    """Attempts, each from zero or from a checkpoint at some step of an earlier one, each to some later step."""
    count = draw(st.integers(1, 6))
    spans: list[tuple[int, int]] = []  # first step and last step of each attempt
    segments: list[Segment] = []
    for fence in range(1, count + 1):
        places = [
            Source(trial=0, fence=earlier, step=step)
            for earlier, (first, last) in enumerate(spans, start=1)
            for step in range(first, last + 1)
        ]
        source = draw(st.sampled_from([None, *places]))
        first = 1 if source is None else source.step + 1
        spans.append((first, first - 1 + draw(st.integers(0, 4))))
        outcome = draw(st.sampled_from(["reached", "completed", "paused", "lost", "cancelled", "failed"]))
        segments.append(a_segment(fence, source, outcome))
    newest = {step: fence for fence, (first, last) in enumerate(spans, start=1) for step in range(first, last + 1)}
    curve = [Point(step=s, resource=float(s), fence=f, metrics={"loss": 1.0}) for s, f in sorted(newest.items())]
    return a_record(0, segments, curve)


@given(histories())
def test_every_report_that_counts_comes_up_again(told: Record) -> None:
    kept: set[tuple[int, int]] = set()
    reached: dict[int, int] = {}
    for run in record.runs(told):
        source = run.segment.resumed
        assert source is None or (source.fence, source.step) in kept, "an earlier run has kept it"
        reached[run.segment.fence] = max(run.until, reached.get(run.segment.fence, 0))
        if run.keeps:
            kept.add((run.segment.fence, run.until))
        assert not (run.keeps and run.natural)
    for point in told.curve:
        assert reached.get(point.fence, 0) >= point.step
    sources = {(s.resumed.fence, s.resumed.step) for s in told.segments if s.resumed and s.fence in reached}
    assert kept == sources, "nothing is kept that nobody goes on from"


@given(histories())
def test_nothing_is_trained_that_does_not_count(told: Record) -> None:
    counts = {point.fence for point in told.curve}
    if counts and told.segments[-1].outcome == "failed":
        counts.add(told.segments[-1].fence)
    while True:
        more = {s.resumed.fence for s in told.segments if s.fence in counts and s.resumed} - counts
        if not more:
            break
        counts |= more
    assert {run.segment.fence for run in record.runs(told)} == counts


def test_a_trial_that_began_with_another_ones_checkpoint_trains_that_one_first() -> None:
    def point(step: int, fence: int = 1) -> Point:
        return Point(step=step, resource=float(step), fence=fence, metrics={})

    eldest = a_record(3, [a_segment(1, None)], [point(1), point(2)])
    parent = a_record(5, [a_segment(1, Source(trial=3, fence=1, step=2))], [point(3), point(4)], parents={3: eldest})
    child = a_record(
        9, [a_segment(1, Source(trial=5, fence=1, step=3)), a_segment(2, Source(trial=9, fence=1, step=4))],
        [point(4), point(5, 2)], parents={5: parent},
    )  # fmt: skip
    assert [(run.trial, run.segment.fence, run.until, run.keeps) for run in record.runs(child)] == [
        (3, 1, 2, True),
        (5, 1, 3, True),
        (9, 1, 4, True),
        (9, 2, 5, False),
    ]


def test_a_lineage_of_many_generations_is_trained_from_its_beginning() -> None:
    point = Point(step=1, resource=1.0, fence=1, metrics={})
    told = a_record(0, [a_segment(1, None)], [point])
    for number in range(1, 30):
        place = Source(trial=number - 1, fence=1, step=number)
        last = replace(point, step=number + 1)
        told = a_record(number, [a_segment(1, place)], [last], parents={number - 1: told})
    assert [(run.trial, run.until, run.keeps) for run in record.runs(told)] == [
        (number, number + 1, number < 29) for number in range(30)
    ]


def test_a_record_that_contradicts_itself_is_refused() -> None:
    point = Point(step=1, resource=1.0, fence=1, metrics={})
    for source in (
        Source(trial=0, fence=1, step=1),
        Source(trial=0, fence=7, step=1),
        Source(trial=8, fence=1, step=1),
    ):
        told = a_record(0, [a_segment(1, source)], [point])
        with pytest.raises(InvalidOrderError):
            record.runs(told)
    assert record.runs(replace(told, curve=())) == []


@given(st.dictionaries(st.text(), st.floats(allow_nan=False) | st.text() | st.integers()))
def test_the_digest_is_over_all_but_itself(rest: dict[str, Any]) -> None:
    rest.pop("digest", None)
    assert record.digest(rest) == record.digest({**rest, "digest": "anything"})
    assert record.digest(rest) != record.digest({**rest, "one more": 1})
