"""What a model is fed of a level: the written rule, however the values came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from hpo_service.core.values import rank_key
from hpo_service.samplers.levels import Level, Rule

Pair = tuple[int, float | None]
values = st.sampled_from([0.0, -0.0, 1.0, 2.0]) | st.floats(-9, 9) | st.none()
FIVE = Rule(limit=5, best=2, newest=1)
arrivals = st.lists(st.tuples(st.integers(0, 150), values), min_size=1, max_size=200)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    limit = draw(st.integers(1, 60))
    best = draw(st.integers(0, limit - 1))
    return Rule(limit=limit, best=best, newest=draw(st.integers(0, limit - 1 - best)))


def by_the_rule(observed: Sequence[Pair], rule: Rule, *, maximize: bool) -> list[int]:
    """The best, the newest of the others, and an even spread over what is left, by number."""
    if len(observed) <= rule.limit:
        return [number for number, _ in observed]
    ranked = sorted(observed, key=lambda item: (rank_key(item[1], maximize=maximize), item[0]))
    chosen = {number for number, _ in ranked[: rule.best]}
    others = [number for number, _ in observed if number not in chosen]
    chosen.update(others[len(others) - rule.newest :])
    left = [number for number, _ in observed if number not in chosen]
    room = rule.limit - len(chosen)
    chosen.update(left[(2 * i + 1) * len(left) // (2 * room)] for i in range(room))
    assert len(chosen) == rule.limit
    return sorted(chosen)


@given(found=arrivals, rule=rules(), maximize=st.booleans(), asked_every=st.integers(1, 90))
@example(
    found=[(n, None) for n in range(70)] + [(70, 1.0)],
    rule=Rule(limit=8, best=4, newest=2),
    maximize=True,
    asked_every=71,
)
def test_a_model_gets_the_best_the_newest_and_a_spread(
    found: list[Pair], rule: Rule, maximize: bool, asked_every: int
) -> None:
    level, known = Level(maximize=maximize), dict[int, float | None]()
    for count, (number, value) in enumerate(found, start=1):
        level.set(number, value)
        known[number] = value
        finite = [value for value in known.values() if value is not None]
        assert (len(level), level.finite, number in level) == (len(known), len(finite), True)
        if finite and (count % asked_every == 0 or count == len(found)):
            fed = level.fed(rule)
            assert fed.numbers.tolist() == by_the_rule(sorted(known.items()), rule, maximize=maximize)
            assert [None if math.isnan(v) else v for v in fed.values] == [known[n] for n in fed.numbers.tolist()]
            assert fed.worst == (min(finite) if maximize else max(finite))
    assert list(level.items()) == sorted(known.items())


@given(first=arrivals, second=arrivals)
def test_a_copy_goes_its_own_way(first: list[Pair], second: list[Pair]) -> None:
    level = Level(maximize=False)
    for number, value in (*first, (200, 1.0)):
        level.set(number, value)
    before = level.fed(FIVE)
    copy = level.copy()
    for number, value in second:
        copy.set(number, value)
    assert np.array_equal(level.fed(FIVE).numbers, before.numbers)
    assert dict(copy.items()) == {**dict(level.items()), **dict(second)}
    expected = by_the_rule(sorted({**dict(level.items()), **dict(second)}.items()), FIVE, maximize=False)
    assert copy.fed(FIVE).numbers.tolist() == expected


def test_failed_trials_are_told_as_the_worst_finite_value_of_all() -> None:
    for maximize, worst in ((False, 5.0), (True, 1.0)):
        level = Level(maximize=maximize)
        for number, value in enumerate([1.0, None, 5.0, 3.0]):
            level.set(number, value)
        assert level.fed(replace(FIVE, limit=9)).told.tolist() == [1.0, worst, 5.0, 3.0]
        assert level.fed(Rule(limit=1, best=0, newest=0)).worst == worst


def test_asking_again_makes_nothing_anew() -> None:
    level = Level(maximize=False)
    level.set(0, 1.0)
    assert level.fed(FIVE) is level.fed(FIVE)
    before = level.fed(FIVE)
    level.set(1, 0.0)
    assert level.fed(FIVE) is not before
