"""Peers on virtual workers: who gets what when, what is told in which order, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hpo_service.bench.peers.clock import Order, Simulation
from hpo_service.bench.problems.base import Problem
from hpo_service.bench.runs import Recorder

EPOCHS = 10


def problem(**changes: Any) -> Problem:
    """Losses x + 1 / epoch; a configuration's speed is its x, where it is asked for."""
    given: dict[str, Any] = {
        "collection": "synthetic",
        "name": "line",
        "space": {"x": {"type": "uniform", "low": 0.0, "high": 4.0}},
        "max_resource": EPOCHS,
        "maximize": False,
        "best": 0.0,
        "median": 2.0,
        "curves": lambda params: params["x"] + 1.0 / np.arange(1, EPOCHS + 1),
        "speed": lambda params: params["x"],
    }
    return Problem(**given | changes)


class Script:
    """Hands out orders from a list, and writes down all it is told."""

    def __init__(self, orders: list[Order | None], *, stops: Mapping[int, int] | None = None) -> None:
        self.orders = orders
        self.stops = stops or {}
        self.told: list[tuple[Any, ...]] = []

    def ask(self) -> Order | None:
        return self.orders.pop(0) if self.orders else None

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        self.told.append((trial, epoch, loss))
        return epoch < self.stops.get(trial, EPOCHS + 1)

    def ended(self, trial: int, loss: float, *, failed: bool) -> None:
        self.told.append((trial, "failed" if failed else "ended", loss))


def run(script: Script, *, workers: int = 1, budget: float = 4.0, **changes: Any) -> tuple[Simulation, Recorder]:
    recorder = Recorder(maximize=changes.get("maximize", False))
    simulation = Simulation(problem(**changes), script, recorder, workers=workers, budget=budget)
    simulation.run()
    return simulation, recorder


def order(trial: int, x: float, until: int = EPOCHS) -> Order:
    return Order(trial, {"x": x}, until)


def test_one_worker_pays_each_epoch_alike_however_slow_its_configuration() -> None:
    simulation, recorder = run(Script([order(0, 3.0), order(1, 0.5)]))
    assert simulation.now == 20
    assert (recorder.trials, recorder.epochs) == (2, 20)
    assert recorder.trace(4.0)[-1] == (2.0, 0.6)


def test_four_workers_run_side_by_side_each_at_its_configurations_speed() -> None:
    # worker a: 0.5 × 10 = 5, then 1.0 × 10 = 15; b: 10, then 2.0 × 2 = 14; c: 20; d: 2.5 × 10 = 25
    script = Script([order(0, 0.5), order(1, 1.0), order(2, 2.0), order(3, 2.5), order(4, 1.0), order(5, 2.0, 2)])
    simulation, _ = run(script, workers=4)
    assert [(trial, said) for trial, said, _ in script.told if said == "ended"] == [
        (0, "ended"), (1, "ended"), (5, "ended"), (4, "ended"), (2, "ended"), (3, "ended"),
    ]  # fmt: skip
    assert simulation.now == 25


def test_reports_come_in_order_of_virtual_time() -> None:
    script = Script([order(0, 1.0, 3), order(1, 0.4, 4)])
    run(script, workers=2)
    assert [(trial, epoch) for trial, epoch, _ in script.told if epoch != "ended"] == [
        (1, 1), (1, 2), (0, 1), (1, 3), (1, 4), (0, 2), (0, 3),
    ]  # fmt: skip


def test_a_paused_trial_goes_on_without_paying_again() -> None:
    script = Script([order(0, 1.0, 3), order(0, 1.0, 5)])
    simulation, recorder = run(script)
    assert simulation.now == 5
    assert [epoch for _, epoch, _ in script.told] == [1, 2, 3, "ended", 4, 5, "ended"]
    assert recorder.trials == 1


def test_a_peer_that_has_to_wait_is_asked_again_when_something_was_told() -> None:
    script = Script([order(0, 1.0, 4), None, order(1, 1.0, 2)])
    simulation, recorder = run(script, workers=2)
    assert [said[:2] for said in script.told] == [
        (0, 1), (0, 2), (1, 1), (0, 3), (1, 2), (1, "ended"), (0, 4), (0, "ended"),
    ]  # fmt: skip
    assert (simulation.now, recorder.trials) == (4, 2)


def test_a_report_may_end_its_trial() -> None:
    script = Script([order(0, 1.0), order(1, 2.0, 1)], stops={0: 2})
    simulation, _ = run(script)
    assert script.told == [(0, 1, 2.0), (0, 2, 1.5), (0, "ended", 1.5), (1, 1, 3.0), (1, "ended", 3.0)]
    assert simulation.now == 3


def test_what_ends_after_the_budget_never_arrives() -> None:
    script = Script([order(0, 3.0), order(1, 3.0)])
    _, recorder = run(script, budget=1.5)
    assert recorder.epochs == 15
    assert script.told[-1][:2] == (1, 5)


def test_losses_are_the_best_so_far_and_to_be_minimised() -> None:
    script = Script([order(0, 1.0, 4)])
    curve = np.array([0.2, np.nan, 0.5, 0.4, *[0.0] * 6])
    run(script, maximize=True, curves=lambda params: curve, best=1.0, median=0.0)
    assert [loss for _, _, loss in script.told] == [-0.2, -0.2, -0.5, -0.5, -0.5]


def test_a_trial_without_any_number_has_an_infinite_loss_and_is_no_ones_best() -> None:
    script = Script([order(0, 1.0, 2)])
    _, recorder = run(script, curves=lambda params: np.full(EPOCHS, np.nan))
    assert [loss for _, _, loss in script.told] == [np.inf] * 3
    assert recorder.trace(4.0) == ()
    assert recorder.epochs == 2


def test_a_training_that_raises_ends_as_failed_and_its_last_epoch_takes_time() -> None:
    script = Script([order(0, 1.0), order(1, 2.0, 1)])
    simulation, recorder = run(script, fails_after=lambda params: 2 if params["x"] == 1.0 else None)
    assert script.told == [(0, 1, 2.0), (0, 2, 1.5), (0, "failed", 1.5), (1, 1, 3.0), (1, "ended", 3.0)]
    assert (simulation.now, recorder.epochs) == (4, 3)


@pytest.mark.parametrize("workers", [1, 3])
def test_each_answer_is_one_decision(workers: int) -> None:
    _, recorder = run(Script([order(i, 1.0, 2) for i in range(5)]), workers=workers)
    assert recorder.decisions().count == 5
    assert 0 <= recorder.decisions().mean_ms <= recorder.decisions().worst_ms
