"""Numbers, times and curves as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.client import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00032, "3.2e-4"),
        (1e-6, "1e-6"),
        (0.978, "0.978"),
        (0.9999999, "1"),
        (12500, "12,500"),
        (64, "64"),
        (64.0, "64"),
        (1234.5678, "1,235"),
        (-0.5, "-0.5"),
        (0, "0"),
        (1e20, "1e20"),
        (None, "–"),
        (True, "True"),
        ("adam", "adam"),
        (math.nan, "NaN"),
        (-math.inf, "-∞"),
    ],
)
def test_numbers(value: object, shown: str) -> None:
    assert text.number(value) == shown


@given(st.floats(-1e300, 1e300))
def test_a_shown_number_is_near_the_real_one(value: float) -> None:
    shown = text.number(value).replace(",", "")
    assert float(shown) == pytest.approx(value, rel=6e-4, abs=1e-300)


@pytest.mark.parametrize(
    ("value", "metric", "shown"),
    [
        (0.9783, "val_accuracy", "97.83 %"),
        (0.978, "accuracy", "97.8 %"),
        (1.5, "val_accuracy", "1.5"),
        (0.978, "val_loss", "0.978"),
        (None, "accuracy", "–"),
        (math.nan, "accuracy", "NaN"),
    ],
)
def test_metrics(value: float | None, metric: str, shown: str) -> None:
    assert text.metric_value(value, metric) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.85, "850 ms"),
        (12.34, "12.3 s"),
        (59.96, "1 min"),
        (120, "2 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (11400, "3 h 10 min"),
        (354_000, "4 d 2 h"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("micro", "shown"),
    [
        (None, "–"),
        (0, "$0"),
        (12_300, "$0.0123"),
        (12_345_678, "$12.35"),
        (50, "<$0.0001"),
        (1_234_000_000, "$1,234.00"),
    ],
)
def test_money(micro: int | None, shown: str) -> None:
    assert text.dollars(micro) == shown


def test_sizes_times_and_configurations() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert [text.byte_size(n) for n in (None, 512, 1536, 2 << 30, 3 << 40)] == [
        "–",
        "512 B",
        "1.5 KiB",
        "2 GiB",
        "3 TiB",
    ]
    assert text.ago(now - timedelta(seconds=1), now) == "just now"
    assert text.ago(now - timedelta(seconds=200), now) == "3 min ago"
    assert text.ago(now - timedelta(hours=30), now) == "1 d ago"
    assert text.ago(None, now) == "–"
    assert text.percent(0.423) == "42 %"
    assert text.parameters({"lr": 3.2e-4, "batch_size": 64, "optimizer": "sgd"}, most=2) == "lr=3.2e-4 batch_size=64 …"
    assert text.state_counts({"running": 3, "failed": 0, "finished": 1200}) == "3 running, 1,200 finished"
    assert text.state_counts({}) == "none yet"


def test_a_sparkline_rises_with_its_values() -> None:
    assert text.sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert text.sparkline([0, None, math.nan, 7]) == "▁  █"
    assert text.sparkline([2, 2]) == "▄▄"
    assert text.sparkline([]) == ""
    assert text.sparkline([math.nan]) == " "


@given(st.lists(st.none() | st.floats(), max_size=300), st.integers(1, 60))
def test_a_sparkline_never_exceeds_its_width(values: list[float | None], width: int) -> None:
    assert len(text.sparkline(values, width)) == min(len(values), width)


def test_a_plot_has_its_extremes_at_its_edges() -> None:
    lines = text.plot([1, 2, 3], [0.5, 0.75, 0.978], width=9, height=4, metric="val_accuracy")
    assert len(lines) == 5
    assert lines[0].startswith("97.8 % ┤")
    assert lines[0].endswith("█")
    assert lines[3].startswith("  50 % ┤▁")
    assert lines[4].split() == ["1", "3"]
    assert text.plot([1], [math.nan]) == []


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(allow_nan=False, allow_infinity=False, width=32)),
        min_size=1,
        max_size=80,
    )
)
def test_a_plot_is_as_wide_as_asked(points: list[tuple[float, float]]) -> None:
    lines = text.plot([x for x, _ in points], [y for _, y in points], width=20, height=3)
    assert {len(line.partition("┤")[2]) for line in lines[:-1]} == {20}
