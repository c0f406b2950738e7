"""When views are made: rarely, never at the cost of deciding, and once more before the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_service import model_views
from hpo_service.api.rounds import ask
from hpo_service.core.definition import parse
from hpo_service.core.states import StudyState
from hpo_service.decider import Decider, FoldView, settle
from hpo_service.model_views import SurrogateViews
from hpo_service.store import studies, surrogate_views
from hpo_service.store.database import Database, open_database
from hpo_service.store.groupwriter import GroupWriter
from hpo_service.store.rows import EndedItem, ReportItem
from tests.conformance.driver import Nature


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "hpo.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def db(template: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(template, tmp_path / "hpo.db")
    database = open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    yield database
    database.close()


def study(db: Database, **more: Any) -> str:
    document = {
        "objective": {"metric": "loss"},
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}, "k": {"type": "choice", "values": ["a", "b"]}},
        "algorithm": {"name": "bayesian", "startup_trials": 4, "max_resource": 1},
        "trainer": {"external": True},
        "budget": {"trials": 9},
        **more,
    }
    return studies.create_study(db, parse(document), created_by="test", state=StudyState.RUNNING).id


class Scripted(Decider):
    """Its view takes as long as it is told to, and fails when it is told to."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.now = 0.0
        self.takes_s = 0.0
        self.failing = False
        self.made: list[tuple[str, bool, float]] = []

    def clock(self) -> float:
        return self.now

    def view(self, study_id: str, *, final: bool) -> FoldView | None:
        self.made.append((study_id, final, self.now))
        self.now += self.takes_s
        if self.failing:
            raise ArithmeticError("the matrix is not positive definite")
        return FoldView(seq=len(self.made), document={"n": len(self.made)})


def times(decider: Scripted, study_id: str) -> list[float]:
    return [at for one, _, at in decider.made if one == study_id]


def test_a_study_is_looked_at_every_three_seconds_at_most(db: Database) -> None:
    decider, one, other = Scripted(db), study(db), study(db)
    SurrogateViews(db, decider, clock=decider.clock, worked=decider.clock)
    for tenth in range(100):
        decider.now = tenth / 10
        decider.chose(one)
        decider.chose(other)
    assert times(decider, one) == times(decider, other) == pytest.approx([0.0, 3.0, 6.0, 9.0])


def test_looking_takes_at_most_a_fiftieth_of_the_time(db: Database) -> None:
    decider, one = Scripted(db), study(db)
    SurrogateViews(db, decider, clock=decider.clock, worked=decider.clock)
    decider.takes_s = 0.5
    while decider.now < 100:
        decider.chose(one)
        decider.now += 0.25
    assert len(decider.made) * decider.takes_s <= 0.02 * decider.now + decider.takes_s
    assert len(decider.made) >= 3


def test_the_last_look_is_never_put_off(db: Database) -> None:
    decider, one = Scripted(db), study(db)
    SurrogateViews(db, decider, clock=decider.clock, worked=decider.clock)
    decider.chose(one)
    decider.ending(one)
    assert [final for _, final, _ in decider.made] == [False, True]
    found = surrogate_views.view(db, one)
    assert found is not None
    assert found.document == {"n": 2}


def test_what_goes_wrong_is_logged_and_stops_nothing(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    decider, one = Scripted(db), study(db)
    SurrogateViews(db, decider, clock=decider.clock, worked=decider.clock)
    decider.failing = True
    decider.chose(one)
    assert "positive definite" in caplog.text
    assert surrogate_views.view(db, one) is None
    studies.delete_study(db, one)
    decider.failing = False
    decider.ending(one)  # deleted meanwhile


def until(what: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.005)
    return what()


def test_on_its_thread_what_was_put_off_is_made_up_for(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_views, "EVERY_S", 0.2)
    decider, one, other = Scripted(db), study(db), study(db)
    views = SurrogateViews(db, decider)
    views.open()
    try:
        decider.chose(one)
        assert until(lambda: len(times(decider, one)) == 1)
        decider.chose(one)  # too soon: nobody asks again
        decider.chose(other)
        assert until(lambda: len(times(decider, other)) == 1)
        assert until(lambda: len(times(decider, one)) == 2)
        decider.chose(one)
        views.forget(one)
        time.sleep(0.4)
        assert len(times(decider, one)) == 2
    finally:
        views.close()


def lead(db: Database, decider: Decider, study_id: str) -> list[dict[str, Any]]:
    """Ask and tell to the end; the configurations that were given out."""
    writer, nature, given = GroupWriter(db), Nature(seed=1), []
    while True:
        trials, ended = ask(db, decider, study_id, client_id="me", n=2, lease_s=60)
        if ended is not None:
            writer.close()
            return given
        for one in trials:
            given.append(dict(one.params))
            key = {"study_id": study_id, "trial": one.trial, "fence": one.fence}
            value = nature.value(one.trial, 1.0)
            writer.submit([ReportItem(**key, step=0, resource=1.0, metrics={"loss": value})])
            writer.submit([EndedItem(**key, outcome="reached", resource=1.0, seconds=1.0)])
        settle(db, decider, study_id)


@pytest.mark.parametrize("surrogate", ["tpe", "gp"])
def test_a_study_that_is_looked_at_is_led_as_any_other(
    db: Database, surrogate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = {"name": "bayesian", "startup_trials": 4, "max_resource": 1, "surrogate": surrogate}
    watched, plain = study(db, algorithm=algorithm), study(db, algorithm=algorithm)
    looking, blind = Decider(db), Decider(db)
    monkeypatch.setattr(model_views, "EVERY_S", 0.0)
    SurrogateViews(db, looking, clock=lambda: 0.0, worked=lambda: 0.0)  # every decision is looked at
    written: list[str] = []
    db.failpoint = written.append
    given = lead(db, looking, watched)
    assert len(given) == 9
    assert written.count("commit:after:surrogate_views.put") >= 3
    assert given == lead(db, blind, plain)
    found = surrogate_views.view(db, watched)
    assert found is not None
    assert found.document["observations_used"] == found.document["of"] == 9
    assert found.document["trial"] == 9
    assert set(found.document["lines"]) == {"x", "k"}
    assert surrogate_views.view(db, plain) is None


def test_studies_without_a_model_are_never_looked_at(db: Database) -> None:
    decider, one = Scripted(db), study(db, algorithm={"name": "random", "max_resource": 1})
    SurrogateViews(db, decider, clock=decider.clock, worked=decider.clock)
    assert len(lead(db, decider, one)) == 9
    assert decider.made == []
