"""Curves and environments compared: equal means bit for bit, and whatever differs is named."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers import comparison
from workers.record import Point

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
METRICS = st.dictionaries(st.sampled_from(["loss", "acc"]), NUMBERS, min_size=1)
CURVES = st.lists(METRICS, max_size=6).map(
    lambda rows: [Point(step=i + 1, resource=i + 1.0, fence=1, metrics=row) for i, row in enumerate(rows)]
)


@given(CURVES)
def test_a_curve_equals_itself(curve: list[Point]) -> None:
    compared = comparison.compare(curve, curve)
    assert compared["equal"]
    assert compared["first"] is None
    assert all(told["differ"] == 0 and told["absolute"] == 0 for told in compared["metrics"].values())


@given(CURVES, CURVES)
def test_equal_is_every_bit_of_every_report(was: list[Point], now: list[Point]) -> None:
    def words(curve: list[Point]) -> list[Any]:
        return [(p.step, {name: comparison.bits(value) for name, value in p.metrics.items()}) for p in curve]

    compared = comparison.compare(was, now)
    assert compared["equal"] == (words(was) == words(now))
    assert comparison.compare(now, was)["equal"] == compared["equal"]
    assert comparison.verdict(compared, []).startswith("Equal" if compared["equal"] else "Not the same")


@given(CURVES, st.data())
def test_the_first_step_that_differs_is_named(curve: list[Point], data: st.DataObject) -> None:
    if not curve:
        return
    at = data.draw(st.integers(0, len(curve) - 1))
    name, value = next(iter(curve[at].metrics.items()))
    other = data.draw(NUMBERS.filter(lambda number: not comparison.equal(number, value)))
    changed = [*curve]
    changed[at] = Point(
        step=curve[at].step, resource=curve[at].resource, fence=2, metrics={**curve[at].metrics, name: other}
    )
    compared = comparison.compare(curve, changed)
    assert not compared["equal"]
    assert compared["first"]["step"] == curve[at].step
    assert compared["first"]["metric"] == name
    assert compared["metrics"][name]["differ"] == 1


@given(NUMBERS, NUMBERS)
def test_distances_are_symmetric_and_never_negative(a: float, b: float) -> None:
    assert comparison.apart(a, b) == comparison.apart(b, a) >= 0
    assert comparison.apart_relative(a, b) == comparison.apart_relative(b, a) >= 0
    assert not math.isnan(comparison.apart(a, b))
    assert not math.isnan(comparison.apart_relative(a, b))
    if comparison.equal(a, b):
        assert comparison.apart(a, b) == 0


def test_zeros_of_two_signs_are_not_the_same_bits() -> None:
    assert not comparison.equal(0.0, -0.0)
    assert comparison.equal(math.nan, -math.nan)


def test_missing_and_extra_steps_are_told() -> None:
    points = [Point(step=i, resource=float(i), fence=1, metrics={"loss": 1.0}) for i in (1, 2, 3)]
    missing = comparison.compare(points, points[:2])
    assert (missing["equal"], missing["missing"], missing["first"]) == (False, [3], None)
    assert "step 3 was not reported again" in comparison.verdict(missing, [])
    extra = comparison.compare(points[:2], points)
    assert (extra["equal"], extra["extra"]) == (False, [3])


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 2)),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 2)),
)
def test_every_package_that_differs_is_listed_and_no_other(was: dict[str, int], now: dict[str, int]) -> None:
    found = comparison.differences({"packages": was, "digest": "x"}, {"packages": now, "digest": "y"})
    wanted = {name for name in {*was, *now} if was.get(name) != now.get(name)}
    assert {one["what"] for one in found} == {f"package {name}" for name in wanted}
    for one in found:
        name = one["what"].removeprefix("package ")
        assert (one["was"], one["now"]) == (was.get(name), now.get(name))


def test_of_one_bundle_the_sources_are_the_same_whichever_were_imported() -> None:
    was, now = ({"code": {"bundle": bundle, "sha256": sha}} for bundle, sha in (("b", "1"), ("b", "2")))
    assert comparison.differences(was, now) == []
    now["code"]["bundle"] = "c"
    assert [one["what"] for one in comparison.differences(was, now)] == ["code.bundle", "code.sha256"]
    without = [{"code": {"bundle": None, "sha256": sha}} for sha in "12"]
    assert [one["what"] for one in comparison.differences(*without)] == ["code.sha256"]


def test_changes_of_the_code_are_shown_as_a_diff() -> None:
    was = {"code": {"git": {"commit": "c" * 40, "diff_sha256": "1"}}}
    now = {"code": {"git": {"commit": "c" * 40, "diff_sha256": "2"}}}
    lines = comparison.code_difference(was, now, {"1": "+lr = 1\n", "2": "+lr = 2\n"})
    assert "-+lr = 1" in lines
    assert "++lr = 2" in lines
    assert comparison.code_difference(was, was, {}) == []


def test_hints_name_what_to_look_at() -> None:
    unequal = {"equal": False}
    found = comparison.hints(
        unequal, [], now={"hash_randomization": True, "variables": {}}, own_code=True, repeats=False
    )
    assert "trial.seed" in found[0]
    assert "PYTHONHASHSEED" in found[0]
    assert comparison.hints({"equal": True}, [], now={}, own_code=True, repeats=None) == []
    code = comparison.hints(unequal, [{"what": "code.sha256"}], now={}, own_code=True, repeats=True)
    assert "code is not the same" in code[0]


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    points = [Point(step=i, resource=float(i), fence=1, metrics={"loss": float(i)}) for i in range(2000)]
    shown = comparison.overlay(points, points[:1], "loss")
    assert len(shown["was"]["value"]) <= comparison.MOST_POINTS + 1
    assert (shown["was"]["resource"][0], shown["was"]["resource"][-1]) == (0.0, 1999.0)
    assert shown["now"]["value"] == [0.0]


def test_times_are_left_out_unless_they_are_what_is_optimised() -> None:
    def point(**metrics: float) -> list[Point]:
        return [Point(step=1, resource=1.0, fence=1, metrics=metrics)]

    was, now = point(loss=1.0, seconds=1.0, images_per_second=3.0), point(loss=1.0, seconds=2.0, images_per_second=4.0)
    compared = comparison.compare(was, now)
    assert (compared["equal"], compared["left_out"]) == (True, ["images_per_second", "seconds"])
    assert not comparison.compare(was, now, objectives=("seconds",))["equal"]
    assert not any(map(comparison.of_the_clock, ("loss", "val_loss", "times", "step_size", "timeliness")))
