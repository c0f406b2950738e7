"""One suite over everything that trains: recipes, functions, Ray Tune trainables and Optuna objectives keep the same
promises.

What only one kind has is in `test_tune_trainables` and `test_optuna_objectives`; what goes wrong in user code is in
`test_bad_user_code`.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.trainable_runs import CASES, CHECKPOINTING, RECIPE, Case, Make, run
from workers.contract import CancelMode, FailureKind, Logged, Outcome, Started, TrainerSpec

pytestmark = pytest.mark.usefixtures("user_code")


@pytest.mark.parametrize("name", CASES)
def test_trains_to_the_target(name: str, make: Make) -> None:
    got = run(make(name))
    assert got.end.outcome is Outcome.REACHED
    assert got.end.failure is None
    assert got.steps == [1, 2, 3, 4]
    assert got.end.resource == 4.0
    assert got.started.resumed_from == 0.0
    assert isinstance(got.messages[0], Started | Logged)
    seconds = [m.seconds for m in got.reports]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("name", CASES)
def test_environment_names_code_and_packages(name: str, make: Make) -> None:
    found = run(make(name)).started.environment
    assert len(found["code"]["sha256"]) == 64
    assert "numpy" in found["packages"]
    assert found["run"]["method"] == "plain"
    json.dumps(found)
    again = run(make(name)).started.environment
    assert again["digest"] == found["digest"]


@pytest.mark.parametrize("name", CHECKPOINTING)
def test_target_leaves_a_checkpoint_of_the_target(name: str, make: Make, tmp_path: Path) -> None:
    got = run(make(name, to=2.0))
    ref = got.end.checkpoint
    assert ref is not None
    assert (ref.resource, ref.step) == (2.0, 2)
    assert ref.path == f"checkpoints/study-1/7/{got.end.key.fence}-2.pt"
    assert (tmp_path / ref.path).stat().st_size == ref.size_bytes
    assert got.saved[-1] == ref


@pytest.mark.parametrize("name", CHECKPOINTING)
def test_paused_and_resumed_is_bit_identical(name: str, make: Make) -> None:
    whole = run(make(name, to=5.0))
    first = run(make(name, to=2.0))
    assert first.end.checkpoint is not None
    second = run(make(name, to=5.0, from_resource=2.0, checkpoints=(first.end.checkpoint,)))
    assert second.started.resumed_from == 2.0
    assert second.steps == [3, 4, 5]
    assert {**first.values(), **second.values()} == whole.values()


@pytest.mark.parametrize("name", CHECKPOINTING)
def test_a_target_that_was_reached_before_is_not_trained_past(name: str, make: Make) -> None:
    """The worker of the first attempt was lost after its last checkpoint, and before it could say that it had ended."""
    first = run(make(name, to=2.0))
    assert first.end.checkpoint is not None
    again = run(make(name, to=2.0, from_resource=2.0, checkpoints=(first.end.checkpoint,)))
    assert (again.end.outcome, again.end.resource, again.steps) == (Outcome.REACHED, 2.0, [])
    assert again.started.resumed_from == 2.0


def test_without_checkpoints_a_segment_starts_from_zero(make: Make) -> None:
    assert run(make("never_saves", to=2.0)).end.checkpoint is None
    again = run(make("never_saves", to=4.0, from_resource=2.0))
    assert again.started.resumed_from == 0.0
    assert again.steps == [1, 2, 3, 4]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("mode", "outcome"), [(CancelMode.PAUSE, Outcome.PAUSED), (CancelMode.STOP, Outcome.CANCELLED)]
)
def test_cancelled_at_a_report(name: str, mode: CancelMode, outcome: Outcome, make: Make) -> None:
    got = run(make(name, to=50.0), lambda so_far: mode if so_far.steps[-1:] == [3] else None)
    assert got.end.outcome is outcome
    assert got.steps == [1, 2, 3]
    assert got.end.resource == 3.0
    if mode is CancelMode.PAUSE and CASES[name].checkpoints:
        assert got.end.checkpoint is not None
        assert got.end.checkpoint.resource == 3.0


@pytest.mark.parametrize("name", CHECKPOINTING)
def test_cancelled_before_it_starts(name: str, make: Make) -> None:
    first = run(make(name, to=2.0))
    assert first.end.checkpoint is not None
    got = run(make(name, checkpoints=(first.end.checkpoint,)), lambda _: CancelMode.PAUSE)
    assert got.messages == []
    assert (got.end.outcome, got.end.resource) == (Outcome.PAUSED, 2.0)
    assert got.end.checkpoint == first.end.checkpoint


@pytest.mark.parametrize("name", CHECKPOINTING)
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damaged_checkpoint_falls_back_to_the_one_before(name: str, damage: str, make: Make, tmp_path: Path) -> None:
    first = run(make(name, to=1.0)).end.checkpoint
    assert first is not None
    second = run(make(name, to=3.0, from_resource=1.0, checkpoints=(first,))).end.checkpoint
    assert second is not None
    _damage(tmp_path / second.path, damage)
    got = run(make(name, to=4.0, from_resource=3.0, checkpoints=(second, first)))
    assert got.started.resumed_from == 1.0
    assert got.steps == [2, 3, 4]
    assert got.end.outcome is Outcome.REACHED
    assert second.path in got.log


@pytest.mark.parametrize("name", CHECKPOINTING)
def test_no_readable_checkpoint_means_from_zero(name: str, make: Make, tmp_path: Path) -> None:
    only = run(make(name, to=2.0)).end.checkpoint
    assert only is not None
    _damage(tmp_path / only.path, "gone")
    got = run(make(name, to=3.0, from_resource=2.0, checkpoints=(only,)))
    assert got.started.resumed_from == 0.0
    assert got.steps == [1, 2, 3]


@pytest.mark.parametrize("name", [name for name in CASES if name != "optuna"])  # its values take the definition's names
def test_missing_objective_metric(name: str, make: Make) -> None:
    got = run(make(name, metric="val_los", metrics=("val_los",)))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.MISSING_METRIC)
    assert "'val_los'" in got.end.reason
    assert "did you mean 'val_loss'" in got.end.reason
    assert got.steps == [1]


def test_missing_metric_points_at_the_users_report(make: Make) -> None:
    got = run(make("misnames"))
    assert "it holds accuracy, val_los" in got.end.reason
    assert "did you mean 'val_los'" in got.end.reason
    assert "trial.report(1, val_los=1.0, accuracy=0.5)" in got.end.traceback
    assert "workers/" not in got.end.traceback


def test_second_objective_must_be_reported_too(make: Make) -> None:
    got = run(make("never_saves", metrics=("val_loss", "latency")))
    assert got.end.failure is FailureKind.MISSING_METRIC
    assert "'latency'" in got.end.reason


def test_diverging_recipe_fails_with_its_report(make: Make) -> None:
    case = Case(RECIPE, {"lr": 100.0, "optimizer": "sgd", "weight_decay": 10.0}, "val_loss")
    got = run(make(case, to=20.0))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.DIVERGED)
    assert got.steps == [1]
    assert not math.isfinite(got.reports[-1].metrics["val_loss"])


def test_infinite_objective_is_reported_and_fails(make: Make) -> None:
    got = run(make("infinite"))
    assert got.end.failure is FailureKind.DIVERGED
    assert got.reports[-1].metrics == {"val_loss": float("inf")}


@pytest.mark.parametrize("name", CASES)
def test_timeout_is_seen_at_a_report(name: str, make: Make) -> None:
    got = run(make(name, to=50.0, trial_timeout_s=0.0))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.TIMED_OUT)
    assert got.steps == [1]
    assert "trial_timeout_s" in got.end.reason


@pytest.mark.parametrize("name", CASES)
def test_preflight_is_one_step_without_checkpoint(name: str, make: Make, tmp_path: Path) -> None:
    got = run(make(name, to=50.0, preflight=True))
    assert got.end.outcome is Outcome.REACHED
    assert got.steps == [1]
    assert got.end.checkpoint is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_preflight_says_that_storage_cannot_be_written(make: Make, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    got = run(make("never_saves", preflight=True, storage_root=str(blocked)))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.STORAGE)
    assert str(blocked) in got.end.reason


@pytest.mark.parametrize("name", CHECKPOINTING)
def test_unwritable_storage_fails_the_attempt(name: str, make: Make, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    got = run(make(name, storage_root=str(blocked)))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.STORAGE)


def test_exception_swallowing_function_still_ends(make: Make) -> None:
    assert run(make("swallows", to=3.0)).steps == [1, 2, 3]


def test_function_that_returns_early_completed(make: Make) -> None:
    got = run(make("returns_early", to=9.0))
    assert (got.end.outcome, got.end.resource) == (Outcome.COMPLETED, 2.0)


def test_function_that_never_reports_failed(make: Make) -> None:
    got = run(make("returns_nothing"))
    assert got.end.failure is FailureKind.MISSING_METRIC
    assert "trial.report" in got.end.reason


def test_output_is_kept_in_order_and_streams_are_put_back(make: Make) -> None:
    before = sys.stdout, sys.stderr
    got = run(make("talks", to=1.0))
    assert got.log == "to stdout\nto stderr\nINFO mine: to the log\nto the trial\n"
    assert (sys.stdout, sys.stderr) == before


def test_output_is_cut_with_a_note(make: Make) -> None:
    got = run(make("floods", to=1.0))
    assert got.end.outcome is Outcome.REACHED
    assert len(got.log) < (1 << 20) + 200
    assert got.log.count("[log cut") == 1


def test_traceback_holds_the_users_frames_only(make: Make) -> None:
    got = run(make("fails"))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.EXCEPTION)
    assert got.end.reason == "KeyError: 'missing key'"
    assert "conformance_functions.py" in got.end.traceback.splitlines()[1]
    assert "in helper" in got.end.traceback
    assert "workers/" not in got.end.traceback
    assert got.end.resource == 1.0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("exits", FailureKind.EXCEPTION),
        ("no_memory", FailureKind.OUT_OF_MEMORY),
        ("torch_no_memory", FailureKind.OUT_OF_MEMORY),
        ("repeats", FailureKind.EXCEPTION),
        ("text_metric", FailureKind.EXCEPTION),
        ("cannot_pickle", FailureKind.EXCEPTION),
    ],
)
def test_ways_to_fail(name: str, kind: FailureKind, make: Make) -> None:
    got = run(make(name))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, kind)
    assert got.end.reason
    assert "conformance_functions.py" in got.end.traceback


def test_messages_of_wrong_reports_name_rule_value_and_remedy(make: Make) -> None:
    assert "must be larger than the one before (2), but got 2" in run(make("repeats")).end.reason
    assert "metric 'val_loss' must be one number, but got str 'low'" in run(make("text_metric")).end.reason
    assert "must be below 2^53, but got 9007199254740992" in run(make("counts_nanoseconds")).end.reason


def test_numpy_and_torch_scalars_are_numbers(make: Make) -> None:
    got = run(make("scalars", to=1.5))
    assert got.end.outcome is Outcome.REACHED
    assert got.reports[0].metrics == {"val_loss": 0.5, "other": 0.25}
    assert (got.reports[0].step, got.reports[0].resource) == (1, 1.5)


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("conformance_functions:report_then_sav", "did you mean 'report_then_save'"),
        ("conformance_function:train", "there is no module 'conformance_function'"),
        ("conformance_functions", "pkg.module:name"),
        ("conformance_functions:sys", "must be a function"),
        ("workers:train", "rename it"),
    ],
)
def test_functions_that_cannot_be_found_are_invalid(path: str, hint: str, make: Make) -> None:
    got = run(make(Case(TrainerSpec(function=path), {}, "val_loss")))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.INVALID)
    assert hint in got.end.reason


@pytest.mark.parametrize(
    ("recipe", "params", "hint"),
    [
        ("image_clasifier", {}, "did you mean 'image_classifier'"),
        ("image_classifier", {"lr": 101.0}, "lr must lie in"),
        ("image_classifier", {"batch_size": 0}, "batch_size must lie in"),
        ("image_classifier", {"hiden_units": 3}, "did you mean 'hidden_units'"),
        ("image_classifier", {"data": "/nowhere/data.npz"}, "there is nothing at '/nowhere/data.npz'"),
        ("tabular", {"data": "/nowhere/data.csv"}, "there is nothing at '/nowhere/data.csv'"),
    ],
)
def test_recipes_that_cannot_be_built_are_invalid(recipe: str, params: dict[str, Any], hint: str, make: Make) -> None:
    got = run(make(Case(TrainerSpec(recipe=recipe), params, "val_loss")))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.INVALID)
    assert hint in got.end.reason


def test_a_function_leaves_no_trace_in_the_process(make: Make) -> None:
    import os
    import random

    import torch

    before = os.getcwd(), random.getstate(), torch.get_default_dtype(), torch.get_rng_state().tolist()
    assert run(make("leaks", to=1.0)).end.outcome is Outcome.REACHED
    assert (os.getcwd(), random.getstate(), torch.get_default_dtype(), torch.get_rng_state().tolist()) == before
    assert "HPO_LEAK" not in os.environ


@pytest.mark.parametrize("name", ["image_classifier", "report_then_save"])
def test_deterministic_kernels_are_switched_on_for_the_attempt_alone(name: str, make: Make) -> None:
    import torch

    got = run(make(name, to=1.0, deterministic=True))
    assert got.started.environment["run"]["determinism"]["algorithms"] is True
    assert not torch.are_deterministic_algorithms_enabled()
    assert got.end.outcome is Outcome.REACHED


def test_global_generators_are_seeded_by_the_trial(make: Make) -> None:
    first, again = run(make("seeded", to=1.0)), run(make("seeded", to=1.0))
    other = run(make("seeded", to=1.0, seed=54321))
    assert first.values() == again.values()
    assert first.values() != other.values()


@pytest.mark.parametrize("name", CASES)
def test_a_retry_after_a_failure_trains_as_if_nothing_had_happened(name: str, make: Make) -> None:
    assert run(make(name, trial_timeout_s=0.0)).end.outcome is Outcome.FAILED
    again, whole = run(make(name)), run(make(name))
    assert again.end.outcome is Outcome.REACHED
    assert again.values() == whole.values()


@pytest.mark.parametrize("name", ["never_saves", "tune_yields", "optuna"])
def test_what_is_printed_is_the_log(name: str, make: Make) -> None:
    assert run(make(name, to=3.0)).log == "epoch 1\nepoch 2\nepoch 3\n"


def test_an_attempt_keeps_its_two_newest_checkpoints(make: Make, tmp_path: Path) -> None:
    got = run(make("report_then_save", to=6.0))
    assert [ref.step for ref in got.saved] == [1, 2, 3, 4, 5, 6]
    left = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()}
    assert left == {ref.path for ref in got.saved[-2:]}


def _damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
