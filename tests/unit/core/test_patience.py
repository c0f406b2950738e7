"""`patience: auto`: the expected gain against its price, the noise and what the search has brought."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core.budget import Standing
from hpo_service.core.definition import Budget, Objective, parse
from hpo_service.core.events import EndedAttempt, ReportRow
from hpo_service.core.history import History
from hpo_service.core.patience import LEAST_TRIALS, WITHOUT_VALUE, Outlook, Terms, expected_gain, jitter, verdict
from hpo_service.core.proposals import Start
from hpo_service.errors import InvalidInput
from hpo_service.store.studies import grew
from search_spaces import SearchSpace
from tests.conformance.driver import Driver, Nature

SPACE = {"lr": {"type": "loguniform", "low": 1e-5, "high": 0.1}}
AUTO = Budget(patience="auto")


def outlook(scores: Any, **more: Any) -> Outlook:
    there = np.asarray(scores, dtype=float)
    count = more.pop("trials", len(there))
    facts = {"metric": "loss", "last": count - 1, "trials": count, "trainings": float(count), "dollars": 0.0}
    return Outlook(**{**facts, "scores": there, "numbers": range(len(there)), **more})


def study(algorithm: dict[str, Any], budget: dict[str, Any], **more: Any) -> Any:
    document = {"objective": {"metric": "loss"}, "space": SPACE, "trainer": {"function": "t:train"}}
    return parse({**document, "algorithm": algorithm, "budget": budget, **more})


@pytest.mark.parametrize("count", [40, 200])
def test_the_gain_of_exponential_scores_is_near_the_true_one(count: int) -> None:
    """What one more exponential score gains on average is the survival function at the best one."""
    found, true = [], []
    for seed in range(200):
        scores = np.random.default_rng(seed).exponential(size=count)
        found.append(expected_gain(scores, count))
        true.append(math.exp(-scores.max()))
    assert 0.5 * np.mean(true) < np.mean(found) < 1.5 * np.mean(true)


@given(st.lists(st.floats(-100, 100), min_size=6, max_size=80), st.floats(0.01, 100), st.floats(-50, 50))
@example(scores=[0.0] * 5 + [2.2e-313], scale=1.0, shift=0.0)  # the best is infinitely many mean excesses away
def test_the_gain_is_finite_and_has_the_objectives_units(scores: list[float], scale: float, shift: float) -> None:
    gain = expected_gain(scores, len(scores))
    assert 0 <= gain < math.inf
    ordered = sorted(scores)
    moved = expected_gain([scale * score + shift for score in scores], len(scores))
    assert moved == pytest.approx(scale * gain, rel=1e-3, abs=1e-6 * scale * (1 + abs(ordered[-1]) + abs(shift)))
    assert expected_gain(scores, 2 * len(scores)) == pytest.approx(gain / 2)
    assert expected_gain(scores, len(scores), best=max(scores) + 1.0) <= gain


def test_equal_scores_promise_nothing_and_few_none() -> None:
    assert expected_gain([0.5] * 40, 40) == 0.0
    with pytest.raises(ValueError, match="at least 6 scores, but got 5"):
        expected_gain([0.1] * 5, 5)


def test_a_curves_end_jumps_about_but_does_not_slope() -> None:
    assert jitter([1.0, 0.9, 0.8, 0.7]) is None
    assert jitter([1.0 - 0.01 * i for i in range(20)]) == pytest.approx(0.0, abs=1e-12)
    noise = [float(v) for v in np.random.default_rng(1).normal(0, 0.02, size=9)]
    assert 0.01 < (jitter([0.5 - 0.001 * i + v for i, v in enumerate(noise)]) or 0) < 0.03
    assert jitter([math.nan] * 9) is None


def test_nothing_is_judged_before_there_are_enough_trials() -> None:
    assert verdict(outlook([0.0] * (LEAST_TRIALS - 1)), Terms()) is None
    assert verdict(outlook([0.0] * 5, trials=60), Terms()) is None
    assert verdict(outlook([], trials=WITHOUT_VALUE - 1), Terms()) is None
    assert "none of 100 trials gave a value" in (verdict(outlook([], trials=WITHOUT_VALUE), Terms()) or "")


def test_the_reason_tells_gain_threshold_and_trial() -> None:
    found = verdict(outlook([0.5] * 30 + [0.6]), Terms(min_delta=0.01)) or ""
    assert found.startswith("budget.patience: auto, after trial 30: 16 more trials, half as many again, are expected")
    assert found.endswith(", no more than budget.min_delta, 0.01")


def test_a_gain_below_the_noise_is_none() -> None:
    scores = np.random.default_rng(3).normal(size=60)
    assert verdict(outlook(scores), Terms()) is None
    noisy = verdict(outlook(scores, noise=1.0), Terms()) or ""
    assert "no more than the noise at the end of the best curves, 1" in noisy


def test_what_a_unit_is_worth_is_weighed_against_what_a_trial_costs() -> None:
    scores = np.random.default_rng(3).normal(size=60)
    paid = outlook(scores, dollars=60.0)
    assert verdict(paid, Terms(worth=1e6)) is None
    dear = verdict(paid, Terms(worth=10.0)) or ""
    assert "worth $" in dear
    assert "at $10 per unit (budget.worth), and costs $1" in dear
    flat = outlook(np.random.default_rng(3).uniform(size=200), dollars=1e-6)
    assert verdict(flat, Terms()) is not None
    assert verdict(flat, Terms(worth=1e3)) is None, "what a gain is worth was said, so no share of the past counts"


def test_a_models_expectation_comes_before_the_values_own() -> None:
    scores = np.random.default_rng(3).normal(size=60)
    assert verdict(outlook(scores, gains=[1e-6] * 4), Terms()) is None, "too few of them"
    assert "30 more trainings" in (verdict(outlook(scores, gains=[1.0] * 9 + [1e-6] * 5), Terms()) or "")
    assert verdict(outlook(scores, gains=[1.0] * 5), Terms()) is None


def test_every_study_ends() -> None:
    falling = [1.0] * 8 + [0.5 - 0.001 * i for i in range(500)]
    growing = outlook(falling, gains=[10.0] * 5, trials=508)
    assert "no improvement by more than 0 since trial 0" in (verdict(growing, Terms()) or "")
    assert verdict(replace(growing, scores=growing.scores[::-1]), Terms()) is None


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=31, max_size=45), st.randoms(use_true_random=False))
def test_it_is_judged_in_number_order_whoever_ends_first(found: list[float], order: random.Random) -> None:
    results = []
    for shuffle in (False, True):
        history = History(Objective(metric="m"), SearchSpace.from_definition(SPACE))
        standing = Standing(history.objective, judged_at_rest=False)
        for number in range(len(found)):
            history.start(Start(trial=number, params={"lr": 1e-4 + number / 1e4}, target=9, horizon=9, reason="t"))
        numbers = list(range(len(found)))
        if shuffle:
            order.shuffle(numbers)
        for number in numbers:
            history.report(ReportRow(trial=number, fence=1, step=1, resource=9, values=(found[number],)))
            state = "finished" if math.isfinite(found[number]) else "failed"
            ended = EndedAttempt(trial=number, fence=1, outcome="reached", trial_state=state, resource=9)
            standing.rested(history.ended(ended), history, AUTO)
        results.append((standing.over(AUTO), standing.next))
    assert results[0] == results[1]


RANDOM = {"name": "random", "max_resource": 9}


def ended(algorithm: dict[str, Any], workers: int, budget: dict[str, Any]) -> Driver:
    driver = Driver(study(algorithm, budget), Nature(horizon=9), workers=workers, seed=workers, check_every=40)
    return driver.run()


@pytest.mark.parametrize("algorithm", [RANDOM, {"name": "asha", "max_resource": 9}])
def test_a_study_ends_with_the_figures_and_folds_alike(algorithm: dict[str, Any]) -> None:
    played = ended(algorithm, 3, {"patience": "auto", "trials": 400, "min_delta": 0.05})
    assert (played.algorithm.ending() or "").startswith("budget.patience: auto, after trial ")
    assert LEAST_TRIALS <= len(played.rows) < 400
    before = len(played.rows)
    played.change(budget={"patience": None, "trials": before + 5})
    played.run()
    assert len(played.rows) == before + 5


def test_the_same_trials_are_judged_with_any_number_of_workers() -> None:
    budget = {"patience": "auto", "trials": 400, "min_delta": 0.05}
    reasons = {ended(RANDOM, workers, budget).algorithm.ending() for workers in (1, 4, 9)}
    assert len(reasons) == 1


def test_a_process_tells_what_it_expects_and_the_log_keeps_it() -> None:
    gp = {"name": "bayesian", "surrogate": "gp", "startup_trials": 4}
    definition = study(gp, {"patience": "auto", "trials": 8})
    played = Driver(definition, Nature(horizon=9), workers=1, seed=1).run()
    gains = [trial.gain for trial in played.algorithm.history]
    assert gains[:4] == [None] * 4
    assert all(gain is not None and gain >= 0 for gain in gains[4:])
    again = played.refold()
    assert [trial.gain for trial in again.history] == gains
    without = Driver(study(gp, {"trials": 6}), Nature(horizon=9), workers=1, seed=1).run()
    assert all(trial.gain is None for trial in without.algorithm.history), "asked for by nobody"


def test_what_patience_may_be() -> None:
    assert study(RANDOM, {"patience": "auto"}).budget.patience == "auto"
    algorithms.check(study(RANDOM, {"patience": "auto", "worth": 100}))
    for wrong in ("Auto", 0, 2.5, True, "5", -1, [], "inf"):
        with pytest.raises(InvalidInput, match=r"patience is auto or a whole number from 1 on, but got") as caught:
            study(RANDOM, {"patience": wrong})
        assert [problem.path for problem in caught.value.problems] == ["budget.patience"]
    for wrong in (0, -1, math.inf, math.nan, "much"):
        with pytest.raises(InvalidInput, match=r"budget\.worth"):
            study(RANDOM, {"patience": "auto", "worth": wrong})
    for other in ({"trials": 9}, {"patience": 9}):
        with pytest.raises(InvalidInput, match=r"budget\.worth: worth is weighed by patience: auto alone"):
            study(RANDOM, {**other, "worth": 100})
    two = [{"metric": "loss"}, {"metric": "size"}]
    with pytest.raises(InvalidInput, match="weighs the gain of one objective"):
        study(RANDOM, {"patience": "auto"}, objective=two)


def test_a_study_goes_on_when_patience_was_changed() -> None:
    dearer, coarser = Budget(patience="auto", worth=3.0), Budget(patience="auto", min_delta=0.1)
    assert all(grew(AUTO, more) for more in (Budget(patience=50), Budget(trials=9), dearer, coarser))
    assert grew(Budget(patience=50), AUTO)
    assert not grew(AUTO, AUTO)
    assert not grew(Budget(patience=50), Budget(patience=40))
