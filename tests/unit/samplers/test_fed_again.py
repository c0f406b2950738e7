"""A model that keeps its data up proposes what one that folds the log again would, where the rule leaves most out."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.samplers import bohb, surrogate
from hpo_service.samplers.levels import Rule
from tests.conformance.driver import Driver, Nature
from tests.unit.samplers.test_samplers import FORBID, NESTED

STUDIES: dict[str, tuple[dict[str, Any], int]] = {
    "tpe": ({"name": "bayesian", "startup_trials": 4, "max_resource": 9}, 45),
    "bohb": ({"name": "bohb", "max_resource": 9}, 55),
    "asha": ({"name": "asha", "sampler": "tpe", "max_resource": 9}, 40),
    "hyperband": ({"name": "hyperband", "sampler": "tpe", "max_resource": 9}, 40),
}
SOON_ILLEGAL = {"optimizer": None, "lr": 0.9, "layers": 3, "width": "small", "noise": 0.0, "step": 0.5, "kind": "mlp"}


def study(algorithm: dict[str, Any], trials: int) -> StudyDefinition:
    return parse(
        {
            "objective": {"metric": "loss"},
            "space": NESTED,
            "forbid": FORBID,
            "trainer": {"function": "t:train"},
            "budget": {"trials": trials},
            "algorithm": algorithm,
        }
    )


def narrowed(driver: Driver) -> None:
    """From now on a trial of the past is outside of the space."""
    driver.change(space={**NESTED, "lr": {"type": "loguniform", "low": 1e-4, "high": 0.1}})


@pytest.mark.parametrize("name", STUDIES)
def test_folded_again_is_kept_alive(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "FED", {"tpe": Rule(limit=13, best=3, newest=2)})
    monkeypatch.setattr(surrogate, "RUNNING_FED", {"tpe": 3})
    monkeypatch.setattr(bohb, "FED", Rule(limit=13, best=3, newest=0))
    definition = study(*STUDIES[name])
    nature = Nature(horizon=9, failing=0.15, early=0.1)
    driver = Driver(definition, nature, workers=4, seed=5, losing=0.05, crashing=0.02, check_every=23)
    driver.enqueue([SOON_ILLEGAL])
    driver.run(until=lambda d: len(d.rows) > 20)
    narrowed(driver)
    driver.run()
    modelled = [row for row in driver.rows.values() if row.reasons and " results" in row.reasons[0]]
    assert len(modelled) > len(driver.rows) // 4
    assert driver.refolds > 3


def test_a_process_gets_no_trial_that_the_space_does_not_allow_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "FED", {"gp": Rule(limit=9, best=5, newest=2)})
    definition = study({"name": "bayesian", "startup_trials": 12, "surrogate": "gp", "max_resource": 9}, 13)
    driver = Driver(definition, Nature(horizon=9, losses=lambda number, _: float(number)), workers=1)
    driver.enqueue([SOON_ILLEGAL])  # the best of all, so it is among those that the model is fed
    driver.run(until=lambda d: len(d.rows) == 12 and not d.open)
    narrowed(driver)
    view = driver.algorithm.view(final=True)
    assert view is not None
    seen = dict(view.observed)
    assert (view.of, len(seen)) == (12, view.observations_used)
    assert 0 not in seen
    assert seen
    assert all(1e-4 <= driver.rows[number].params["lr"] <= 0.1 for number in seen)
    driver.compare()
