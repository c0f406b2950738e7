"""Confirmations on a real Ray: of a recipe, as lanes, with test metrics and ensemble; of a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hpo_service as hpo
from tests.acceptance.conftest import Hpo

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SEARCH: dict[str, Any] = {
    "name": "to be confirmed",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-3, "high": 1e-1},
        "batch_size": {"type": "choice", "values": [64, 128]},
    },
    "algorithm": {"name": "successive_halving", "trials": 4, "max_resource": 3},
    "trainer": {"recipe": "image_classifier", "params": {"data": "digits", "hidden_units": 16}},
    "resources": {"lanes": 4},
}


def test_the_winner_of_a_search_is_confirmed(client: hpo.Client, command: Hpo, tmp_path: Path) -> None:
    search = client.create_study(SEARCH).wait()
    assert search.state == "finished", search.info.reason
    assert all(not name.startswith("test_") for trial in search.trials() for name in trial.values)

    shown = command("confirm", search.id, "--top", "2", "--seeds", "3", "--ensemble")
    assert "3 seeds each, maximize val_accuracy; confirms to be confirmed" in shown
    (link,) = search.confirmations()
    assert (link.state, link.done, link.trials) == ("finished", 6, 6)
    study = client.study(link.study)
    found = study.confirmation(ensemble=True)
    assert found.verdict in shown.replace("\n", " ")
    assert found.kind in ("real", "noise", "luck")
    assert found.resource == 3
    assert found.ensemble is not None
    assert found.ensemble.tested
    assert found.ensemble.rows == round(1797 * 0.15)
    assert len(found.ensemble.uniform.members) == 6
    trials = {trial.number: trial for trial in study.trials()}
    assert {t.info.origin for t in trials.values()} == {"confirm"}
    for one in found.configurations:
        assert one.spread is not None
        assert one.spread.n == 3
        assert len({trials[seed.trial].value for seed in one.seeds}) > 1  # other seeds, other values
        assert one.test["test_accuracy"].n == 3
        assert 0.2 < one.test["test_accuracy"].mean <= 1
    measured = {trial: t.values["test_accuracy"] for trial, t in trials.items()}
    single = found.ensemble.single
    assert single.test == pytest.approx(measured[single.members[0].trial], abs=1e-6)
    assert any(attempt.width > 1 for n in trials for attempt in study.trial(n).info.attempt_rows)
    command("report", search.id, "-o", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Is the winner real?" in page
    assert "test_accuracy" in page


def test_a_function_measures_test_rows_in_a_confirmation_only(client: hpo.Client) -> None:
    search = client.create_study(
        {
            "name": "own, to be confirmed",
            "objective": {"metric": "val_loss"},
            "space": {"x": {"type": "choice", "values": [0.1, 0.2, 0.9]}},
            "algorithm": {"name": "grid"},
            "trainer": {"function": "tested:train"},
        }
    ).wait()
    assert search.state == "finished", search.info.reason
    assert all("test_loss" not in trial.values for trial in search.trials())
    study = search.confirm(top=3, seeds=3).wait()
    assert study.state == "finished", study.info.reason
    found = study.confirmation(ensemble=True)
    assert [one.params["x"] for one in found.configurations] == [0.1, 0.2, 0.9]
    assert found.kind == "real", found.verdict
    assert found.configurations[0].test["test_loss"].mean == pytest.approx(0.2, abs=0.05)
    assert found.ensemble is None
    assert "functions" in found.ensemble_note
