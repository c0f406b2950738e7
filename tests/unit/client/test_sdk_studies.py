"""What the blocking client asks for and makes of the answers."""

from __future__ import annotations

import builtins
import io
import json
import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from hpo_service.client import Client, View
from hpo_service.client.results import Rung, StudySnapshot
from hpo_service.errors import Ambiguous, HpoError, InvalidInput, NotFound, Unavailable
from search_spaces import LogUniform, PowerOfTwo
from search_spaces.space import SearchSpace
from tests.unit.client.sdk_fake_server import FakeServer, problem


def test_a_definition_may_hold_parameter_objects(client: Client, server: FakeServer) -> None:
    client.create_study(
        {"name": "a", "space": {"lr": LogUniform(low=1e-6, high=1e-1), "batch_size": PowerOfTwo(low=16, high=256)}}
    )
    space = server.body()["space"]
    assert space["lr"] == {"type": "loguniform", "low": 1e-6, "high": 0.1}
    assert space["batch_size"]["type"] == "power_of_two"


def test_a_definition_may_hold_a_search_space(client: Client, server: FakeServer) -> None:
    space = SearchSpace.from_definition({"lr": LogUniform(low=1e-6, high=1e-1)}, [{"lr": {">": 0.05}}])
    client.create_study({"name": "a", "space": space})
    assert server.body()["space"] == {"lr": {"type": "loguniform", "low": 1e-6, "high": 0.1}}
    assert server.body()["forbid"] == [{"lr": {">": 0.05}}]


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_definition_may_be_a_file(client: Client, server: FakeServer, tmp_path: Path, suffix: str) -> None:
    text = "name: from-file\nbudget: {dollars: 1e-3}\n" if suffix == "yaml" else '{"name": "from-file"}'
    path = tmp_path / f"study.{suffix}"
    path.write_text(text)
    assert client.create_study(path).name == "from-file"
    assert client.create_study(str(path), name="renamed").name == "renamed"
    assert suffix == "json" or server.body()["budget"] == {"dollars": 0.001}


def test_a_file_that_is_not_there_is_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.yaml.*No such file"):
        client.create_study(tmp_path / "none.yaml")


def test_a_mistake_in_a_file_names_file_line_and_column(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: a\nspace: [1\n")
    with pytest.raises(InvalidInput, match=r"study\.yaml: line 3, column 1: the text is not YAML"):
        client.create_study(path)


def test_absurd_depth_is_refused_before_it_is_sent(client: Client, server: FakeServer) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(InvalidInput, match="levels"):
        client.create_study(deep)
    assert not server.requests


def test_validation_has_plan_and_estimate(client: Client, server: FakeServer) -> None:
    found = client.validate({"name": "a"})
    assert found.valid
    assert found.plan.trials == 49
    assert found.estimate["dollars"] == 0.0123
    assert not server.studies


def test_a_study_is_found_by_id_and_by_name(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "alpha")
    server.add_study("st_2", "beta")
    assert client.study("st_1").name == "alpha"
    assert client.study("beta").id == "st_2"


def test_an_ambiguous_name_lists_the_candidates(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "alpha")
    server.add_study("st_2", "alpha", state="finished")
    with pytest.raises(Ambiguous, match=r"st_2 \(finished, 3 trials\), st_1.*use the id"):
        client.study("alpha")


def test_an_unknown_name_is_answered_with_near_ones(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "digits-hyperband")
    with pytest.raises(NotFound, match="did you mean 'digits-hyperband'"):
        client.study("digits-hyperbnad")
    with pytest.raises(InvalidInput, match="empty"):
        client.study(" ")


def test_names_are_quoted_in_paths(client: Client, server: FakeServer) -> None:
    with pytest.raises(NotFound):
        client.study("../tokens?x=1")
    assert server.requests[0].url.raw_path == b"/api/v1/studies/..%2Ftokens%3Fx%3D1"


def test_the_snapshot_is_frozen_and_refreshed(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    study = client.study("st_1")
    before = study.info
    assert study.best_trial.params == {"lr": 3.2e-4, "batch_size": 64}
    assert study.best_value == 0.978
    with pytest.raises(ValueError, match="frozen"):
        before.state = "failed"  # type: ignore[misc]
    server.studies["st_1"]["state"] = "paused"
    assert study.refresh() is study
    assert (before.state, study.state) == ("running", "paused")


def test_no_best_trial_yet_is_said_so(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a", best=None)
    with pytest.raises(NotFound, match="no trial with a value yet"):
        _ = client.study("st_1").best_trial


def test_steering_returns_the_changed_study(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    study = client.study("st_1")
    assert study.pause("lunch").state == "paused"
    assert study.info.reason == "lunch"
    assert study.resume().state == "running"
    assert study.stop().state == "stopped"
    assert study.ended
    assert study.patch(parallel=16).info.parallel == 16
    study.delete()
    assert not server.studies
    with pytest.raises(InvalidInput, match="got nothing"):
        study.patch()


def test_enqueue_and_retry_return_trial_numbers(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    study = client.study("st_1")
    assert study.enqueue([{"lr": 0.1}, {"lr": 0.2}]) == [3, 4]
    assert study.retry() == [7, 8]
    assert server.body() == {"failed": True}
    assert study.retry([2]) == [2]
    assert server.body() == {"trials": [2]}


def test_trials_are_paged_only_as_far_as_they_are_read(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 250)
    study = client.study("st_1")
    asked = len(server.requests)
    trials = study.trials(sort="-val_accuracy", filter="lr>1e-3 state:finished")
    assert len(server.requests) == asked
    assert trials.first() is not None
    assert len(server.requests) == asked + 1
    assert dict(server.requests[-1].url.params) == {
        "limit": "100",
        "filter": "lr>1e-3 state:finished",
        "sort": "-val_accuracy",
    }
    assert [trial.number for trial in trials] == list(range(250))
    assert len(server.requests) == asked + 4


def test_a_limit_ends_the_paging(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 250)
    study = client.study("st_1")
    assert len(list(study.trials(limit=120))) == 120
    assert server.requests[-1].url.params["limit"] == "20"
    assert list(study.trials(limit=0)) == []
    assert [found.id for found in client.studies(limit=1)] == ["st_1"]


def test_special_values_are_floats_again(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1, value="NaN", values={"val_loss": "Infinity"}, target="Infinity")
    trial = client.study("st_1").trial(0)
    assert trial.value is not None
    assert math.isnan(trial.value)
    assert trial.values == {"val_loss": math.inf}
    assert trial.info.target == math.inf
    assert trial.info.to_json()["values"] == {"val_loss": "Infinity"}
    curve = client.study("st_1").curves(trials=[1]).trials[0]
    assert curve.value[1] is not None
    assert math.isnan(curve.value[1])
    assert server.requests[-1].url.params["trials"] == "1"


def test_best_trials_and_a_trial_of_its_own(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 3)
    study = client.study("st_1")
    assert [trial.number for trial in study.best(2)] == [2, 1]
    with pytest.raises(NotFound, match="no trial 9"):
        study.trial(9)


def test_export_writes_whole_files_or_none(client: Client, server: FakeServer, tmp_path: Path) -> None:
    server.add_study("st_1", "a")
    study = client.study("st_1")
    server.answers["GET /studies/st_1/export"] = httpx.Response(200, content=b"number\n0\n")
    study.export(tmp_path / "deep" / "a.csv")
    assert (tmp_path / "deep" / "a.csv").read_bytes() == b"number\n0\n"
    assert server.requests[-1].url.params["format"] == "csv"
    file = io.BytesIO(b"head:")
    file.seek(5)
    study.export(file, "json")
    assert file.getvalue() == b"head:number\n0\n"
    server.answers["GET /studies/st_1/export"] = problem("conflict", 409, "not now")
    with pytest.raises(HpoError, match="not now"):
        study.export(tmp_path / "b.csv")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.csv"]
    with pytest.raises(InvalidInput, match="csv, json, parquet"):
        study.export(tmp_path / "b.xlsx")


def test_a_download_that_breaks_is_begun_anew(client: Client, server: FakeServer, pauses: list[float]) -> None:
    def broken() -> Any:
        yield b"num"
        raise httpx.ReadError("gone")

    server.add_study("st_1", "a")
    study = client.study("st_1")
    server.faults = [httpx.Response(200, content=broken())]
    server.answers["GET /studies/st_1/export"] = httpx.Response(200, content=b"number\n0\n")
    file = io.BytesIO()
    study.export(file, "csv")
    assert file.getvalue() == b"number\n0\n"
    assert len(pauses) == 1


def test_a_checkpoint_is_saved(client: Client, server: FakeServer, tmp_path: Path) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    server.answers["GET /studies/st_1/trials/0/checkpoint"] = httpx.Response(200, content=b"\x00weights")
    client.study("st_1").trial(0).checkpoint(tmp_path / "out.pt")
    assert (tmp_path / "out.pt").read_bytes() == b"\x00weights"


def test_logs_reports_and_notes_of_a_trial(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    trial = client.study("st_1").trial(0)
    place = "/studies/st_1/trials/0"
    server.answers |= {
        f"GET {place}/log": httpx.Response(200, json={"text": "hello\n", "next": 6, "fence": 1}),
        f"GET {place}/reports": httpx.Response(
            200, json={"items": [{"step": 1, "resource": 1.0, "fence": 1, "metrics": {"val_loss": "NaN"}}]}
        ),
        f"PATCH {place}": httpx.Response(200, json={**server.trials["st_1"][0], "notes": "good"}),
    }
    assert trial.log(after=3).text == "hello\n"
    assert server.requests[-1].url.params["after"] == "3"
    [report] = trial.reports()
    assert report.metrics["val_loss"] is not None
    assert math.isnan(report.metrics["val_loss"])
    assert trial.annotate(notes="good").info.notes == "good"
    assert server.body("PATCH") == {"notes": "good"}


def test_a_trial_is_stopped_alone(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    trial = client.study("st_1").trial(0)
    row = {**server.trials["st_1"][0], "state": "running"}
    server.answers["POST /studies/st_1/trials/0/stop"] = httpx.Response(200, json=row)
    assert trial.stop("too slow").state == "running"
    assert server.body("POST") == {"reason": "too slow"}


def test_a_dataframe_has_parameters_and_metrics(client: Client, server: FakeServer) -> None:
    pytest.importorskip("pandas")
    server.add_study("st_1", "a")
    server.add_trials("st_1", 3)
    frame = client.study("st_1").to_dataframe()
    assert list(frame["number"]) == [0, 1, 2]
    assert list(frame["param.lr"]) == [0.01, 0.02, 0.03]
    assert frame["metric.val_accuracy"].max() == 0.9002


def test_without_pandas_the_remedy_is_the_extra(
    client: Client, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_pandas(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    server.add_study("st_1", "a")
    study = client.study("st_1")
    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(Unavailable, match=r"needs pandas.*hpo-service\[dataframe\]"):
        study.to_dataframe()


def test_compare_takes_handles_ids_and_names(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "alpha")
    server.add_study("st_2", "beta")
    found = client.compare(client.study("st_1"), "beta")
    assert server.requests[-1].url.params.get_list("study") == ["st_1", "st_2"]
    assert [item.study.name for item in found.items] == ["alpha", "beta"]
    assert found.differences[0].values == (3, 4)
    with pytest.raises(InvalidInput, match="at least 2"):
        client.compare("st_1")


def test_waiting_ends_with_the_study(client: Client, server: FakeServer, pauses: list[float]) -> None:
    server.add_study("st_1", "a")
    study = client.study("st_1")
    server.states = ["preflight", "running", "running", "finished"]
    assert study.wait(poll_s=0.25) is study
    assert study.state == "finished"
    assert pauses == [0.25] * 3


def test_waiting_survives_a_server_that_restarts(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    study = client.study("st_1")
    server.states = ["finished"]
    server.faults = [httpx.ConnectError("refused")] * 14
    assert study.wait().state == "finished"


def test_waiting_gives_up_when_told_to(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    with pytest.raises(TimeoutError, match="it goes on"):
        client.study("st_1").wait(timeout_s=0)


def test_progress_may_be_a_function(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 2)
    server.rungs = [
        {"bracket": 3, "rung": 0, "resource": 1.0, "size": 2, "entered": 2, "promoted": 1, "values": [0.5, None]}
    ]
    study = client.study("st_1")
    server.states = ["running", "finished"]
    views: list[View] = []
    study.wait(progress=views.append)
    assert [view.study.state for view in views] == ["running", "finished"]
    assert views[0].running[0].number == 0
    assert views[0].rungs[0].full
    assert views[1].running == ()


def test_a_rung_knows_its_best_value() -> None:
    rung = Rung(rung=0, resource=1, entered=3, values=(0.5, None, float("nan")))
    assert rung.best(maximize=True) == rung.best(maximize=False) == 0.5
    assert Rung(rung=0, resource=1).best(maximize=True) is None


def test_answers_of_a_newer_server_are_understood() -> None:
    found = StudySnapshot.parse({"id": "a", "name": "b", "state": "running", "new_field": 1, "definition": None})
    assert found.definition == {}
    with pytest.raises(HpoError, match=r"not a StudySnapshot \(state: .*same version"):
        StudySnapshot.parse({"id": "a", "name": "b"})


def test_an_answer_that_is_not_json_is_named(client: Client, server: FakeServer) -> None:
    server.faults = [httpx.Response(200, content=b"<html>hello")]
    with pytest.raises(HpoError, match="not JSON, but starts with '<html>hello'"):
        client.schema()


def test_schema_doctor_and_workers(client: Client, server: FakeServer) -> None:
    server.answers |= {
        "GET /schema": httpx.Response(200, json={"title": "Study definition"}),
        "GET /doctor": httpx.Response(200, json={"checks": [{"name": "db", "ok": True, "detail": "", "remedy": ""}]}),
        "GET /workers": httpx.Response(200, json={"items": [{"id": "w1", "state": "idle", "cpu": 1.0}]}),
    }
    assert client.schema()["title"] == "Study definition"
    assert client.doctor()[0].ok
    assert client.workers()[0].id == "w1"


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> None:
    monkeypatch.setenv("HPO_URL", "http://elsewhere:99/")
    monkeypatch.setenv("HPO_TOKEN", "t0ken")
    server.add_study("st_1", "a")
    with Client(transport=server.transport()) as client:
        client.study("st_1")
    assert str(server.requests[0].url) == "http://elsewhere:99/api/v1/studies/st_1"
    assert server.requests[0].headers["authorization"] == "Bearer t0ken"
    monkeypatch.delenv("HPO_URL")
    with Client(transport=server.transport()) as client:
        assert client.url == "http://127.0.0.1:8421"


@pytest.mark.parametrize("url", ["server:8421", "ftp://server", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="http://host:port"):
        Client(url)


def test_the_event_log_is_read_after_a_number(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    event = {"seq": 4, "kind": "decided", "at": "2026-01-02T03:04:05Z", "epoch": 1, "payload": {"a": 1}}
    server.answers["GET /studies/st_1/log"] = httpx.Response(200, content=json.dumps({"items": [event]}))
    [found] = client.study("st_1").event_log(after=3)
    assert (found.seq, found.kind) == (4, "decided")
    assert server.requests[-1].url.params["after"] == "3"
