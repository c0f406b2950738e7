"""Who shares a launch: the same with any number of workers, in any order, before and after crashes and losses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_service.core.launches import FUSED
from tests.conformance.driver import Nature
from tests.conformance.fused_driver import FusedDriver, Structure
from tests.conformance.test_algorithms import CANONICAL, POPULATIONS, QUICK, definition, trials_for


def mixed(structure: Structure) -> int:
    """Some structures are wide, some narrow, some plain."""
    return {16: 8, 32: 3, 64: 5, 128: 1, 256: 2}[structure["batch"]]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(CANONICAL),
    seed=st.integers(0, 2**32),
    workers=st.sampled_from([1, 2, 4, 64]),
    parallel=st.sampled_from([2, 8, 31, 256]),
    amount=st.integers(10, 60),
    by_resource=st.booleans(),
    crashing=st.sampled_from([0.0, 0.03]),
    losing=st.sampled_from([0.0, 0.04]),
)
def test_the_same_launches_with_any_workers_in_any_order(
    name: str,
    seed: int,
    workers: int,
    parallel: int,
    amount: int,
    by_resource: bool,
    crashing: float,
    losing: float,
) -> None:
    bounds: dict[str, Any] = {"trials": None, "resource": 9.0 * amount} if by_resource else {"trials": amount}
    study = definition(name, retries=100, parallel=parallel, **bounds)
    nature = Nature(seed=seed % 97, failing=0.15, early=0.15, horizon=9)
    calm = FusedDriver(study, nature, workers=1, seed=0, width_of=mixed)
    wild = FusedDriver(
        study,
        nature,
        workers=workers,
        seed=seed,
        losing=losing,
        crashing=crashing,
        discarding=0.1,
        lag=3,
        width_of=mixed,
    )
    assert wild.run().outcome() == calm.run().outcome()
    assert wild.partition() == calm.partition()
    assert wild.winner() == calm.winner()


@pytest.mark.parametrize("name", sorted(CANONICAL))
def test_lanes_that_are_lost_go_together_again_and_keep_their_width(name: str) -> None:
    study = definition(name, retries=100, parallel=32)
    driver = FusedDriver(study, Nature(seed=1, horizon=9), workers=3, seed=5, losing=0.3, width_of=lambda _: 6)
    driver.run()
    assert driver.relaunched > 5
    assert any(f.method == FUSED and len(f.trials) > 1 for f in driver.formed)


@pytest.mark.parametrize("name", sorted(CANONICAL))
def test_folded_again_forms_the_same_launches(name: str) -> None:
    study = definition(name, trials=24, parallel=16)
    nature = Nature(seed=2, failing=0.2, early=0.2, horizon=9)
    driver = FusedDriver(study, nature, workers=2, seed=1, losing=0.05, check_every=7, width_of=mixed)
    driver.run()
    assert driver.refolds > 3


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize(("workers", "parallel"), [(1, 1), (2, 3), (5, 12), (64, 40)])
def test_grouped_trials_starve_nobody(name: str, workers: int, parallel: int) -> None:
    """Asynchronous and modelled algorithms too: every study ends with all of its trials, whatever was lost."""
    trials = min(20, trials_for(name))
    study = definition(name, trials=trials, retries=100, parallel=parallel)
    nature = Nature(seed=3, failing=0.1, early=0.1, horizon=9)
    driver = FusedDriver(
        study, nature, workers=workers, seed=7, losing=0.03, crashing=0.01, discarding=0.1, lag=2, width_of=mixed
    )
    driver.run()
    started = sum(row.fence > 0 for row in driver.rows.values())
    assert started <= trials if name in POPULATIONS else started == trials
    assert all(len(f.trials) <= max(1, parallel) for f in driver.formed)


def test_wide_launches_come_about_at_all() -> None:
    """One structure, no model: nearly all trials are in whole launches."""
    space = {"lr": {"type": "loguniform", "low": 1e-6, "high": 0.1}}
    study = definition("random", trials=64, parallel=64, space=space)
    driver = FusedDriver(study, Nature(horizon=9), workers=2, width_of=lambda _: 16).run()
    assert [len(f.trials) for f in driver.formed] == [16] * 4
