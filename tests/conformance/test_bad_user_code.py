"""What goes wrong in users' code, whatever kind it is: a readable reason, what to change, a traceback that starts in
the user's own file, a log, and a worker that trains the next trial.

What ends the process (a crash in C code, `os._exit`, a hang) needs a worker of its own: `test_bad_user_code_ray`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.trainable_runs import Case, Make, Run, run
from workers import memory
from workers.contract import CancelMode, FailureKind, Outcome, TrainerSpec

pytestmark = pytest.mark.usefixtures("user_code")

KINDS = ("function", "ray_tune", "optuna")
FILES = {
    "function": "conformance_functions",
    "ray_tune": "conformance_tune",
    "optuna": "conformance_optuna",
}


def bad(kind: str, name: str, params: dict[str, Any] | None = None) -> Case:
    trainer = TrainerSpec(**{kind: f"{FILES[kind]}:{name}"})
    return Case(trainer, {"lr": 0.1} if params is None else params, "val_loss")


def first_file(got: Run) -> str:
    """The file of the traceback's first frame."""
    line = next(line for line in got.end.traceback.splitlines() if line.startswith("  File "))
    return Path(line.split('"')[1]).name


def require_failed(got: Run, kind: FailureKind, *, says: str, file: str | None) -> None:
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, kind), got.end.reason
    assert says in got.end.reason
    if file is not None:
        assert first_file(got) == f"{file}.py"
    assert "/workers/" not in got.end.traceback


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "failure", "says"),
    [
        ("fails", FailureKind.EXCEPTION, "Error: "),
        ("exits", FailureKind.EXCEPTION, "SystemExit: 3; return from the function"),
        ("text", FailureKind.EXCEPTION, "but got str 'low'"),
    ],
)
def test_exceptions(kind: str, name: str, failure: FailureKind, says: str, make: Make) -> None:
    require_failed(run(make(bad(kind, name))), failure, says=says, file=FILES[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_that_the_space_lacks(kind: str, make: Make) -> None:
    got = run(make(bad(kind, "lacks", {"lr": 0.1, "momentum": 0.9})))
    assert got.end.outcome is Outcome.FAILED
    assert "did you mean 'momentum'" in got.end.reason
    assert "the trial has lr, momentum" in got.end.reason or "the configuration has lr, momentum" in got.end.reason
    assert first_file(got) == f"{FILES[kind]}.py"


@pytest.mark.parametrize("kind", KINDS)
def test_nan_is_divergence(kind: str, make: Make) -> None:
    require_failed(run(make(bad(kind, "nan"))), FailureKind.DIVERGED, says="smaller learning rate", file=None)


@pytest.mark.parametrize(
    ("kind", "failure", "says"),
    [
        ("function", FailureKind.MISSING_METRIC, "call trial.report(step, val_loss=…)"),
        ("ray_tune", FailureKind.MISSING_METRIC, "call tune.report({'val_loss': …})"),
        ("optuna", FailureKind.EXCEPTION, "must return a number for 'val_loss', but got NoneType"),
    ],
)
def test_nothing_is_reported(kind: str, failure: FailureKind, says: str, make: Make) -> None:
    got = run(make(bad(kind, "nothing"), to=50.0))
    require_failed(got, failure, says=says, file=FILES[kind] if got.end.traceback else None)


@pytest.mark.parametrize("kind", ["function", "ray_tune"])
def test_a_metric_that_is_missing(kind: str, make: Make) -> None:
    got = run(make(bad(kind, "misnames")))
    require_failed(got, FailureKind.MISSING_METRIC, says="did you mean 'val_los'", file=FILES[kind])


def test_a_range_that_excludes_the_value_tells_both(make: Make) -> None:
    got = run(make(bad("optuna", "wider")))
    require_failed(got, FailureKind.INVALID, says="0.001 … 0.05, but the configuration has 0.1", file=FILES["optuna"])
    got = run(make(bad("optuna", "other_choices")))
    require_failed(got, FailureKind.INVALID, says="one of 1, 2, but the configuration has 0.1", file=FILES["optuna"])


@pytest.mark.parametrize("kind", KINDS)
def test_modules_that_raise_on_import(kind: str, make: Make) -> None:
    raises = Case(TrainerSpec(**{kind: "conformance_raises:train"}), {}, "val_loss")
    got = run(make(raises))
    require_failed(got, FailureKind.INVALID, says="ValueError: the data are not there yet", file="conformance_raises")
    lacks = Case(TrainerSpec(**{kind: "conformance_lacks:train"}), {}, "val_loss")
    got = run(make(lacks))
    require_failed(got, FailureKind.INVALID, says="install not_installed_anywhere", file="conformance_lacks")


@pytest.mark.parametrize(
    ("kind", "name", "to", "says"),
    [
        ("function", "cannot_pickle", 4.0, "leave out locks, files, lambdas"),
        ("ray_tune", "SavesALock", 1.0, "save_checkpoint must return what can be pickled"),
        ("ray_tune", "wrong_checkpoint", 4.0, "must be a ray.tune.Checkpoint, but got dict"),
        ("ray_tune", "StepsToNowhere", 4.0, "step must return a dictionary"),
        ("ray_tune", "returns_text", 4.0, "must return or yield a number or a dictionary, but got str"),
        ("ray_tune", "ReportsText", 4.0, "but got str 'low'"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Ray has its own to say of a checkpoint that is none
def test_broken_checkpoints_and_results(kind: str, name: str, to: float, says: str, make: Make) -> None:
    require_failed(run(make(bad(kind, name), to=to)), FailureKind.EXCEPTION, says=says, file=FILES[kind])


def test_a_class_that_cannot_load_says_so_from_its_own_file(make: Make) -> None:
    first = run(make(bad("ray_tune", "CannotLoad"), to=2.0))
    got = run(make(bad("ray_tune", "CannotLoad"), to=4.0, checkpoints=(first.end.checkpoint,)))
    require_failed(got, FailureKind.EXCEPTION, says="of another model", file="conformance_tune")
    require_failed(
        run(make(bad("ray_tune", "FailsInStep"))), FailureKind.EXCEPTION, says="no such layer", file="conformance_tune"
    )


def test_reports_after_the_end_are_not_recorded(make: Make) -> None:
    got = run(
        make("goes_on_after_the_end", to=90.0), lambda so_far: CancelMode.STOP if so_far.steps[-1:] == [3] else None
    )
    assert (got.end.outcome, got.steps) == (Outcome.CANCELLED, [1, 2, 3])
    assert "never mind" in got.log


def test_who_allocates_everything_is_told_so_and_nobody_else(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    held = memory._held_bytes()
    monkeypatch.setattr(memory, "node_bytes", lambda: int((held + 2**30) / memory.MOST_OF_NODE))
    got = run(make("allocates_everything", to=50.0))
    require_failed(got, FailureKind.OUT_OF_MEMORY, says="use a smaller batch", file="conformance_functions")
    assert got.steps == [1]
    monkeypatch.undo()
    assert bytearray(2**31)  # what one trial may hold bounds nothing else


@pytest.mark.parametrize(("name", "status"), [("forks", 0.0), ("forks_and_raises", 1.0)])
def test_a_forked_child_never_goes_on_as_a_worker(name: str, status: float, make: Make) -> None:
    got = run(make(name, to=1.0))
    assert got.end.outcome is Outcome.REACHED
    assert got.values() == {1: {"val_loss": status}}


def test_a_forked_child_cannot_report(make: Make) -> None:
    got = run(make("reports_from_a_fork", to=1.0))
    assert got.values() == {1: {"val_loss": 2.0}}
    assert "hand values back to the parent and report there" in got.log


def test_processes_of_its_own_work(make: Make) -> None:
    assert run(make("uses_processes", to=1.0)).values() == {1: {"val_loss": 3.0}}


@pytest.mark.parametrize(
    ("name", "says"),
    [("handles_signals", "leave signal handlers out"), ("reads_a_relative_file", "name files by absolute paths")],
)
def test_hints(name: str, says: str, make: Make) -> None:
    require_failed(run(make(name)), FailureKind.EXCEPTION, says=says, file="conformance_functions")


def test_printing_without_end_costs_a_megabyte(make: Make) -> None:
    got = run(make("prints_a_lot", to=1.0))  # 200 MB
    assert got.end.outcome is Outcome.REACHED
    assert len(got.log) < (1 << 20) + 200
    assert got.log.count("[log cut") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_trial_trains(kind: str, make: Make) -> None:
    run(make(bad(kind, "exits")))
    run(make(bad(kind, "fails")))
    good = {"function": "report_then_save", "ray_tune": "Descends", "optuna": "reports"}[kind]
    assert run(make(bad(kind, good))).end.outcome is Outcome.REACHED


def test_an_optuna_objective_that_is_named_as_a_function_says_so(make: Make) -> None:
    case = Case(TrainerSpec(function="conformance_optuna:one_value"), {"lr": 0.1}, "val_loss")
    says = "an objective of Optuna's is named as trainer: {optuna: 'conformance_optuna:one_value'}"
    require_failed(run(make(case)), FailureKind.EXCEPTION, says=says, file="conformance_optuna")
