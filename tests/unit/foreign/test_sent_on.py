"""A history that was brought here goes on to other tools whole, also where it comes in several requests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hpo_service import read_optuna
from hpo_service.client import Client
from hpo_service.foreign.history import History, OldTrial
from hpo_service.integrations import feed
from hpo_service.integrations.feed import Feed
from search_spaces import SearchSpace, Uniform
from tests.unit.foreign.conftest import Run


def test_every_imported_trial_is_in_one_batch(sdk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_TRIALS", 150)
    monkeypatch.setattr(feed, "PAGE", 1)
    old = datetime(2020, 1, 1, tzinfo=UTC)
    trials = tuple(
        OldTrial(params={"x": k / 500}, state="finished", metrics={"loss": float(k)}, ended_at=old) for k in range(450)
    )
    space = SearchSpace.from_definition({"x": Uniform(0, 1)})
    history = History(
        source="a test", name="many", objectives=(("loss", "minimize"),), space=space, trials=trials, resource=1.0
    )
    assert len(list(history.batches())) == 3
    brought = sdk.import_history(history)
    batches = list(Feed(sdk.study(brought.study.id)).batches(0))
    assert len(batches) >= 3
    for kind in ("begun", "ended"):
        assert sorted(n for batch in batches for n in getattr(batch, kind)) == list(range(450))
    assert sorted(trial.number for batch in batches for trial in batch.trials) == list(range(450))


def test_from_optuna_and_back(optuna_db: Path, sdk: Client, run: Run, tmp_path: Path) -> None:
    import optuna

    brought = sdk.import_history(read_optuna(f"sqlite:///{optuna_db}", "digits"))
    sent = run("send", brought.study.id, "optuna", f"sqlite:///{tmp_path}/new.db")
    assert sent.exit_code == 0, sent.output
    (new,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/new.db")
    there = optuna.load_study(study_name=new.study_name, storage=f"sqlite:///{tmp_path}/new.db")
    old = optuna.load_study(study_name="digits", storage=f"sqlite:///{optuna_db}")
    ended = [trial for trial in old.trials if trial.state.is_finished()]
    assert [trial.state for trial in there.trials] == [trial.state for trial in ended]
    assert [trial.values for trial in there.trials] == [trial.values for trial in ended]
    assert repr([t.intermediate_values for t in there.trials]) == repr([t.intermediate_values for t in ended])
    assert there.best_trial.number == old.best_trial.number
