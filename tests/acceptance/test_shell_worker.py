"""`examples/worker.sh`, bash and curl, trains a study of a real server: two at once, and one whose program fails."""

from __future__ import annotations

import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import hpo_service as hpo
from tests.acceptance.processes import Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(200)]  # the server has a real Ray beside it
SCRIPT = Path(__file__).parents[2] / "examples" / "worker.sh"
STUDY: dict[str, Any] = {
    "name": "shell",
    "objective": {"metric": "loss"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1.0},
        "word": {"type": "choice", "values": ["a b", "$(exit 1)", "it's"]},
    },
    "algorithm": {"name": "successive_halving", "max_resource": 2, "eta": 2, "trials": 2},
    "trainer": {"external": True},
    "budget": {"trials": 2},
    "parallel": 2,
}


def start(server: Server, study: hpo.Study, *command: str, name: str = "one") -> subprocess.Popen[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HPO_")}
    return subprocess.Popen(
        ["bash", str(SCRIPT), study.id, *command],
        env=kept | {"HPO_URL": server.url, "HPO_CLIENT_ID": name},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[str]) -> str:
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, f"{out}\n{err}"
    assert err == ""
    return out


def test_two_shells_train_a_study_in_segments(server: Server, client: hpo.Client) -> None:
    study = client.create_study(STUDY)
    workers = [start(server, study, name=name) for name in ("one", "two")]
    told = [finish(worker) for worker in workers]
    assert all(out.endswith("the study has ended\n") for out in told), told
    study.refresh()
    assert (study.state, study.info.trials) == ("finished", 2)
    trials = list(study.trials())
    assert max(trial.resource for trial in trials) == 2
    for trial in trials:
        expected = (math.log(trial.params["lr"]) + 5) ** 2 + 1 / trial.resource
        assert trial.value == pytest.approx(expected, rel=1e-4)
        assert f"trial {trial.number} " in "".join(told)
        assert [one.step for one in trial.reports()] == list(range(1, int(trial.resource) + 1))


def test_a_program_that_fails_fails_its_trial(server: Server, client: hpo.Client) -> None:
    study = client.create_study(STUDY | {"name": "clumsy shell", "budget": {"trials": 1}})
    out = finish(start(server, study, 'echo "1 loss=0.5"; echo "$PARAM_word" > /dev/null; exit 3'))
    assert "trial 0 failed" in out
    (trial,) = study.trials()
    assert (trial.state, [one.metrics for one in trial.reports()]) == ("failed", [{"loss": 0.5}])
    assert "training command failed" in trial.info.reason
