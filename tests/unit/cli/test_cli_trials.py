"""Commands about trials: tables, csv, json, logs, checkpoints, exports."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import httpx
import pytest

from tests.unit.cli.conftest import Run
from tests.unit.client.sdk_fake_server import FakeServer


@pytest.fixture(autouse=True)
def _study(server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 3)


def test_trials_as_a_table(run: Run, server: FakeServer) -> None:
    done = run("trials", "a", "--sort", "-val_accuracy", "--filter", "lr>1e-3", "--limit", "2")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["number", "state", "resource", "value", "seconds", "cost", "lr"]
    assert lines[1].split() == ["0", "finished", "27", "90", "%", "12.3", "s", "$0.0001", "0.01"]
    assert dict(server.last("GET").url.params) == {"limit": "2", "sort": "-val_accuracy", "filter": "lr>1e-3"}


def test_trials_as_csv_are_exact(run: Run) -> None:
    done = run("trials", "a", "--format", "csv", "--columns", "number,value,lr,metric.val_loss,ended_at")
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert rows[0] == ["number", "value", "lr", "metric.val_loss", "ended_at"]
    assert rows[2] == ["1", "0.9001", "0.02", "0.5", ""]


def test_trials_as_json(run: Run) -> None:
    for args in (["--format", "json"], ["--json"]):
        found = json.loads(run("trials", "a", *args).stdout)
        assert [one["number"] for one in found] == [0, 1, 2]
        assert found[0]["params"] == {"lr": 0.01}


def test_unknown_columns_are_refused_with_the_nearest_name(run: Run, server: FakeServer) -> None:
    for columns, remedy in (("number,vlaue", "'value'"), ("param.lrr", "'param.lr'"), ("metric.val_los", "val_loss")):
        done = run("trials", "a", "--columns", columns)
        assert done.exit_code == 2, done.output
        assert columns.rpartition(",")[2] in done.stderr
        assert remedy in " ".join(done.stderr.replace("│", " ").split())
    assert run("trials", "a", "--columns", "cost,tags,param.lr,val_loss").exit_code == 0
    for trial in server.trials["st_1"]:
        trial["values"] = {}
    assert run("trials", "a", "--columns", "number,metric.val_loss").exit_code == 0
    assert run("trials", "a", "--columns", "param.lrr").exit_code == 2


def test_an_empty_list_says_why(run: Run, server: FakeServer) -> None:
    server.trials["st_1"] = []
    server.studies["st_1"]["trials"] = 0
    assert "no trials yet" in run("trials", "a").stdout
    assert run("trials", "a", "--format", "xml").exit_code == 2


def test_best_shows_configuration_and_curve(run: Run) -> None:
    done = run("best", "a")
    assert done.exit_code == 0, done.output
    assert "90.02 %" in done.stdout
    assert "┤" in done.stdout
    assert json.loads(run("best", "a", "--json", "--limit", "2").stdout)[1]["number"] == 1


def test_best_saves_the_model(run: Run, server: FakeServer, tmp_path: Path) -> None:
    server.answers["GET /studies/st_1/trials/2/checkpoint"] = httpx.Response(200, content=b"weights")
    out = tmp_path / "out.pt"
    done = run("best", "a", "--checkpoint", str(out))
    assert done.exit_code == 0, done.output
    assert out.read_bytes() == b"weights"
    assert "saved the checkpoint of trial 2" in done.stdout


def test_no_best_yet_is_an_error_with_a_remedy(run: Run, server: FakeServer) -> None:
    server.trials["st_1"] = []
    done = run("best", "a")
    assert done.exit_code == 1
    assert "no trial with a value yet; hpo watch st_1" in done.stderr


def test_a_trial_shows_its_attempts_and_their_lanes(run: Run, server: FakeServer) -> None:
    place = "GET /studies/st_1/trials/1"
    attempts = [
        {"trial": 1, "fence": 1, "state": "closed", "outcome": "reached", "resource": 3.0, "method": "fused",
         "lane": 2, "width": 8, "worker_id": "w1", "seconds": 4.0, "cost_microdollars": 50},
        {"trial": 1, "fence": 2, "state": "open", "from_resource": 3.0, "resource": 4.0, "method": "plain"},
    ]  # fmt: skip
    answer = {**server.trials["st_1"][1], "attempt_rows": attempts, "origin": "portfolio"}
    server.answers[place] = httpx.Response(200, json=answer)
    done = run("trial", "a/1")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert any(line.startswith("params") and "lr=0.02" in line for line in lines)
    assert any(line.split() == ["origin", "portfolio"] for line in lines)
    newest, oldest = lines[-2:]
    assert "running" in newest
    assert "plain" in newest
    assert "fused, lane 3 of 8" in oldest
    assert "w1" in oldest
    assert json.loads(run("--json", "trial", "a/1").stdout)["attempt_rows"][0]["lane"] == 2
    assert run("trial", "a").exit_code == 2


def test_a_paused_trial_says_what_it_waits_for(run: Run, server: FakeServer) -> None:
    server.trials["st_1"][1] |= {"state": "paused", "reason": "reached", "resource": 4.0}
    waits = "paused at resource 4: goes on when the search calls for it"
    assert waits in run("trial", "a/1").stdout
    assert waits in " ".join(run("trials", "a", "--columns", "number,reason").stdout.split())


def test_logs_print_output_and_why_it_failed(run: Run, server: FakeServer) -> None:
    place = "GET /studies/st_1/trials/1"
    attempt = {
        "trial": 1,
        "fence": 1,
        "state": "closed",
        "failure": "exception",
        "reason": "exception: boom",
        "traceback": "Traceback: boom\n",
    }
    server.answers |= {
        f"{place}/log": httpx.Response(200, json={"text": "epoch 1\nepoch 2", "next": 15, "fence": 1}),
        place: httpx.Response(200, json={**server.trials["st_1"][1], "state": "failed", "attempt_rows": [attempt]}),
    }
    done = run("logs", "a/1")
    assert done.exit_code == 0, done.output
    assert done.stdout == "epoch 1\nepoch 2\ntrial 1 failed: exception: boom\nTraceback: boom\n"
    assert run("logs", "a").exit_code == 2
    server.answers[f"{place}/log"] = httpx.Response(200, json={"text": "", "next": 0, "fence": 1})
    assert run("logs", "a/1").stderr == "trial 1 wrote nothing\n"


def test_logs_follow_until_the_trial_ends(run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_service.cli.trials.FOLLOW_S", 0)
    server.trials["st_1"][1]["state"] = "running"
    pieces = [{"text": "one\n", "next": 4, "fence": 1}, {"text": "two\n", "next": 8, "fence": 1}]

    def answer(request: httpx.Request, *_: str) -> httpx.Response:
        piece = pieces.pop(0) if pieces else {"text": "", "next": 8, "fence": 1}
        server.trials["st_1"][1]["state"] = "running" if pieces else "finished"
        return httpx.Response(200, json=piece)

    server.routes.append(("GET", re.compile(r"/studies/([^/]+)/trials/(\d+)/log"), answer))
    done = run("logs", "a/1", "-f")
    assert done.stdout == "one\ntwo\n"
    assert server.requests[-1].url.params["after"] == "8"


def test_compare(run: Run, server: FakeServer) -> None:
    server.add_study("st_2", "b")
    done = run("compare", "a", "b")
    assert done.exit_code == 0, done.output
    for part in ("97.8 %", "▁█", "algorithm.eta"):
        assert part in done.stdout, part
    assert run("compare", "a").exit_code == 2
    assert len(json.loads(run("compare", "a", "b", "--json").stdout)["items"]) == 2


def test_export_to_a_file_or_standard_output(run: Run, server: FakeServer, tmp_path: Path) -> None:
    server.answers["GET /studies/st_1/export"] = httpx.Response(200, content=b"number\n0\n")
    assert run("export", "a").stdout == "number\n0\n"
    done = run("export", "a", "-o", str(tmp_path / "a.parquet"))
    assert done.exit_code == 0, done.output
    assert server.requests[-1].url.params["format"] == "parquet"
    run("export", "a", "-o", str(tmp_path / "a.txt"))
    assert server.requests[-1].url.params["format"] == "csv"
    assert (tmp_path / "a.txt").read_text() == "number\n0\n"


def test_export_makes_no_folders(run: Run, server: FakeServer, tmp_path: Path) -> None:
    server.answers["GET /studies/st_1/export"] = httpx.Response(200, content=b"number\n0\n")
    done = run("export", "a", "-o", str(tmp_path / "missing" / "a.csv"))
    assert done.exit_code == 2
    assert "folder of the output must exist" in " ".join(done.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []
