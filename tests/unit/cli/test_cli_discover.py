"""`hpo discover`: the space on standard output, everything else beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hpo_service.documents import load_yaml
from tests.unit.cli.conftest import Run

MODULE = """
def objective(trial):
    print("the objective speaks")
    if trial.suggest_float("lr", 0.001, 1.0, log=True) > 0.1:
        trial.suggest_int("patience", 1, 100)
    trial.report(0.0, 0)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "cli_discovered.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "cli_discovered", raising=False)


def test_the_space_is_printed_as_yaml(run: Run) -> None:
    done = run("discover", "cli_discovered:objective", "--trials", "12")
    assert done.exit_code == 0, done.output
    assert load_yaml(done.stdout)["space"]["lr"] == {"type": "loguniform", "low": 0.001, "high": 1.0}
    assert "the objective speaks" in done.stderr
    assert "the objective speaks" not in done.stdout
    assert "note: patience is asked for in" in done.stderr


def test_as_json(run: Run) -> None:
    found = json.loads(run("discover", "cli_discovered:objective", "--json").stdout)
    assert found["runs"] == 20
    assert list(found["parameters"]) == ["lr", "patience"]
    assert len(found["notes"]) == 1


def test_what_cannot_be_run_is_one_line(run: Run) -> None:
    done = run("discover", "cli_discovered:nothing")
    assert done.exit_code == 1
    assert done.stderr == "error: cli_discovered has no 'nothing'; check the name after the colon\n"
