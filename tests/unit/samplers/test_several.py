"""Models for several objectives and constraints: what is good to them, where they look, and the same folded again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpo_service import algorithms
from hpo_service.core import events
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.history import History
from hpo_service.core.states import Origin, TrialState
from hpo_service.samplers import hypervolume
from hpo_service.samplers.outcomes import Outcomes
from tests.conformance.driver import Attempt, Driver, Nature

SPACE = {
    "a": {"type": "uniform", "low": 0.0, "high": 1.0},
    "b": {"type": "uniform", "low": 0.0, "high": 1.0},
    "kind": {"type": "choice", "values": ["x", "y"]},
    "c": {"type": "uniform", "low": 0.0, "high": 1.0, "when": {"kind": "x"}},
}
BOUND = {"metric": "size", "at_most": 0.8}


class Trading(Driver):
    """Trials whose objectives are at odds, and whose size grows with one parameter."""

    def report(self, attempt: Attempt, reach: float) -> None:
        params = self.rows[attempt.trial].params
        first = params["a"] ** 2 + 0.1 * params["b"] + 0.2 * (params["kind"] == "y")
        second = (1 - params["a"]) ** 2 + params.get("c", 0.5)
        third = (params["b"] - 0.4) ** 2 + 0.5 * params["a"]
        told = [first, second, third][: len(self.definition.objectives)]
        told += [params["a"] + params["b"]] * len(self.definition.constraints)
        row = self.rows[attempt.trial]
        attempt.reached = row.reached = reach
        row.value = first
        self.record(_reported(attempt, reach, tuple(told)))


def _reported(attempt: Attempt, reach: float, values: tuple[float, ...]) -> Any:
    row = events.ReportRow(trial=attempt.trial, fence=attempt.fence, step=int(reach), resource=reach, values=values)
    return events.Reported(reports=(row,))


def study(algorithm: dict[str, Any], *, objectives: int = 2, constraints: int = 0, trials: int = 24) -> StudyDefinition:
    names = ["loss", "time", "heat"][:objectives]
    parsed = parse(
        {
            "objective": [{"metric": name} for name in names],
            "constraints": [BOUND] * constraints,
            "space": SPACE,
            "algorithm": {"max_resource": 1, **algorithm},
            "trainer": {"function": "training:train"},
            "budget": {"trials": trials},
        }
    )
    algorithms.check(parsed)
    return parsed


TPE = {"name": "bayesian", "startup_trials": 6}
GP = {"name": "bayesian", "surrogate": "gp", "startup_trials": 6}


@pytest.mark.parametrize(("objectives", "constraints"), [(2, 0), (3, 0), (2, 1), (1, 1)])
@pytest.mark.parametrize("algorithm", [TPE, GP])
def test_folded_again_is_kept_alive(algorithm: dict[str, Any], objectives: int, constraints: int) -> None:
    trials = 9 if algorithm is GP else 16
    definition = study(algorithm, objectives=objectives, constraints=constraints, trials=trials + 4)
    nature = Nature(seed=3, failing=0.2, failing_by=1, horizon=1)
    driver = Trading(definition, nature, workers=3, seed=2, lag=1, check_every=25 if algorithm is GP else 17)
    driver.run(until=lambda d: len(d.rows) >= trials)
    driver.compare()
    assert driver.refolds >= 1
    assert any(" on " in reason for row in driver.rows.values() for reason in row.reasons)


@pytest.mark.parametrize("algorithm", [TPE, GP])
def test_the_view_is_of_the_first_objective(algorithm: dict[str, Any]) -> None:
    driver = Trading(study(algorithm, trials=9), Nature(horizon=1), workers=1, seed=1).run()
    view = driver.algorithm.view(final=True)
    assert view is not None
    document = view.to_json()
    best = min(driver.rows.values(), key=lambda row: row.value)
    assert document["incumbent"]["trial"] == best.number
    wanted = "log expected hypervolume improvement" if algorithm is GP else "density ratio l(x)/g(x)"
    assert document["acquisition_name"] == wanted
    assert {"a", "b", "kind"} <= set(document["lines"])


def test_a_process_under_a_constraint_looks_where_it_is_kept() -> None:
    driver = Trading(study(GP, objectives=1, constraints=1, trials=14), Nature(horizon=1), workers=1, seed=1).run()
    chosen = [trial for trial in driver.algorithm.history if "process on" in driver.rows[trial.number].reasons[0]]
    assert len(chosen) == 8
    assert sum(trial.feasible is True for trial in chosen) >= 6


@pytest.mark.parametrize(("objectives", "share"), [(2, 1.0), (3, 0.5)])
def test_of_many_objectives_every_other_draw_is_the_best_of_a_few_places(
    objectives: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    climbed: list[int] = []
    highest = hypervolume.highest
    monkeypatch.setattr(hypervolume, "highest", lambda *parts: climbed.append(1) or highest(*parts))
    trials = 6 + 30
    Trading(study(GP, objectives=objectives, trials=trials), Nature(horizon=1), workers=1, seed=1).run()
    assert len(climbed) / 30 == pytest.approx(share, abs=0.2)


def test_the_few_places_are_configurations_anywhere_and_around_the_front() -> None:
    space = {
        "a": FloatDistribution(1e-3, 1.0, log=True),
        "b": IntDistribution(1, 4),
        "c": CategoricalDistribution(("x", "y", "z")),
        "d": FloatDistribution(0.0, 1.0),
    }
    processes = object.__new__(hypervolume.Processes)
    processes._space = hypervolume.PointSpace(space)
    front = np.array([[0.0, 0.125, 2.0, 1.0]])
    few = processes._few(front, np.random.RandomState(0))
    assert few.shape == (2 * hypervolume.FEW, 4)
    for place in few:
        codes = processes._space.get_unnormalized_param(place)
        assert all(one._contains(one.to_internal_repr(codes[name])) for name, one in space.items()), codes
    anywhere, around = np.split(few, 2)
    assert not (anywhere == front).any(axis=1).all()
    assert (around == front).mean() > 0.25
    assert (around != front).any(axis=0).all(), "each parameter is changed now and then"
    assert len(processes._few(front[:0], np.random.RandomState(0))) == hypervolume.FEW


@pytest.mark.parametrize("objectives", [1, 2])
@pytest.mark.parametrize("known", [(), (3,), (3, 5)])
def test_a_process_goes_on_where_next_to_nothing_is_known_of_a_constraint(
    known: tuple[int, ...], objectives: int
) -> None:
    class Silent(Trading):
        """Few report the size, and theirs is too large."""

        def record(self, payload: Any) -> Any:
            if isinstance(payload, events.Reported):
                payload = events.Reported(reports=tuple(self._silenced(row) for row in payload.reports))
            return super().record(payload)

        def _silenced(self, row: events.ReportRow) -> events.ReportRow:
            size = 2.0 if row.trial in known else math.nan
            return row._replace(values=(*row.values[:-1], size))

    definition = study(GP, objectives=objectives, constraints=1, trials=12)
    driver = Silent(definition, Nature(horizon=1), workers=1, seed=1).run()
    assert len(driver.rows) == 12
    assert sum("process on" in row.reasons[0] for row in driver.rows.values()) >= 4


def test_the_expected_hypervolume_improvement_is_the_mean_of_samples() -> None:
    class Fitted:
        def __init__(self, mean: float, variance: float) -> None:
            self.moments, self.length_scales = (mean, variance), np.ones(1)

        def posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            shape = x[..., 0]
            return 0 * shape + self.moments[0], 0 * shape + self.moments[1]

    values, behind = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]), np.array([-0.5, -0.5])
    regressors: Any = [Fitted(0.6, 0.3), Fitted(0.2, 0.1)]
    volume = hypervolume.LogHypervolumeImprovement(None, regressors, values, behind)
    found = float(volume.eval_acqf(torch.zeros(1, 1, dtype=torch.float64)).exp())
    samples = np.array([0.6, 0.2]) + np.sqrt([0.3, 0.1]) * np.random.default_rng(0).standard_normal((20_000, 2))
    steps = np.array([[-0.5, 0.0, 1.0], [0.0, 0.5, 0.5], [0.5, 1.0, 0.0], [1.0, np.inf, -0.5]])  # from, to, beyond
    width = np.clip(samples[:, :1] - steps[:, 0], 0, steps[:, 1] - steps[:, 0])
    gains = (width * np.clip(samples[:, 1:] - steps[:, 2], 0, None)).sum(axis=1)
    assert found == pytest.approx(gains.mean(), rel=0.03)


def test_volumes_are_reckoned_from_behind_the_better_half() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0], [0.4, 0.4], [-0.5, 0.5], [-9.0, 0.2], [0.1, -9.0], [-8.0, -8.0]])
    ranks = np.array([0, 0, 0, 1, 2, 2, 3])
    assert hypervolume.reference(values, ranks).tolist() == pytest.approx([-0.65, -0.1])  # of the first four
    assert hypervolume.reference(values[:1], ranks[:1]).tolist() == pytest.approx([-0.1, 0.9])


def test_improvements_have_gradients_however_unlikely_they_are() -> None:
    z = torch.tensor([5.0, -1.0, -6.0, -40.0, -2e3, -1e8], dtype=torch.float64, requires_grad=True)
    found = hypervolume._log_improvement(z)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(z.grad).all()
    assert (found.diff() < 0).all()


def test_the_front_is_kept_up_as_trials_rest() -> None:
    definition = study(TPE)
    history = History(definition.objectives[0], definition.search_space, others=definition.objectives[1:])
    outcomes = Outcomes(history)
    rng = np.random.default_rng(0)
    losses = rng.integers(0, 12, (60, 2)).astype(float)
    for number, (first, second) in enumerate(losses):
        trial = history._add(number, {"a": number / 100}, Origin.SAMPLED, 1)
        trial.value, trial.others, trial.state = float(first), (float(second),), TrialState.PAUSED
        outcomes.rested(trial)
    best = [i for i, one in enumerate(losses) if not any((two <= one).all() and (two < one).any() for two in losses)]
    assert outcomes.best(100) == best
    assert len(outcomes.best(2)) == min(2, len(best))
