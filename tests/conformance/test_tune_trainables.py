"""What only Ray Tune trainables have: styles, checkpoints in folders, the context, wrappers, classes."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from tests.conformance.trainable_runs import Case, Make, Run, run
from workers.contract import CancelMode, FailureKind, Outcome, TrainerSpec

pytestmark = pytest.mark.usefixtures("user_code")


def tuned(name: str, *, params: dict[str, Any] | None = None, **fixed: Any) -> Case:
    trainer = TrainerSpec(ray_tune=f"conformance_tune:{name}", params=fixed)
    return Case(trainer, {"lr": 0.1} if params is None else params, "val_loss")


def told(got: Run) -> dict[str, Any]:
    """The first line of JSON in the log."""
    found: dict[str, Any] = json.loads(next(line for line in got.log.splitlines() if line.startswith(("{", "["))))
    return found


def test_what_a_function_returns_is_its_last_report(make: Make) -> None:
    got = run(make(tuned("returns_dict")))
    assert got.end.outcome is Outcome.COMPLETED
    assert got.values() == {1: {"val_loss": pytest.approx(0.01), "deep/er": 3.0}}
    assert "'note' is no number (str)" in got.log
    got = run(make(tuned("reports_then_returns")))
    assert [m.metrics["val_loss"] for m in got.reports] == [1.0, 0.5, 1 / 3, 0.125]


def test_a_number_that_is_returned_is_the_objective(make: Make) -> None:
    assert run(make(tuned("returns_number"))).values() == {1: {"val_loss": 0.25}}


def test_ray_train_inside_of_tune_is_accepted_with_a_warning(make: Make) -> None:
    got = run(make(tuned("reports_through_train")))
    assert got.end.outcome is Outcome.COMPLETED, got.end.traceback
    assert [m.metrics["val_loss"] for m in got.reports] == [2.0, 1.0]
    assert got.log.count("ray.train.report is an error inside of Ray Tune") == 1
    assert "context study-1_00007" in got.log


def test_outside_of_a_trial_ray_train_is_what_it_was(make: Make) -> None:
    from ray import train

    run(make(tuned("reports_through_train")))
    with pytest.raises(RuntimeError, match="cannot be used outside"):
        train.report({"val_loss": 1.0})
    with pytest.warns(UserWarning, match="only be called inside"):
        assert tune.get_checkpoint() is None


def test_a_trial_goes_on_from_the_newest_checkpoint_and_keeps_counting(make: Make) -> None:
    first = run(make(tuned("rare_checkpoints"), to=5.0))
    assert first.steps == [1, 2, 3, 4, 5]
    assert first.end.checkpoint is not None
    assert (first.end.checkpoint.step, first.end.checkpoint.resource) == (3, 3.0)
    second = run(make(tuned("rare_checkpoints"), to=7.0, from_resource=5.0, checkpoints=(first.end.checkpoint,)))
    assert second.started.resumed_from == 3.0
    assert second.steps == [4, 5, 6, 7]
    assert [m.metrics["epoch"] for m in second.reports] == [4, 5, 6, 7]
    assert second.end.checkpoint is not None
    assert second.end.checkpoint.step == 6


def test_each_attempt_has_a_folder_of_its_own_that_is_removed(make: Make) -> None:
    before = os.getcwd()
    got = run(make(tuned("tells_context", params={"lr": 0.1, "optimizer.momentum": 0.9}, layers=2)))
    names = told(got)
    assert (names["id"], names["name"]) == ("study-1_00007", "tells_context_study-1_00007")
    assert (names["experiment"], names["resources"]) == ("study-1", {"CPU": 1.0})
    assert names["config"] == {"layers": 2, "lr": 0.1, "optimizer": {"momentum": 0.9}}
    assert names["cwd"] == os.path.realpath(names["dir"])
    assert not Path(names["dir"]).exists()
    assert os.getcwd() == before
    assert "TUNE_ORIG_WORKING_DIR" not in os.environ
    assert told(run(make(tuned("tells_context"))))["dir"] != names["dir"]


@pytest.mark.parametrize("name", ["reports", "Descends", "DescendsInFiles"])
def test_nothing_is_left_in_the_folder_for_temporary_files(
    name: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    first = run(make(tuned(name), to=2.0))
    assert first.end.checkpoint is not None
    run(make(tuned(name), to=3.0, checkpoints=(first.end.checkpoint,)))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_a_killed_worker_left_is_removed_and_what_another_uses_is_not(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    left, used = tmp_path / "temporary" / "hpo-tune-left", tmp_path / "temporary" / "hpo-tune-used"
    for folder in (left, used):
        folder.mkdir()
        (folder / "file").write_text("")
    held = os.open(used, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    run(make(tuned("reports"), to=1.0))
    os.close(held)
    assert [path.name for path in (tmp_path / "temporary").iterdir()] == ["hpo-tune-used"]


def test_a_stopped_trial_stores_nothing_more(make: Make) -> None:
    got = run(make(tuned("reports"), to=50.0), lambda so_far: CancelMode.STOP if so_far.steps == [1, 2] else None)
    assert (got.end.outcome, got.saved) == (Outcome.CANCELLED, [])


def test_done_ends_the_trial(make: Make) -> None:
    got = run(make(tuned("says_done"), to=50.0))
    assert (got.end.outcome, got.steps) == (Outcome.COMPLETED, [1, 2, 3])


def test_a_training_iteration_of_its_own_is_the_resource(make: Make) -> None:
    got = run(make(tuned("own_iterations"), to=30.0))
    assert [(m.step, m.resource) for m in got.reports] == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_except_exception_does_not_swallow_the_end(make: Make) -> None:
    assert run(make(tuned("swallows"), to=3.0)).steps == [1, 2, 3]


def test_a_generator_is_closed_at_the_end(make: Make) -> None:
    got = run(make(tuned("cleans_up"), to=50.0), lambda so_far: CancelMode.STOP if so_far.steps == [1, 2] else None)
    assert (got.end.outcome, got.steps) == (Outcome.CANCELLED, [1, 2])
    assert "cleaned up" in got.log


def test_with_parameters_and_with_resources(make: Make) -> None:
    assert run(make(tuned("bound"))).values() == {1: {"val_loss": 6.5}}
    got = run(make(tuned("wide"), to=1.0))
    assert got.values() == {1: {"val_loss": 6.5}}
    assert "tune.with_resources asks for {'CPU': 2.0}; a trial has what the study's `resources` say" in got.log
    assert run(make(tuned("bound_class"), to=1.0)).values() == {1: {"val_loss": 9.0}}


def test_classes_know_who_they_are_and_clean_up(make: Make) -> None:
    got = run(make(tuned("Tells"), to=50.0))
    assert got.end.outcome is Outcome.COMPLETED
    assert got.steps == [1, 2, 3]
    assert got.reports[-1].metrics.keys() == {"val_loss", "made"}
    trial_id, name, iteration, training_iteration, folder = told(got)
    assert (trial_id, name) == ("study-1_00007", "Tells_study-1_00007")
    assert (iteration, training_iteration) == (0, 0)
    assert not Path(folder).exists()
    assert got.log.endswith("cleaned up\n")
    stopped = run(make(tuned("Descends"), to=50.0), lambda so_far: CancelMode.STOP if so_far.steps else None)
    assert stopped.end.outcome is Outcome.CANCELLED


def test_the_iteration_of_a_class_goes_on(make: Make) -> None:
    first = run(make(tuned("Descends"), to=2.0))
    assert first.end.checkpoint is not None
    second = run(make(tuned("Descends"), to=5.0, from_resource=2.0, checkpoints=(first.end.checkpoint,)))
    assert second.steps == [3, 4, 5]


def test_objects_are_made_anew_unless_the_study_asks_for_reset_config(make: Make) -> None:
    anew = [run(make(tuned("Resets"), to=1.0)).reports[-1].metrics["made"] for _ in range(3)]
    assert anew == [1, 2, 3]
    reused = [
        run(make(tuned("Resets", params={"lr": lr}, reuse_actors=True), to=1.0)).reports[-1].metrics
        for lr in (0.1, 0.2, 0.5, 0.3)
    ]
    assert [metrics["val_loss"] for metrics in reused] == [0.1, 0.2, 0.5, 0.3]
    assert [metrics["still"] for metrics in reused] == [0.1, 0.2, 0.5, 0.3]
    assert [metrics["made"] - 3 for metrics in reused] == [1, 1, 2, 2]  # 0.5: reset_config said that it cannot


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("report", "did you mean 'reports'"),
        ("NotOurs", "must derive from ray.tune.Trainable"),
        ("tuner", "name the function or class that it was given"),
        ("needs_more", "bind them with tune.with_parameters"),
        ("json", "must be a function or a class"),
    ],
)
def test_what_is_no_trainable_is_invalid(name: str, hint: str, make: Make) -> None:
    got = run(make(tuned(name)))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.INVALID)
    assert hint in got.end.reason


def test_a_checkpoint_of_another_kind_is_named(make: Make) -> None:
    other = run(make("report_then_save", to=2.0)).end.checkpoint
    assert other is not None
    got = run(make(tuned("reports"), checkpoints=(other,)))
    assert (got.end.outcome, got.end.failure) == (Outcome.FAILED, FailureKind.STORAGE)
    assert "must hold an archive" in got.end.reason
