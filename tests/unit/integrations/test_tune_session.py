"""What a Tuner's hooks share, against a real service in this process and without Ray."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import hpo_service as hpo
from hpo_service.errors import InvalidInput, Unsupported
from hpo_service.integrations import tune_session
from hpo_service.integrations.tune_session import TuneSession, Verdict, key_for, session_of
from tests.unit.integrations.conftest import DEFINITION

Make = Callable[..., TuneSession]


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_session, "ASK_S", 0.0)
    monkeypatch.setattr(tune_session, "LOOK_S", 0.0)


@pytest.fixture
def make(sdk: hpo.Client) -> Make:
    """A session on a study of that algorithm."""

    def make(algorithm: str = "asha", *, segments: bool = True, **more: Any) -> TuneSession:
        chosen = {"name": algorithm, "max_resource": 9}
        study = sdk.create_study(DEFINITION | {"algorithm": chosen, "budget": {"trials": 4}} | more)
        session = session_of(key_for(study))
        session.segments = segments
        return session

    return make


def result(session: TuneSession, tune_id: str, step: int, loss: float) -> Verdict:
    return session.report(tune_id, step=step, resource=float(step), metrics={"loss": loss})


def test_a_trial_pauses_at_its_target_and_goes_on_when_the_study_says_so(make: Make) -> None:
    session = make()
    for n, tune_id in enumerate("abc"):
        assert session.next(tune_id) is not None
        verdict = result(session, tune_id, 1, float(n))
    assert verdict is Verdict.PAUSE
    assert session.look() == set()
    assert session.continued == {"a"}, "the best of three is promoted"
    assert session.open["a"].target == 3
    assert result(session, "a", 2, 0.0) is Verdict.CONTINUE
    assert session.continued == set()
    assert [one.step for one in session.study.trial(0).reports()] == [1, 2]


def test_a_trial_that_is_promoted_at_once_goes_on_in_place(make: Make) -> None:
    session = make()
    for n, tune_id in enumerate("abc"):
        assert session.next(tune_id) is not None
        if tune_id != "c":
            assert result(session, tune_id, 1, 5.0 + n) is Verdict.PAUSE
    assert result(session, "c", 1, 1.0) is Verdict.CONTINUE
    assert (session.open["c"].fence, session.open["c"].target) == (2, 3)


def test_when_the_study_has_ended_paused_trials_never_go_on(make: Make) -> None:
    session = make()
    seen = []
    while (params := session.next(f"t{len(seen)}")) is not None:
        seen.append(params)
        result(session, f"t{len(seen) - 1}", 1, float(len(seen)))
        for tune_id in sorted(session.continued):
            result(session, tune_id, 3, 0.0)
    assert len(seen) == 4
    assert session.study.refresh().state == "finished"
    assert session.over
    assert session.look() == set(session.numbers) != set()


def test_the_last_target_ends_a_trial(make: Make) -> None:
    session = make("random")
    session.next("a")
    assert result(session, "a", 8, 1.0) is Verdict.CONTINUE
    assert result(session, "a", 9, 1.0) is Verdict.STOP
    assert (session.open, session.numbers) == ({}, {})
    assert session.study.trial(0).state == "finished"


def test_without_a_scheduler_of_ours_segments_are_refused(make: Make) -> None:
    session = make("asha", segments=False)
    with pytest.raises(Unsupported, match=r"first to 1 of 9.*scheduler=HpoScheduler"):
        session.next("a")
    whole = make("random", segments=False)
    assert whole.next("a") is not None
    assert result(whole, "a", 9, 1.0) is Verdict.CONTINUE, "the trainable ends by itself"
    assert whole.tell("a") == "finished"


def test_a_stop_on_the_page_reaches_the_tuner(make: Make) -> None:
    session = make("random")
    session.next("a")
    assert result(session, "a", 1, 1.0) is Verdict.CONTINUE
    session.study.trial(0).stop("enough")
    session.open["a"].pulse.heard({"trials": [{"trial": 0, "fence": 1, "status": "held", "stop": True}]})  # type: ignore[union-attr]
    assert result(session, "a", 2, 1.0) is Verdict.STOP
    assert session.study.trial(0).state == "stopped"
    assert result(session, "a", 3, 1.0) is Verdict.STOP, "what still comes is not told any more"


def test_a_failure_is_told_with_its_reason(make: Make) -> None:
    session = make("random")
    session.next("a")
    session.tell("a", error="ValueError: boom")
    told = session.study.trial(0)
    assert told.state == "failed"
    assert "ValueError: boom" in told.info.reason


def test_a_trial_that_another_client_got_is_stopped_here(make: Make, sdk: hpo.Client) -> None:
    session = make("random")
    session.next("a")
    trial = session.open["a"]
    sdk.study(session.study.id).stop("elsewhere")
    assert trial.number == 0
    verdicts = [result(session, "a", step, 1.0) for step in (1, 2)]
    assert verdicts[-1] is Verdict.STOP


def test_other_values_for_a_step_are_no_reason_to_end(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    session = make("random")
    session.next("a")
    result(session, "a", 1, 1.0)
    session.steps.clear()  # as after a restore
    assert result(session, "a", 1, 2.0) is Verdict.CONTINUE
    assert "first ones stay" in caplog.text
    assert [one.metrics["loss"] for one in session.study.trial(0).reports()] == [1.0]


def test_a_restored_session_has_the_same_open_trials(make: Make) -> None:
    session = make()
    session.next("a")
    session.next("b")
    result(session, "a", 1, 1.0)
    state = session.state()
    again = TuneSession(key=session.key, found=session.study, segments=True)
    again.take_up(state)
    assert (again.numbers, sorted(again.open)) == ({"a": 0, "b": 1}, ["b"])
    assert result(again, "a", 2, 1.0) is Verdict.PAUSE, "it was told before Tune was killed, and waits to go on"
    assert result(again, "b", 1, 2.0) is Verdict.PAUSE
    assert again.next("c") is not None
    assert again.numbers["c"] == 2
    assert result(again, "c", 1, 3.0) is Verdict.PAUSE
    assert again.continued == {"a"}
    assert result(again, "a", 3, 0.5) is not Verdict.CONTINUE
    assert [one.step for one in again.study.trial(0).reports()] == [1, 2, 3], "what came meanwhile is told, too"


def test_a_trial_that_tune_never_heard_of_is_suggested_first(make: Make) -> None:
    """Killed between asking and saving: the study gives the trial again, and no configuration is lost."""
    session = make()
    state = session.state()
    params = session.next("a")
    again = TuneSession(key=session.key, found=session.study, segments=True)
    again.take_up(state)
    assert again.next("x") == params
    assert again.numbers == {"x": 0}


def test_at_most_so_many_train_at_once(make: Make) -> None:
    session = make("random")
    session.most = 1
    assert session.next("a") is not None
    assert session.next("b") is None
    session.tell("a")
    assert session.next("b") is not None
    assert "objective" in session.study.trial(0).info.reason, "it ended without a report, and so it failed"


def test_a_tuner_of_fewer_samples_than_the_study_has_ends(make: Make) -> None:
    session = make()
    session.samples = 2
    for tune_id in "ab":
        session.next(tune_id)
        result(session, tune_id, 1, 1.0)
    assert session.look() == {"a", "b"}, "nothing will be asked for again"
    assert session.closing
    assert not session.fresh


def test_the_hooks_of_one_tuner_share_a_key_and_nothing_else_is_pickled(make: Make) -> None:
    session = make()
    assert key_for(session.study) == session.key
    assert session_of(pickle.loads(pickle.dumps(session.key))) is session
    assert session_of(copy.deepcopy(session.key)) is session


def test_a_study_that_trains_itself_is_refused(sdk: hpo.Client) -> None:
    trainer = {"trainer": {"recipe": "image_classifier", "params": {"data": "digits"}}, "space": DEFINITION["space"]}
    own = sdk.create_study(
        {
            "name": "own",
            "objective": {"metric": "val_accuracy", "direction": "maximize"},
            "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}},
            "algorithm": {"name": "random", "max_resource": 3},
            "trainer": trainer["trainer"],
            "budget": {"trials": 2},
        }
    )
    with pytest.raises(InvalidInput, match="external: true"):
        key_for(own)
