"""What only Optuna objectives have: suggestions, intermediate values, pruning, attributes, constraints, two values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.trainable_runs import Case, Make, run
from workers.contract import CancelMode, FailureKind, Outcome, TrainerSpec

pytestmark = pytest.mark.usefixtures("user_code")


def objective(name: str, params: dict[str, Any] | None = None, **fixed: Any) -> Case:
    trainer = TrainerSpec(optuna=f"conformance_optuna:{name}", params=fixed)
    return Case(trainer, {"lr": 0.1} if params is None else params, "val_loss")


def losses(lr: float, epochs: int) -> list[float]:
    import conformance_optuna  # type: ignore[import-not-found]

    return [loss for _, loss in zip(range(epochs), (v for _, v in conformance_optuna._losses(lr)), strict=False)]


def test_what_it_returns_is_the_only_report(make: Make) -> None:
    got = run(make(objective("one_value"), to=float("inf"), horizon=float("inf")))
    assert (got.end.outcome, got.end.resource) == (Outcome.COMPLETED, 1.0)
    assert got.values() == {1: {"val_loss": pytest.approx(0.01)}}


def test_steps_from_zero_stand_for_one_more_and_the_value_returned_comes_last(make: Make) -> None:
    got = run(make(objective("nine_epochs_from_zero"), to=float("inf"), horizon=float("inf")))
    expected = losses(0.1, 9)
    assert got.end.outcome is Outcome.COMPLETED
    assert [(m.step, m.resource) for m in got.reports] == [*((s, s + 1.0) for s in range(9)), (9, 9.0)]
    assert [m.metrics["val_loss"] for m in got.reports] == [*expected, expected[-1] / 2]


def test_a_rung_is_reached_at_its_report(make: Make) -> None:
    got = run(make(objective("nine_epochs_from_zero"), to=3.0, horizon=9.0))
    assert (got.end.outcome, got.steps, got.end.resource) == (Outcome.REACHED, [0, 1, 2], 3.0)


def test_at_the_last_rung_the_value_returned_takes_the_last_reports_place(make: Make) -> None:
    got = run(make(objective("nine_epochs_from_zero"), to=9.0, horizon=9.0))
    assert (got.end.outcome, got.end.resource) == (Outcome.REACHED, 9.0)
    assert got.steps == list(range(9))
    assert got.reports[-1].metrics["val_loss"] == losses(0.1, 9)[-1] / 2


def test_an_objective_that_trains_past_the_last_rung_is_ended_there(make: Make) -> None:
    got = run(make(objective("nine_epochs_from_zero"), to=6.0, horizon=6.0))
    assert (got.end.outcome, got.steps, got.end.resource) == (Outcome.REACHED, [0, 1, 2, 3, 4, 5], 6.0)
    assert [m.metrics["val_loss"] for m in got.reports] == losses(0.1, 6)


def test_suggestions_attributes_and_constraints(make: Make) -> None:
    params = {"lr": 0.1, "layers": 2, "optimizer": "sgd", "momentum": 0.30000000000000004}
    got = run(make(objective("everything", params), directions=("maximize",)))
    assert got.end.outcome is Outcome.COMPLETED, got.end.traceback
    lines = got.log.splitlines()
    told = json.loads(next(line for line in lines if line.startswith("[")))
    attributes = {"parameters": 1234, "note": "fine"}
    assert told == [
        0.1, 2, "sgd", pytest.approx(0.3), 7, params, attributes, {"memory": 2.5, "latency": -1.0}
    ]  # fmt: skip
    assert "MAXIMIZE ['float', 'int', 'str'] ['lr', 'layers', 'optimizer', 'momentum']" in lines
    metrics = {"val_loss": 0.5, "parameters": 1234.0, "constraint_memory": 2.5, "constraint_latency": -1.0}
    assert got.values() == {1: metrics}
    assert "user attribute note = 'fine'" in lines
    assert "constraint memory = 2.5 (broken)" in lines
    assert "constraint latency = -1.0 (holds)" in lines


def test_fixed_parameters_are_suggested_too(make: Make) -> None:
    got = run(make(objective("everything", {"lr": 0.1}, layers=3, optimizer="adam")))
    assert got.end.outcome is Outcome.COMPLETED, got.end.traceback


@pytest.mark.filterwarnings("ignore::UserWarning")  # Optuna's own
def test_a_list_stands_for_the_tuple_that_is_asked_for(make: Make) -> None:
    got = run(make(objective("tuples", {}, shape=[64, 32])))
    assert got.values() == {1: {"val_loss": 2.0}}


def test_several_objectives(make: Make) -> None:
    two = {"metric": "loss", "metrics": ("loss", "size"), "directions": ("minimize", "maximize")}
    assert run(make(objective("two_values"), **two)).values() == {1: {"loss": 0.1, "size": 0.9}}
    refused = run(make(objective("reports_with_two"), **two))
    assert refused.end.failure is FailureKind.EXCEPTION
    assert "not supported for multi-objective" in refused.end.reason
    short = run(make(objective("one_value"), **two))
    assert "must return 2 values (loss, size), but it returned 1" in short.end.reason


def test_pruning_itself_is_a_clean_end(make: Make) -> None:
    got = run(make(objective("prunes_itself"), to=50.0))
    assert (got.end.outcome, got.end.failure, got.steps) == (Outcome.CANCELLED, None, [0, 1])
    assert got.end.reason == "the objective raised TrialPruned"
    assert run(make(objective("prunes_at_once"))).end.outcome is Outcome.CANCELLED
    assert run(make(objective("prunes_at_once"), preflight=True)).end.outcome is Outcome.REACHED


def test_pruning_changes_no_end_that_was_caught(make: Make) -> None:
    paused = run(
        make(objective("prunes_whatever_ended_it"), to=50.0),
        lambda so_far: CancelMode.PAUSE if len(so_far.steps) >= 2 else None,
    )
    assert paused.end.outcome is Outcome.PAUSED
    reached = run(make(objective("prunes_whatever_ended_it"), to=3.0, horizon=9.0))
    assert (reached.end.outcome, reached.steps) == (Outcome.REACHED, [1, 2, 3])


def test_a_stop_between_report_and_should_prune_prunes(make: Make) -> None:
    asked = 0

    def cancelled(_: Any) -> CancelMode | None:
        nonlocal asked
        asked += 1
        return CancelMode.STOP if asked >= 5 else None  # before it starts, then at report, prune, report, prune

    got = run(make(objective("reports"), to=50.0, horizon=99.0), cancelled)
    assert (got.end.outcome, got.steps, got.end.reason) == (Outcome.CANCELLED, [1, 2], "stopped at a report")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Optuna's own
def test_repeated_and_falling_steps_are_left_out(make: Make) -> None:
    got = run(make(objective("any_order"), to=float("inf"), horizon=float("inf")))
    assert got.steps == [1, 3, 4]
    assert "step 2 was reported after step 3" in got.log


def test_except_exception_does_not_swallow_the_end(make: Make) -> None:
    assert run(make(objective("swallows"), to=3.0, horizon=9.0)).steps == [1, 2, 3]


def test_an_objective_takes_one_argument(make: Make) -> None:
    got = run(make(objective("two_arguments")))
    assert got.end.failure is FailureKind.INVALID
    assert "functools.partial" in got.end.reason
    assert run(make(objective("bound"))).values() == {1: {"val_loss": 3.0}}
