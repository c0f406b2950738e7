"""One suite over every algorithm: the protocol's guarantees, folding again, and independence of workers and order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.proposals import Start
from hpo_service.core.states import TrialState
from tests.conformance.driver import Driver, Nature

MIXED = {
    "lr": {"type": "loguniform", "low": 1e-6, "high": 0.1, "default": 0.001},
    "batch": {"type": "power_of_two", "low": 16, "high": 256},
    "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
    "momentum": {"type": "uniform", "low": 0.85, "high": 0.95, "when": {"optimizer": "sgd"}},
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "auto": {"name": "auto", "max_resource": 9},
    "grid": {"name": "grid", "points": 3, "max_resource": 9},
    "random": {"name": "random", "max_resource": 9},
    "sobol": {"name": "sobol", "max_resource": 9},
    "bayesian-tpe": {"name": "bayesian", "max_resource": 9, "startup_trials": 4},
    "bayesian-gp": {"name": "bayesian", "surrogate": "gp", "max_resource": 9, "startup_trials": 9},
    "cmaes": {"name": "cmaes", "max_resource": 9},
    "nsga2": {"name": "nsga2", "population": 8, "max_resource": 9},
    "successive_halving": {"name": "successive_halving", "trials": 27, "max_resource": 9, "keep": 2},
    "successive_halving-tpe": {"name": "successive_halving", "trials": 27, "max_resource": 9, "sampler": "tpe"},
    "hyperband": {"name": "hyperband", "max_resource": 9},
    "auto-sized": {"name": "auto", "fidelity": "width", "min_resource": 1, "max_resource": 9},
    "hyperband-sized": {"name": "hyperband", "fidelity": "resolution", "min_resource": 1, "max_resource": 9},
    "hyperband-tpe": {"name": "hyperband", "max_resource": 9, "sampler": "tpe"},
    "bohb": {"name": "bohb", "max_resource": 9},
    "dehb": {"name": "dehb", "max_resource": 9},
    "dehb-sized": {"name": "dehb", "fidelity": "width", "min_resource": 1, "max_resource": 9},
    "asha": {"name": "asha", "max_resource": 9},
    "asha-sized": {"name": "asha", "fidelity": "width", "min_resource": 1, "max_resource": 9},
    "asha-tpe": {"name": "asha", "max_resource": 9, "sampler": "tpe"},
    "pasha": {"name": "pasha", "max_resource": 9},
    "pasha-sized": {"name": "pasha", "fidelity": "width", "min_resource": 1, "max_resource": 9},
    "pasha-tpe": {"name": "pasha", "max_resource": 9, "sampler": "tpe", "epsilon": 0.01},
    "median": {"name": "median", "max_resource": 9, "min_trials": 3, "grace_resource": 2},
    "pbt": {"name": "pbt", "population": 10, "max_resource": 9, "quantile": 0.3},
    "pbt-async": {"name": "pbt", "population": 10, "max_resource": 9, "quantile": 0.3, "synchronous": False},
    "median-tpe": {"name": "median", "max_resource": 9, "min_trials": 3, "sampler": "tpe"},
}
MODELLED = {name for name in ALGORITHMS if "tpe" in name or "gp" in name or name.startswith(("auto", "bohb"))}
SLOW = {"auto", "auto-sized", "bayesian-gp"}  # a draw of a Gaussian process takes its time
QUICK = sorted(set(ALGORITHMS) - SLOW)
POPULATIONS = {"pbt", "pbt-async"}  # a configuration may come again, with other weights; trained out, they are over
CANONICAL = ("grid", "random", "sobol", "cmaes", "nsga2", "successive_halving", "hyperband", "hyperband-sized", "pbt")


def definition(name: str, *, trials: int | None = 45, resource: float | None = None, **more: Any) -> StudyDefinition:
    budget = {"trials": trials, "resource": resource}
    document = {
        "objective": {"metric": "loss"},
        "space": MIXED,
        "algorithm": ALGORITHMS[name],
        "trainer": {"function": "training:train"},
        "budget": {key: value for key, value in budget.items() if value is not None},
        "retries": 3,
        **more,
    }
    parsed = parse(document)
    algorithms.check(parsed)
    return parsed


def trials_for(name: str) -> int:
    return 12 if name in SLOW else 45


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_protocol_holds_under_failures_losses_and_crashes(name: str) -> None:
    study = definition(name, trials=trials_for(name))
    nature = Nature(seed=5, failing=0.25, early=0.2, horizon=9)
    driver = Driver(study, nature, workers=5, seed=3, losing=0.05, crashing=0.02, discarding=0.1, lag=2)
    driver.run()
    assert driver.algorithm.ending()
    assert any(row.state is TrialState.FINISHED for row in driver.rows.values())


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - MODELLED))
def test_folded_again_is_kept_alive_at_every_event(name: str) -> None:
    nature = Nature(seed=2, failing=0.2, early=0.2, horizon=9)
    study = definition(name, trials=8 if name == "median" else 15)
    driver = Driver(study, nature, workers=4, seed=1, losing=0.05, lag=2, check_every=1)
    driver.run()
    assert driver.refolds == len(driver.log)


@pytest.mark.parametrize("name", sorted(MODELLED))
def test_a_model_folded_again_proposes_what_it_would_have_proposed(name: str) -> None:
    nature = Nature(seed=2, failing=0.2, early=0.2, horizon=9)
    every = 25 if name in SLOW else 17
    driver = Driver(
        definition(name, trials=trials_for(name)), nature, workers=3, seed=1, losing=0.02, lag=1, check_every=every
    )
    driver.run()
    driver.compare()
    assert driver.refolds >= 2
    told = [reason for row in driver.rows.values() for reason in row.reasons]
    assert any(word in reason for reason in told for word in ("TPE on", "process on", "promises most for its cost"))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(CANONICAL),
    seed=st.integers(0, 2**32),
    workers=st.sampled_from([1, 2, 4, 64]),
    by_resource=st.booleans(),
    amount=st.integers(10, 60),
    crashing=st.sampled_from([0.0, 0.03]),
)
def test_the_same_trials_promotions_and_winner_with_any_workers_in_any_order(
    name: str, seed: int, workers: int, by_resource: bool, amount: int, crashing: float
) -> None:
    bounds: dict[str, Any] = {"trials": None, "resource": 9.0 * amount} if by_resource else {"trials": amount}
    study = definition(name, retries=100, **bounds)
    nature = Nature(seed=seed % 97, failing=0.15, early=0.15, horizon=9)
    calm = Driver(study, nature, workers=1, seed=0).run()
    wild = Driver(
        study, nature, workers=workers, seed=seed, losing=0.04, crashing=crashing, discarding=0.1, lag=3
    ).run()
    assert wild.outcome() == calm.outcome()
    assert wild.winner() == calm.winner()
    assert wild.algorithm.ending() == calm.algorithm.ending()


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("failing_by", [0.5, 9.0])
def test_failures_stall_no_rung(name: str, failing_by: float) -> None:
    study = definition(name, trials=trials_for(name))
    nature = Nature(failing=1.0, failing_by=failing_by, horizon=9)
    driver = Driver(study, nature, workers=4, seed=9).run()
    failed = [row for row in driver.rows.values() if row.state is TrialState.FAILED]
    if failing_by < 1:
        assert len(failed) == len(driver.rows) == driver.algorithm.history.started
    assert all(row.state is not TrialState.FINISHED for row in driver.rows.values())
    assert driver.algorithm.ending()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_budget_of_resource_is_kept(name: str) -> None:
    study = definition(name, trials=45 if name.startswith("auto") else trials_for(name), resource=100.0)
    driver = Driver(study, Nature(seed=4, early=0.2, horizon=9), workers=7, seed=2).run()
    if name == "auto-sized":  # its trials come to many sizes, each of them anew
        assert 60 <= sum(sum(row.segments) for row in driver.rows.values()) <= 120
    assert sum(row.reached - row.began for row in driver.rows.values()) <= 100
    assert name == "auto-sized" or sum(row.reached - row.began for row in driver.rows.values()) >= 60


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_defaults_come_first(name: str) -> None:
    driver = Driver(definition(name), Nature(horizon=9), workers=3, seed=2)
    first = driver.algorithm.propose(1)[0]
    assert isinstance(first, Start)
    assert first.params == {"lr": 0.001, "batch": 64, "optimizer": "sgd", "momentum": 0.9}
    assert first.origin == "baseline"


@pytest.mark.parametrize("name", sorted(set(QUICK) - POPULATIONS))
def test_no_configuration_is_tried_twice(name: str) -> None:
    driver = Driver(definition(name, trials=trials_for(name)), Nature(horizon=9), workers=6, seed=8).run()
    space = driver.definition.search_space
    keys = [space.config_key(row.params) for row in driver.rows.values()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", sorted(set(QUICK) - POPULATIONS))
def test_a_raised_budget_goes_on(name: str) -> None:
    driver = Driver(definition(name, trials=12), Nature(seed=1, horizon=9), workers=4, seed=8).run()
    assert "budget.trials: 12 of 12" in (driver.algorithm.ending() or "")
    driver.change(budget={"trials": 16})
    driver.compare()
    driver.run()
    assert len(driver.rows) == 16
    driver.compare()


@pytest.mark.parametrize("name", QUICK)
def test_enqueued_trials_and_retries_take_the_next_places(name: str) -> None:
    driver = Driver(definition(name, trials=14), Nature(seed=1, failing=0.5, horizon=9), workers=3, seed=8)
    first = driver.enqueue([{"lr": 0.01, "batch": 16, "optimizer": "adam"}])
    driver.run(until=lambda d: len(d.rows) > 8)
    again = driver.enqueue([driver.rows[4].params], retry_of=4)
    driver.run()
    assert first == [0]
    assert driver.rows[again[0]].fence > 0
    assert driver.rows[again[0]].origin == "retry"
    assert sum(row.fence > 0 for row in driver.rows.values()) == 14
    driver.compare()
