"""A study whose resources change meanwhile, as where workers come to share a GPU: every algorithm goes on as if they
had not, and is folded again to the same."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.driver import Driver, Nature
from tests.conformance.test_algorithms import QUICK, definition, trials_for

SHARED = {"cpu": 1.0, "gpu": 0.3333, "share": "auto"}


def played(name: str, change: dict[str, Any] | None) -> Driver:
    study = definition(name, trials=min(20, trials_for(name)), resources={"gpu": 1, "share": "auto"})
    nature = Nature(seed=2, failing=0.2, early=0.2, horizon=9)
    driver = Driver(study, nature, workers=4, seed=1, losing=0.05, lag=2)
    driver.run(until=lambda d: len(d.log) > 30)
    if change is not None:
        driver.change(resources=change)
    driver.compare()
    driver.run()
    driver.compare()
    return driver


@pytest.mark.parametrize("name", QUICK)
def test_what_a_worker_occupies_is_no_business_of_an_algorithm(name: str) -> None:
    changed, calm = played(name, SHARED), played(name, None)
    assert changed.rows == calm.rows
    assert changed.refolds == 2
