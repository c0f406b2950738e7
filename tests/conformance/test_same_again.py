"""The same study again: the log folded anew decides alike, and a deterministic study comes out twice, whoever trains,
however fast, and whatever is lost on the way."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from hpo_service import algorithms
from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.core.states import StudyState
from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.replaying import replay
from hpo_service.settings import load_settings
from hpo_service.store import decisions, reading, stopping, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.rows import StudyRow
from tests.conformance.test_cold_folds import SPECS, study

ADAPTIVE = ("auto", "bayesian", "bohb", "dehb", "asha", "pasha", "median")


class Run:
    """A study of its own store, on `cpus` virtual workers; `luck` is theirs, not the study's."""

    def __init__(self, document: dict[str, Any], folder: Path, *, cpus: int = 5, luck: int = 0, losses: float = 0.0):
        folder.mkdir(parents=True)
        self.settings = load_settings(data=folder)
        self.settings.resolved_storage.mkdir(parents=True)
        self.db: Database = open_database(self.settings.resolved_database_url)
        self._cpus, self._luck, self._losses = cpus, luck, losses
        self._speed = random.Random(luck)
        self.row = studies.create_study(self.db, parse(document), created_by="ada")
        self.controller = self._new("one")

    def _new(self, holder: str) -> Controller:
        executor = SimulatedExecutor(
            PowerLaw(noise=0.01, crossing=1.0), cpus=self._cpus, seed=self._luck, loss_rate=self._losses,
            seconds_per_resource=lambda _: self._speed.uniform(0.1, 3.0), checkpoint_every=2.0, batch=3,
        )  # fmt: skip
        return Controller(
            db=self.db, executor=executor, settings=self.settings, holder=holder,
            storage_root=self.settings.resolved_storage,
        )  # fmt: skip

    def step(self) -> StudyRow:
        self.controller.step()
        self.controller.collector.collect_once()
        self.row = studies.get_study(self.db, self.row.id)
        return self.row

    def to_end(self, *, crash_at: int = 0) -> Run:
        for turn in range(6_000):
            if self.step().ended_at:
                assert self.row.state is StudyState.FINISHED, self.row.reason
                return self
            if turn == crash_at:
                with self.db.engine.begin() as connection:
                    connection.execute(text("UPDATE studies SET lease_expires_at = 0"))
                self.controller = self._new("two")
        raise AssertionError(f"not over: {self.row}")

    def story(self) -> list[tuple[Any, ...]]:
        """What makes a study what it is: every trial's configuration, how far it came, and its values on the way."""
        curves: dict[int, dict[int, Any]] = {}
        for report in reading.iter_reports(self.db, self.row.id):
            curves.setdefault(report.trial, {})[report.step] = report.metrics
        return [
            (t.number, t.state, dict(t.params), t.resource, t.value, t.bracket, t.rung, curves.get(t.number))
            for t in reading.iter_trials(self.db, self.row.id)
        ]


def document(name: str, **more: Any) -> dict[str, Any]:
    return {**study(name, "last"), "budget": {"trials": 24}, "retries": 100, **more}


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_deterministic_study_comes_out_twice(name: str, tmp_path: Path) -> None:
    asked = document(name, deterministic=True)
    assert algorithms.goes_in_rounds(parse(asked))
    first = Run(asked, tmp_path / "a", cpus=1).to_end().story()
    assert len(first) >= 24
    assert Run(asked, tmp_path / "b", cpus=4, luck=1, losses=0.15).to_end().story() == first
    assert Run(asked, tmp_path / "c", cpus=64, luck=2, losses=0.1).to_end(crash_at=25).story() == first


@pytest.mark.parametrize("name", ADAPTIVE[1:])  # auto decides very often: too long for what it shows again
def test_without_it_the_order_of_arrival_tells(name: str, tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    asked = document(name, parallel=12)
    stories = [Run(asked, tmp_path / str(n), cpus=1 + 2 * n, luck=n).to_end().story() for n in range(3)]
    assert any(story != stories[0] for story in stories[1:])


@pytest.mark.parametrize("name", sorted(set(SPECS) - set(ADAPTIVE)))
def test_synchronous_ones_need_no_rounds(name: str, tmp_path: Path) -> None:
    assert not algorithms.goes_in_rounds(parse(document(name, deterministic=True)))
    first = Run(document(name), tmp_path / "a", cpus=1).to_end().story()
    assert Run(document(name), tmp_path / "b", cpus=7, luck=1, losses=0.1).to_end(crash_at=20).story() == first


def test_trials_of_external_workers_are_never_held_back() -> None:
    asked = {**document("asha", deterministic=True), "trainer": {"external": True}}
    assert not algorithms.goes_in_rounds(parse(asked))


def test_a_round_is_as_large_as_may_be_open_and_waits_for_its_slowest(tmp_path: Path) -> None:
    run = Run(document("asha", deterministic=True, parallel=5), tmp_path / "a", cpus=2)
    opened = set()
    while not run.step().ended_at:
        opened.add(run.row.open_attempts)
    assert max(opened) == 5
    rounds = [len(decided) for decided in decisions_of(run)]
    assert rounds
    assert max(rounds) == 5


def decisions_of(run: Run) -> list[list[Any]]:
    with run.db.read() as tx:
        rows = tx.all(text("SELECT payload FROM events WHERE kind = 'decided' ORDER BY seq"))
    told = [json.loads(row.payload)["proposals"] for row in rows]
    return [[p for p in proposals if p["kind"] in ("start", "continue")] for proposals in told]


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_replayed_log_decides_alike(name: str, deterministic: bool, tmp_path: Path) -> None:
    run = Run(document(name, deterministic=deterministic), tmp_path / "a", luck=3, losses=0.1)
    stopped = False
    for turn in range(60):
        if run.step().ended_at:
            break
        if turn > 8 and run.row.open_attempts and not stopped:  # a user decides in between
            running = next(t.number for t in reading.iter_trials(run.db, run.row.id) if t.state.value == "running")
            stopping.stop_trial(run.db, run.row.id, running, "by hand")
            stopped = True
    run.to_end()
    far: list[int] = []
    found = replay(run.db, run.row.id, seen=far.append)
    assert found.same, found.to_json()
    assert found.decisions > 3
    assert found.by_hand == stopped == 1
    assert found.proposals >= (15 if name == "grid" else 24)
    assert far[-1] == found.events == run.row.last_seq


def test_a_log_that_was_decided_otherwise_is_told(tmp_path: Path) -> None:
    run = Run(document("random"), tmp_path / "a").to_end()
    with run.db.engine.begin() as connection:
        row = connection.execute(text("SELECT seq, payload FROM events WHERE kind = 'decided' ORDER BY seq")).first()
        assert row is not None
        payload = json.loads(row.payload)
        payload["proposals"][0]["params"]["lr"] = 0.5
        connection.execute(
            text("UPDATE events SET payload = :payload WHERE seq = :seq"),
            {"payload": json.dumps(payload), "seq": row.seq},
        )
    found = replay(Database(run.db.engine), run.row.id)
    assert not found.same
    first = found.differences[0]
    assert first.seq == row.seq
    assert first.stored[0]["params"]["lr"] == 0.5
    assert first.now[0]["params"]["lr"] != 0.5


def test_a_decision_made_while_the_log_is_replayed_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decisions are listed before the log is read; one that came in between was not asked about."""
    run = Run(document("random"), tmp_path / "a").to_end()
    listed = list(decisions.each_decision(run.db, run.row.id))
    monkeypatch.setattr(decisions, "each_decision", lambda db, study_id: iter(listed[:-1]))
    found = replay(run.db, run.row.id)
    assert found.same, found.to_json()
    assert found.decisions == len(listed) - 1
