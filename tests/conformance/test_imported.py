"""Every algorithm with trials that were imported: the protocol holds, the fold is made again, models learn from them,
and budgets do not count them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpo_service.core import events as ev
from hpo_service.core.imported import ImportedTrial, TrialsImported
from hpo_service.core.proposals import Start
from hpo_service.core.states import Origin, TrialState
from tests.conformance.driver import Driver, Nature, Row
from tests.conformance.test_algorithms import ALGORITHMS, MODELLED, SLOW, definition

S = TrialState


def imported(
    driver: Driver, count: int, *, seed: int = 0, state: TrialState = S.FINISHED, steps: float = 100.0
) -> None:
    """`count` trials from elsewhere whose loss is lowest at lr = 1e-3 with sgd; each with two reports."""
    space, rng = driver.definition.search_space, np.random.default_rng(seed)
    first = max(driver.rows, default=-1) + 1
    given, reports = [], []
    for number in range(first, first + count):
        params = space.sample(rng)
        loss = abs(math.log10(params["lr"]) + 3) + (params["optimizer"] != "sgd")
        given.append(
            ImportedTrial(trial=number, params=params, state=state, resource=steps, value=loss, reason="of old")
        )
        reports += [
            ev.ReportRow(trial=number, fence=1, step=k, resource=steps / 2 * (k + 1), values=(loss + 1 - k,))
            for k in range(2)
        ]
        driver.rows[number] = Row(number=number, params=params, origin=Origin.IMPORTED, state=state)
    driver.record(TrialsImported(trials=tuple(given)))
    driver.record(ev.Reported(reports=tuple(reports)))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_protocol_holds_and_the_fold_is_made_again(name: str) -> None:
    trials = 6 if name in SLOW else 30
    nature = Nature(seed=5, failing=0.2, early=0.2, horizon=9)
    every = 9 if name in MODELLED else 1
    driver = Driver(
        definition(name, trials=trials), nature, workers=4, seed=3, losing=0.03, crashing=0.02, lag=1, check_every=every
    )
    imported(driver, 12)
    driver.run(until=lambda d: len(d.rows) >= 15)
    imported(driver, 3, seed=9, state=S.STOPPED, steps=4.0)
    driver.run()
    driver.compare()
    assert driver.algorithm.history.started <= trials
    assert driver.algorithm.ending()


@pytest.mark.parametrize("name", sorted(MODELLED))
def test_a_model_learns_from_them_at_once(name: str) -> None:
    driver = Driver(definition(name, baseline=False))
    imported(driver, 40)
    (start,) = (p for p in driver.algorithm.propose(1) if isinstance(p, Start))
    assert start.trial == 40
    assert "on 40 results" in start.reason or start.reason.startswith("promises most for its cost")
    drawn = [p for p in driver.algorithm.propose(4) if isinstance(p, Start)]
    near = [p for p in drawn if p.params["optimizer"] == "sgd" and 1e-4 < p.params["lr"] < 1e-2]
    assert len(near) >= 2


def test_the_baseline_still_comes_first_and_the_budget_is_whole() -> None:
    driver = Driver(definition("random", trials=5))
    imported(driver, 8)
    driver.run()
    mine = [row for row in driver.rows.values() if row.origin is not Origin.IMPORTED]
    assert [row.origin for row in mine] == [Origin.BASELINE] + [Origin.SAMPLED] * 4
    assert [row.number for row in mine] == list(range(8, 13))
    assert driver.algorithm.history.progress == 5 * 9


def test_patience_is_not_theirs_but_the_mark_is() -> None:
    study = definition("random", trials=50, budget={"trials": 50, "patience": 6})
    driver = Driver(study, Nature(losses=lambda number, resource: 1000.0))
    imported(driver, 20)
    assert driver.algorithm.ending() is None
    driver.run()
    assert "budget.patience: 6 trials in a row (up to trial 25)" in (driver.algorithm.ending() or "")


def test_one_that_reaches_the_target_ends_the_study() -> None:
    driver = Driver(definition("random", budget={"trials": 50, "target": 100.0}))
    imported(driver, 1)
    assert "budget.target" in (driver.algorithm.ending() or "")


@pytest.mark.parametrize("name", ["bayesian-tpe", "bayesian-gp"])
def test_trials_outside_the_space_do_no_harm(name: str) -> None:
    driver = Driver(definition(name, trials=5))
    odd = tuple(
        ImportedTrial(
            trial=n, params={"lr": 7.0, "layers": "many"}, state=S.FINISHED, resource=1.0, value=float(n), reason="old"
        )
        for n in range(15)
    )
    for one in odd:
        driver.rows[one.trial] = Row(number=one.trial, params=one.params, origin=Origin.IMPORTED, state=S.FINISHED)
    driver.record(TrialsImported(trials=odd))
    driver.run()
    driver.compare()
    assert len(driver.rows) == 20
