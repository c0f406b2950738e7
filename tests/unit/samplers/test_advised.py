"""Draws that past studies advise: every other one, until they mislead."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hpo_service.core.definition import Objective
from hpo_service.core.history import History
from hpo_service.core.proposals import Start
from hpo_service.core.roles import Ask, Batch
from hpo_service.core.states import TrialState
from hpo_service.core.warm_start import Source, WarmStarted
from hpo_service.samplers.advised import Advice
from tests.unit.samplers.test_prior import SPACE, past_study, target

WARM = WarmStarted(
    mode="auto",
    sources=(Source(study="x", name="x", trials=48, shared=("a", "b"), likeness=1.0),),
    prior=(past_study("x", target, 1),),
)


def ask(history: History, number: int) -> Ask:
    return Ask(number=number, space=SPACE, space_version=1, history=history, batch=Batch(history))


def worth(params: Mapping[str, float]) -> float:
    return float(target(np.array([[params["a"], params["b"]]]))[0])


def test_every_other_draw_is_good_elsewhere_and_the_same_each_time() -> None:
    history = History(Objective(metric="loss"), SPACE)
    advice = Advice(3, history, lambda: WARM)
    drawn = [advice.draw(ask(history, number)) for number in range(8)]
    assert [one is None for one in drawn] == [False, True] * 4
    assert all(one is None or worth(one.params) > -0.03 for one in drawn)
    assert drawn[0] == Advice(3, history, lambda: WARM).draw(ask(history, 0))
    assert drawn[0] is not None
    assert drawn[0].reason == "the best of 32 draws by 1 past study"


def test_without_past_studies_there_is_no_advice() -> None:
    history = History(Objective(metric="loss"), SPACE)
    assert Advice(3, history, lambda: None).draw(ask(history, 0)) is None
    assert Advice(3, history, lambda: WarmStarted(mode="auto")).draw(ask(history, 0)) is None


def test_advice_that_misleads_is_not_heard_any_more() -> None:
    history = History(Objective(metric="loss"), SPACE)
    rng = np.random.default_rng(1)
    for number in range(12):
        params = {"a": float(rng.random()), "b": float(rng.random())}
        start = Start(trial=number, params=params, target=9.0, horizon=9.0, reason="so")
        trial = history.start(start)
        trial.state, trial.resource = TrialState.PAUSED, 9.0
        trial.value = worth(params)  # a loss: bad where the past study was good
    assert Advice(3, history, lambda: WARM).draw(ask(history, 12)) is None
