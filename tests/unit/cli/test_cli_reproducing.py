"""One trial again from the command line: its record in a file, trained again on a worker or here, its environment."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from hpo_service.bundles.building import from_files
from hpo_service.cli import local_training, pinning
from hpo_service.client import reproductions
from hpo_service.store import records
from tests.unit.cli.conftest import Run
from tests.unit.client.sdk_fake_server import FakeServer
from tests.unit.workers.reproduction_tape import Tape
from workers import record
from workers.contract import CancelMode, TrainerSpec

CODE = """
import random

def train(trial):
    state = trial.load_checkpoint() or {"epoch": 0, "value": 1.0}
    while True:
        state["epoch"] += 1
        state["value"] += trial.params["lr"] * random.random()
        trial.report(state["epoch"], loss=state["value"])
        if trial.should_save:
            trial.save_checkpoint(dict(state))
"""
WAITING: dict[str, Any] = {"id": "r1", "study_id": "st_1", "trial": 0, "state": "waiting", "document": None}
DONE: dict[str, Any] = {
    **WAITING, "state": "done", "equal": True, "verdict": "Equal bit for bit: all 3 reports.", "seconds": 2.0,
    "cost_microdollars": 400,
    "document": {"equal": True, "verdict": "Equal bit for bit: all 3 reports.", "segments": 2, "node": "n1",
                 "device": "cpu", "environment": [{"what": "package numpy", "was": "2.1", "now": "2.2"}]},
}  # fmt: skip
DIFFERENT: dict[str, Any] = {
    **DONE, "equal": False,
    "document": {**DONE["document"], "equal": False, "verdict": "Not the same: loss was 1.0 at step 2, and is 2.0 now",
                 "hints": ["The code is not the same"], "comparison": {"metrics": {"loss": {"reports": 3, "differ": 2,
                 "first_step": 2, "absolute": 1.0, "relative": "Infinity"}}, "left_out": ["seconds"]}},
}  # fmt: skip


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The record of a trial of a function in the current folder."""
    name = tmp_path.name
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    tape = Tape(tmp_path / "storage", TrainerSpec(function=f"{name}:train"), {"lr": 0.1})
    tape.train(2)
    tape.train(6, end=CancelMode.PAUSE, at=4)
    tape.train(6)
    return tape.document()


def asks(server: FakeServer, *answers: dict[str, Any]) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    first, *rest = answers
    server.answers["POST /studies/st_1/trials/0/reproductions"] = httpx.Response(201, json=first)
    for one in rest:
        server.answers["GET /studies/st_1/trials/0/reproductions/r1"] = httpx.Response(200, json=one)


def test_a_trial_that_comes_out_the_same(run: Run, server: FakeServer) -> None:
    asks(server, WAITING, DONE)
    done = run("reproduce", "a/0", "--watch")
    assert done.exit_code == 0, done.output
    for part in ("waiting: trial 0", "Equal bit for bit", "2 segments on n1", "$0.0004", "package numpy", "2.1", "2.2"):
        assert part in done.stdout, part


def test_one_that_does_not_exits_with_1_and_says_how_far(run: Run, server: FakeServer, tmp_path: Path) -> None:
    asks(server, DIFFERENT)
    done = run("reproduce", "a/0", "--report", str(tmp_path / "r.json"))
    assert done.exit_code == 1
    for part in ("Not the same", "loss", "Infinity", "not compared", "→ The code is not the same"):
        assert part in done.stdout, part
    assert json.loads((tmp_path / "r.json").read_text()) == DIFFERENT["document"]


def test_one_that_cannot_be_trained_again_says_why(run: Run, server: FakeServer) -> None:
    asks(server, {**WAITING, "state": "failed", "reason": "its worker was lost 3 times"})
    done = run("reproduce", "a/0")
    assert done.exit_code == 1
    assert "its worker was lost 3 times" in done.stderr


def test_a_record_is_written_and_trained_again_here(
    run: Run, server: FakeServer, trained: dict[str, Any], tmp_path: Path
) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    server.answers["GET /studies/st_1/trials/0/record"] = httpx.Response(200, json=trained)
    path = tmp_path / "trial.json"
    assert run("record", "a/0", "-o", str(path)).exit_code == 0
    assert record.digest(json.loads(path.read_text())) == trained["digest"], "every bit of every number"
    refused = run("reproduce", str(path))
    assert "--here" in refused.stderr
    done = run("reproduce", str(path), "--here")
    assert done.exit_code == 0, done.output
    assert "Equal bit for bit: all 6 reports." in done.stdout
    path.write_text(path.read_text().replace('"seed": 1234', '"seed": 4321'))
    assert "do not match its digest" in run("reproduce", str(path), "--here").stderr


def test_a_trial_of_the_servers_is_trained_here(
    run: Run, server: FakeServer, trained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    server.answers["GET /studies/st_1/trials/0/record"] = httpx.Response(200, json=trained)
    done = run("reproduce", "a/0", "--here")
    assert done.exit_code == 0, done.output
    assert "Equal bit for bit: all 6 reports." in done.stdout
    bundle = from_files({"train.py": CODE.encode()})
    trained["trainer"] |= {"bundle": bundle.digest}
    server.answers["GET /studies/st_1/trials/0/record"] = httpx.Response(200, json=trained)
    server.answers[f"GET /bundles/{bundle.digest}/archive"] = httpx.Response(200, content=bundle.archive)
    seen: list[bytes | None] = []

    def from_file(path: Path) -> dict[str, Any]:
        seen.append(local_training._archive(path))
        return {"equal": True, "verdict": "Equal"}

    monkeypatch.setattr(local_training, "from_file", from_file)
    assert run("reproduce", "a/0", "--here").exit_code == 0
    assert seen == [bundle.archive], "its code comes with it"


def test_other_code_is_told_here_as_well(run: Run, trained: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "trial.json").write_text(json.dumps(trained))
    code = tmp_path / f"{tmp_path.name}.py"
    code.write_text(CODE.replace('"value": 1.0', '"value": 2.0'))
    done = run("reproduce", "trial.json", "--here", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert "code.sha256" in [one["what"] for one in told["environment"]]


def test_the_environment_becomes_pinned_requirements(run: Run, trained: dict[str, Any], tmp_path: Path) -> None:
    digest = trained["segments"][-1]["environment"]
    trained["environments"][digest] |= {
        "packages": {"torch": "2.5.1+cu124", "numpy": "2.1.0", "pip": "25.0", "hpo-service": "0.1.0"},
        "torch": {"version": "2.5.1+cu124", "cuda": "12.4"},
        "code": {"entry_point": "t:train", "git": {"commit": "c" * 40, "diff_sha256": "d"}},
    }
    trained["texts"] = {"d": "+a line\n"}
    (tmp_path / "trial.json").write_text(json.dumps(trained))
    done = run("reproduce", "trial.json", "--make-env", "env")
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "env" / "requirements.txt").read_text().splitlines()
    assert "numpy==2.1.0" in lines
    assert "torch==2.5.1+cu124" in lines
    assert f"--extra-index-url {pinning.TORCH_INDEX}cu124" in lines
    assert not any(line.startswith(("pip==", "hpo-service==")) for line in lines)
    assert (tmp_path / "env" / "changes.diff").read_text() == "+a line\n"
    assert f"python: {trained['environments'][digest]['python']}" in done.stdout
    assert "torch: 2.5.1+cu124, CUDA 12.4" in done.stdout


def test_what_is_no_record_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.json").write_text("[1")
    (tmp_path / "y.json").write_text("[]")
    (tmp_path / "z.zip").write_bytes(b"no zip")
    for name, words in (("x.json", "cannot be read"), ("y.json", "JSON object"), ("z.zip", "cannot be read"),
                        ("no.json", "no file")):  # fmt: skip
        done = run("reproduce", name, "--here")
        assert done.exit_code == 1
        assert words in done.stderr, name


def test_a_record_with_its_code(run: Run, server: FakeServer, tmp_path: Path, trained: dict[str, Any]) -> None:
    bundle = from_files({"train.py": CODE.encode()})
    trained["trainer"] |= {"bundle": bundle.digest}
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    server.answers["GET /studies/st_1/trials/0/record"] = httpx.Response(200, json=trained)
    server.answers[f"GET /bundles/{bundle.digest}/archive"] = httpx.Response(200, content=bundle.archive)
    done = run("record", "a/0", "--with-code", "-o", "trial.zip")
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(tmp_path / "trial.zip") as archive:
        assert hashlib.sha256(archive.read(reproductions.CODE)).hexdigest() == bundle.digest
    assert local_training.read_record(tmp_path / "trial.zip") == trained
    assert run("record", "a/0", "--with-code", "-o", "trial.json").exit_code == 2
    trained["trainer"] |= {"bundle": ""}
    server.answers["GET /studies/st_1/trials/0/record"] = httpx.Response(200, json=trained)
    refused = run("record", "a/0", "--with-code", "-o", "again.zip")
    assert refused.exit_code == 1
    assert "no bundle of code" in refused.stderr


def test_code_that_is_not_the_recorded_bundle_is_refused(run: Run, tmp_path: Path, trained: dict[str, Any]) -> None:
    bundle = from_files({"train.py": CODE.encode()})
    trained["trainer"] |= {"bundle": "0" * 64}
    with zipfile.ZipFile(tmp_path / "trial.zip", "w") as made:
        made.writestr(local_training.RECORD, json.dumps(trained))
        made.writestr(local_training.CODE, bundle.archive)
    done = run("reproduce", "trial.zip", "--here")
    assert done.exit_code == 1
    assert "it is another one" in done.stderr


def test_both_sides_agree_on_words() -> None:
    assert (records.FORMAT, records.VERSION) == (record.FORMAT, record.VERSION)
    assert (reproductions.RECORD, reproductions.CODE) == (local_training.RECORD, local_training.CODE)
