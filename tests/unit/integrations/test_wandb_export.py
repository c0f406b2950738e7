"""What is sent to Weights & Biases. W&B is not installed here: a stand-in with the shape of its public interface
(`init`, `Run.log`, `Run.summary`, `Run.finish`) takes its place, and holds the caller to the same rules."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

import hpo_service as hpo
from hpo_service.errors import Conflict, Unsupported
from hpo_service.integrations import wandb as exporting
from tests.unit.integrations.conftest import DEFINITION, train


class Run:
    """A run: steps must rise, nothing is logged after the end."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.history: dict[int, dict[str, float]] = {}
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None

    def log(self, data: dict[str, float], step: int) -> None:
        assert self.exit_code is None
        assert step >= max(self.history, default=0)
        self.history.setdefault(step, {}).update(data)

    def finish(self, exit_code: int = 0) -> None:
        self.exit_code = exit_code


class Server(types.ModuleType):
    """The module `wandb`: one open run at a time, runs by their id."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.runs: dict[str, Run] = {}
        self.inits = 0
        self.dies_at = -1

    def init(self, **given: Any) -> Run:
        assert all(run.exit_code is not None for run in self.runs.values()), "one run at a time"
        assert all(0 < len(tag) <= 64 for tag in given["tags"])
        assert len(given["group"]) <= 128
        assert len(given["name"]) <= 128
        self.inits += 1
        if self.inits == self.dies_at:
            raise OSError("no network")
        self.runs[given["id"]] = run = Run(**given)
        return run


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setitem(sys.modules, "wandb", found)
    return found


def test_each_ended_trial_is_a_run(study: hpo.Study, wandb: Server, tmp_path: Path) -> None:
    train(study, 0)
    train(study, 1, fail=True)
    running = study.ask(wait_s=0)
    assert running is not None
    running.report(1, loss=0.5)
    sent = exporting.export(study, "thesis", entity="lab", state=tmp_path / "at.json")
    assert sent.notes == ("1 trials have not ended; W&B gets a trial when it has",)
    assert set(wandb.runs) == {f"{study.id}-0", f"{study.id}-1"}
    run = wandb.runs[f"{study.id}-0"]
    assert (run.given["project"], run.given["entity"], run.given["group"]) == ("thesis", "lab", "moons")
    assert run.given["config"] == study.trial(0).params
    assert run.history == {step: {"loss": 1 / step, "accuracy": step / 10} for step in (1, 2, 3)}
    assert run.summary["hpo/state"] == "finished"
    assert (run.exit_code, wandb.runs[f"{study.id}-1"].exit_code) == (0, 1)


def test_going_on_sends_only_what_ended_since(study: hpo.Study, wandb: Server, tmp_path: Path) -> None:
    train(study, 0)
    running = study.ask(wait_s=0)
    assert running is not None
    running.report(1, loss=0.5)
    exporting.export(study, "thesis", state=tmp_path / "at.json")
    running.report(2, loss=0.25)
    running.tell()
    exporting.export(study, "thesis", state=tmp_path / "at.json")
    assert wandb.inits == 2
    assert wandb.runs[f"{study.id}-1"].history == {1: {"loss": 0.5}, 2: {"loss": 0.25}}
    with pytest.raises(Conflict, match="keeps the position"):
        exporting.export(study, "other", state=tmp_path / "at.json")


def test_small_batches_send_each_trial_once(
    study: hpo.Study, wandb: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_service.integrations.feed.PAGE", 1)
    monkeypatch.setattr("hpo_service.integrations.feed.MOST_TRIALS", 1)
    for number in range(3):
        train(study, number)
    exporting.export(study, "thesis", state=tmp_path / "at.json")
    assert wandb.inits == 3
    for number in range(3):
        told = wandb.runs[f"{study.id}-{number}"].history
        assert {step: one["loss"] for step, one in told.items()} == {step: number + 1 / step for step in (1, 2, 3)}


def test_after_an_interruption_the_same_runs_are_sent(study: hpo.Study, wandb: Server, tmp_path: Path) -> None:
    for number in range(3):
        train(study, number)
    wandb.dies_at = 3
    with pytest.raises(OSError, match="no network"):
        exporting.export(study, "thesis", state=tmp_path / "at.json")
    exporting.export(study, "thesis", state=tmp_path / "at.json")
    assert set(wandb.runs) == {f"{study.id}-{number}" for number in range(3)}


def test_without_wandb_the_line_that_installs_it_is_named(study: hpo.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(Unsupported, match="wandb is not installed; run: pip install wandb"):
        exporting.export(study, "thesis")


def test_long_names_and_tags_are_cut(sdk: hpo.Client, wandb: Server, tmp_path: Path) -> None:
    tags = ["t" * 70 + "a", "t" * 70 + "b", "finished"]
    study = sdk.create_study({**DEFINITION, "name": "n" * 200, "tags": tags})
    train(study, 0)
    exporting.export(study, "thesis", state=tmp_path / "at.json")
    (run,) = wandb.runs.values()
    assert run.given["tags"] == ["t" * 64, "finished"]
    assert run.given["name"].endswith(" 0")
