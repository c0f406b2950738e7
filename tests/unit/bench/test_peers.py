"""Each peer searches a tiny problem; what the two references promise about order and balance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpo_service.bench.peers import methods
from hpo_service.bench.peers.bohb import Bracket, brackets
from hpo_service.bench.peers.halving import Asha, OneEpochThenBest, rungs
from hpo_service.bench.problems.base import Problem
from hpo_service.bench.runs import Method

SPACE = {
    "lr": {"type": "loguniform", "low": 1e-4, "high": 1.0},
    "width": {"type": "log_integer", "low": 4, "high": 64},
    "depth": {"type": "integer", "low": 1, "high": 3},
    "batch": {"type": "power_of_two", "low": 16, "high": 128},
    "kind": {"type": "choice", "values": ["a", "b"]},
    "momentum": {"type": "uniform", "low": 0.0, "high": 0.9, "when": {"kind": "a"}},
}


def curves(params: Any) -> Any:
    far = (np.log10(params["lr"]) + 2) ** 2 + (params["kind"] == "b") + abs(params.get("momentum", 0.4) - 0.4)
    return far + 1.0 / np.arange(1, 10)


PROBLEM = Problem(
    collection="synthetic",
    name="bowl",
    space=SPACE,
    max_resource=9,
    maximize=False,
    best=0.1,
    median=2.0,
    curves=curves,
    speed=lambda params: params["width"] / 30,
    fails_after=lambda params: 3 if params["depth"] == 3 else None,
)
METHODS = {method.name: method for method in methods()}
SLOW = {"optuna-gp", "hebo", "syne-tune-cqr", "syne-tune-asha-cqr"}
HERE = [name for name, method in METHODS.items() if not method.missing()]


def test_brackets_begin_with_the_largest() -> None:
    assert [(one.size, one.levels) for one in brackets(52)] == [
        (27, (1, 5, 17, 52)), (12, (5, 17, 52)), (6, (17, 52)), (4, (52,)),
    ]  # fmt: skip
    assert [(one.size, one.levels) for one in brackets(1)] == [(1, (1,))]


def test_a_bracket_keeps_the_best_third_of_a_whole_rung() -> None:
    bracket = Bracket(levels=(1, 3, 9), size=9)
    for trial in range(9):
        assert not bracket.filled
        bracket.add(trial)
    told = [bracket.result(trial, np.inf if trial == 8 else float(trial)) for trial in reversed(range(9))]
    assert told == [[]] * 8 + [[3, 4, 5, 6, 7, 8]]
    assert (list(bracket.waiting), bracket.levels[bracket.rung]) == ([0, 1, 2], 3)
    assert [bracket.result(trial, 1.0 + trial) for trial in (2, 0, 1)] == [[], [], [1, 2]]
    assert bracket.result(0, 0.5) == [0]
    assert bracket.trials == []


def test_names_are_distinct_and_say_what_they_need() -> None:
    assert len(METHODS) == len(methods())
    assert all(method.peer and method.summary for method in METHODS.values())
    assert {"optuna-tpe", "asha-resume", "one-epoch"} <= set(HERE)


@pytest.mark.filterwarnings("ignore")  # of other libraries, about themselves
@pytest.mark.parametrize(
    ("name", "workers"), [(name, n) for name in HERE for n in (1, 4) if n == 1 or name not in SLOW]
)
def test_a_peer_searches_within_its_budget(name: str, workers: int) -> None:
    method: Method = METHODS[name]
    run = method.search(PROBLEM, 3, workers, 3.0)
    assert (run.method, run.seed, run.workers, run.budget) == (name, 3, workers, 3.0)
    assert run.epochs > 0
    assert workers > 1 or run.epochs <= 27
    assert run.trace[-1][0] <= 3.0
    assert run.decisions.count >= run.trials > 0
    assert run.regret_at(3.0) < 1


@pytest.mark.parametrize("name", ["optuna-tpe-hyperband", "asha-resume", "one-epoch"])
def test_a_peer_does_the_same_again_with_the_same_seed(name: str) -> None:
    first, again, other = (METHODS[name].search(PROBLEM, seed, 4, 4.0).trace for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_rungs_grow_by_the_factor_and_end_with_a_full_training() -> None:
    assert rungs(52) == (1, 3, 9, 27, 52)
    assert rungs(9) == (1, 3, 9)
    assert rungs(1) == (1,)


def test_halving_takes_up_the_best_third_from_the_highest_rung_down() -> None:
    peer = Asha(PROBLEM, 0)
    given = []
    for loss in (0.5, 0.3, 0.9, 0.2, 0.8, 0.7, 0.1, 0.6):
        order = peer.ask()
        given.append((order.trial, order.until))
        peer.ended(order.trial, loss, failed=False)
    # Of three at the first rung the best goes on, 0.3; of six two would: 0.1 goes on as well.
    assert given == [(0, 1), (1, 1), (2, 1), (1, 3), (3, 1), (4, 1), (5, 1), (5, 3)]


def test_halving_never_takes_up_what_failed_or_diverged() -> None:
    peer = Asha(PROBLEM, 0)
    for failed in (True, False, False):
        order = peer.ask()
        peer.ended(order.trial, 0.1 if failed else np.inf, failed=failed)
    assert peer.ask().trial == 3


def test_half_of_what_is_spent_goes_into_first_epochs() -> None:
    peer, spent = OneEpochThenBest(PROBLEM, 0), {1: 0, 9: 0}
    rng = np.random.default_rng(0)
    for _ in range(200):
        order = peer.ask()
        spent[order.until] += 1 if order.until == 1 else 8
        peer.ended(order.trial, float(rng.random()), failed=False)
    assert abs(spent[1] - spent[9]) <= 9
