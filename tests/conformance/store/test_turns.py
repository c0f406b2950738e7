"""What a transaction writes waits for what it reads, and for its end; nobody can tell. On both databases; what only
sessions of PostgreSQL have is at the end."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from hpo_service.api import rounds, telling
from hpo_service.api.desk import Desk
from hpo_service.api.requests import Tell
from hpo_service.api.rounds import Wish
from hpo_service.core.events import Decided
from hpo_service.core.states import StudyState, TrialState
from hpo_service.decider import Decider
from hpo_service.errors import Conflict, Unavailable
from hpo_service.samplers.surrogate import SurrogateSampler
from hpo_service.store import committing, decisions, eventlog, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.tables import remembered, trial_params, trials
from hpo_service.store.tx import Tx
from tests.storelib import World, definition, start

WAIT_S = 60.0
RANDOM: dict[str, Any] = {"name": "random", "max_resource": 1}
TPE: dict[str, Any] = {"name": "bayesian", "surrogate": "tpe", "startup_trials": 4, "max_resource": 1}
PARAMS = ("study_id", "trial", "name", "number", "text")
WORDS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def texts(tx: Tx, world: World) -> list[str]:
    return [row.text for row in tx.text("SELECT text FROM trial_params WHERE study_id = ? ORDER BY name", world.id)]


def param(world: World, name: str, text: str | None, number: float | None = None) -> tuple[Any, ...]:
    return (world.id, 0, name, number, text)


def test_a_transaction_reads_what_it_has_written_in_its_order(world: World) -> None:
    world.commit([start(0)])

    def work(tx: Tx) -> tuple[list[str], list[str], list[str], int]:
        tx.execute(trial_params.delete().where(trial_params.c.study_id == world.id))
        tx.insert(trial_params, PARAMS, [param(world, "a", "one"), param(world, "b", "two")])
        tx.update(trial_params, ("study_id", "name"), ("text",), [("three", world.id, "a")])
        first = texts(tx, world)
        tx.update(trial_params, ("study_id", "name"), ("text",), [("four", world.id, "b")])
        composed = [r.text for r in tx.all(select(trial_params).order_by(trial_params.c.name))]
        tx.insert(trial_params, PARAMS, [param(world, "c", "five")])
        one, two = tx.texts(
            ("SELECT text FROM trial_params WHERE study_id = ? ORDER BY name", (world.id,)),
            ("SELECT count(*) AS n FROM trials WHERE study_id = ? AND number = ?", (world.id, 0)),
        )
        return first, composed, [row.text for row in one], two[0].n

    expected = (["three", "two"], ["three", "four"], ["three", "four", "five"], 1)
    assert world.db.run_write("test", work) == expected
    with world.db.read() as tx:
        assert texts(tx, world) == expected[2]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(WORDS, st.none() | WORDS, st.none() | NUMBERS), min_size=1, unique_by=lambda r: r[0]))
def test_values_come_back_as_they_were(world: World, rows: list[tuple[str, str | None, float | None]]) -> None:
    if world.study.next_trial == 0:
        world.commit([start(0)])

    def work(tx: Tx) -> dict[str, tuple[str | None, float | None]]:
        tx.execute(trial_params.delete().where(trial_params.c.study_id == world.id))
        tx.insert(trial_params, PARAMS, [param(world, name, text, number) for name, text, number in rows])
        found = tx.text("SELECT name, text, number FROM trial_params WHERE study_id = ?", world.id)
        return {row.name: (row.text, row.number) for row in found}

    assert world.db.run_write("test", work) == {name: (text, number) for name, text, number in rows}


@pytest.mark.parametrize("word", ["NULL", "", "{}", "a,b", 'say "so"', "back\\slash", " ", "\n", "'", "$1", "%s", "ü"])
def test_words_that_mean_something_to_databases_are_words(world: World, word: str) -> None:
    world.commit([start(0)])

    def work(tx: Tx) -> list[str]:
        tx.execute(trial_params.delete().where(trial_params.c.study_id == world.id))
        tx.insert(trial_params, PARAMS, [param(world, word, word)])
        return [r.text for r in tx.text("SELECT text FROM trial_params WHERE name = ? AND text = ?", word, word)]

    assert world.db.run_write("test", work) == [word]


def test_what_is_not_finite_and_what_is_large_comes_back(world: World) -> None:
    world.commit([start(0)])
    large = 2**62 + 1

    def work(tx: Tx) -> None:
        tx.update(trials, ("study_id", "number"), ("seconds", "created_at"), [(math.inf, large, world.id, 0)])

    world.db.run_write("test", work)
    with world.db.read() as tx:
        (row,) = tx.text("SELECT seconds, created_at FROM trials WHERE study_id = ?", world.id)
    assert (row.seconds, row.created_at) == (math.inf, large)


def test_what_does_not_fit_takes_all_of_the_transaction_back(world: World) -> None:
    """Though nothing is read after it."""
    world.commit([start(0)])
    world.collect(world.ended(0, "failed"))
    before = world.study

    def work(tx: Tx) -> None:
        eventlog.append_once(tx)
        eventlog.lock_study(tx, world.id)
        eventlog.append(tx, world.id, (), put={"parallel": 99})
        ending = ("state", "reason", "ended_at")
        rows = [("finished", "", 1, world.id, 0)]  # it has failed for good
        committing.move_trials(tx, ending, rows, TrialState.FINISHED)

    with pytest.raises(Conflict, match="goes to finished only from"):
        world.db.run_write("test", work)
    assert world.study == before


def test_the_first_error_is_told_and_the_connection_goes_on(world: World) -> None:
    world.commit([start(0)])

    def work(tx: Tx) -> None:
        tx.insert(remembered, ("scope", "key", "request_digest", "created_at", "expires_at"), [("s", "k", "d", 1, 2)])
        tx.insert(trial_params, PARAMS, [(world.id, 7, "of no trial", None, "x")])
        tx.insert(remembered, ("scope", "key", "request_digest", "created_at", "expires_at"), [("s", "l", "d", 1, 2)])

    for _ in range(5):  # statements are prepared after a while, and forgotten when they are rolled back
        with pytest.raises(IntegrityError):
            world.db.run_write("test", work)
        with world.db.read() as tx:
            assert not tx.text("SELECT key FROM remembered")
        world.collect(world.report(0, world.study.last_seq, 0.5))


def test_text_that_no_database_holds_is_refused_and_does_no_harm(world: World) -> None:
    world.commit([start(0)])
    with pytest.raises(UnicodeEncodeError):
        world.db.run_write("test", lambda tx: tx.insert(trial_params, PARAMS, [param(world, "a", "\ud800")]))
    world.collect(world.report(0, 0, 0.5))


def test_a_long_transaction_is_written_whole(world: World) -> None:
    world.commit([start(0)])
    rows = [param(world, f"name {n}", "x" * 200) for n in range(10_000)]

    def work(tx: Tx) -> int:
        for begin in range(0, len(rows), 1000):
            tx.insert(trial_params, PARAMS, rows[begin : begin + 1000])
        (row,) = tx.text(
            "SELECT count(*) AS n FROM trial_params WHERE study_id = ? AND name LIKE ?", world.id, "name %"
        )
        return int(row.n)

    assert world.db.run_write("test", work) == 10_000


def study_of(db: Database, algorithm: dict[str, Any] = RANDOM) -> str:
    made = studies.create_study(db, definition(algorithm=algorithm), created_by="ada", state=StudyState.RUNNING)
    return made.id


def held_by_another(db: Database, study_id: str) -> Callable[[], None]:
    """Somebody has the study; what is returned has them let go of it."""
    entered, go = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        eventlog.lock_study(tx, study_id)
        entered.set()
        assert go.wait(WAIT_S)

    holder = threading.Thread(target=lambda: db.run_write("test", hold))
    holder.start()
    assert entered.wait(WAIT_S)

    def let_go() -> None:
        go.set()
        holder.join(WAIT_S)

    return let_go


def test_who_comes_while_another_process_has_the_study_shares_the_round(db: Database, db_url: str) -> None:
    study_id, other = study_of(db), open_database(db_url)
    desk = Desk(db, Decider(db))
    let_go = held_by_another(other, study_id)
    try:
        asked = [desk.ask(study_id, Wish(client_id=f"c{n}", n=1, lease_s=60)) for n in range(4)]
        gone = desk.ask(study_id, Wish(client_id="gone", n=1, lease_s=60))
        assert gone.cancel(), "nobody serves it yet"
        let_go()
        assert [one.result(WAIT_S).attempts[0].trial for one in asked] == [0, 1, 2, 3]
    finally:
        let_go()
        desk.close()
        other.close()
    assert (studies.get_study(db, study_id).decision, studies.get_study(db, study_id).open_attempts) == (1, 4)


def test_two_processes_read_what_the_other_wrote_with_what_else_they_read(
    db: Database, db_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id, other = study_of(db), open_database(db_url)
    processes = [(one, Decider(one)) for one in (db, other)]
    for n, (one, decider) in enumerate(processes):
        rounds.ask(one, decider, study_id, client_id=f"first {n}", n=1, lease_s=60)
    with monkeypatch.context() as patched:
        patched.setattr(decisions, "each_event", None)  # a look at the log by itself
        for n in range(6):
            one, decider = processes[n % 2]
            (mine,), _ = rounds.ask(one, decider, study_id, client_id=f"c{n}", n=1, lease_s=60)
            done = telling.telling(Tell(trial=mine.trial, fence=mine.fence, value=0.5))
            served = rounds.serve(one, decider, study_id, tellings=[done])
            ((row, heard),) = served.tellings
            telling.raise_unheard(heard)
            assert row is not None
            assert row.state is TrialState.FINISHED
    folded = Decider(db)
    for one, decider in processes:
        with decider.lock(study_id), folded.lock(study_id):
            assert decider.fold(study_id).algorithm.propose(3) == folded.fold(study_id).algorithm.propose(3)
        one.close()


def test_a_report_at_the_last_moment_keeps_the_trial(db: Database) -> None:
    """What is told counts before anybody is given a silent client's trial."""
    now = db.now().timestamp()
    db.clock = lambda: int(now * 1e6)
    study_id, decider = study_of(db), Decider(db)
    (mine,), _ = rounds.ask(db, decider, study_id, client_id="late", n=1, lease_s=60)
    now += 61
    done = telling.telling(Tell(trial=mine.trial, fence=mine.fence, value=0.5))
    wish = Wish(client_id="you", n=1, lease_s=60)
    served = rounds.serve(db, decider, study_id, wishes=[wish], tellings=[done])
    (given_,) = served.wishes
    assert not isinstance(given_, Exception)
    assert [(a.trial, a.fence) for a in given_.attempts] == [(1, 1)]
    ((row, heard),) = served.tellings
    assert heard.error is None
    assert row is not None
    assert row.state is TrialState.FINISHED


def every_connection(db: Database, sql: str) -> None:
    """Run a statement on the one connection that a quiet database uses."""
    with db.engine.connect() as connection:
        connection.exec_driver_sql(sql)
        connection.commit()


@pytest.mark.parametrize(
    "sql",
    ["DEALLOCATE ALL", "ALTER TABLE attempts ADD COLUMN of_a_newer_version text"],
    ids=["forgotten by the session", "of a table that changed"],
)
def test_prepared_statements_that_are_stale_are_prepared_again(db: Database, sql: str) -> None:
    if db.is_sqlite:
        return  # it prepares them itself
    study_id, decider = study_of(db), Decider(db)

    def once(client: str) -> None:
        (mine,), _ = rounds.ask(db, decider, study_id, client_id=client, n=1, lease_s=60)
        done = telling.telling(Tell(trial=mine.trial, fence=mine.fence, value=0.5))
        ((_, heard),) = rounds.serve(db, decider, study_id, tellings=[done]).tellings
        telling.raise_unheard(heard)

    for n in range(6):
        once(f"c{n}")
    every_connection(db, sql)
    try:
        once("later")
        once("still later")
    finally:
        every_connection(db, "ALTER TABLE attempts DROP COLUMN IF EXISTS of_a_newer_version")
    assert studies.get_study(db, study_id).counts["finished"] == 8


def test_a_session_that_is_ended_under_a_transaction_is_out_of_reach_once(db: Database) -> None:
    if db.is_sqlite:
        return  # it has no sessions
    study_id, decider = study_of(db), Decider(db)
    (mine,), _ = rounds.ask(db, decider, study_id, client_id="me", n=1, lease_s=60)

    def end_it(tx: Tx) -> None:
        eventlog.lock_study(tx, study_id)
        pid = tx.text("SELECT pg_backend_pid() AS pid")[0].pid
        with db.read() as other:
            other.text("SELECT pg_terminate_backend(?)", pid)
        tx.text("SELECT number FROM trials WHERE study_id = ?", study_id)

    with pytest.raises(Unavailable):
        db.run_write("test", end_it)
    again, _ = rounds.ask(db, decider, study_id, client_id="me", n=1, lease_s=60)
    assert [a.trial for a in again] == [mine.trial]


def test_a_young_database_is_told_how_full_it_is(db: Database) -> None:
    """Else every look-up would read the whole study until the server's next round, which comes once a minute."""
    if db.statistics is None:
        return  # SQLite goes by its indexes
    study_id, decider = study_of(db), Decider(db)
    known = "SELECT reltuples FROM pg_class WHERE relname = 'trials'"
    every_connection(db, "UPDATE pg_class SET reltuples = -1 WHERE relname = 'trials'")  # as if nobody had ever looked
    given_, _ = rounds.ask(db, decider, study_id, client_id="me", n=8, lease_s=60)
    for attempt in given_:
        done = telling.telling(Tell(trial=attempt.trial, fence=attempt.fence, value=0.5))
        rounds.serve(db, decider, study_id, tellings=[done])
    with db.read() as tx:
        assert tx.text(known)[0].reltuples == -1, "a small one needs nothing"
    db.statistics.wrote(200)
    db.statistics.wait()
    with db.read() as tx:
        assert tx.text(known)[0].reltuples == 8


def test_what_was_told_does_not_wait_for_the_model_to_think(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    study_id, decider = study_of(db, TPE), Decider(db)
    desk, thinks, go = Desk(db, decider), threading.Event(), threading.Event()
    draw = SurrogateSampler.draw

    def think(*given_: Any, **more: Any) -> Any:
        thinks.set()
        assert go.wait(WAIT_S)
        return draw(*given_, **more)

    try:
        (mine,) = desk.ask(study_id, Wish(client_id="me", n=1, lease_s=60)).result(WAIT_S).attempts
        monkeypatch.setattr(SurrogateSampler, "draw", think)
        done = telling.telling(Tell(trial=mine.trial, fence=mine.fence, value=0.5))
        with decider.lock(study_id):  # no round comes to its turn
            asked = desk.ask(study_id, Wish(client_id="you", n=1, lease_s=60))
            told = desk.tell(study_id, done)
        row, heard = told.result(WAIT_S)
        telling.raise_unheard(heard)
        assert row is not None
        assert row.state is TrialState.FINISHED
        assert thinks.wait(WAIT_S)
        assert not asked.done()
        go.set()
        assert [a.trial for a in asked.result(WAIT_S).attempts] == [1]
    finally:
        go.set()
        desk.close()
    first, second = [event for event in decisions.load_events(db, study_id) if isinstance(event.payload, Decided)][1:]
    assert isinstance(second.payload, Decided)
    assert second.payload.observed_seq >= first.seq, "the model knows what was told"
