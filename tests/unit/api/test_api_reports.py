"""The report of a study by REST, SDK and command line; of searches, confirmations, empty and failed ones."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from rich.console import Console
from typer.testing import CliRunner

from hpo_service.api.app import create_app
from hpo_service.cli import app as command_line
from hpo_service.cli.base import Session
from hpo_service.cli.confirmed import confirmation_sheet
from hpo_service.client import AsyncClient, Client
from hpo_service.core.states import StudyState
from hpo_service.errors import InvalidInput
from hpo_service.settings import Settings
from hpo_service.store import studies
from hpo_service.store.database import Database
from tests.unit.api.support import DEFINITION
from tests.unit.api.test_api_confirmations import SPREAD, _confirm, _predict, _search, _train

HOSTILE = "<script>alert('x')</script>"


class Through(httpx.BaseTransport):
    """The SDK's requests, answered by the service in this process."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {k: v for k, v in request.headers.items() if k not in ("host", "connection")}
        found = self._client.request(request.method, str(request.url), content=request.read(), headers=headers)
        return httpx.Response(found.status_code, headers=dict(found.headers), content=found.content)


class AsyncThrough(httpx.AsyncBaseTransport):
    def __init__(self, client: TestClient) -> None:
        self._through = Through(client)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.to_thread(self._through.handle_request, request)


def _report(client: TestClient, study: str, form: str = "html") -> str:
    answer = client.get(f"/api/v1/studies/{study}/report.{form}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/html" if form == "html" else "text/markdown")
    return str(answer.text)


def _confirmed(client: TestClient, settings: Settings) -> tuple[str, str]:
    """A search, and a confirmation of it with test metrics and predictions."""
    search = _search(
        client, [0.9, 0.94, 0.8], name=HOSTILE, objective={"metric": "val_accuracy", "direction": "maximize"}
    )
    study = _confirm(client, search, top=2, seeds=5)["id"]

    def told(number: int, _: Mapping[str, Any]) -> dict[str, Any]:
        value = (0.93, 0.85)[number % 2] + SPREAD[number // 2]
        return {"metrics": {"val_accuracy": value, "test_accuracy": value - 0.01}}

    _train(client, study, told)
    for trial in range(10):
        _predict(settings, study, trial, sharp=1.5)
    return search, study


def test_a_search_that_is_not_confirmed_says_so(client: TestClient) -> None:
    page = _report(client, _search(client, [0.5, 0.3, 0.9, 0.4, 0.6, 0.45, 0.7, 0.8, 0.35, 0.5, 0.42, 0.61]))
    for words in ("Not confirmed", "The winner", "The best trials", "Method", "What it cost", "How to repeat it",
                  "Which parameters mattered", "Independent draws (Bergstra &amp; Bengio 2012)",
                  "12 trials × 5 min = 1 h of a person&#x27;s time, $60.00"):  # fmt: skip
        assert words in page, words
    assert page.count("<svg") == 2  # best so far, importance: told trials have no curves
    text = _report(client, _search(client, [0.5, 0.3]), "md")
    assert "## How to repeat it" in text
    assert "hpo confirm " in text


def test_the_page_needs_nothing_else(client: TestClient, settings: Settings) -> None:
    search, study = _confirmed(client, settings)
    for one in (search, study):
        page = _report(client, one)
        assert HOSTILE not in page
        assert "<script" not in page
        assert not re.search(r"""(src|href)=["'](?!#)""", page)
    policy = client.get(f"/api/v1/studies/{search}/report.html").headers["content-security-policy"]
    assert "script-src" not in policy
    assert policy.startswith("default-src 'none'")


def test_a_confirmed_search_tells_the_verdict_test_rows_and_ensemble(client: TestClient, settings: Settings) -> None:
    search, study = _confirmed(client, settings)
    page = _report(client, search)
    assert "The winner is real: trial 1 is better than trial 0 (p &lt; 0.001)." in page
    assert "On the test rows, which no search has seen, trial 1 comes to test_accuracy 92" in page
    assert "92 ± 0.27 %" in page
    assert "ensemble of" in page
    assert "Not confirmed" not in page
    own = _report(client, study)
    assert "New seeds of &lt;script&gt;" in own
    assert f"hpo confirm {search} --top 2 --seeds 5" in own


def test_a_confirmation_that_has_just_begun_hides_no_earlier_one(client: TestClient, settings: Settings) -> None:
    search, _ = _confirmed(client, settings)
    begun = _confirm(client, search, top=2, seeds=3)["id"]
    page = _report(client, search)
    assert "The winner is real: trial 1 is better than trial 0 (p &lt; 0.001)." in page
    assert "ensemble of" in page
    with Client("http://localhost", transport=Through(client)) as sdk:
        printed = io.StringIO()
        Console(file=printed, width=200).print(confirmation_sheet(sdk.study(begun).confirmation()))
    rows = [line for line in printed.getvalue().splitlines() if "0, 3 open" in line]
    assert ["winner" in row for row in rows] == [True, False]
    own = _report(client, begun, "md")
    assert "Trained were" not in own
    assert len(re.findall("the winner(?= \\|)|the winner\\*\\* \\|", own)) == 1


def test_imported_trials_cost_nothing_here(client: TestClient) -> None:
    study = client.post("/api/v1/studies", json=DEFINITION).json()["id"]
    row = {"params": {"lr": 0.01, "kind": "a"}, "state": "finished", "metrics": {"loss": 0.1}, "resource": 5.0,
           "started_at": "2021-03-01T00:00:00+00:00", "ended_at": "2021-03-01T10:00:00+00:00"}  # fmt: skip
    assert client.post(f"/api/v1/studies/{study}/trials/import", json={"trials": [row] * 3}).status_code < 300
    costs = _report(client, study, "md").split("## What it cost")[1].split("## ")[0]
    assert "Trained: 0 s in all trials" in costs
    assert "by hand" not in costs.lower()


def test_empty_failed_and_several_objectives(client: TestClient, db: Database) -> None:
    empty = client.post("/api/v1/studies", json=DEFINITION).json()["id"]
    page = _report(client, empty)
    assert "No trial has been started." in page
    assert "has not ended" in page
    failing = {**DEFINITION, "trainer": {"function": "mine:train"}}
    failed = client.post("/api/v1/studies", json=failing).json()["id"]
    studies.set_state(db, failed, StudyState.FAILED, "no module named 'mine'")
    assert "failed before anything was trained: no module named &#x27;mine&#x27;" in _report(client, failed)
    objective = [{"metric": "loss"}, {"metric": "size", "direction": "maximize"}]
    both = client.post("/api/v1/studies", json={**DEFINITION, "objective": objective, "budget": {"trials": 4}}).json()[
        "id"
    ]
    _train(
        client,
        both,
        lambda n, _: {"values": [0.1 + n, 5.0 + n]} if n < 3 else {"state": "failed", "reason": "out of <luck>"},
    )
    page = _report(client, both)
    assert "Several objectives" in page
    assert "decides" in page
    assert "out of &lt;luck&gt;" in page


def test_without_a_wage_nothing_is_said_of_one(db: Database, settings: Settings) -> None:
    with TestClient(
        create_app(settings.model_copy(update={"wage_hour_dollars": 0.0}), db), base_url="http://localhost"
    ) as free:
        assert "by hand" not in _report(free, _search(free, [0.5, 0.3]))


def test_the_sdk_confirms_and_reports(client: TestClient, settings: Settings, tmp_path: Path) -> None:
    search, study = _confirmed(client, settings)
    with Client("http://localhost", transport=Through(client)) as sdk:
        found = sdk.study(study).confirmation(ensemble=True)
        assert found.kind == "real"
        assert found.configurations[0].test["test_accuracy"].n == 5
        assert found.ensemble is not None
        assert found.ensemble.rows == 400
        assert [link.study for link in sdk.study(search).confirmations()] == [study]
        begun = sdk.study(search).confirm(trials=[0, 2], seeds=2)
        assert begun.info.trials == 4
        assert begun.confirmation().kind == "open"
        sdk.study(search).report(tmp_path / "r.html")
        assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
        held = io.BytesIO()
        sdk.study(search).report(held, "md")
        assert held.getvalue().startswith(b"# ")
        with pytest.raises(InvalidInput, match="html or md"):
            sdk.study(search).report(tmp_path / "r.pdf")


def test_the_awaiting_sdk_does_too(client: TestClient, settings: Settings, tmp_path: Path) -> None:
    search, study = _confirmed(client, settings)

    async def work() -> None:
        async with AsyncClient("http://localhost", transport=AsyncThrough(client)) as sdk:
            assert (await (await sdk.study(study)).confirmation()).kind == "real"
            found = await sdk.study(search)
            assert len(await found.confirmations()) == 1
            assert (await found.confirm(top=1, seeds=1)).info.trials == 1
            await found.report(tmp_path / "r.md")

    asyncio.run(work())
    assert (tmp_path / "r.md").read_text().startswith("# ")


def test_the_command_line_does_too(
    client: TestClient, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, study = _confirmed(client, settings)
    monkeypatch.setenv("HPO_URL", "http://localhost")
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> str:
        result = CliRunner().invoke(command_line, list(args), obj=Session(transport=Through(client)))
        assert result.exit_code == 0, result.output
        return result.output

    shown = run("confirm", study, "--ensemble")
    assert "The winner is real: trial 1 is better than trial 0" in shown
    assert "93 ± 0.27 %" in shown
    assert "best single" in shown
    begun = run("confirm", search, "--top", "2", "--seeds", "2")
    assert "4 trials" in begun
    assert "see what it comes to:  hpo confirm s" in begun
    assert '"kind": "real"' in run("--json", "confirm", study)
    assert run("report", study, "-o", "r.html") == "wrote r.html\n"
    assert (tmp_path / "r.html").exists()
    assert run("report", study, "-o", "-").startswith("# ")
    assert "-report.html" in run("report", search)
    waited = CliRunner().invoke(command_line, ["confirm", study, "--watch"], obj=Session(transport=Through(client)))
    assert waited.exit_code == 0, waited.output
    assert "The winner is real" in waited.output


def test_a_search_with_rungs_shows_curves_and_what_stopping_early_saved(client: TestClient) -> None:
    space = {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1, "default": 1e-2}}
    algorithm = {"name": "successive_halving", "trials": 12, "max_resource": 9}
    made = client.post(
        "/api/v1/studies", json={**DEFINITION, "space": space, "algorithm": algorithm, "budget": {}, "parallel": 12}
    )
    study = made.json()["id"]
    path = f"/api/v1/studies/{study}"
    while given := client.post(f"{path}/ask", json={"client_id": "me", "n": 12}).json()["trials"]:
        for one in given:
            key = {"trial": one["trial"], "fence": one["fence"]}
            steps = range(int(one["from_resource"]) + 1, int(one["target"]) + 1)
            loss = [{"loss": 1.0 / step + one["trial"] / 50} for step in steps]
            if one["trial"] == 11:
                loss[0]["loss"] = "NaN"
            reports = [{**key, "step": s, "metrics": m} for s, m in zip(steps, loss, strict=True)]
            assert client.post(f"{path}/reports", json={"reports": reports}).status_code == 200
            assert client.post(f"{path}/tell", json=key).status_code == 200
    page = _report(client, study)
    assert client.get(path).json()["state"] == "finished"
    assert "Learning curves of the best trials" in page
    assert "polyline" in page
    assert "times the training: about" in page
    assert page.count("<svg") == 3
    assert not re.search(r'points="[^"]*nan', page)
