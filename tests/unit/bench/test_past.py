"""Past studies as problems: recorded curves exactly, a model between them, and how far it can be trusted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpo_service.bench import comparing, ours, past
from hpo_service.bench.past import PastStudy, PastTrial
from hpo_service.bench.problems import synthetic
from hpo_service.bench.runs import Decisions, Run, Scale
from hpo_service.bench.sources import Source
from hpo_service.errors import InvalidInput
from search_spaces import SearchSpace

(TRUTH,) = synthetic.load(("smooth",))
SPACE = SearchSpace.from_definition(dict(TRUTH.space))


def draws(count: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def study(count: int = 60, *, stopped: bool = True, maximize: bool = False) -> PastStudy:
    """Every second trial is stopped at epoch 9, every seventh raises after epoch 3."""
    trials = []
    for number, params in enumerate(draws(count, 1)):
        reached = 3 if number % 7 == 6 else 9 if stopped and number % 2 else 27
        values = TRUTH.curve(params)[:reached] * (-1.0 if maximize else 1.0)
        trials.append(
            PastTrial(
                params=params,
                resources=tuple(float(epoch) for epoch in range(1, reached + 1)),
                values=tuple(map(float, values)),
                failed=number % 7 == 6,
            )
        )
    return PastStudy(name="s", algorithm="asha", space=TRUTH.space, maximize=maximize, trials=tuple(trials))


STUDY = study()
PROBLEM = past.problem_of(STUDY)


def test_recorded_configurations_get_their_curves() -> None:
    for trial in STUDY.trials:
        curve = PROBLEM.curve(trial.params)
        np.testing.assert_array_equal(curve[: len(trial.values)], trial.values)
        if not trial.failed:
            assert np.isfinite(curve).all()
        assert (PROBLEM.fails_after(trial.params) == 3) == trial.failed


def test_a_stopped_trial_goes_on_from_where_it_was() -> None:
    stopped = [trial for trial in STUDY.trials if len(trial.values) == 9]
    for trial in stopped:
        told, true = PROBLEM.curve(trial.params), TRUTH.curve(trial.params)
        assert abs(told[9] - told[8]) < 0.05
        assert np.abs(told - true).max() < 0.25


def test_what_lies_between_is_told_in_the_right_order() -> None:
    asked = draws(150, 2)
    told = np.array([PROBLEM.curve(params)[-1] for params in asked])
    true = np.array([TRUTH.curve(params)[-1] for params in asked])
    assert np.corrcoef(told.argsort().argsort(), true.argsort().argsort())[0, 1] > 0.7
    assert past.model_of(STUDY).trust.correlation > 0.5


def test_noise_is_not_trusted() -> None:
    rng = np.random.default_rng(0)
    trials = tuple(PastTrial(params=p, resources=(1.0,), values=(float(rng.random()),)) for p in draws(60, 3))
    found = PastStudy(name="noise", algorithm="random", space=TRUTH.space, maximize=False, trials=trials)
    trust = past.model_of(found).trust
    assert trust.correlation < 0.4
    assert "do not trust" in trust.verdict


def test_the_scale_goes_from_the_best_recorded_to_random_configurations() -> None:
    assert min(min(trial.values) for trial in STUDY.trials) == PROBLEM.best < PROBLEM.median
    turned = past.problem_of(study(maximize=True))
    assert (turned.best, turned.maximize) == (-PROBLEM.best, True)
    assert turned.median == pytest.approx(-PROBLEM.median)


def test_resources_of_any_kind_come_on_a_grid() -> None:
    def grid(*resources: tuple[float, ...]) -> tuple[float, int]:
        return past._grid([PastTrial(params={}, resources=r, values=(0.0,) * len(r)) for r in resources])

    assert grid((1.0, 2.0, 3.0), (1.0,)) == (1.0, 3)
    assert grid((500.0, 1000.0), (1500.0,)) == (500.0, 3)
    assert grid((0.5, 1.0, 2.0)) == (2.0 / 3, 3)
    assert grid(tuple(float(i) for i in range(1, 1001)))[1] == past.MOST_EPOCHS


def test_too_few_trials_are_refused_and_those_without_reports_do_not_count() -> None:
    empty = PastTrial(params=draws(1, 0)[0], resources=(), values=())
    few = PastStudy(name="few", algorithm="gp", space=TRUTH.space, maximize=False, trials=(*STUDY.trials[:7], empty))
    with pytest.raises(InvalidInput, match="few has 7"):
        past.problem_of(few)


def test_a_trial_that_diverged_stays_diverged() -> None:
    params = draws(1, 9)[0]
    diverged = PastTrial(params=params, resources=(1.0, 2.0), values=(0.9, math.nan), failed=True)
    found = PastStudy(
        name="d", algorithm="gp", space=TRUTH.space, maximize=False, trials=(*STUDY.trials[:20], diverged)
    )
    curve = past.problem_of(found).curve(params)
    assert curve[0] == 0.9
    assert np.isnan(curve[1])


def test_a_full_training_is_the_definitions_where_it_has_one() -> None:
    longer = past.model_of(replace(STUDY, max_resource=54.0))
    assert (longer.unit, longer.epochs) == (1.0, 54)
    assert past.problem_of(replace(STUDY, max_resource=54.0)).max_resource == 54
    assert np.isfinite(longer.loss_curve(STUDY.trials[0].params)).all()
    np.testing.assert_array_equal(longer.loss_curve(STUDY.trials[0].params)[:27], STUDY.trials[0].values)
    shorter = past.problem_of(replace(STUDY, max_resource=18.0))
    assert shorter.max_resource == 18
    np.testing.assert_array_equal(shorter.curve(STUDY.trials[0].params), STUDY.trials[0].values[:18])
    assert past.as_it_ran(replace(STUDY, max_resource=54.0), budget=1e9).epochs == sum(
        len(trial.values) for trial in STUDY.trials
    )


def test_what_breaks_a_constraint_is_the_worst_and_is_counted() -> None:
    whole = [number for number, trial in enumerate(STUDY.trials) if len(trial.values) == 27]
    best = min(whole, key=lambda number: min(STUDY.trials[number].values))
    broken = {best, *whole[:5]}
    trials = tuple(replace(trial, broken=number in broken) for number, trial in enumerate(STUDY.trials))
    bounded = replace(STUDY, trials=trials)
    problem = past.problem_of(bounded)
    worst = max(max(trial.values) for trial in STUDY.trials)
    for number in broken:
        assert set(problem.curve(STUDY.trials[number].params)) == {worst}
    assert problem.best == min(min(trial.values) for n, trial in enumerate(STUDY.trials) if n not in broken)
    assert problem.best > PROBLEM.best
    _, note = comparing.trust(Source(studies=(bounded,)))
    assert note.startswith(f"s: {len(broken)} of 60 trials break a constraint and count as the worst")
    assert len(comparing.trust(Source(studies=(STUDY,)))) == 1
    with pytest.raises(InvalidInput, match="none of s does"):
        past.problem_of(replace(STUDY, trials=tuple(replace(trial, broken=True) for trial in STUDY.trials)))


def test_forbidden_combinations_are_carried_and_fail_at_once() -> None:
    problem = past.problem_of(replace(STUDY, forbid=({"optimizer": "sgd"}, {"layers": {">": 3}})))
    rng = np.random.default_rng(0)
    drawn = [problem.search_space.sample(rng) for _ in range(50)]
    assert all(params["optimizer"] != "sgd" and params["layers"] <= 3 for params in drawn)
    assert 0 not in [problem.fails_after(params) for params in drawn]
    assert problem.fails_after({**drawn[0], "optimizer": "sgd"}) == 0
    submitted = ours.definition(problem, {"name": "random", "max_resource": 27}, seed=1, workers=1, budget=2.0)
    assert submitted.search_space.is_forbidden({**drawn[0], "layers": 5})


def test_the_study_itself_and_who_would_have_been_sooner() -> None:
    itself = past.as_it_ran(STUDY, budget=1e9)
    assert itself.epochs == sum(len(trial.values) for trial in STUDY.trials)
    assert itself.trace[-1][1] == PROBLEM.best

    def run(method: str, at: float) -> Run:
        return Run(
            method=method, collection="study", problem="s", seed=0, workers=1, budget=16.0, decisions=Decisions(),
            scale=Scale(best=PROBLEM.best, median=PROBLEM.median, maximize=False),
            trace=((at, PROBLEM.best),) if at <= 16 else (),
        )  # fmt: skip

    (told,) = comparing.sooner(Source(studies=(STUDY,)), [run("slow", 9.0), run("fast", 2.5), run("never", 99.0)])
    _, fast, slow, never, own, trust = (line.split() for line in told.splitlines())
    assert (fast, slow, never) == (["fast", "2.5"], ["slow", "9.0"], ["never", "more", "than", "16"])
    assert own[:4] == ["the", "study", "itself", "(asha)"]
    assert "correlation" in trust
