"""Reproductions on every database: one leads each, nothing is lost with its holder, what ended stays as it is."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service.core.states import StudyState
from hpo_service.errors import Conflict, NotFound
from hpo_service.store import narrowing, reading, records, reproductions, studies, texts
from hpo_service.store.rows import Placement, Remember, StartedItem
from tests.storelib import World, start
from workers import record


@pytest.fixture
def trained(world: World) -> World:
    """Trials 0 and 1 trained, 2 in training, 3 without a report."""
    world.start(4)
    for number in (0, 1):
        world.collect(world.started(number), world.report(number, 0, 0.5), world.ended(number))
    world.collect(world.report(2, 0, 0.5), world.ended(3, "failed"))
    return world


def ask(world: World, number: int = 0, **more: Any) -> str:
    return reproductions.ask(world.db, world.id, number, asked_by="ada", **more).id


def take(world: World, holder: str, *, lease_s: float = 60.0, most: int = 1) -> list[str]:
    return [row.id for row in reproductions.take(world.db, holder, lease_s=lease_s, most=most)]


def test_they_are_taken_once_and_in_the_order_in_which_they_were_asked_for(trained: World) -> None:
    first, second = ask(trained, 1), ask(trained, 0)
    assert take(trained, "a") == [first]
    assert take(trained, "b", most=5) == [second]
    assert take(trained, "c", most=5) == []
    assert take(trained, "c", most=0) == []
    assert reproductions.get(trained.db, first).state == "running"


def test_one_under_way_is_not_begun_again(trained: World) -> None:
    first = ask(trained)
    assert ask(trained) == first
    take(trained, "a")
    assert ask(trained) == first
    assert reproductions.end(trained.db, "a", first, document={"equal": True})
    assert ask(trained) != first


def test_what_lapses_is_taken_up_by_another(trained: World) -> None:
    one = ask(trained)
    assert take(trained, "a", lease_s=-1.0) == [one]
    assert take(trained, "b") == [one], "its holder is gone"
    assert reproductions.renew(trained.db, "a", [one], lease_s=60) == set()
    assert reproductions.renew(trained.db, "b", [one], lease_s=60) == {one}
    assert not reproductions.end(trained.db, "a", one, document={"equal": True}), "a late answer counts for nothing"
    assert reproductions.get(trained.db, one).state == "running"
    assert reproductions.end(trained.db, "b", one, document={"equal": False}, seconds=1.5, cost_microdollars=7)
    row = reproductions.get(trained.db, one)
    assert (row.state, row.document, row.seconds, row.cost_microdollars) == ("done", {"equal": False}, 1.5, 7)
    assert row.ended_at is not None


def test_lost_workers_are_counted_and_paid_for(trained: World) -> None:
    one = ask(trained)
    take(trained, "a")
    reproductions.give_back(trained.db, "a", [one], lost=True, cost_microdollars=5)
    row = reproductions.get(trained.db, one)
    assert (row.state, row.losses, row.cost_microdollars) == ("waiting", 1, 5)
    take(trained, "a")
    reproductions.end(trained.db, "a", one, document=None, reason="no such module", cost_microdollars=2)
    row = reproductions.get(trained.db, one)
    assert (row.state, row.reason, row.document, row.cost_microdollars) == ("failed", "no such module", None, 7)
    assert take(trained, "b") == []


def test_what_cannot_be_compared_is_refused(trained: World) -> None:
    for number, words in ((2, "in training"), (3, "has none")):
        with pytest.raises(Conflict, match=words):
            ask(trained, number)
    with pytest.raises(NotFound):
        ask(trained, 99)
    with pytest.raises(NotFound):
        reproductions.get(trained.db, "nothing")


def test_trials_of_clients_have_no_record(world: World) -> None:
    world.commit([start(0)], placements={0: Placement(client_id="alice", lease_s=60.0)})
    world.collect(world.report(0, 0, 0.5), world.ended(0))
    with pytest.raises(Conflict, match="client of its own"):
        ask(world)


def test_the_same_key_asks_once(trained: World) -> None:
    remember = Remember(scope="s", key="k", request_digest="d")
    first = ask(trained, remember=remember)
    take(trained, "a")
    reproductions.end(trained.db, "a", first, document={"equal": True})
    assert ask(trained, remember=remember) == first


def test_they_leave_the_study_alone_and_go_with_it(trained: World) -> None:
    before = trained.study
    one = ask(trained)
    take(trained, "a")
    reproductions.end(trained.db, "a", one, document={"equal": True}, cost_microdollars=9)
    after = trained.study
    assert (after.last_seq, after.decision, after.cost_microdollars) == (
        before.last_seq,
        before.decision,
        before.cost_microdollars,
    )
    trained.collect(trained.ended(2))
    studies.set_state(trained.db, trained.id, StudyState.STOPPED, "enough")
    ask(trained, 1)
    studies.delete_study(trained.db, trained.id)
    assert take(trained, "b") == []
    with pytest.raises(NotFound):
        reproductions.get(trained.db, one)


def test_texts_are_stored_once_and_beside_their_environments(world: World) -> None:
    digest = "e" * 64
    environment = {
        "python": "3", "code": {"git": {"commit": "c", "diff_sha256": digest}},
        "texts": {digest: "+line\x00\n", "no digest": "x"},
    }  # fmt: skip
    world.start(2)
    world.collect(world.started(0, environment=environment), world.started(1, environment=environment))
    assert texts.read(world.db, [digest, "f" * 64]) == {digest: "+line\ufffd\n"}
    (row,) = reading.attempts(world.db, world.id, 0)
    assert row.environment_digest is not None
    assert "texts" not in reading.environment(world.db, row.environment_digest)


def test_attempts_are_noted_at_the_width_that_they_really_had(world: World) -> None:
    world.commit(
        [start(n) for n in range(2)],
        placements={n: Placement(launch="l", lane=n, width=8, method="fused") for n in range(2)},
    )
    narrowing.narrow_attempts(world.db, world.id, [(0, 1), (7, 1)], width=4)
    assert [reading.attempts(world.db, world.id, n)[0].width for n in range(2)] == [4, 8]


def test_a_checkpoint_without_its_path_is_found_by_its_resource(world: World) -> None:
    """Attempts made before paths were recorded."""
    world = World(world.db, trainer={"function": "m:train"})
    world.start(1, target=3.0)
    world.collect(*[world.report(0, s, 0.5) for s in range(3)], world.ended(0, resource=3.0))
    world.go_on(0, target=9.0)
    resumed = StartedItem(study_id=world.id, trial=0, fence=2, worker_id="w", node="n", device="cpu", resumed_from=2.0)
    world.collect(resumed, world.report(0, 2, 0.4, fence=2), world.ended(0, fence=2))
    read = record.read(records.trial_record(world.db, world.id, 0))
    assert read.segments[1].resumed == record.Source(trial=0, fence=1, step=1)
    assert [(run.segment.fence, run.until, run.keeps) for run in record.runs(read)] == [(1, 1, True), (2, 2, False)]
