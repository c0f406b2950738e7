"""Randomness by key."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core import seeds


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 10**7))
def test_a_trial_seed_has_63_bits_and_hangs_on_its_key_alone(study: int, number: int) -> None:
    seed = seeds.trial_seed(study, number)
    assert 0 <= seed < 2**63
    assert seed == seeds.trial_seed(study, number)
    assert seed != seeds.trial_seed(study, number + 1)
    assert seed != seeds.trial_seed(study ^ 1, number)


def test_the_trial_seed_of_a_key_never_changes() -> None:
    assert seeds.trial_seed(0, 0) == 1317536309490288386
    assert seeds.trial_seed(0, 1) == 5769891174451087230
    assert seeds.trial_seed(7, 0) == 6716045083268726496


def test_purposes_and_tries_are_independent() -> None:
    keys = [
        seeds.rng(3, 5, seeds.Purpose.SAMPLE),
        seeds.rng(3, 5, seeds.Purpose.SAMPLE, 1),
        seeds.rng(3, 5, seeds.Purpose.UNTRIED),
        seeds.rng(3, 6, seeds.Purpose.SAMPLE),
        seeds.rng(4, 5, seeds.Purpose.SAMPLE),
    ]
    assert len({rng.random() for rng in keys}) == len(keys)


def test_a_surrogate_seed_has_32_bits_and_differs_by_try() -> None:
    found = {seeds.seed32(0, 4), seeds.seed32(0, 4, 1), seeds.seed32(0, 5)}
    assert len(found) == 3
    assert all(0 <= seed < 2**32 for seed in found)
