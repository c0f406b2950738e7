"""What the benchmark of looking asks, moves and copies: never the same question twice, the same trials for the peer."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from benchmarks import looking_routes, many_trials, optuna_trials
from hpo_service.store import reading, studies
from hpo_service.store.database import Database, open_database

TRIALS = 60


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Database, str, Path]:
    file = tmp_path / "hpo.db"
    db = open_database(f"sqlite:///{file}")
    return db, many_trials.fill_rungs(db, TRIALS, ended=False), file


def test_no_question_is_asked_twice_alike() -> None:
    times = 20
    for name, question in looking_routes.questions(100_000, "other").items():
        asked = [(question.rest(k), *question.query((k + 0.5) / times).items()) for k in range(times)]
        assert question.moves or len(set(asked)) == times, name


def test_a_mover_lets_as_many_trials_report_as_it_is_told(filled: tuple[Database, str, Path]) -> None:
    db, study, _ = filled
    mover = many_trials.Mover(db, study, TRIALS)
    before = studies.get_study(db, study)
    assert before.counts["running"] == mover.TRIALS
    for _ in range(4):
        mover.move(3)
    after = studies.get_study(db, study)
    steps = [reading.trial(db, study, TRIALS + n).step for n in range(mover.TRIALS)]
    assert (after.last_seq > before.last_seq, steps) == (True, [2, 2, 2, 2, 1, 1, 1, 1])


def test_the_peer_gets_the_same_trials(filled: tuple[Database, str, Path], tmp_path: Path) -> None:
    db, study, file = filled
    many_trials.Mover(db, study, TRIALS).move()
    target = tmp_path / "optuna.db"
    said = optuna_trials.copy(str(file), study, "val_accuracy", many_trials.WIDER, str(target))
    theirs = optuna.load_study(study_name="benchmark", storage=f"sqlite:///{target}").trials
    assert said["running"] == list(range(TRIALS, TRIALS + many_trials.Mover.TRIALS))
    assert len(theirs) == TRIALS + many_trials.Mover.TRIALS
    for trial in theirs[:TRIALS]:
        ours = reading.trial(db, study, trial.number)
        assert (trial.params, trial.value) == (ours.params, ours.value)
        assert len(trial.intermediate_values) >= 10
    assert said["reports"] == sum(len(trial.intermediate_values) for trial in theirs)


def test_batches_lose_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna_trials, "BATCH", 3)
    assert [len(batch) for batch in optuna_trials._batches(iter([(n,) for n in range(8)]))] == [3, 3, 2]
