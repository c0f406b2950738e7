"""`hpo send`: a study copied into another tool from the command line, against a real service in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner, Result

import hpo_service as hpo
from hpo_service.cli import app
from hpo_service.cli.base import Session
from tests.unit.integrations.conftest import train

Run = Callable[..., Result]


@pytest.fixture
def run(client: Any) -> Run:
    def run(*words: str) -> Result:
        session = Session(transport=client._transport)
        return CliRunner().invoke(app, ["--url", "http://localhost", *words], obj=session)

    return run


def test_a_study_is_sent_and_sent_again(run: Run, study: hpo.Study, tmp_path: Path) -> None:
    train(study, 0)
    url = f"sqlite:///{tmp_path}/out.db"
    first = run("send", "moons", "optuna", url, "--name", "theirs")
    assert first.exit_code == 0, first.output
    assert f"sent 1 trials and 3 reports of moons to {url}" in first.stdout
    assert "note: width: Optuna has no powers of two" in first.stdout
    again = run("send", "moons", "optuna", url, "--name", "theirs")
    assert f"sent nothing new of moons to {url}" in again.stdout
    assert len(optuna.load_study(study_name="theirs", storage=url).trials) == 1


def test_following_ends_with_the_study(run: Run, study: hpo.Study, tmp_path: Path) -> None:
    train(study, 0)
    study.stop()
    done = run("--json", "send", study.id, "tensorboard", str(tmp_path / "logs"), "--follow")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "place": str(tmp_path / "logs" / "moons"),
        "seq": study.refresh().info.last_seq,
        "trials": 1,
        "reports": 3,
        "notes": [],
    }


def test_what_cannot_be_done_is_said(run: Run, study: hpo.Study, tmp_path: Path) -> None:
    assert run("send", "moons", "wandb", "thesis", "--name", "x").exit_code == 2
    assert run("send", "moons", "excel", "x").exit_code == 2
    refused = run("send", "moons", "optuna", "out.txt")
    assert refused.exit_code == 1
    assert "sqlite:///out.db" in refused.stderr
    assert run("send", "nobody", "optuna", "out.log").exit_code == 1


def test_a_project_of_an_entity(run: Run, study: hpo.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpo_service.integrations import wandb
    from hpo_service.integrations.sending import Sent

    asked: list[tuple[Any, ...]] = []

    def export(study: Any, project: str, *, entity: str | None, **more: Any) -> Sent:
        asked.append((project, entity, more["follow"]))
        return Sent(place=project, seq=0)

    monkeypatch.setattr(wandb, "export", export)
    run("send", "moons", "wandb", "lab/thesis")
    run("send", "moons", "wandb", "thesis", "-f")
    assert asked == [("thesis", "lab", False), ("thesis", None, True)]
