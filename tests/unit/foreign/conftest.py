"""Histories of other tools, made here: an Optuna database, a Ray Tune results folder, a table. And a real service in
this process to bring them to."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hpo_service.api.app import create_app
from hpo_service.cli import app
from hpo_service.cli.base import Session
from hpo_service.client import Client
from hpo_service.settings import Settings
from hpo_service.store.database import Database, open_database

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "hpo.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def db(tmp_path: Path, migrated: Path) -> Iterator[Database]:
    shutil.copy(migrated, tmp_path / "hpo.db")
    database = open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    yield database
    database.close()


@pytest.fixture
def http(tmp_path: Path, db: Database) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(data=tmp_path), db), base_url="http://localhost") as found:
        yield found


@pytest.fixture
def sdk(http: TestClient) -> Iterator[Client]:
    client = Client("http://localhost", transport=http._transport)
    yield client
    client.close()


@pytest.fixture
def run(http: TestClient) -> Run:
    """Runs `hpo` with the words of a line."""

    def run(*args: str) -> Result:
        session = Session(url="http://localhost", transport=http._transport)
        return CliRunner().invoke(app, list(args), obj=session)

    return run


@pytest.fixture(scope="session")
def optuna_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies: `digits` (pruned, failed and running trials, a conditional parameter) and `two` objectives."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = tmp_path_factory.mktemp("optuna") / "old.db"
    sampler = optuna.samplers.RandomSampler(seed=3)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    study = optuna.create_study(study_name="digits", direction="maximize", sampler=sampler, pruner=pruner)
    study.set_user_attr("who", "ada")

    def objective(trial: Any) -> float:
        optimizer = trial.suggest_categorical("optimizer", ["sgd", "adam"])
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        trial.suggest_int("n layers", 1, 4)
        if optimizer == "sgd":
            trial.suggest_float("momentum", 0.5, 0.9, step=0.1)
        trial.set_user_attr("host", "n1")
        if trial.number == 5:
            raise ValueError("bad luck")
        value = 0.0
        for epoch in range(4):
            value = 1 - lr - 0.1 / (epoch + 1)
            trial.report(float("nan") if (trial.number, epoch) == (1, 1) else value, epoch)
            if trial.number > 8 and trial.should_prune():
                raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=20, catch=(ValueError,))
    study.ask()
    both = optuna.create_study(study_name="two", directions=["minimize", "maximize"], sampler=sampler)
    both.optimize(lambda trial: (trial.suggest_float("x", 0, 1), trial.suggest_int("y", 1, 9, log=True)), n_trials=4)
    for one in (study, both):  # trials made in memory and copied: in the database each would take its time
        optuna.copy_study(from_study_name=one.study_name, from_storage=one._storage, to_storage=f"sqlite:///{path}")
    return path


RAY = (
    ("f_0", {"opt": {"lr": 0.001}, "kind": "a", "n": 3}, [0.9, 0.5, 0.3], "TERMINATED"),
    ("f_1", {"opt": {"lr": 0.2}, "kind": "b", "n": 3}, [0.8, 0.7], "TERMINATED"),
    ("f_2", {"opt": {"lr": 0.4}, "kind": "a", "n": 3}, [0.9], "ERROR"),
    ("f_3", {"opt": {"lr": 0.02}, "kind": "b", "n": 3}, [0.9], "RUNNING"),
    ("f_4", {"opt": {"lr": 0.03}, "kind": "a", "n": 3}, [0.9, float("nan"), 0.2], "TERMINATED"),
)


@pytest.fixture
def ray_results(tmp_path: Path) -> Path:
    """A results folder as Ray Tune 2.60 leaves it, without what is pickled."""
    root = tmp_path / "tune-digits"
    entries = []
    for name, config, losses, status in RAY:
        place = root / name
        place.mkdir(parents=True)
        (place / "params.json").write_text(json.dumps(config))
        lines = [
            {
                "loss": loss, "eval": {"acc": 1.0}, "note": "text", "flag": True, "timestamp": 1_700_000_000 + k,
                "done": False, "training_iteration": k, "trial_id": name, "time_total_s": 2.0 * k, "pid": 7,
                "config": config,
            }
            for k, loss in enumerate(losses, start=1)
        ]  # fmt: skip
        (place / "result.json").write_text("\n".join(map(json.dumps, lines)) + "\n")
        if status == "ERROR":
            (place / "error.txt").write_text("Traceback\n  File …\nValueError: too large\n")
        told = {"trial_id": name, "status": status, "relative_logdir": name, "results": "80054e2e"}
        entries.append([json.dumps(told), json.dumps({"start_time": 1_699_999_990.0})])
    document = {"trial_data": entries, "runner_data": {}, "stats": {}}
    (root / "experiment_state-2026-01-01_00-00-00.json").write_text(json.dumps(document))
    return root


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(
        "lr,batch,aug,val_loss,val_acc,host,state,started_at\n"
        "0.001,32,true,0.5,0.8,a,COMPLETE,2024-01-01T10:00:00+00:00\n"
        "0.1,64,false,0.4,0.9,a,finished,2024-01-01T11:00:00+00:00\n"
        "0.01,128,true,NaN,0.1,b,finished,\n"
        "0.02,64,true,,,b,finished,\n"
        "0.03,32,false,0.9,0.2,c,pruned,\n"
        "0.04,32,false,,,c,running,\n"
    )
    return path
