"""Histories of Optuna, Ray Tune and tables: read, brought to a service, and gone on with."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from hpo_service import read_csv, read_optuna, read_ray_tune
from hpo_service.client import AsyncClient, Client
from hpo_service.core.definition import parse
from hpo_service.errors import InvalidInput, NotFound
from hpo_service.foreign.history import BATCH_BYTES, History, OldTrial, thinned
from tests.unit.foreign.conftest import Run


def trials_of(http: httpx.Client, study_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"/api/v1/studies/{study_id}/trials?limit=1000").json()["items"]
    return found


def test_an_optuna_study_comes_with_everything(optuna_db: Path, sdk: Client, http: httpx.Client) -> None:
    import optuna

    old = optuna.load_study(study_name="digits", storage=f"sqlite:///{optuna_db}")
    history = read_optuna(f"sqlite:///{optuna_db}", "digits")
    brought = sdk.import_history(history)
    assert brought.trials == tuple(range(20))
    assert brought.outside_count == 0
    assert (brought.study.state, brought.study.trials) == ("finished", 20)
    shown = trials_of(http, brought.study.id)
    words = {"COMPLETE": "finished", "PRUNED": "stopped", "FAIL": "failed"}
    for mine, theirs in zip(shown, old.trials, strict=False):
        assert mine["state"] == words[theirs.state.name]
        assert {k.replace("n_layers", "n layers"): v for k, v in mine["params"].items()} == theirs.params
        assert mine["origin"] == "imported"
        told = http.get(f"/api/v1/studies/{brought.study.id}/trials/{mine['number']}/reports").json()["items"]
        values = {one["step"]: one["metrics"]["value"] for one in told}
        wanted = {s: "NaN" if math.isnan(v) else v for s, v in theirs.intermediate_values.items()}
        assert values == wanted
        if theirs.state.name == "COMPLETE":
            assert mine["value"] == theirs.value
        assert mine["ended_at"] is not None
    best = http.get(f"/api/v1/studies/{brought.study.id}").json()["best"]
    assert (best["trial"], best["value"]) == (old.best_trial.number, old.best_value)
    notes = http.get(f"/api/v1/studies/{brought.study.id}/trials/0").json()["notes"]
    assert "Optuna trial 0" in notes
    assert "host: n1" in notes
    told_notes = "\n".join(brought.notes)
    for word in (
        "1 trials that run or wait",
        "user attributes",
        "n_layers: is 'n layers' there",
        "momentum: there when",
    ):
        assert word in told_notes


def test_the_space_is_that_of_the_distributions(optuna_db: Path) -> None:
    history = read_optuna(str(optuna_db), "digits")
    assert history.space.to_dict()["parameters"] == {
        "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
        "lr": {"type": "loguniform", "low": 1e-5, "high": 0.1},
        "n_layers": {"type": "integer", "low": 1, "high": 4, "step": 1},
        "momentum": {"type": "quniform", "low": 0.5, "high": 0.9, "step": 0.1, "when": {"optimizer": "sgd"}},
    }
    definition = parse(history.definition(name="again"))
    assert (definition.name, definition.algorithm.name, definition.trainer.external) == ("again", "bayesian", True)


def test_a_study_goes_on_where_optuna_ended(optuna_db: Path, sdk: Client) -> None:
    brought = sdk.import_history(read_optuna(f"sqlite:///{optuna_db}", "digits"), name="more digits")
    study = sdk.study("more digits").resume()
    trial = study.ask()
    assert trial is not None
    assert trial.number == len(brought.trials)
    trial.tell(2.0)
    study.refresh()
    assert study.best_trial.trial == trial.number


def test_two_objectives(optuna_db: Path, sdk: Client, http: httpx.Client) -> None:
    history = read_optuna(f"sqlite:///{optuna_db}", "two", metrics=["loss", "speed"])
    assert history.objectives == (("loss", "minimize"), ("speed", "maximize"))
    brought = sdk.import_history(history)
    front = http.get(f"/api/v1/studies/{brought.study.id}/pareto").json()["front"]
    assert front["size"] >= 1
    assert {trial["state"] for trial in trials_of(http, brought.study.id)} == {"finished"}


@pytest.mark.parametrize(
    ("storage", "study", "error", "says"),
    [
        ("sqlite:///{}", None, InvalidInput, "2 studies: digits, two"),
        ("sqlite:///{}", "digit", NotFound, "has no study 'digit'"),
        ("sqlite:///{}x", "digits", InvalidInput, "must be there"),
        ("nosuch://x", "digits", InvalidInput, "must be able to open"),
    ],
)
def test_optuna_storages_that_cannot_be_read(
    optuna_db: Path, storage: str, study: str | None, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        read_optuna(storage.format(optuna_db), study)


def test_an_optuna_journal_and_changing_ranges(tmp_path: Path) -> None:
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    study = optuna.create_study(storage=optuna.storages.JournalStorage(backend), study_name="j")
    study.optimize(lambda t: t.suggest_float("x", 0, 1 + t.number) + t.suggest_int("y", 0, 9, step=3), n_trials=3)
    history = read_optuna(str(tmp_path / "journal.log"))
    assert history.space.to_dict()["parameters"]["x"] == {"type": "uniform", "low": 0.0, "high": 3.0}
    assert history.space.to_dict()["parameters"]["y"]["step"] == 3
    assert "space.x: its range changed between trials; here it is 0.0 to 3.0" in history.notes


def test_a_ray_tune_folder(ray_results: Path, sdk: Client, http: httpx.Client) -> None:
    history = read_ray_tune(ray_results, metric="loss")
    assert [trial.state for trial in history.trials] == ["finished", "stopped", "failed", "finished"]
    assert history.space.to_dict()["parameters"] == {
        "opt.lr": {"type": "loguniform", "low": 0.001, "high": 0.4},
        "kind": {"type": "choice", "values": ["a", "b"]},
        "n": {"type": "constant", "value": 3},
    }
    told = "\n".join(history.notes)
    assert "f_3: is running and left out" in told
    assert "opt.lr: guessed" in told
    brought = sdk.import_history(history)
    assert brought.study.state == "finished"
    shown = trials_of(http, brought.study.id)
    assert [trial["value"] for trial in shown] == [0.3, 0.7, 0.9, 0.2]
    assert shown[2]["reason"] == "ValueError: too large"
    assert shown[0]["values"] == {"loss": 0.3, "eval/acc": 1.0}
    assert http.get(f"/api/v1/studies/{brought.study.id}").json()["best"]["trial"] == 3
    curve = http.get(f"/api/v1/studies/{brought.study.id}/trials/3/reports").json()["items"]
    assert [(one["step"], one["metrics"]["loss"]) for one in curve] == [(1, 0.9), (2, "NaN"), (3, 0.2)]


def test_ray_tune_folders_that_cannot_be_read(tmp_path: Path, ray_results: Path) -> None:
    with pytest.raises(InvalidInput, match=r"reported were eval/acc, loss"):
        read_ray_tune(ray_results, metric="val_loss")
    with pytest.raises(InvalidInput, match="holds none"):
        read_ray_tune(tmp_path / "nothing", metric="loss")
    with pytest.raises(InvalidInput, match="direction"):
        read_ray_tune(ray_results, metric="loss", direction="down")
    (ray_results / "f_0" / "result.json").write_text("{broken")
    (ray_results / "experiment_state-2026-01-01_00-00-00.json").write_text("[]")
    history = read_ray_tune(ray_results, metric="loss")
    told = "\n".join(history.notes)
    assert "f_0: cannot be read and is left out" in told
    assert "cannot be read: how trials ended" in told
    assert len(history.trials) == 4


def test_a_table(table: Path, sdk: Client, http: httpx.Client) -> None:
    history = read_csv(table, objective=["val_loss"], params=["lr", "batch", "aug"])
    assert history.space.to_dict()["parameters"] == {
        "lr": {"type": "loguniform", "low": 0.001, "high": 0.1},
        "batch": {"type": "integer", "low": 32, "high": 128, "step": 1},
        "aug": {"type": "choice", "values": [False, True]},
    }
    brought = sdk.import_history(history)
    shown = trials_of(http, brought.study.id)
    assert [trial["state"] for trial in shown] == ["finished", "finished", "failed", "failed", "stopped"]
    assert [trial["value"] for trial in shown] == [0.5, 0.4, "NaN", None, 0.9]
    assert shown[0]["started_at"] == "2024-01-01T10:00:00Z"
    assert shown[1]["values"]["val_acc"] == 0.9
    assert http.get(f"/api/v1/studies/{brought.study.id}").json()["best"]["value"] == 0.4
    assert "1 rows that run or wait are left out" in brought.notes


@pytest.mark.parametrize(
    ("text", "more", "says"),
    [
        ("lr,loss\n1,2\n", {"objective": ["los"]}, "did you mean 'loss'"),
        ("lr,loss\n1,2\n", {"params": []}, "--params"),
        ("lr,loss\n1,2\n", {"direction": ["down"]}, "minimize or maximize"),
        ("lr,loss,state\n1,2,odd\n", {}, "unknown state"),
        ("lr,loss,started_at\n1,2,noon\n", {}, "ISO 8601"),
        ("lr,loss\n", {}, "no rows"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, more: dict[str, Any], says: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=says):
        read_csv(path, **{"objective": ["loss"], "params": ["lr"], **more})


def test_one_name_needs_no_list(table: Path) -> None:
    alone = read_csv(table, objective="val_loss", direction="maximize", params="lr")
    listed = read_csv(table, objective=["val_loss"], direction=["maximize"], params=["lr"])
    assert repr(alone) == repr(listed)
    assert alone.objectives == (("val_loss", "maximize"),)


def test_text_with_underscores_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    path.write_text("layers,loss\n64_32,0.1\n128_64,0.2\n64_32,1_0\n")
    trials = read_csv(path, objective=["loss"], params=["layers"]).trials
    assert [trial.params["layers"] for trial in trials] == ["64_32", "128_64", "64_32"]
    assert [trial.state for trial in trials] == ["finished", "finished", "failed"]


def test_an_objective_s_new_name_is_not_that_of_another_column(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("lr,loss,val_loss\n0.1,1,99\n0.2,2,98\n")
    history = read_csv(path, objective=["loss"], params=["lr"]).renamed(["val_loss"])
    assert [trial.metrics for trial in history.trials] == [{"val_loss": 1.0}, {"val_loss": 2.0}]
    assert any(note.startswith("val_loss: ") for note in history.notes)
    both = read_csv(path, objective=["loss", "val_loss"], params=["lr"]).renamed(["val_loss", "loss"])
    assert both.trials[0].metrics == {"val_loss": 1.0, "loss": 99.0}


def test_into_a_study_with_a_definition_of_one_s_own(table: Path, sdk: Client, tmp_path: Path) -> None:
    document = {
        "name": "mine",
        "objective": {"metric": "loss"},
        "space": {"lr": {"type": "loguniform", "low": 0.005, "high": 0.5}},
        "algorithm": {"name": "bayesian"},
        "trainer": {"function": "train:main"},
        "budget": {"trials": 5},
    }
    history = read_csv(table, objective=["val_loss"], params=["lr", "batch"])
    brought = sdk.import_history(history, document)
    assert (brought.study.state, brought.study.name) == ("paused", "mine")
    assert brought.outside_count == 5  # `batch` is in none of its trials
    assert any("batch" in line for line in brought.outside)
    study = sdk.study(brought.study.id)
    assert study.trial(1).values == {"loss": 0.4, "val_acc": 0.9}
    again = study.import_history(read_csv(table, objective=["val_loss"], params=["lr"]))
    assert again.trials == (5, 6, 7, 8, 9)
    assert again.outside_count == 1
    with pytest.raises(InvalidInput, match="same directions"):
        study.import_history(read_csv(table, objective=["val_loss"], direction=["maximize"], params=["lr"]))
    with pytest.raises(InvalidInput):
        study.import_history(history, outside="refuse")


def test_the_awaiting_sdk_brings_it_too(table: Path, http: Any) -> None:
    async def bring() -> tuple[int, int]:
        async with AsyncClient("http://localhost", transport=httpx.ASGITransport(app=http.app)) as client:
            history = read_csv(table, objective=["val_loss"], params=["lr"])
            made = await client.import_history(history, name="awaited")
            study = await client.study("awaited")
            more = await study.import_history(history)
            return len(made.trials), len(more.trials)

    assert asyncio.run(bring()) == (5, 5)


def test_large_histories_go_in_pieces(sdk: Client, http: httpx.Client) -> None:
    reports = [(k, k + 1.0, {"loss": 1.0 / (k + 1), "accuracy": 0.123456789}) for k in range(400)]
    trial = OldTrial(params={"lr": 0.1}, state="finished", reports=reports)
    long = OldTrial(params={"lr": 0.2}, state="finished", reports=[(k, k + 1.0, {"loss": 1.0}) for k in range(9_000)])
    small, left = thinned(long)
    assert left == 9_000 - len(small.reports) > 0
    assert small.reports[-1] == long.reports[-1]
    assert len(json.dumps(small.to_json())) <= BATCH_BYTES
    space = parse(
        {
            "objective": {"metric": "loss"}, "space": {"lr": {"type": "uniform", "low": 0, "high": 1}},
            "algorithm": {"name": "random"}, "trainer": {"external": True},
        }
    ).search_space  # fmt: skip
    history = History(
        source="a test", name="large", objectives=(("loss", "minimize"),), space=space,
        trials=(*(trial for _ in range(12)), small), resource=9_000.0,
    )  # fmt: skip
    assert len(list(history.batches())) > 3
    brought = sdk.import_history(history)
    assert brought.trials == tuple(range(13))
    assert trials_of(http, brought.study.id)[3]["step"] == 399


def test_the_command_line(optuna_db: Path, ray_results: Path, table: Path, run: Run, tmp_path: Path) -> None:
    done = run("import", "optuna", f"sqlite:///{optuna_db}", "--study", "digits", "--name", "old digits")
    assert done.exit_code == 0, done.output
    assert "imported into old digits" in done.output
    assert "note: " in done.output
    shown = run("import", "ray-tune", str(ray_results), "--metric", "loss", "--dry-run", "--json")
    assert json.loads(shown.stdout)["trials"] == 4
    brought = run("import", "csv", str(table), "--objective", "val_loss", "--params", "lr,batch", "--json")
    assert len(json.loads(brought.stdout)["trials"]) == 5
    own = tmp_path / "own.yaml"
    own.write_text(run("import", "csv", str(table), "--objective", "val_loss", "--params", "lr", "--dry-run").stdout)
    words = ("--params", "lr", "--definition", str(own), "--name", "mine", "--outside", "refuse")
    mine = run("import", "csv", str(table), "--objective", "val_loss", *words)
    assert "which is paused" in mine.output, mine.output
    into = run("import", "csv", str(table), "--objective", "val_loss", "--params", "lr", "--into", "runs")
    assert into.exit_code == 0, into.output
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        "method: random\nrun_cap: 3\nprogram: train.py\nmetric: {name: loss}\nparameters: {lr: {min: 0.0, max: 1.0}}\n"
    )
    made = run("import", str(sweep), "-o", str(tmp_path / "study.yaml"), "--trainer", "external", "--set", "seed=7")
    assert made.exit_code == 0, made.output
    assert "program: 'train.py' is never run" in made.output
    submitted = run("submit", str(tmp_path / "study.yaml"))
    assert "submitted sweep" in submitted.output
    assert run("import", str(sweep)).stdout.startswith("# Made from a W&B sweep.")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("import", "optuna"), "needs a source"),
        (("import", "sweep.yaml", "more"), "a file stands alone"),
        (("import", "ray-tune", "."), "--metric loss"),
        (("import", "csv", "x.csv"), "--objective val_loss"),
        (("import", "nothing.yaml"), "must be readable"),
    ],
)
def test_the_command_line_says_what_is_missing(words: tuple[str, ...], says: str, run: Run) -> None:
    done = run(*words)
    assert done.exit_code == 1
    assert says in done.output
