"""Methods in the log, what was measured earlier, and where interrupted trials were placed."""

from __future__ import annotations

import pytest

from hpo_service.core.events import MethodChoice, MethodsChosen
from hpo_service.errors import DecisionMoved
from hpo_service.store import decisions, looking, methods
from hpo_service.store.rows import Placement
from hpo_service.store.tables import CHOSEN
from tests.storelib import World, start


def chosen(width: int) -> MethodsChosen:
    choice = MethodChoice(
        structure={"optimizer": "sgd"}, method="fused", width=width, device="cpu", reason="faster", measured={"8": 0.1}
    )
    return MethodsChosen(lanes=("lr",), choices=(choice,))


def test_methods_come_back_from_the_log_as_they_were_written(world: World) -> None:
    before = world.study
    seq = decisions.choose_methods(world.db, world.id, chosen(8), epoch=world.epoch)
    last = decisions.load_events(world.db, world.id)[-1]
    assert (last.seq, last.payload) == (seq, chosen(8))
    assert world.study.decision == before.decision, "a decision under way goes on"


def test_who_lost_the_lease_chooses_nothing(world: World) -> None:
    with pytest.raises(DecisionMoved):
        decisions.choose_methods(world.db, world.id, chosen(8), epoch=world.epoch - 1, measured={"k": {}})
    assert methods.measured_earlier(world.db, ["k"]) == {}


def test_what_was_measured_is_kept_and_the_newest_counts(world: World) -> None:
    for width in (8, 32):
        measured = {"a": {"width": width}, f"only {width}": {"width": width}}
        decisions.choose_methods(world.db, world.id, chosen(width), epoch=world.epoch, measured=measured)
    found = methods.measured_earlier(world.db, ["a", "only 8", "never"])
    assert found == {"a": {"width": 32}, "only 8": {"width": 8}}
    assert methods.measured_earlier(world.db, []) == {}


def test_interrupted_trials_know_where_they_were(world: World) -> None:
    placed = {n: Placement(launch="l1", lane=n, width=3, method="fused") for n in range(3)}
    world.commit([start(n) for n in range(3)], placements=placed)
    world.collect(world.ended(2, "paused"), world.ended(0, "lost"))
    assert decisions.last_placements(world.db, world.id) == {0: placed[0], 2: placed[2]}
    again = {2: Placement(launch="l2", lane=0, width=3, method="fused")}
    decisions.reopen(world.db, world.id, [2], epoch=world.epoch, placements=again)
    world.collect(world.ended(2, "lost", fence=2))
    assert decisions.last_placements(world.db, world.id) == {0: placed[0], 2: again[2]}


def test_choices_are_found_by_their_index(world: World) -> None:
    first = decisions.choose_methods(world.db, world.id, chosen(8), epoch=world.epoch)
    world.start(3)
    second = decisions.choose_methods(world.db, world.id, chosen(32), epoch=world.epoch)
    found = looking.methods_chosen(world.db, world.id)
    assert [(seq, event) for seq, _, event in found] == [(first, chosen(8)), (second, chosen(32))]
    if world.db.engine.dialect.name != "sqlite":
        return  # a small table is read whole there, whatever indexes it has
    plan = "EXPLAIN QUERY PLAN SELECT seq, at, payload FROM events WHERE study_id = 'x' AND "
    with world.db.read() as tx:
        rows = tx.conn.exec_driver_sql(f"{plan}{CHOSEN} ORDER BY seq").all()
    assert "events_methods" in str(rows)
    assert "TEMP B-TREE" not in str(rows)


def test_the_index_is_of_the_kind_that_the_log_writes() -> None:
    assert f"kind = '{MethodsChosen.kind}'" == CHOSEN
