"""Attempts that go on from another trial's weights: with a checkpoint of it, or not at all; and trainables that could
not, found out before a study starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workers.contract import AttemptKey, Ended, FailureKind, Message, Outcome, Reported, TrainerSpec, WorkOrder
from workers.session import run_order
from workers.trial import Trial


def keeps(trial: Trial) -> None:
    """Counts on from where it was."""
    state = trial.load_checkpoint() or {"epoch": 0, "by": []}
    while True:
        state = {"epoch": state["epoch"] + 1, "by": [*state["by"], trial.params["lr"]]}
        trial.report(state["epoch"], loss=sum(state["by"]))
        if trial.should_save:
            trial.save_checkpoint(state)


def forgets(trial: Trial) -> None:
    """Begins anew whatever comes."""
    for epoch in range(1, 100):
        trial.report(epoch, loss=1.0 / epoch)


def run(root: Path, name: str, trial: int, *, to: float, **more: Any) -> tuple[Ended, list[Message]]:
    order = WorkOrder(
        key=AttemptKey(study_id="s", trial=trial, fence=1), trainer=TrainerSpec(function=f"{__name__}:{name}"),
        params={"lr": 0.5 if trial else 1.0}, seed=trial, metric="loss", metrics=("loss",), from_resource=0,
        target_resource=to, horizon=9, storage_root=str(root), **more,
    )  # fmt: skip
    told: list[Message] = []
    return run_order(order, told.append, lambda: None), told


def test_a_fork_takes_over_weights_and_trains_on_with_its_own_parameters(tmp_path: Path) -> None:
    parent, _ = run(tmp_path, "keeps", 0, to=2)
    assert parent.checkpoint is not None
    child, told = run(tmp_path, "keeps", 1, to=4, parent=0, checkpoints=(parent.checkpoint,))
    reports = [m for m in told if isinstance(m, Reported)]
    assert [(m.step, m.metrics["loss"]) for m in reports] == [(3, 2.5), (4, 3.0)]
    assert child.checkpoint is not None
    assert "/1/" in child.checkpoint.path, "its checkpoints are its own"


def test_without_a_checkpoint_it_fails_rather_than_begin_from_zero(tmp_path: Path) -> None:
    parent, _ = run(tmp_path, "keeps", 0, to=2)
    assert parent.checkpoint is not None
    (tmp_path / parent.checkpoint.path).unlink()
    for checkpoints in ((), (parent.checkpoint,)):
        ended, _ = run(tmp_path, "keeps", 1, to=4, parent=0, checkpoints=checkpoints)
        assert (ended.outcome, ended.failure) == (Outcome.FAILED, FailureKind.STORAGE)
        assert "goes on from trial 0's weights" in ended.reason
        assert "HPO_STORAGE" in ended.reason
    again, _ = run(tmp_path, "keeps", 0, to=2, checkpoints=(parent.checkpoint,))
    assert again.outcome is Outcome.REACHED, "any other trial begins from zero"


def test_the_preflight_finds_a_function_that_cannot_go_on(tmp_path: Path) -> None:
    ended, _ = run(tmp_path, "forgets", 0, to=9, preflight=True, forks=True)
    assert (ended.outcome, ended.failure) == (Outcome.FAILED, FailureKind.INVALID)
    assert "never asked for trial.load_checkpoint()" in ended.reason
    assert "use asha" in ended.reason
    for name, more in (("keeps", {"forks": True}), ("forgets", {})):
        fine, _ = run(tmp_path, name, 0, to=9, preflight=True, **more)
        assert fine.outcome is Outcome.REACHED
