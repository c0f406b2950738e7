"""Who takes which lane that fell free: never two the same, only of equal structure, never out of turn, and only where
it pays."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core.events import MethodChoice, MethodsChosen
from hpo_service.core.filling import Candidate, Vacancy, pays, seats
from hpo_service.core.launches import Methods, structure_key

SIZES = (32, 64, 128)


def methods(widths: dict[int, int]) -> Methods:
    """Fused at these widths, by batch size; plain at 1."""
    known = Methods()
    choices = tuple(
        MethodChoice(
            structure={"size": size}, method="fused" if width > 1 else "plain", width=width, device="cpu", reason="test"
        )
        for size, width in widths.items()
    )
    known.take(MethodsChosen(lanes=("lr",), choices=choices))
    return known


def vacancy(name: str, lanes: tuple[int, ...], *, size: int = 32, width: int = 8, left: float = 9.0) -> Vacancy:
    return Vacancy(launch=name, width=width, lanes=lanes, left=left, params={"size": size, "lr": 0.5})


def candidates(*each: tuple[int, float]) -> list[Candidate]:
    return [Candidate(trial=i, params={"size": size, "lr": i}, way=way) for i, (size, way) in enumerate(each)]


@st.composite
def vacancies(draw: Any) -> list[Vacancy]:
    found = []
    for i in range(draw(st.integers(0, 4))):
        width = draw(st.integers(2, 8))
        lanes = tuple(sorted(draw(st.sets(st.integers(0, width - 1), min_size=1, max_size=width - 1))))
        size, left = draw(st.sampled_from(SIZES)), draw(st.floats(0, 20))
        found.append(vacancy(f"launch {i}", lanes, size=size, width=width, left=left))
    return found


WIDTHS = st.fixed_dictionaries({size: st.integers(1, 8) for size in SIZES})
WAYS = st.lists(st.tuples(st.sampled_from(SIZES), st.floats(0.1, 20)), max_size=12)


@given(free=vacancies(), ways=WAYS, widths=WIDTHS, more=st.integers(0, 20), alone=st.booleans())
def test_the_first_find_lanes_of_their_own_or_go_without(
    free: list[Vacancy], ways: list[tuple[int, float]], widths: dict[int, int], more: int, alone: bool
) -> None:
    known, asked = methods(widths), candidates(*ways)
    found = seats(asked, free, known, more=more, alone=alone)
    assert list(sorted(found)) == list(range(len(found))), "nobody is passed over"
    taken = [(seat.launch, seat.lane) for seat in found.values()]
    assert len(set(taken)) == len(taken)
    by_launch = {v.launch: v for v in free}
    for trial, seat in found.items():
        place = by_launch[seat.launch]
        assert seat.lane in place.lanes
        assert seat.width == place.width
        assert structure_key(asked[trial].params, known.lanes) == structure_key(place.params, known.lanes)
        method = known.of(place.params)
        assert method is not None
        assert method.width >= place.width
        assert alone or asked[trial].way <= place.left


@given(free=vacancies(), ways=WAYS, widths=WIDTHS)
def test_a_launch_that_lasts_no_longer_is_filled_whoever_waits(
    free: list[Vacancy], ways: list[tuple[int, float]], widths: dict[int, int]
) -> None:
    known = methods(widths)
    short = [(size, 0.0) for size, _ in ways]
    patient = seats(candidates(*short), free, known, more=0, alone=False)
    assert patient == seats(candidates(*short), free, known, more=99, alone=True)


@pytest.mark.parametrize(
    ("left", "ways", "more", "alone", "worth"),
    [
        (9, [9, 3], 0, False, True),  # it ends no later
        (8, [9], 99, False, False),  # somebody else waits for the worker
        (8, [9], 8, True, True),  # enough are to come
        (8, [9], 7, True, True),  # 1 epoch of 8 lanes for 9 of one
        (7, [9], 7, True, False),  # 2 epochs of 8 lanes for 9 of one
        (7, [9, 9], 7, True, True),
        (math.inf, [math.inf], 0, False, True),
        (0, [math.inf], 7, True, True),
    ],
)
def test_what_pays(left: float, ways: list[float], more: float, alone: bool, worth: bool) -> None:
    assert pays(vacancy("a", (0, 1), left=left), ways, more=more, alone=alone) is worth


def test_launches_that_last_longest_are_filled_first() -> None:
    free = [vacancy("short", (1,), left=2.0), vacancy("long", (3,), left=7.0)]
    found = seats(candidates((32, 1.0), (32, 1.0)), free, methods({32: 8}), more=0, alone=False)
    assert {trial: (seat.launch, seat.lane) for trial, seat in found.items()} == {0: ("long", 3), 1: ("short", 1)}


def test_what_was_narrowed_or_is_not_known_is_not_filled() -> None:
    free = [vacancy("a", (1,))]
    assert seats(candidates((32, 1.0)), free, methods({32: 8}), more=0, alone=True)
    for known in (methods({32: 4}), methods({32: 1}), methods({64: 8}), Methods()):
        assert seats(candidates((32, 1.0)), free, known, more=0, alone=True) == {}


def test_nobody_overtakes_one_who_finds_no_lane() -> None:
    free = [vacancy("a", (0, 1))]
    assert seats(candidates((64, 1.0), (32, 1.0)), free, methods({32: 8, 64: 8}), more=0, alone=True) == {}
    assert list(seats(candidates((32, 1.0), (64, 1.0)), free, methods({32: 8, 64: 8}), more=0, alone=True)) == [0]
