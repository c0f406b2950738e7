"""A study in MLflow, by the real MLflow: written once, again, following, after an interruption; read back by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

import hpo_service as hpo
from hpo_service.errors import Conflict
from hpo_service.integrations import mlflow as exporting
from tests.unit.integrations.conftest import train

pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning")]
Runs = dict[int | None, Any]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A migrated tracking database: MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path.read_bytes()


@pytest.fixture
def uri(empty_store: bytes, tmp_path: Path) -> str:
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    return f"sqlite:///{tmp_path}/mlflow.db"


def runs_of(uri: str, experiment: str = "moons") -> Runs:
    """Runs by trial; the study's under None."""
    client = mlflow.MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    by_trial = {run.data.tags["hpo.trial"]: run for run in found}
    assert len(by_trial) == len(found), "each trial has one run"
    return {None if name == "study" else int(name): run for name, run in by_trial.items()}


def history(uri: str, run: Any, metric: str = "loss") -> list[tuple[int, float]]:
    return sorted((one.step, one.value) for one in mlflow.MlflowClient(uri).get_metric_history(run.info.run_id, metric))


def test_a_run_for_the_study_and_one_for_each_trial(study: hpo.Study, uri: str) -> None:
    for number in range(3):
        train(study, number, fail=number == 1)
    sent = exporting.export(study, uri)
    assert (sent.trials, sent.points) == (3, 9)
    runs = runs_of(uri)
    parent = runs.pop(None)
    assert parent.info.status == "RUNNING"
    assert parent.data.metrics["best loss"] == pytest.approx(1 / 3)
    assert parent.data.tags["hpo.best_trial"] == "0"
    assert [run.info.status for _, run in sorted(runs.items())] == ["FINISHED", "FAILED", "FINISHED"]
    for trial in study.trials():
        run = runs[trial.number]
        assert run.data.params == {name: str(value) for name, value in trial.params.items()}
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["hpo.url"] == f"{study.url}/trials/{trial.number}"
        assert history(uri, run) == [(step, trial.number + 1 / step) for step in (1, 2, 3)]
        assert history(uri, run, "accuracy") == [(step, step / 10) for step in (1, 2, 3)]
        assert run.info.end_time == int(trial.info.ended_at.timestamp() * 1000)
    assert "the disc is full" in runs[1].data.tags["hpo.reason"]


def test_going_on_adds_only_what_is_new(study: hpo.Study, uri: str) -> None:
    train(study, 0)
    running = study.ask(wait_s=0)
    assert running is not None
    running.report(1, loss=0.5)
    exporting.export(study, uri)
    assert runs_of(uri)[1].info.status == "RUNNING"
    assert exporting.export(study, uri).points == 0

    running.report(2, loss=float("nan"))
    running.tell(0.25)
    study.stop("that will do")
    exporting.export(study, uri)
    runs = runs_of(uri)
    assert runs[None].info.status == "KILLED"
    assert runs[1].info.status == "FINISHED"
    assert [step for step, _ in history(uri, runs[1])][:2] == [1, 2]
    assert history(uri, runs[0]) == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]


@pytest.mark.parametrize("verb", ["set_terminated", "log_batch", "create_run", "set_tag"])
@pytest.mark.parametrize("place", ["database", "folder"])
def test_an_interrupted_batch_is_completed(
    study: hpo.Study, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, place: str
) -> None:
    """Wherever the exporter dies within a batch, the next one leaves every run and every report once."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    where = uri if place == "database" else (tmp_path / "runs").as_uri()
    open_trial = None
    train(study, 0)
    open_trial = study.ask(wait_s=0)
    assert open_trial is not None
    open_trial.report(1, loss=9.0)
    exporting.export(study, where)
    open_trial.report(2, loss=8.0)
    open_trial.tell()
    train(study, 2)
    train(study, 3)

    real: Callable[..., Any] = getattr(mlflow.MlflowClient, verb)
    calls = 0

    def dying(self: Any, *args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        result = real(self, *args, **more)
        if calls == (1 if verb == "set_tag" else 2):
            raise OSError("killed")
        return result

    monkeypatch.setattr(mlflow.MlflowClient, verb, dying)
    with pytest.raises(OSError, match="killed"):
        exporting.export(study, where)
    monkeypatch.setattr(mlflow.MlflowClient, verb, real)
    exporting.export(study, where)
    runs = runs_of(where)
    assert sorted(runs, key=str) == [0, 1, 2, 3, None]
    assert history(where, runs[1]) == [(1, 9.0), (2, 8.0)]
    for number in (0, 2, 3):
        assert history(where, runs[number]) == [(step, number + 1 / step) for step in (1, 2, 3)]
        assert runs[number].info.status == "FINISHED"
    for number in range(4):
        assert runs[number].data.params == {name: str(value) for name, value in study.trial(number).params.items()}


def test_a_run_of_the_study_without_its_parameters_gets_them(
    study: hpo.Study, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(self: Any, *args: Any, **more: Any) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_batch", dying)
        with pytest.raises(OSError, match="killed"):
            exporting.export(study, uri)
    train(study, 0)
    exporting.export(study, uri)
    assert runs_of(uri)[None].data.params["objective"] == "loss"


def test_names_that_mlflow_does_not_take(uri: str) -> None:
    sink = exporting.MlflowSink(uri)
    given = ["hpo.tag.<b>", "hpo.tag.(b)", "/a", "a/../b", "..", "val/loss", "acc"]
    told = [sink._name(name) for name in given]
    assert len(set(told)) == len(given)
    assert told[-2:] == ["val/loss", "acc"]
    assert [sink._name(name) for name in given] == told
    assert len(sink.notes) == len(given) - 2
    client = mlflow.MlflowClient(uri)
    run = client.create_run("0").info.run_id
    for name in told:
        client.set_tag(run, name, "true")
        client.log_metric(run, name, 1.0)


def test_a_file_store_does_not_get_half_a_report_twice(
    study: hpo.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of metrics may end within a report: what is there already is not written again."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setattr(exporting, "MOST_METRICS", 3)
    where = (tmp_path / "runs").as_uri()
    running = study.ask(wait_s=0)
    assert running is not None
    exporting.export(study, where)
    for step in (1, 2, 3):
        running.report(step, loss=1.0, accuracy=0.5)
    real, calls = mlflow.MlflowClient.log_batch, 0

    def dying(self: Any, *args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += bool(more.get("metrics"))
        if calls == 2:
            raise OSError("killed")
        return real(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_batch", dying)
        with pytest.raises(OSError, match="killed"):
            exporting.export(study, where)
    exporting.export(study, where)
    runs = runs_of(where)
    for metric in ("loss", "accuracy"):
        assert [step for step, _ in history(where, runs[0], metric)] == [1, 2, 3]


def test_small_batches_leave_the_same(study: hpo.Study, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_service.integrations.feed.PAGE", 1)
    monkeypatch.setattr("hpo_service.integrations.feed.MOST_TRIALS", 1)
    for number in range(3):
        train(study, number)
    exporting.export(study, uri)
    runs = runs_of(uri)
    assert sorted(runs, key=str) == [0, 1, 2, None]
    for number in range(3):
        assert history(uri, runs[number]) == [(step, number + 1 / step) for step in (1, 2, 3)]
        assert runs[number].info.status == "FINISHED"


def test_an_experiment_of_its_own(study: hpo.Study, uri: str) -> None:
    train(study, 0)
    exporting.export(study, uri, experiment="thesis")
    assert set(runs_of(uri, "thesis")) == {0, None}
    client = mlflow.MlflowClient(uri)
    client.delete_experiment(client.get_experiment_by_name("thesis").experiment_id)
    with pytest.raises(Conflict, match="deleted"):
        exporting.export(study, uri, experiment="thesis")
