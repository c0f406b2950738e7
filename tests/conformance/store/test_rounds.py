"""Asking and telling of many clients at a time: rounds, the desk in front of them, and several processes of one study.

On both databases, with real threads. Two `Database` objects of one URL stand for two processes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any

import pytest

from hpo_service.api import rounds, telling
from hpo_service.api.desk import Desk
from hpo_service.api.requests import Tell
from hpo_service.api.rounds import Given, Wish
from hpo_service.core.states import StudyState, TrialState
from hpo_service.decider import Decider
from hpo_service.errors import Conflict, NotFound, Unavailable
from hpo_service.store import asking, decisions, reading, studies
from hpo_service.store.database import Database, open_database
from tests.storelib import definition

WAIT_S = 60.0
RANDOM: dict[str, Any] = {"name": "random", "max_resource": 1}
TPE: dict[str, Any] = {"name": "bayesian", "surrogate": "tpe", "startup_trials": 4, "max_resource": 1}
HALVING: dict[str, Any] = {"name": "successive_halving", "min_resource": 1, "max_resource": 4, "eta": 2, "trials": 8}


def study_of(db: Database, **changes: Any) -> str:
    made = studies.create_study(db, definition(**changes), created_by="ada", state=StudyState.RUNNING)
    return made.id


def value_of(params: Any) -> float:
    return abs(float(params["lr"]) - 0.01) + (params["optimizer"] == "sgd")


def told(trial: int, fence: int, **more: Any) -> asking.Telling:
    return telling.telling(Tell(trial=trial, fence=fence, **more))


def wish(client: str, n: int = 1) -> Wish:
    return Wish(client_id=client, n=n, lease_s=60)


@pytest.fixture
def desk(db: Database) -> Iterator[Desk]:
    made = Desk(db, Decider(db))
    yield made
    made.close()


def together(count: int, work: Callable[[int], None]) -> None:
    """Run `work` on that many threads at once; raises what one of them raised."""
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


def lead(desk: Desk, study_id: str, client: str, seen: dict[int, dict[str, Any]]) -> None:
    """Ask and tell to the end, as a client does."""
    while True:
        given = desk.ask(study_id, wish(client)).result(WAIT_S)
        if not given.attempts:
            if given.ended is not None:
                return
            continue
        (attempt,) = given.attempts
        seen[attempt.trial] = dict(attempt.params)
        done = told(attempt.trial, attempt.fence, value=value_of(attempt.params))
        row, heard = desk.tell(study_id, done).result(WAIT_S)
        telling.raise_unheard(heard)
        assert row is not None
        assert row.values["loss"] == value_of(attempt.params)


def check_whole(db: Database, study_id: str, trials: int) -> None:
    """Ended in order, and the log folded again is the fold that was kept alive."""
    study = studies.get_study(db, study_id)
    assert (study.state, study.counts["finished"], study.open_attempts) == (StudyState.FINISHED, trials, 0)
    events = decisions.load_events(db, study_id)
    assert [event.seq for event in events] == list(range(1, study.last_seq + 1))
    rows = reading.trials(db, study_id, limit=trials + 1).rows
    assert sorted(row.number for row in rows) == list(range(trials))
    assert all(row.state is TrialState.FINISHED and row.attempts == 1 for row in rows)


def alone(db: Database, algorithm: dict[str, Any], trials: int) -> dict[int, dict[str, Any]]:
    """The same study, led by one client."""
    study_id = study_of(db, algorithm=algorithm, budget={"trials": trials})
    decider, seen = Decider(db), dict[int, dict[str, Any]]()
    while True:
        attempts, ended = rounds.ask(db, decider, study_id, client_id="one", n=1, lease_s=60)
        if ended is not None:
            return seen
        for one in attempts:
            seen[one.trial] = dict(one.params)
            done = told(one.trial, one.fence, value=value_of(one.params))
            rounds.serve(db, decider, study_id, tellings=[done])


@pytest.mark.parametrize("algorithm", [RANDOM, TPE], ids=["random", "tpe"])
def test_eight_clients_lead_a_study_to_its_end(db: Database, desk: Desk, algorithm: dict[str, Any]) -> None:
    study_id = study_of(db, algorithm=algorithm, budget={"trials": 60}, parallel=6)
    seen: dict[int, dict[str, Any]] = {}
    together(8, lambda number: lead(desk, study_id, f"client-{number}", seen))
    check_whole(db, study_id, 60)
    assert set(seen) == set(range(60))
    if algorithm is RANDOM:
        assert seen == alone(db, RANDOM, 60), "the same trials, however many ask at a time"


@pytest.mark.parametrize("algorithm", [RANDOM, TPE], ids=["random", "tpe"])
def test_two_processes_serve_one_study(db: Database, db_url: str, algorithm: dict[str, Any]) -> None:
    other = open_database(db_url)
    desks = [Desk(db, Decider(db)), Desk(other, Decider(other))]
    study_id = study_of(db, algorithm=algorithm, budget={"trials": 40}, parallel=8)
    seen: dict[int, dict[str, Any]] = {}
    try:
        together(6, lambda number: lead(desks[number % 2], study_id, f"client-{number}", seen))
    finally:
        for one in desks:
            one.close()
        other.close()
    check_whole(db, study_id, 40)
    assert set(seen) == set(range(40))


def test_rungs_are_climbed_by_many_clients(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=HALVING, budget={"trials": 8}, parallel=8)
    together(4, lambda number: lead(desk, study_id, f"client-{number}", {}))
    study = studies.get_study(db, study_id)
    assert (study.state, study.open_attempts) == (StudyState.FINISHED, 0)
    assert (study.counts["finished"], study.counts["stopped"]) == (2, 6)
    kept, again = Decider(db).rungs(study_id), desk._decider.rungs(study_id)
    assert kept == again
    assert [len(rung.entered) for rung in kept] == [8, 4, 2]


def line_up(db: Database, desk: Desk, study_id: str, requests: list[Callable[[], Future[Any]]]) -> list[Future[Any]]:
    """Let the requests wait while a first round is under way, so that they share the second one."""
    entered, go = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name.startswith("commit:before:asking"):
            db.failpoint = lambda _: None
            entered.set()
            assert go.wait(WAIT_S)

    db.failpoint = hold
    first = desk.ask(study_id, wish("first"))
    assert entered.wait(WAIT_S)
    found = [request() for request in requests]
    go.set()
    wait([first, *found], WAIT_S)
    return found


def test_what_waits_shares_one_decision(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=RANDOM)
    found = line_up(db, desk, study_id, [lambda n=n: desk.ask(study_id, wish(f"c{n}")) for n in range(5)])  # type: ignore[misc]
    assert [one.result().attempts[0].trial for one in found] == [1, 2, 3, 4, 5], "in the order of arrival"
    assert studies.get_study(db, study_id).decision == 2


def test_the_bound_on_open_trials_holds_in_a_round(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=RANDOM, parallel=3)
    found = line_up(db, desk, study_id, [lambda n=n: desk.ask(study_id, wish(f"c{n}", 2)) for n in range(3)])  # type: ignore[misc]
    assert [len(one.result().attempts) for one in found] == [2, 0, 0]
    assert [one.result().ended for one in found] == [None, None, None]
    assert studies.get_study(db, study_id).open_attempts == 3


def test_one_client_that_asks_twice_at_a_time_gets_the_same_trials(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=RANDOM)
    same = [lambda n=n: desk.ask(study_id, wish("me", n)) for n in (1, 3, 2)]  # type: ignore[misc]
    found: list[Given] = [one.result() for one in line_up(db, desk, study_id, same)]
    assert [[a.trial for a in given.attempts] for given in found] == [[1], [1, 2, 3], [1, 2]]
    assert [a.trial for a in desk.ask(study_id, wish("me", 3)).result(WAIT_S).attempts] == [1, 2, 3]


def test_telling_and_asking_share_a_round(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=RANDOM, parallel=2)
    (mine,) = desk.ask(study_id, wish("me")).result(WAIT_S).attempts
    first, second = line_up(
        db,
        desk,
        study_id,
        [lambda: desk.tell(study_id, told(mine.trial, mine.fence, value=0.5)), lambda: desk.ask(study_id, wish("me"))],
    )
    row, heard = first.result()
    assert heard.error is None
    assert row.state is TrialState.FINISHED, "its ending was committed with the other's start"
    assert [a.trial for a in second.result().attempts] == [2], "in the place that the told trial left"


def test_each_telling_is_refused_alone(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=RANDOM)
    given = desk.ask(study_id, wish("me", 3)).result(WAIT_S)
    one, two, three = given.attempts
    requests = [
        lambda: desk.tell(study_id, told(one.trial, one.fence, value=0.5)),
        lambda: desk.tell(study_id, told(one.trial, one.fence, value=0.25)),  # contradicts the one before it
        lambda: desk.tell(study_id, told(two.trial, 7, value=0.5)),
        lambda: desk.tell(study_id, told(one.trial, one.fence, value=0.5)),
        lambda: desk.tell(study_id, told(three.trial, three.fence, metrics={"other": 1.0})),
        lambda: desk.tell(study_id, told(99, 1, value=0.5)),
        lambda: desk.tell(study_id, told(three.trial, three.fence, value=0.75)),
    ]
    heard = [future.result()[1] for future in line_up(db, desk, study_id, requests)]
    errors = [type(one.error).__name__ if one.error else "" for one in heard]
    assert errors == ["", "Conflict", "NotFound", "", "InvalidInput", "NotFound", ""]
    rows = reading.trials(db, study_id, limit=9).rows
    assert {row.number: row.value for row in rows if row.value is not None} == {one.trial: 0.5, three.trial: 0.75}


def test_a_client_that_cannot_be_served_takes_nobody_with_it(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=RANDOM)
    good, bad, other = line_up(
        db,
        desk,
        study_id,
        [
            lambda: desk.ask(study_id, wish("good")),
            lambda: desk.ask(study_id, wish("lone surrogate \ud800")),
            lambda: desk.ask(study_id, wish("other")),
        ],
    )
    assert bad.exception() is not None
    assert len(good.result().attempts) == len(other.result().attempts) == 1


def test_who_goes_away_keeps_nobody_waiting(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=RANDOM)

    def gone() -> Future[Any]:
        future = desk.ask(study_id, wish("gone"))
        assert future.cancel(), "its round has not begun"
        return future

    _, stays = line_up(db, desk, study_id, [gone, lambda: desk.ask(study_id, wish("stays"))])
    assert [a.trial for a in stays.result().attempts] == [1]
    line_up(db, desk, study_id, [gone])
    assert [a.trial for a in desk.ask(study_id, wish("later")).result(WAIT_S).attempts] == [2]


@pytest.mark.parametrize("algorithm", [RANDOM, TPE], ids=["random", "tpe"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_loses_nothing_that_was_acknowledged(db: Database, algorithm: dict[str, Any], when: str) -> None:
    study_id = study_of(db, algorithm=algorithm)
    decider = Decider(db)
    (mine,), _ = rounds.ask(db, decider, study_id, client_id="me", n=1, lease_s=60)

    class KilledError(BaseException):
        """The process ends here."""

    def kill(name: str) -> None:
        if name.startswith(f"commit:{when}:asking"):
            raise KilledError

    db.failpoint = kill
    tell = told(mine.trial, mine.fence, value=0.5)
    with pytest.raises(KilledError):
        rounds.serve(db, decider, study_id, wishes=[wish("you", 2)], tellings=[tell])
    db.failpoint = lambda _: None
    for one in (decider, Decider(db)):  # the fold that took in what was rolled back is not kept
        served = rounds.serve(db, one, study_id, wishes=[wish("you", 2)], tellings=[tell])
        (given,), ((row, heard),) = served.wishes, served.tellings
        assert isinstance(given, Given)
        assert [a.trial for a in given.attempts] == [1, 2]
        assert heard.error is None
        assert row is not None
        assert (row.state, row.value) == (TrialState.FINISHED, 0.5)
    assert studies.get_study(db, study_id).open_attempts == 2


def test_a_broken_sampler_keeps_nobody_from_telling(db: Database, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    study_id = study_of(db, algorithm=RANDOM)
    (mine,) = desk.ask(study_id, wish("me")).result(WAIT_S).attempts

    def broken(*_: Any) -> None:
        raise ArithmeticError("no numbers today")

    def asking_breaks() -> Future[Any]:
        monkeypatch.setattr("hpo_service.samplers.independent.RandomSampler.draw", broken)
        return desk.ask(study_id, wish("you"))

    requests = [lambda: desk.tell(study_id, told(mine.trial, mine.fence, value=0.5)), asking_breaks]
    tell, ask = line_up(db, desk, study_id, requests)
    assert isinstance(ask.exception(), ArithmeticError)
    row, heard = tell.result()
    assert heard.error is None
    assert row.state is TrialState.FINISHED


def test_a_desk_that_closes_serves_who_waits_and_nobody_else(db: Database) -> None:
    study_id, desk = study_of(db, algorithm=RANDOM), Desk(db, Decider(db))
    served = desk.ask(study_id, wish("me"))
    desk.close()
    assert len(served.result(WAIT_S).attempts) == 1
    with pytest.raises(Unavailable):
        desk.ask(study_id, wish("me"))


def test_a_study_that_is_always_asked_leaves_others_their_turn(db: Database) -> None:
    busy, other, desk = study_of(db, algorithm=RANDOM), study_of(db, algorithm=RANDOM), Desk(db, Decider(db), threads=1)
    over, waits = threading.Event(), threading.Event()
    asked = [desk.ask(busy, wish("0"))]

    def again(_: Future[Given]) -> None:
        """The next one asks before the thread looks whether anybody does."""
        if not over.is_set() and len(asked) < 1000:
            waits.wait(WAIT_S)
            asked.append(desk.ask(busy, wish(str(len(asked) % 3))))
            asked[-1].add_done_callback(again)

    asked[0].add_done_callback(again)
    served = desk.ask(other, wish("me"))
    waits.set()
    assert len(served.result(WAIT_S).attempts) == 1
    rounds_before = len(asked)
    over.set()
    desk.close()
    assert rounds_before < 20
    assert all(len(one.result(WAIT_S).attempts) == 1 for one in asked)


def test_a_client_that_went_silent_costs_no_fold(db: Database) -> None:
    now = db.now().timestamp()
    db.clock = lambda: int(now * 1e6)
    study_id, decider = study_of(db, algorithm=RANDOM), Decider(db)
    (lost,), _ = rounds.ask(db, decider, study_id, client_id="silent", n=1, lease_s=60)
    with decider.lock(study_id):
        fold = decider.fold(study_id)
        now += 61
        (mine,), _ = rounds.ask(db, decider, study_id, client_id="me", n=1, lease_s=60)
        assert (mine.trial, mine.fence) == (lost.trial, 2)
        assert decider.fold(study_id) is fold


def test_nothing_is_folded_where_nothing_is_decided(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    own, over = study_of(db, trainer={"function": "mine:train"}), study_of(db, algorithm=RANDOM)
    studies.set_state(db, over, StudyState.STOPPED, "enough")
    monkeypatch.setattr(Decider, "fold", None)
    with pytest.raises(Conflict, match="own workers"):
        rounds.ask(db, Decider(db), own, client_id="me", n=1, lease_s=60)
    assert rounds.ask(db, Decider(db), over, client_id="me", n=1, lease_s=60) == ([], "enough")


def test_unknown_and_foreign_studies_are_refused(db: Database, desk: Desk) -> None:
    with pytest.raises(NotFound):
        desk.ask("nothing", wish("me")).result(WAIT_S)
    own = study_of(db, trainer={"function": "mine:train"})
    with pytest.raises(Conflict, match="own workers"):
        desk.ask(own, wish("me")).result(WAIT_S)
    _, heard = desk.tell(own, told(0, 1, value=1.0)).result(WAIT_S)
    assert isinstance(heard.error, Conflict)


def test_a_study_that_ends_says_why(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=RANDOM, budget={"trials": 1})
    (mine,) = desk.ask(study_id, wish("me")).result(WAIT_S).attempts
    waiting = desk.ask(study_id, wish("you")).result(WAIT_S)
    assert waiting.attempts == []
    assert waiting.ended is not None
    assert "budget.trials" in waiting.ended
    desk.tell(study_id, told(mine.trial, mine.fence, value=0.5)).result(WAIT_S)
    assert studies.get_study(db, study_id).state is StudyState.FINISHED
    again = desk.ask(study_id, wish("me")).result(WAIT_S)
    assert (list(again.attempts), again.ended) == ([], waiting.ended)


def test_hours_end_a_study_that_is_asked(db: Database, desk: Desk) -> None:
    study_id = study_of(db, algorithm=RANDOM, budget={"trials": 9, "hours": 1e-9})
    (mine,) = desk.ask(study_id, wish("me")).result(WAIT_S).attempts
    later = desk.ask(study_id, wish("you")).result(WAIT_S)
    assert later.attempts == []
    assert later.ended is not None
    assert "budget.hours" in later.ended
    desk.tell(study_id, told(mine.trial, mine.fence, value=0.5)).result(WAIT_S)
    assert studies.get_study(db, study_id).state is StudyState.FINISHED
