"""A study in an Optuna storage: the same trials under the same numbers, once, again and following."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest

import hpo_service as hpo
from hpo_service.errors import Conflict, InvalidInput
from hpo_service.integrations import optuna as exporting
from hpo_service.integrations.optuna_spaces import Distributions
from search_spaces import Choice, LogNormal, Normal, Ordinal, PowerOfTwo, QLogUniform, QUniform, SearchSpace, Uniform
from tests.unit.integrations.conftest import DEFINITION, train

STATE = optuna.trial.TrialState


def load(url: str, name: str = "moons") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=url)


def test_every_trial_comes_as_it_is(study: hpo.Study, tmp_path: Path) -> None:
    for number in range(3):
        train(study, number, fail=number == 1)
    url = f"sqlite:///{tmp_path}/out.db"
    sent = exporting.export(study, url)
    assert (sent.trials, sent.points) == (3, 9)
    assert any("powers of two" in note for note in sent.notes)

    found = load(url)
    assert [t.state for t in found.trials] == [STATE.COMPLETE, STATE.FAIL, STATE.COMPLETE]
    for ours, theirs in zip(study.trials(), found.trials, strict=True):
        assert theirs.number == ours.number
        assert theirs.params == ours.params
        assert theirs.intermediate_values == {step: ours.number + 1 / step for step in (1, 2, 3)}
        assert theirs.user_attrs["url"] == f"{study.url}/trials/{ours.number}"
        assert theirs.user_attrs["metric.accuracy"] == 0.3
        assert theirs.datetime_complete is not None
        assert abs(theirs.datetime_complete.timestamp() - ours.info.ended_at.timestamp()) < 1e-3
    assert found.best_trial.number == 0
    assert found.best_value == pytest.approx(1 / 3)
    assert found.trials[1].user_attrs["reason"].endswith("the disc is full")
    assert found.user_attrs["hpo:study"] == study.id


def test_the_seed_is_the_trials_own(study: hpo.Study, tmp_path: Path) -> None:
    trial = train(study, 0)
    exporting.export(study, f"sqlite:///{tmp_path}/out.db")
    assert load(f"sqlite:///{tmp_path}/out.db").trials[0].user_attrs["seed"] == trial.seed


def test_a_study_out_of_a_list_serves(sdk: hpo.Client, study: hpo.Study, tmp_path: Path) -> None:
    train(study, 0)
    (listed,) = sdk.studies()
    exporting.export(listed, f"sqlite:///{tmp_path}/out.db")
    assert len(load(f"sqlite:///{tmp_path}/out.db").trials) == 1


def test_exporting_again_adds_only_what_is_new(study: hpo.Study, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/out.db"
    train(study, 0)
    running = study.ask(wait_s=0)
    assert running is not None
    running.report(1, loss=0.5)
    first = exporting.export(study, url)
    assert [t.state for t in load(url).trials] == [STATE.COMPLETE, STATE.RUNNING]
    assert load(url).trials[1].intermediate_values == {1: 0.5}

    again = exporting.export(study, url)
    assert (again.trials, again.points, again.seq) == (0, 0, first.seq)

    running.report(2, loss=0.25)
    running.tell()
    train(study, 2)
    exporting.export(study, url)
    found = load(url)
    assert [t.state for t in found.trials] == [STATE.COMPLETE] * 3
    assert found.trials[1].intermediate_values == {1: 0.5, 2: 0.25}
    assert found.trials[1].value == 0.25


def test_a_batch_that_was_written_in_part_is_written_once(
    study: hpo.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/out.db"
    for number in range(4):
        train(study, number)
    added = exporting.OptunaSink._add

    def dying(self: Any, trial: Any, *args: Any, **more: Any) -> None:
        if trial.number == 2:
            raise OSError("killed")
        added(self, trial, *args, **more)

    monkeypatch.setattr(exporting.OptunaSink, "_add", dying)
    with pytest.raises(OSError, match="killed"):
        exporting.export(study, url)
    monkeypatch.undo()
    exporting.export(study, url)
    assert [(t.number, t.value) for t in load(url).trials] == [(n, n + 1 / 3) for n in range(4)]


def test_small_windows_lose_nothing(study: hpo.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial whose beginning and end lie in different batches still has its whole curve, once."""
    monkeypatch.setattr("hpo_service.integrations.feed.PAGE", 2)
    monkeypatch.setattr("hpo_service.integrations.feed.MOST_TRIALS", 1)
    for number in range(3):
        train(study, number)
    exporting.export(study, f"sqlite:///{tmp_path}/out.db")
    for trial in load(f"sqlite:///{tmp_path}/out.db").trials:
        assert trial.intermediate_values == {step: trial.number + 1 / step for step in (1, 2, 3)}
        assert trial.state == STATE.COMPLETE


def test_following_ends_with_the_study(study: hpo.Study, tmp_path: Path) -> None:
    seen: list[int] = []

    def progress(sent: Any) -> None:
        seen.append(sent.seq)
        if len(seen) < 8:
            train(study, len(seen))

    train(study, 0)
    storage = optuna.storages.InMemoryStorage()
    exporting.export(study, storage, follow=True, poll_s=0.0, progress=progress)
    assert study.ended
    assert len(storage.get_all_trials(storage.get_study_id_from_name("moons"))) == 8
    assert seen == sorted(set(seen))


def test_several_objectives(sdk: hpo.Client, tmp_path: Path) -> None:
    objective = [{"metric": "loss"}, {"metric": "accuracy", "direction": "maximize"}]
    study = sdk.create_study(DEFINITION | {"name": "two", "objective": objective})
    train(study, 0)
    exporting.export(study, str(tmp_path / "out.log"))
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "out.log")))
    found = optuna.load_study(study_name="two", storage=storage)
    assert found.directions == [optuna.study.StudyDirection.MINIMIZE, optuna.study.StudyDirection.MAXIMIZE]
    assert found.metric_names == ["loss", "accuracy"]
    assert found.trials[0].values == [pytest.approx(1 / 3), pytest.approx(0.3)]


def test_a_stopped_trial_is_pruned_and_a_waiting_one_waits(study: hpo.Study, tmp_path: Path) -> None:
    study.enqueue([{"lr": 0.01, "width": 64, "kind": None, "depth": 3}])
    url = f"sqlite:///{tmp_path}/out.db"
    exporting.export(study, url)
    assert [(t.state, t.params["kind"]) for t in load(url).trials] == [(STATE.WAITING, None)]
    trial = study.ask(wait_s=0)
    assert trial is not None
    trial.report(1, loss=2.0)
    study.trial(0).stop("enough")
    trial.tell()
    exporting.export(study, url)
    (found,) = load(url).trials
    assert (found.state, found.value, found.intermediate_values) == (STATE.PRUNED, 2.0, {1: 2.0})


def test_a_value_that_is_no_number_is_a_failure_there(study: hpo.Study, tmp_path: Path) -> None:
    trial = study.ask(wait_s=0)
    assert trial is not None
    trial.report(1, loss=float("nan"))
    trial.tell()
    exporting.export(study, f"sqlite:///{tmp_path}/out.db")
    (found,) = load(f"sqlite:///{tmp_path}/out.db").trials
    assert found.state == STATE.FAIL
    assert found.user_attrs["state"] == study.trial(0).state


def test_another_study_of_that_name_is_left_alone(study: hpo.Study, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/out.db"
    optuna.create_study(study_name="moons", storage=url)
    with pytest.raises(Conflict, match="is not an export"):
        exporting.export(study, url)
    exporting.export(study, url, name="moons of jupiter")
    with pytest.raises(InvalidInput, match="database URL"):
        exporting.export(study, "out.txt")


def test_values_that_optuna_cannot_say_come_in_the_nearest_form() -> None:
    space = SearchSpace.from_definition(
        {
            "q": QUniform(0.0, 1.0, 0.25),
            "ql": QLogUniform(0.1, 10.0, 0.1),
            "n": Normal(0.0, 1.0),
            "ln": LogNormal(0.0, 1.0),
            "o": Ordinal([1, 5, 25]),
            "c": Choice([True, 1, "1"]),
            "p": PowerOfTwo(2, 64),
            "u": Uniform(-1.0, 1.0),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Distributions.of(space, optuna.distributions)
    assert found.by_name["q"] == optuna.distributions.FloatDistribution(0.0, 1.0, step=0.25)
    assert found.by_name["p"] == optuna.distributions.IntDistribution(2, 64, log=True)
    assert found.by_name["o"] == optuna.distributions.CategoricalDistribution([1, 5, 25])
    assert found.by_name["c"].choices == ("true", "1", '"1"')
    assert {note.partition(":")[0] for note in found.notes} == {"ql", "n", "ln", "c", "p"}
    params = {"q": 0.5, "ql": 0.3, "n": -9.0, "ln": 1.0, "o": 5, "c": True, "p": 8, "u": 0.0}
    values, used, left = found.place(params | {"gone": 1})
    assert values == params | {"c": "true"}
    assert left == {"gone": 1}
    assert used["n"].low <= -9.0
