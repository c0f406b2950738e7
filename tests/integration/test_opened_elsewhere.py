"""Copies of a study, opened by the real optuna-dashboard, TensorBoard and MLflow: each is asked what it shows."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import pytest

import hpo_service as hpo
from hpo_service.integrations import mlflow as to_mlflow
from hpo_service.integrations import optuna as to_optuna
from hpo_service.integrations import tensorboard as to_tensorboard
from tests.acceptance.processes import free_port
from tests.unit.integrations.conftest import changed, client, db, empty_database, sdk, settings, study, train

__all__ = ["changed", "client", "db", "empty_database", "sdk", "settings", "study"]  # fixtures
SECONDS = 90.0


@contextlib.contextmanager
def served(command: list[str], log: Path, path: str, port: int) -> Iterator[httpx.Client]:
    """The process, once it answers at `path`; ended by its own id."""
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            deadline = time.monotonic() + SECONDS
            while True:
                assert process.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < deadline, log.read_text(errors="replace")
                with contextlib.suppress(httpx.TransportError):
                    if http.get(path).status_code == 200:
                        break
                time.sleep(0.1)
            yield http
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def trained(study: hpo.Study) -> hpo.Study:
    """Three trials: two finished, one failed."""
    for number in range(3):
        train(study, number, fail=number == 1)
    return study


def test_optuna_dashboard_shows_the_study(trained: hpo.Study, tmp_path: Path) -> None:
    url, port = f"sqlite:///{tmp_path}/out.db", free_port()
    to_optuna.export(trained, url)
    code = "import sys; from optuna_dashboard._cli import main; sys.argv[0] = 'optuna-dashboard'; main()"
    command = ["-c", code, url, "--port", str(port), "--host", "127.0.0.1"]
    with served(command, tmp_path / "log", "/api/studies", port) as http:
        (summary,) = http.get("/api/studies").json()["study_summaries"]
        assert (summary["study_name"], summary["directions"]) == ("moons", ["minimize"])
        shown = http.get(f"/api/studies/{summary['study_id']}", params={"after": 0}).json()
    assert [trial["state"] for trial in shown["trials"]] == ["Complete", "Fail", "Complete"]
    assert [trial["number"] for trial in shown["trials"]] == [0, 1, 2]
    assert shown["trials"][2]["values"] == [pytest.approx(2 + 1 / 3)]
    for ours, theirs in zip(trained.trials(), shown["trials"], strict=True):
        params = {one["name"]: one["param_external_value"] for one in theirs["params"]}
        assert set(params) == set(ours.params)
        assert float(params["lr"]) == pytest.approx(ours.params["lr"])
        assert [one["step"] for one in theirs["intermediate_values"]] == [1, 2, 3]
    assert {one["name"] for one in shown["union_search_space"]} == {"lr", "width", "kind", "depth"}


def test_tensorboard_shows_curves_and_parameters(trained: hpo.Study, tmp_path: Path) -> None:
    port = free_port()
    to_tensorboard.export(trained, tmp_path / "logs")
    command = ["-m", "tensorboard.main", "--logdir", str(tmp_path / "logs"), "--port", str(port), "--host", "127.0.0.1"]
    with served([*command, "--load_fast=false"], tmp_path / "log", "/data/environment", port) as http:
        runs = {f"moons/trial-{number:05d}" for number in range(3)}
        deadline = time.monotonic() + SECONDS
        while not runs <= set(http.get("/data/plugin/scalars/tags").json()):
            assert time.monotonic() < deadline, http.get("/data/runs").text
            time.sleep(0.1)
        asked = {"run": "moons/trial-00002", "tag": "loss"}
        curve = http.get("/data/plugin/scalars/scalars", params=asked).json()
        assert [(step, value) for _, step, value in curve] == [(s, pytest.approx(2 + 1 / s)) for s in (1, 2, 3)]
        experiment = http.post("/data/plugin/hparams/experiment", json={"experimentName": ""}).json()
        assert {one["name"] for one in experiment["hparamInfos"]} == {"lr", "width", "kind", "depth"}
        assert {"loss", "accuracy"} <= {one["name"]["tag"] for one in experiment["metricInfos"]}
        statuses = ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"]
        asked_groups = {"experimentName": "", "allowedStatuses": statuses, "startIndex": 0, "sliceSize": 10,
                        "colParams": [{"metric": {"group": "", "tag": "loss"}}, {"hparam": "lr"}]}  # fmt: skip
        groups = http.post("/data/plugin/hparams/session_groups", json=asked_groups).json()["sessionGroups"]
    shown = {group["name"]: group for group in groups}
    assert set(shown) == {"trial 0", "trial 1", "trial 2"}
    for trial in trained.trials():
        assert shown[f"trial {trial.number}"]["hparams"]["lr"] == pytest.approx(trial.params["lr"])
    assert [shown[f"trial {n}"]["sessions"][0]["status"] for n in range(3)] == [
        "STATUS_SUCCESS",
        "STATUS_FAILURE",
        "STATUS_SUCCESS",
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_s_own_search_finds_the_best_trial(
    trained: hpo.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlflow-skinny` has no pages; this is the question that its pages ask."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    to_mlflow.export(trained, uri, experiment="thesis")
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("thesis").experiment_id
    found = client.search_runs(
        [experiment], "attributes.status = 'FINISHED' and metrics.loss < 9", order_by=["metrics.loss ASC"]
    )
    assert [run.info.run_name for run in found] == ["trial 0", "trial 2"]
    assert found[0].data.metrics["loss"] == trained.refresh().best_value
    assert float(found[0].data.params["lr"]) == trained.best_params["lr"]
