"""External workers, logs, tokens, workers, group commit: the smaller verbs."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from hpo_service.core.states import TrialState
from hpo_service.errors import Conflict, NotFound, Unavailable
from hpo_service.store import access, collecting, external, logs, reading, workers
from hpo_service.store.database import Database, open_database
from hpo_service.store.groupwriter import GroupWriter
from hpo_service.store.rows import Placement, Remember, WorkerRow
from tests.storelib import World, start


class Clock:
    """The database's clock, set by hand (seconds)."""

    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> int:
        return int(self.s * 1e6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def db(db_url: str, clock: Clock) -> Any:
    database = open_database(db_url, clock=clock)
    yield database
    database.close()


def ask(world: World, client: str, *numbers: int) -> None:
    place = {n: Placement(client_id=client, lease_s=60, method="external") for n in numbers}
    world.commit([start(n) for n in numbers], placements=place)


def test_a_client_finds_its_open_attempts_again(world: World) -> None:
    ask(world, "alice", 0, 1)
    ask(world, "bob", 2)
    mine = external.client_attempts(world.db, world.id, "alice")
    assert [(o.trial, o.fence, o.method, o.params["optimizer"]) for o in mine] == [
        (0, 1, "external", "adam"),
        (1, 1, "external", "sgd"),
    ]
    world.collect(world.report(0, 0, 0.5), world.ended(0))
    assert [o.trial for o in external.client_attempts(world.db, world.id, "alice")] == [1]


def test_a_late_client_loses_nothing_until_its_trial_is_adopted(world: World, clock: Clock) -> None:
    ask(world, "alice", 0, 1)
    clock.s += 3600
    assert world.statuses(world.report(0, 0, 0.5), world.saved(0, 0)) == ["stored", "stored"]
    (adopted,) = external.adopt_expired(world.db, world.id, "bob", 5, 60)
    assert (adopted.trial, adopted.fence) == (1, 2), "the report renewed the lease of trial 0"
    clock.s += 61
    assert external.heartbeat(world.db, world.id, "bob", None, 60) == [(1, 2)]
    (adopted,) = external.adopt_expired(world.db, world.id, "bob", 5, 60)
    assert (adopted.trial, adopted.fence, adopted.from_resource) == (0, 2, 1.0)
    assert world.statuses(world.report(0, 1, 0.4), world.report(0, 1, 0.4, fence=2)) == ["fenced", "stored"]
    assert reading.attempts(world.db, world.id, 0)[0].reason == external.SILENT
    assert external.client_attempts(world.db, world.id, "alice") == []
    world.check_counters()


def test_adopting_counts_against_the_retries(world: World, clock: Clock) -> None:
    ask(world, "alice", 0)
    clock.s += 61
    assert len(external.adopt_expired(world.db, world.id, "bob", 1, 60)) == 1
    clock.s += 61
    assert external.adopt_expired(world.db, world.id, "bob", 1, 60) == [], "it is its own client's"
    assert external.adopt_expired(world.db, world.id, "carol", 1, 60) == []
    assert reading.trial(world.db, world.id, 0).state is TrialState.FAILED
    world.check_counters()


def test_a_client_adopts_what_waits_interrupted(world: World) -> None:
    ask(world, "alice", 0)
    world.collect(world.ended(0, "paused"))
    assert external.adopt_expired(world.db, world.id, "alice", 0, 60) == []
    assert [o.trial for o in external.adopt_expired(world.db, world.id, "alice", 2, 60)] == [0]


def test_a_heartbeat_says_what_is_still_held(world: World, clock: Clock) -> None:
    ask(world, "alice", 0, 1)
    clock.s += 50
    assert external.heartbeat(world.db, world.id, "alice", [(0, 1), (1, 2), (7, 1)], 60) == [(0, 1)]
    assert external.heartbeat(world.db, world.id, "bob", None, 60) == []
    clock.s += 20
    assert [o.trial for o in external.adopt_expired(world.db, world.id, "bob", 9, 60)] == [1]


def test_logs_are_read_on_from_where_a_reader_stopped(world: World) -> None:
    world.start(2)
    logs.append_logs(world.db, [(world.id, 0, 1, "één\n"), (world.id, 1, 1, "other"), (world.id, 0, 1, "two\x00\n")])
    assert logs.read_log(world.db, world.id, 0) == ("één\ntwo\ufffd\n", 9)
    logs.append_logs(world.db, [(world.id, 0, 1, "three\n"), ("nobody", 0, 1, "x"), (world.id, 0, 9, "x")])
    assert logs.read_log(world.db, world.id, 0, after=9) == ("three\n", 15)
    assert logs.read_log(world.db, world.id, 0, after=11) == ("ree\n", 15)
    assert logs.read_log(world.db, world.id, 0, after=15) == ("", 15)
    assert logs.read_log(world.db, world.id, 0, fence=2) == ("", 0)
    with pytest.raises(NotFound):
        logs.read_log(world.db, world.id, 9)


def test_a_log_is_cut_at_its_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LIMIT_BYTES", 10)
    world.start()
    logs.append_logs(world.db, [(world.id, 0, 1, "12345678é")])
    logs.append_logs(world.db, [(world.id, 0, 1, "more")])
    logs.append_logs(world.db, [(world.id, 0, 1, "never")])
    text, position = logs.read_log(world.db, world.id, 0)
    assert text == "12345678é" + logs.CUT
    assert logs.read_log(world.db, world.id, 0, after=position) == ("", position)


def test_tokens(db: Database, clock: Clock) -> None:
    assert not access.any_tokens(db)
    row, secret = access.create_token(
        db, name="ci", role="editor", project="vision", may_submit_code=True, ttl=timedelta(hours=1)
    )
    assert secret.startswith("hpo_")
    assert len(secret) > 40
    assert access.any_tokens(db)
    found = access.find_token(db, secret)
    assert found == row
    assert access.list_tokens(db)[0].used_at is not None
    assert access.find_token(db, secret + "x") is None
    assert secret not in repr(access.list_tokens(db))
    clock.s += 3601
    assert access.find_token(db, secret) is None
    assert not access.any_tokens(db)
    lasting, secret = access.create_token(db, name="ops", role="admin")
    assert (lasting.expires_at, lasting.project, lasting.may_submit_code) == (None, "*", False)
    access.revoke_token(db, lasting.id)
    assert access.find_token(db, secret) is None
    with pytest.raises(NotFound):
        access.revoke_token(db, "nobody")


def test_results_are_remembered_for_a_day(db: Database, clock: Clock) -> None:
    key = Remember(scope="ada POST pause", key="k", request_digest="d")
    assert access.keep_result(db, key, {"state": "paused"}) == {"state": "paused"}
    assert access.keep_result(db, key, {"state": "other"}) == {"state": "paused"}
    with pytest.raises(Conflict):
        access.remembered(db, Remember(scope="ada POST pause", key="k", request_digest="e"))
    clock.s += 24 * 3600 + 1
    assert access.remembered(db, key) is None
    assert access.keep_result(db, key, {"state": "running"}) == {"state": "running"}


def test_workers_come_and_go(db: Database) -> None:
    row = WorkerRow(
        id="w1",
        node="n1",
        state="idle",
        device="cpu",
        cpu=1.0,
        gpu=0.0,
        detail={"pid": 7},
        controller="c1",
        seen_at=db.now(),
    )
    workers.see_workers(db, [row])
    assert workers.workers(db) == [row]
    workers.see_workers(db, [WorkerRow(**{**{f: getattr(row, f) for f in row.__slots__}, "state": "gone"})])
    assert workers.workers(db) == []
    workers.see_workers(db, [row])
    workers.forget_workers(db, "c2")
    assert len(workers.workers(db)) == 1
    workers.forget_workers(db, "c1")
    assert workers.workers(db) == []


def test_of_what_one_worker_said_together_the_last_counts(db: Database) -> None:
    def row(name: str, state: str) -> WorkerRow:
        return WorkerRow(
            id=name,
            node="n1",
            state=state,
            device="cpu",
            cpu=1.0,
            gpu=0.0,
            detail={},
            controller="c1",
            seen_at=db.now(),
        )

    workers.see_workers(db, [row("w1", "idle"), row("w1", "busy"), row("w2", "idle"), row("w2", "gone")])
    assert [(w.id, w.state) for w in workers.workers(db)] == [("w1", "busy")]
    workers.see_workers(db, [row("w1", "gone"), row("w1", "idle"), row("w3", "gone")])
    assert [(w.id, w.state) for w in workers.workers(db)] == [("w1", "idle")]


def test_a_group_writer_commits_what_many_threads_say_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start(16)
    commits: list[int] = []
    real = collecting.collect
    entered, go = threading.Event(), threading.Event()

    def slow(db: Database, items: Any) -> Any:
        commits.append(len(items))
        entered.set()
        assert go.wait(30)
        return real(db, items)

    monkeypatch.setattr("hpo_service.store.groupwriter.collect", slow)
    writer = GroupWriter(world.db)
    results: dict[int, list[str]] = {}

    def submit(n: int) -> None:
        items = [world.report(n, step, 0.5) for step in range(n % 3 + 1)]
        results[n] = [r.status for r in writer.submit(items)]

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(16)]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(writer._queue) < 15:
        threading.Event().wait(0.001)
    go.set()
    for thread in threads:
        thread.join()
    writer.close()
    assert results == {n: ["stored"] * (n % 3 + 1) for n in range(16)}
    assert len(commits) == 2
    assert writer.submit([]) == []
    with pytest.raises(Unavailable):
        writer.submit([world.report(0, 5, 0.5)])


def test_a_group_writer_passes_errors_on_and_goes_on(world: World) -> None:
    world.start()
    writer = GroupWriter(world.db)

    def fail(name: str) -> None:
        raise RuntimeError("no disk")

    world.db.failpoint = fail
    with pytest.raises(RuntimeError, match="no disk"):
        writer.submit([world.report(0, 0, 0.5)])
    world.db.failpoint = lambda name: None
    assert [r.status for r in writer.submit([world.report(0, 0, 0.5)])] == ["stored"]
    writer.close()
