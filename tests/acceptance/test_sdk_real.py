"""The SDK as the README shows it, sync and async, against a real server and a real Ray."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import hpo_service as hpo
from hpo_service.errors import Conflict, InvalidInput, NotFound
from search_spaces import Choice, LogUniform, PowerOfTwo, Uniform
from tests.acceptance.processes import Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

DIGITS: dict[str, Any] = {
    "name": "digits",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {"lr": LogUniform(1e-3, 1e-1), "batch_size": PowerOfTwo(16, 256), "momentum": Uniform(0.85, 0.95)},
    "algorithm": {"name": "hyperband", "max_resource": 3},
    "trainer": {"recipe": "image_classifier", "params": {"data": "digits"}},
    "budget": {"trials": 5},
}
EXTERNAL: dict[str, Any] = {
    "name": "own loop",
    "objective": {"metric": "val_loss"},
    "space": {"lr": LogUniform(1e-4, 1.0), "kind": Choice(["a", None, 2, True])},
    "algorithm": {"name": "random", "max_resource": 3},
    "trainer": {"external": True},
    "budget": {"trials": 4},
}


def loss(params: Any, epoch: int) -> float:
    """What the own loops below train."""
    return abs(math.log10(params["lr"]) + 2) + 1 / epoch


def tensors(state: Any) -> Iterator[Any]:
    """The leaves of nested mappings and lists."""
    children = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple) else None
    for child in children if children is not None else ():
        yield from tensors(child)
    if children is None:
        yield state


def test_the_readme(client: hpo.Client, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    study = client.create_study(DIGITS)
    study.wait(progress=True)
    assert study.state == "finished", study.info.reason
    assert "100 % of budget.trials = 5" in capsys.readouterr().out
    best = study.best_trial
    assert set(best.params) == {"lr", "batch_size", "momentum"}
    assert best.params["batch_size"] in (16, 32, 64, 128, 256)
    assert 0.5 < best.value <= 1

    frame = study.to_dataframe()
    assert list(frame["number"]) == list(range(5))
    assert {"param.lr", "metric.val_accuracy", "metric.val_loss"} <= set(frame.columns)
    assert frame["value"][best.trial] == best.value

    ranked = [trial.value for trial in study.trials(sort="-val_accuracy", limit=10)]
    assert ranked == sorted(ranked, reverse=True)
    assert len(ranked) == 5
    (first,) = study.best()
    assert (first.number, first.params) == (best.trial, best.params)
    first.checkpoint(tmp_path / "best.pt")
    state = torch.load(tmp_path / "best.pt", weights_only=True)
    assert any(isinstance(value, torch.Tensor) for value in tensors(state))
    assert [report.step for report in first.reports()] == [1, 2, 3]
    assert [rung.entered for rung in study.rungs()] == [3, 1, 2]
    assert client.study("digits").id == study.id
    kinds = [event.kind for event in study.event_log()]
    assert kinds[0] == "study_created"


def test_an_own_loop(server: Server) -> None:
    with hpo.Client(server.url, client_id="lab") as client:
        study = client.create_study(EXTERNAL)
        seen: dict[int, float] = {}
        while (trial := study.ask()) is not None:
            again = study.ask()
            assert again is not None
            assert (again.number, again.fence) == (trial.number, trial.fence), "it is still this client's"
            for epoch in range(1, int(trial.target or 0) + 1):
                trial.report(epoch, val_loss=loss(trial.params, epoch))
            study.tell(trial, loss(trial.params, 3))
            seen[trial.number] = loss(trial.params, 3)
        study.refresh()
        assert (study.state, study.info.counts["finished"]) == ("finished", 4)
        assert {t.number: t.value for t in study.trials()} == seen
        assert study.best_value == min(seen.values())
        assert all(t.params["kind"] in ("a", None, 2, True) for t in study.trials())
        frame = study.to_dataframe()
        assert dict(zip(frame["number"], frame["metric.val_loss"], strict=True)) == seen


def test_an_own_loop_that_raises_fails_its_trial_and_may_not_go_on(server: Server) -> None:
    with hpo.Client(server.url, client_id="clumsy") as client:
        study = client.create_study(EXTERNAL | {"name": "clumsy"})
        trial = study.ask()
        assert trial is not None
        with pytest.raises(ZeroDivisionError), trial:
            trial.report(1, val_loss=1 / 0)
        told = study.trial(trial.number)
        assert told.state == "failed"
        assert "ZeroDivisionError" in told.info.reason
        with pytest.raises(Conflict):
            trial.report(2, val_loss=1.0)
        study.stop()
        assert study.ask() is None


async def asynchronously(url: str) -> tuple[list[float], str]:
    async with hpo.AsyncClient(url, client_id="async lab") as client:
        study = await client.create_study(EXTERNAL | {"name": "own loop, async"})
        while (trial := await study.ask()) is not None:
            async with trial:
                for epoch in range(1, int(trial.target or 0) + 1):
                    await trial.report(epoch, val_loss=loss(trial.params, epoch))
        await study.wait(timeout_s=30)
        values = [trial.value async for trial in study.trials(sort="val_loss")]
        return [value for value in values if value is not None], study.state


def test_async(server: Server) -> None:
    values, state = asyncio.run(asynchronously(server.url))
    assert state == "finished"
    assert len(values) == 4
    assert values == sorted(values)


def test_errors_are_exceptions_of_one_tree(client: hpo.Client) -> None:
    with pytest.raises(InvalidInput) as refused:
        client.create_study(DIGITS | {"budget": {"trails": 5}})
    assert [problem.path for problem in refused.value.problems] == ["budget.trails"]
    with pytest.raises(NotFound):
        client.study("nothing of this name")
    assert isinstance(refused.value, hpo.HpoError)
    valid = client.validate(DIGITS)
    assert valid.valid
    assert valid.plan.trials == 5
