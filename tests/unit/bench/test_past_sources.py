"""What past studies may look like: values without reports, another space, trainings that never began, sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from hpo_service.bench import comparing, past
from hpo_service.bench.past import PastStudy, PastTrial
from hpo_service.bench.sources import Source
from hpo_service.cli.benching import _past_study
from hpo_service.errors import InvalidInput

SPACE: dict[str, Any] = {
    "x": {"type": "uniform", "low": 0.0, "high": 1.0},
    "kind": {"type": "choice", "values": ["a", "b"]},
}


def loss(params: Mapping[str, Any]) -> float:
    return float((params["x"] - 0.3) ** 2 + 0.1 * (params["kind"] == "b"))


def draws(count: int, *, high: float = 1.0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    return [{"x": float(x), "kind": "ab"[i % 2]} for i, x in enumerate(high * rng.random(count))]


def trial(params: Mapping[str, Any], *resources: float, **more: Any) -> PastTrial:
    values = tuple(loss(params) + 1 / (1 + resource) for resource in resources)
    return PastTrial(params=params, resources=resources, values=values, **more)


def study(trials: Sequence[PastTrial], **more: Any) -> PastStudy:
    return PastStudy(
        **{"name": "s", "algorithm": "random", "space": SPACE, "maximize": False, **more}, trials=tuple(trials)
    )


def said(found: PastStudy) -> str:
    (line,) = comparing.trust(Source(studies=(found,)))
    return line


def test_a_told_value_is_a_full_training() -> None:
    told = [trial(params, 0.0) for params in draws(20)]
    for found, full in ((study(told), 1), (study(told, max_resource=9.0), 1)):
        problem = past.problem_of(found)
        assert problem.max_resource == full
        assert problem.best == min(one.values[0] for one in told)
        assert [problem.curve(one.params)[-1] for one in told] == [one.values[0] for one in told]
        assert past.as_it_ran(found, budget=math.inf).epochs == 20
    assert past.model_of(study(told)).trust.correlation > 0.7


def test_a_told_value_beside_reports_is_a_full_training_and_what_was_reported_before_one_does_not_count() -> None:
    told, reported = trial(draws(11)[-1], 0.0), [trial(params, 0.0, 1.0, 2.0, 3.0) for params in draws(10)]
    model = past.model_of(study([*reported, told]))
    assert (model.unit, model.epochs) == (1.0, 3)
    assert set(model.loss_curve(told.params)) == {told.values[0]}
    np.testing.assert_array_equal(model.loss_curve(reported[0].params), reported[0].values[1:])
    assert past.as_it_ran(study([*reported, told]), budget=math.inf).epochs == 33


def test_values_outside_the_space_count_as_at_its_ends() -> None:
    trials = [trial(params, 1.0, 2.0) for params in draws(24, high=2.0)]
    beyond = sum(one.params["x"] > 1 for one in trials)
    model = past.model_of(study(trials))
    assert len(model.points) == 24
    assert model.points.max() == 1.0
    assert f"{beyond} of 24 trials lie outside the space" in said(study(trials))


def test_what_the_space_does_not_know_is_left_out_and_counted() -> None:
    known, unknown = draws(12), draws(3)
    trials = [trial(params, 1.0) for params in known]
    trials += [trial({**params, "kind": "c"}, 1.0) for params in unknown]
    assert len(past.model_of(study(trials)).points) == 12
    assert "3 of 15 trials have values that the space does not know" in said(study(trials))
    with pytest.raises(InvalidInput, match="s has 7"):
        past.problem_of(study([*trials[:7], *trials[12:]]))
    lacking = {**SPACE, "depth": {"type": "integer", "low": 1, "high": 9}}
    with pytest.raises(InvalidInput, match="s has 0"):
        past.problem_of(study(trials, space=lacking))
    filled = {**SPACE, "depth": {**lacking["depth"], "default": 2}}
    model = past.model_of(study(trials, space=filled))
    assert model.nearest({**known[4], "depth": 2}) == (4, True)


def test_what_failed_before_its_first_report_fails_at_once() -> None:
    trials = [trial(p, failed=True) if p["x"] < 0.5 else trial(p, 1.0, 2.0, 3.0) for p in draws(60)]
    found = study(trials)
    problem = past.problem_of(found)
    for one in trials:
        assert problem.fails_after(one.params) == (0 if one.failed else None)
    assert problem.fails_after({"x": 0.02, "kind": "a"}) == 0
    assert problem.fails_after({"x": 0.98, "kind": "a"}) is None
    assert math.isfinite(problem.median)
    itself = past.as_it_ran(found, budget=math.inf)
    assert (itself.trials, itself.epochs) == (60, 3 * sum(not one.failed for one in trials))
    with pytest.raises(InvalidInput, match="s has 7"):
        past.problem_of(study([one for one in trials if one.failed] + [one for one in trials if not one.failed][:7]))


def test_the_scale_is_that_of_values_where_most_fail() -> None:
    trials = [trial(p, failed=True) if p["x"] < 0.8 else trial(p, 1.0) for p in draws(80)]
    problem = past.problem_of(study(trials))
    assert problem.best < problem.median < math.inf


def test_a_retried_failure_is_the_retrys_and_one_beyond_a_full_training_is_none() -> None:
    trials = [trial(params, 1.0, 2.0) for params in draws(12)]
    retried = study([trial(trials[0].params, failed=True), *trials])
    assert past.problem_of(retried).fails_after(trials[0].params) is None
    late = study([trial(trials[0].params, 5.0, failed=True), *trials[1:]], max_resource=2.0)
    assert past.problem_of(late).fails_after(trials[0].params) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_study_without_a_finite_value_is_refused(value: float) -> None:
    trials = [PastTrial(params=params, resources=(1.0,), values=(value,)) for params in draws(10)]
    with pytest.raises(InvalidInput, match="no trial of s reported one"):
        past.problem_of(study(trials))
    broken = trial(draws(11)[-1], 1.0, broken=True)
    with pytest.raises(InvalidInput, match="no trial of s that keeps its constraints reported one"):
        past.problem_of(study([*trials, broken]))


def test_children_of_other_trials_have_no_curves_of_their_own() -> None:
    with pytest.raises(InvalidInput, match="s is one"):
        past.problem_of(study([trial(params, 1.0, 2.0) for params in draws(12)], algorithm="pbt"))


@pytest.mark.parametrize(
    ("fidelity", "levels"), [("width", (32.0, 96.0, 288.0)), ("data_fraction", (1 / 9, 1 / 3, 1.0))]
)
def test_each_size_is_paid_from_zero(fidelity: str, levels: tuple[float, ...]) -> None:
    trials = [trial(params, *levels[: 1 + i % 3]) for i, params in enumerate(draws(12))]
    sized = study(trials, fidelity=fidelity, max_resource=levels[-1])
    assert past.problem_of(sized).max_resource == 9
    itself = past.as_it_ran(sized, budget=math.inf)
    assert itself.epochs == 4 * (1 + (1 + 3) + (1 + 3 + 9))
    assert itself.trace[0] == (1 / 9, trials[0].values[0])
    assert f"the study paid each {fidelity} from zero" in said(sized)
    going_on = past.as_it_ran(replace(sized, fidelity="epochs"), budget=math.inf)
    assert going_on.epochs < itself.epochs


def test_one_objective_of_several_is_said() -> None:
    trials = [trial(params, 1.0) for params in draws(12)]
    assert "measured by loss alone, the first of its 2 objectives" in said(study(trials, objectives=("loss", "size")))
    assert "\n" not in said(study(trials, objectives=("loss",)))


class Recorded:
    """A study as the SDK shows it: every third trial failed before its first report, every fourth is waiting."""

    def __init__(self, **definition: Any) -> None:
        base = {"space": SPACE, "objective": {"metric": "loss"}, "algorithm": {"name": "random"}}
        self.info = SimpleNamespace(definition=base | definition, maximize=False)

    def trials(self) -> list[Any]:
        states = ["waiting" if n % 4 == 3 else "failed" if n % 3 == 2 else "finished" for n in range(24)]
        feasible = SimpleNamespace(feasible=None)
        return [
            SimpleNamespace(number=n, params=params, state=states[n], info=feasible)
            for n, params in enumerate(draws(24))
        ]

    def curves(self, *, trials: Sequence[int], max_points: int) -> Any:
        ended = [one for one in self.trials() if one.state == "finished" and one.number in trials]
        return SimpleNamespace(
            trials=[SimpleNamespace(number=one.number, resource=(0.0,), value=(loss(one.params),)) for one in ended]
        )


def test_failures_without_reports_are_read_and_waiting_trials_are_not() -> None:
    found = _past_study(cast(Any, Recorded()), "s")
    failed = [n for n in range(24) if n % 3 == 2 and n % 4 != 3]
    assert [dict(one.params) for one in found.trials if one.failed] == [draws(24)[n] for n in failed]
    assert len(found.trials) == 18
    assert past.problem_of(found).fails_after(draws(24)[2]) == 0
    assert (found.fidelity, found.objectives) == ("epochs", ())


def test_what_resource_is_and_the_objectives_are_read() -> None:
    sized = {"name": "asha", "fidelity": "width", "max_resource": 9}
    found = _past_study(cast(Any, Recorded(objective=[{"metric": "loss"}, {"metric": "size"}], algorithm=sized)), "s")
    assert (found.fidelity, found.objectives) == ("width", ("loss", "size"))
