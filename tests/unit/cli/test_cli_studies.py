"""Commands about studies: what they ask the server for and what they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from hpo_service.client.drivers import SyncDriver
from tests.unit.cli.conftest import Run
from tests.unit.client.sdk_fake_server import FakeServer, problem

YAML = "name: digits\nobjective: {metric: val_accuracy, direction: maximize}\nbudget: {trials: 10}\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "study.yaml"
    path.write_text(YAML)
    return str(path)


def test_submit_sends_the_file_with_changes(run: Run, server: FakeServer, file: str) -> None:
    done = run("submit", file, "--name", "other", "--set", "budget.trials=50", "--set", "space.lr.low=1e-6")
    assert done.exit_code == 0, done.output
    assert "submitted other as st_0" in done.stdout
    assert "hpo watch st_0" in done.stdout
    sent = server.body()
    assert sent["name"] == "other"
    assert sent["budget"] == {"trials": 50}
    assert sent["space"] == {"lr": {"low": 1e-6}}


def test_submit_and_watch_to_the_end(run: Run, server: FakeServer, file: str) -> None:
    server.states = ["preflight", "running", "finished"]
    done = run("submit", file, "--watch")
    assert done.exit_code == 0, done.output
    for part in (
        "digits: preflight",
        "digits: running",
        "digits: best 97.8 % (trial 1 at resource 27): lr=3.2e-4 batch_size=64",
        "digits finished",
        "lr          3.2e-4",
        "val_accuracy of trial 1 over resource",
        "page: http://server:8421/studies/",
        "hpo trials st_0 --sort -value",
        "hpo best st_0 --checkpoint best.pt",
        "hpo change st_0 budget.trials=6",
    ):
        assert part in done.stdout, part


@pytest.mark.parametrize(
    ("budget", "reason", "change"),
    [
        ({"resource": 90.0}, "budget.resource: 90 of 90 are given out", "budget.resource=180"),
        ({"hours": 0.5, "trials": 9}, "budget.hours: 0.5 of 0.5 hours are over", "budget.hours=1"),
        ({"patience": 8}, "budget.patience: 8 trials without improvement", "budget.patience=16"),
        ({"patience": "auto"}, "budget.patience: auto, after trial 2: …", "budget.patience=null budget.trials=6"),
        ({"trials": 3}, "budget.trials: 3 of 3 trials started", "budget.trials=6"),
    ],
)
def test_the_bound_that_ended_a_study_is_the_one_to_raise(
    run: Run, server: FakeServer, budget: dict[str, Any], reason: str, change: str
) -> None:
    study = server.add_study("st_1", "a", reason=reason)
    study["definition"]["budget"] = budget
    server.states = ["finished"]
    assert f"hpo change st_1 {change} " in run("watch", "st_1").stdout


def test_patience_auto_has_no_number(run: Run, server: FakeServer) -> None:
    rule = {"name": "patience", "used": None, "limit": None, "unit": "until going on is not worth its cost"}
    server.add_study("st_1", "a", budget=[rule])
    done = run("studies")
    assert done.exit_code == 0, done.output
    assert "st_1" in done.stdout


def test_a_study_that_fails_ends_with_1(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "a", reason="no GPU in the cluster", best=None)
    server.states = ["running", "failed"]
    done = run("watch", "st_1")
    assert done.exit_code == 1
    assert "a failed: no GPU in the cluster" in done.stdout
    assert "hpo resume st_1" in done.stdout


def test_ctrl_c_leaves_the_study_running_and_says_how_to_go_on(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    server.add_study("st_1", "a")
    monkeypatch.setattr(SyncDriver.__init__, "__defaults__", (interrupted,))
    done = run("watch", "st_1")
    assert done.exit_code == 130
    assert "a goes on; watch it again with: hpo watch st_1" in done.stderr
    assert server.studies["st_1"]["state"] == "running"


def test_validate_shows_plan_and_estimate(run: Run, server: FakeServer, file: str) -> None:
    done = run("validate", file)
    assert done.exit_code == 0, done.output
    for part in ("valid", "trials: 49", "note: one note", "about $0.0123, 30 min (recent studies)", "bracket", "27"):
        assert part in done.stdout, part
    found = json.loads(run("--json", "validate", file).stdout)
    assert found["plan"]["trials"] == 49
    found["estimate"]["dollars"] = 1e-6
    server.answers["POST /studies/validate"] = httpx.Response(200, json=found)
    assert "estimate: <$0.0001, 30 min" in run("validate", file).stdout


def test_a_refused_definition_names_every_field(run: Run, server: FakeServer, file: str) -> None:
    errors = [
        {"path": "space.lr.low", "rule": "low must be < high", "value": "3", "remedy": "swap them"},
        {"path": "budget", "rule": "unknown field", "value": "'trails'", "remedy": "did you mean 'trials'?"},
    ]
    server.faults = [problem("invalid-input", 422, "space.lr.low: …", errors=errors)]
    done = run("submit", file)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: 2 rules are broken",
        "  line 1, space.lr.low: low must be < high, but got 3; swap them",
        f"  line {line_of('budget:')}, budget: unknown field, but got 'trails'; did you mean 'trials'?",
    ]


def line_of(word: str) -> int:
    """The line of the definition's file that holds the word."""
    return next(number for number, line in enumerate(YAML.splitlines(), 1) if word in line)


def test_a_single_mistake_is_at_its_line_too(run: Run, server: FakeServer, file: str) -> None:
    errors = [{"path": "budget.trails", "rule": "unknown field", "value": "3", "remedy": "", "line": 1, "column": 900}]
    server.faults = [problem("invalid-input", 422, "budget.trails: unknown field", errors=errors)]
    done = run("validate", file)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [f"error: line {line_of('budget:')}, budget.trails: unknown field"]


def test_studies_are_listed(run: Run, server: FakeServer) -> None:
    assert "no studies" in run("studies").stdout
    server.add_study("st_1", "alpha [red]")
    server.add_study("st_2", "beta", state="finished", best=None)
    done = run("studies", "--state", "running", "--limit", "5")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["id", "name", "state", "trials", "best", "cost", "created"]
    assert "beta" in lines[1]
    assert "alpha [red]" in lines[2]
    assert "0.978" in lines[2]
    assert dict(server.last("GET").url.params) == {"limit": "5", "state": "running"}
    assert [one["id"] for one in json.loads(run("studies", "--json").stdout)] == ["st_2", "st_1"]


def test_show_has_everything_on_one_screen(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "alpha", notes="a note", tags=["demo"])
    server.rungs = [
        {"bracket": 3, "rung": 0, "resource": 1.0, "size": 27, "entered": 1, "promoted": 0, "values": [0.9]}
    ]
    done = run("show", "alpha")
    assert done.exit_code == 0, done.output
    for part in (
        "alpha",
        "st_1",
        "maximize val_accuracy",
        "random",
        "trials=10",
        "1 running, 2 finished",
        "97.8 %",
        "$0.0123",
        "a note",
        "demo",
        "1/27",
        "90 %",
    ):
        assert part in done.stdout, part
    assert json.loads(run("show", "st_1", "--json").stdout)["best"]["value"] == 0.978


def test_show_says_how_trials_are_trained(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "alpha")
    assert "training" not in run("show", "alpha").stdout
    plain = {"structure": {"batch_size": 64}, "method": "plain", "reason": "16 lanes are not worth it"}
    server.methods = {"lanes": ["lr", "momentum"], "items": [plain]}
    assert "one by one: 16 lanes are not worth it" in run("show", "alpha").stdout
    fused = {"structure": {"batch_size": 32}, "method": "fused", "width": 16}
    server.methods["items"] = [fused, plain]
    assert "1 of 2 structures fused, up to 16 lanes; lanes: lr, momentum" in run("show", "alpha").stdout


def test_an_ambiguous_name_ends_with_1_and_the_candidates(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "alpha")
    server.add_study("st_2", "alpha")
    done = run("show", "alpha")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: a name must belong to one study, but 2 are called 'alpha': st_2 (running")
    assert done.stderr.rstrip().endswith("use the id")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("verb", "state"), [("pause", "paused"), ("resume", "running"), ("stop", "stopped")])
def test_steering(run: Run, server: FakeServer, verb: str, state: str) -> None:
    server.add_study("st_1", "a")
    done = run(verb, "a", "--reason", "lunch")
    assert done.exit_code == 0, done.output
    assert f"a is {state}" in done.stdout
    assert server.body() == {"reason": "lunch"}
    assert json.loads(run(verb, "a", "--json").stdout)["state"] == state


def test_delete_asks_first(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    assert run("delete", "a", input="n\n").exit_code == 1
    assert "st_1" in server.studies
    done = run("delete", "a", input="y\n")
    assert done.exit_code == 0
    assert not server.studies
    server.add_study("st_2", "b")
    assert json.loads(run("delete", "b", "--json").stdout) == {"deleted": "st_2"}


def test_retry_and_enqueue(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    assert "enqueued as trials 7, 8" in run("retry", "a", "--failed").stdout
    assert "enqueued as trials 1, 2" in run("retry", "a", "--trials", "1,2").stdout
    assert "enqueued as trial 3" in run("enqueue", "a", "lr=1e-3", "optimizer=sgd", "nesterov=true").stdout
    assert server.body() == {"configurations": [{"lr": 1e-3, "optimizer": "sgd", "nesterov": True}]}
    for wrong in (["retry", "a"], ["retry", "a", "--failed", "--trials", "1"], ["retry", "a", "--trials", "x"]):
        assert run(*wrong).exit_code == 2, wrong
    done = run("enqueue", "a", "lr")
    assert done.exit_code == 1
    assert "name=value" in done.stderr


def test_change_patches(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    done = run("change", "a", "budget.trials=400", "parallel=16")
    assert done.exit_code == 0, done.output
    assert server.body("PATCH") == {"budget": {"trials": 400}, "parallel": 16}


def test_change_says_why_a_finished_study_stays_so_or_may_end_again(run: Run, server: FakeServer) -> None:
    reason = "budget.trials: 10 of 10 trials started"
    server.add_study("st_1", "a", state="finished", reason=reason)
    told = run("change", "a", "parallel=16").stdout
    assert f"it stays finished, as no bound that ended it was raised ({reason})" in told
    assert "hpo change st_1 budget.trials=" in told
    server.answers["PATCH /studies/st_1"] = httpx.Response(200, json={**server.studies["st_1"], "state": "running"})
    assert f"ends again where that still holds ({reason})" in run("change", "a", "budget.hours=9").stdout
    assert "that still holds" not in run("change", "a", "budget.trials=99").stdout


def test_an_unreachable_server_is_one_line_with_a_remedy(run: Run, server: FakeServer) -> None:
    server.faults = [httpx.ConnectError("refused")] * 9
    done = run("studies")
    assert done.exit_code == 1
    assert done.stderr == (
        "error: the server at http://server:8421 cannot be reached (refused); "
        "start one with `hpo serve`, or point HPO_URL or --url at it\n"
    )
    server.faults = [httpx.ConnectError("refused")] * 9
    assert json.loads(run("studies", "--json").stderr)["status"] == 503


def test_usage_errors_end_with_2(run: Run) -> None:
    assert run("submit").exit_code == 2
    assert run("nonsense").exit_code == 2
    assert run("studies", "--limit", "0").exit_code == 2


def test_global_options_may_stand_anywhere(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    for args in (
        ["--token", "t", "--json", "show", "a"],
        ["show", "a", "--token=t", "--json"],
        ["show", "--token", "t", "a", "--json"],
    ):
        done = run(*args)
        assert done.exit_code == 0, done.output
        assert server.requests[-1].headers["authorization"] == "Bearer t"
        assert json.loads(done.stdout)["id"] == "st_1"
    run("--url", "http://other:1", "show", "a")
    assert server.requests[-1].url.host == "other"


def test_a_bug_is_one_line_too_and_debug_shows_where(run: Run, server: FakeServer) -> None:
    server.faults = [RuntimeError("oops")]
    done = run("studies")
    assert done.exit_code == 1
    assert done.stderr == "error: RuntimeError: oops; --debug shows where\n"
    server.faults = [RuntimeError("oops")]
    assert "Traceback" in run("studies", "--debug").stderr
