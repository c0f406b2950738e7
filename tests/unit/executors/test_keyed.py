"""Keyed random numbers: equal keys agree, different keys look independent."""

import statistics

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.executors.keyed import normal, uniform


@given(st.lists(st.integers(-(2**63), 2**63), max_size=4))
@settings(deadline=None, max_examples=100)
def test_a_key_always_gives_the_same_number_in_the_unit_interval(key: list[int]) -> None:
    drawn = uniform(*key)
    assert 0.0 <= drawn < 1.0
    assert drawn == uniform(*key)


def test_neighbouring_keys_are_uniform_and_unrelated() -> None:
    drawn = [uniform(7, trial, 1) for trial in range(4000)]
    assert abs(statistics.mean(drawn) - 0.5) < 0.02
    assert abs(statistics.variance(drawn) - 1 / 12) < 0.005
    assert abs(statistics.correlation(drawn[:-1], drawn[1:])) < 0.05
    assert len(set(drawn)) == 4000


def test_order_and_length_of_a_key_matter() -> None:
    assert len({uniform(1, 2), uniform(2, 1), uniform(1, 2, 0), uniform(1), uniform()}) == 5


def test_normal_has_mean_0_and_variance_1() -> None:
    drawn = [normal(3, i) for i in range(4000)]
    assert abs(statistics.mean(drawn)) < 0.06
    assert abs(statistics.stdev(drawn) - 1.0) < 0.05
