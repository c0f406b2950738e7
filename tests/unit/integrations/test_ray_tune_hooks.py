"""The hooks that Tune calls, by hand, without a cluster. A real Tuner runs in `tests/acceptance/test_ray_tuner.py`."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray import tune

import hpo_service as hpo
from hpo_service.errors import Conflict, InvalidInput
from hpo_service.integrations import ray_tune, tune_session
from hpo_service.integrations.ray_tune import HpoCallback, HpoScheduler, HpoSearcher, HpoStopper, can_restore
from tests.unit.integrations.conftest import DEFINITION

RESULT = {"training_iteration": 1, "time_total_s": 3.0, "config/lr": 0.1, "pid": 1, "done": False}


@dataclass(eq=False)
class FakeTrial:
    """What the hooks read of a Tune trial."""

    trial_id: str
    status: str = "RUNNING"
    error_file: str | None = None
    PENDING, PAUSED = "PENDING", "PAUSED"


@dataclass
class FakeController:
    trials: list[FakeTrial] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def get_trials(self) -> list[FakeTrial]:
        return self.trials

    def stop_trial(self, trial: FakeTrial) -> None:
        self.stopped.append(trial.trial_id)
        trial.status = "TERMINATED"


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_session, "ASK_S", 0.0)
    monkeypatch.setattr(tune_session, "LOOK_S", 0.0)


@pytest.fixture
def asha(sdk: hpo.Client) -> hpo.Study:
    chosen = {"algorithm": {"name": "asha", "max_resource": 9}, "budget": {"trials": 3}}
    return sdk.create_study(DEFINITION | chosen)


@pytest.fixture
def searcher(study: hpo.Study) -> HpoSearcher:
    return HpoSearcher(study)


def test_metric_and_mode_are_the_studys(searcher: HpoSearcher) -> None:
    assert (searcher.metric, searcher.mode) == ("loss", "min")
    space = {"lr": tune.loguniform(1e-4, 1.0), "layers": 3}
    assert searcher.set_search_properties("loss", "min", space, num_samples=-1)
    assert searcher.session.samples == float("inf")
    assert searcher.set_search_properties(None, None, space, num_samples=5)
    assert searcher.session.samples == 5


@pytest.mark.parametrize(
    ("metric", "mode", "space", "told"),
    [
        ("acc", "min", {}, "metric='acc'.*the study has 'loss'"),
        ("loss", "max", {}, "mode='max'.*the study has 'min'"),
        ("loss", "min", {"lr": 1.0, "act": tune.choice(["relu"])}, "also searches act"),
        ("loss", "min", {"n": {"grid_search": [1, 2]}}, "also searches n"),
    ],
)
def test_what_contradicts_the_study_is_refused(
    searcher: HpoSearcher, metric: str, mode: str, space: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        searcher.set_search_properties(metric, mode, space)


def test_only_the_users_numbers_are_reported() -> None:
    mine = {"loss": 1, "f1": np.float32(0.5), "val/top5": np.int64(3), "ok": True, "word": "x"}
    assert ray_tune.metrics_of(RESULT | mine) == {"loss": 1.0, "f1": 0.5, "val/top5": 3.0}


def test_a_searcher_alone_reports_and_tells(searcher: HpoSearcher, study: hpo.Study) -> None:
    config = searcher.suggest("a")
    assert config == study.trial(0).params
    searcher.on_trial_result("a", RESULT | {"loss": 3.0})
    searcher.on_trial_complete("a", RESULT | {"training_iteration": 2, "loss": 2.0, "done": True})
    told = study.trial(0)
    assert (told.state, told.value, [one.step for one in told.reports()]) == ("finished", 2.0, [1, 2])
    assert searcher.suggest("b") is not None
    searcher.on_trial_complete("b", error=True)
    assert "error file" in study.trial(1).info.reason
    study.stop()
    assert searcher.suggest("c") == HpoSearcher.FINISHED


def test_a_trial_that_never_began_is_given_back(searcher: HpoSearcher, study: hpo.Study) -> None:
    searcher.suggest("a")
    searcher.on_trial_complete("a")
    assert searcher.session.open == {}
    assert study.trial(0).state == "running", "until its lease lapses"


def test_a_resource_that_is_not_reported_is_named(study: hpo.Study, searcher: HpoSearcher) -> None:
    other = HpoSearcher(study, resource="epoch")
    other.suggest("a")
    with pytest.raises(InvalidInput, match="'epoch'"):
        other.on_trial_result("a", RESULT | {"loss": 1.0})
    other.on_trial_result("a", RESULT | {"loss": 1.0, "epoch": 2.5})
    assert study.trial(0).reports()[0].resource == 2.5


def test_the_scheduler_pauses_continues_and_stops(asha: hpo.Study) -> None:
    searcher, scheduler = HpoSearcher(asha), HpoScheduler(asha)
    assert scheduler.session is searcher.session
    scheduler.set_search_properties(None, None)
    controller = FakeController()
    for n, name in enumerate("abc"):
        searcher.suggest(name)
        trial = FakeTrial(name)
        controller.trials.append(trial)
        trial.status = scheduler.on_trial_result(controller, trial, RESULT | {"loss": float(n)})
    first = controller.trials[0]
    assert [trial.status for trial in controller.trials] == ["PAUSE"] * 3
    for trial in controller.trials:
        trial.status = "PAUSED"
    assert scheduler.choose_trial_to_run(controller) is first
    assert scheduler.choose_trial_to_run(controller) is first, "asked again, it answers the same"
    first.status = "RUNNING"
    goes_on = RESULT | {"loss": 0.0, "training_iteration": 2}
    assert scheduler.on_trial_result(controller, first, goes_on) == "CONTINUE"
    scheduler.on_trial_result(controller, first, RESULT | {"loss": 0.0, "training_iteration": 3})
    first.status = "PAUSED"
    for _ in range(3):
        scheduler.choose_trial_to_run(controller)
    assert asha.refresh().state == "finished"
    assert controller.stopped == ["a", "b", "c"], "nothing will go on any more"
    assert searcher.suggest("d") == HpoSearcher.FINISHED


def test_a_pending_trial_runs_before_nothing(asha: hpo.Study) -> None:
    scheduler = HpoScheduler(asha)
    waiting = FakeTrial("w", "PENDING")
    assert scheduler.choose_trial_to_run(FakeController([waiting])) is waiting


def test_the_callback_knows_why(searcher: HpoSearcher, study: hpo.Study, tmp_path: Path) -> None:
    callback = HpoCallback(study)
    callback.setup()
    searcher.suggest("a")
    (tmp_path / "error.txt").write_text("Traceback\n  File …\nValueError: lr is too large\n\n")
    searcher.on_trial_complete("a", error=True)
    assert study.trial(0).state == "running"
    callback.on_trial_error(1, [], FakeTrial("a", "ERROR", str(tmp_path / "error.txt")))
    assert "ValueError: lr is too large" in study.trial(0).info.reason


def test_the_stopper_brings_a_stop_from_the_page(searcher: HpoSearcher, study: hpo.Study) -> None:
    stopper = HpoStopper(study)
    searcher.suggest("a")
    assert not stopper("a", RESULT)
    assert not stopper.stop_all()
    pulse = searcher.session.open["a"].pulse
    pulse.stop(0, 1)
    assert stopper("a", RESULT)
    study.stop()
    assert stopper.stop_all()


def test_what_tune_pickles_holds_no_token(study: hpo.Study, searcher: HpoSearcher, tmp_path: Path) -> None:
    parts = (searcher, HpoScheduler(study), HpoCallback(study), HpoStopper(study))
    before = dict(study._client._driver.http.headers)
    study._client._driver.http.headers["Authorization"] = "Bearer hush"
    kept = pickle.dumps(parts)
    study._client._driver.http.headers = before
    assert b"hush" not in kept
    assert {part.session.key for part in pickle.loads(kept)} == {searcher.session.key}
    searcher.suggest("a")
    searcher.save(str(tmp_path / "state"))
    assert "hush" not in (tmp_path / "state").read_text()
    searcher.restore(str(tmp_path / "state"))
    assert list(searcher.session.open) == ["a"]


RESTORED = {"num_samples": 1}  # what Tune calls hooks with after `Tuner.restore`, whatever the Tuner was built with


def another_process(hook: HpoSearcher, study: hpo.Study, monkeypatch: pytest.MonkeyPatch) -> HpoSearcher:
    """The searcher as another process unpickles it."""
    kept = pickle.dumps(hook)
    monkeypatch.setattr(tune_session, "_sessions", {})
    monkeypatch.setattr(tune_session, "_current", {})
    found: HpoSearcher = pickle.loads(kept)
    found.session.found = study
    return found


def test_a_restored_tuner_whose_state_tune_lost_is_refused(
    searcher: HpoSearcher, study: hpo.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher.suggest("a")
    again = another_process(searcher, study, monkeypatch)
    callback = HpoCallback.__new__(HpoCallback)
    callback._key = again._key
    callback.setup(**RESTORED)
    with pytest.raises(Conflict, match="can_restore"):
        again.suggest("b")


@pytest.mark.parametrize("samples", [1, -1, 5])
def test_a_restored_tuner_and_one_that_was_sent_elsewhere_ask(
    samples: int, searcher: HpoSearcher, study: hpo.Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    HpoCallback(study).setup(**RESTORED)
    first = searcher.suggest("a")
    assert first is not None, "a Tuner of one sample that nobody restored"
    searcher.save(str(tmp_path / "state"))
    again = another_process(searcher, study, monkeypatch)
    again.session.restarts = samples == RESTORED["num_samples"]
    if samples == 1:
        again.restore(str(tmp_path / "state"))
    assert isinstance(again.suggest("b"), dict)


def test_torn_records_of_tune_are_found_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not can_restore(tmp_path / "nowhere")
    (tmp_path / "tuner.pkl").write_bytes(pickle.dumps({}))
    assert not can_restore(tmp_path), "nothing was kept of any trial"
    records = {
        "experiment_state-2026-01-02_03-04-05.json": b'{"trial_data": [[]], "runner_data": {}}',
        "search_gen_state-2026-01-02_03-04-05.json": pickle.dumps({"counter": 3}),
        "searcher-state-2026-01-02_03-04-05.pkl": b'{"numbers": {"a": 0}, "suggested": 1}',
    }
    for name, whole in records.items():
        (tmp_path / name).write_bytes(whole)
    assert can_restore(tmp_path)
    assert can_restore(tmp_path.as_uri())
    for name, whole in records.items():
        for left in range(len(whole)):
            (tmp_path / name).write_bytes(whole[:left])
            assert not can_restore(tmp_path), f"{left} bytes of {name}"
        assert name in caplog.text
        (tmp_path / name).write_bytes(whole)
        (tmp_path / name.replace("2026", "2025")).write_bytes(b"")
        assert can_restore(tmp_path), "an older one is not read"
