"""Studies: creating, finding, listing, patching, states, deleting."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import func, select

from hpo_service.core.events import DefinitionChanged, EndingDeclared, StudyStateChanged
from hpo_service.core.states import Origin, StudyState
from hpo_service.errors import Ambiguous, Conflict, DecisionMoved, InvalidInput, NotFound
from hpo_service.store import access, decisions, deleting, finding, logs, reading, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import Remember
from hpo_service.store.tables import metadata
from hpo_service.store.tables import studies as studies_table
from tests.storelib import World, definition


def test_a_study_is_stored_whole(db: Database) -> None:
    wanted = definition(tags=["a", "b", "a"], notes="line\nline", priority=2.5, project="vision")
    row = studies.create_study(db, wanted, created_by="ada")
    assert studies.get_study(db, row.id) == row
    assert (row.state, row.created_by, row.project, row.priority, row.parallel) == (
        StudyState.PREFLIGHT, "ada", "vision", 2.5, 8,
    )  # fmt: skip
    assert row.tags == ("a", "b", "a")
    assert row.definition == wanted.to_document()
    assert row.space_digest == wanted.search_space.digest
    assert [e.payload.kind for e in decisions.load_events(db, row.id)] == ["study_created", "study_state_changed"]


def test_a_confirmation_begins_with_its_trials(db: Database) -> None:
    search = studies.create_study(db, definition(), created_by="ada")
    confirms = {"study": search.id, "trials": [3, 8], "seeds": 1}
    wanted = definition(confirms=confirms)
    params = [dict(wanted.search_space.sample(np.random.default_rng(i))) for i in range(2)]
    row = studies.create_study(db, wanted, created_by="ada", confirmed=params)
    assert (row.next_trial, row.counts["waiting"]) == (2, 2)
    assert [t.params for t in reading.iter_trials(db, row.id)] == params
    assert {t.origin for t in reading.iter_trials(db, row.id)} == {Origin.CONFIRM}
    kinds = [e.payload.kind for e in decisions.load_events(db, row.id)]
    assert kinds == ["study_created", "study_state_changed", "trials_enqueued"]
    second = studies.create_study(db, wanted, created_by="ada", confirmed=params)
    assert [one.id for one in finding.confirming(db, search.id)] == [row.id, second.id]
    assert finding.confirming(db, row.id) == []
    studies.delete_study(db, row.id)
    assert [one.id for one in finding.confirming(db, search.id)] == [second.id]


def test_an_idempotency_key_makes_one_study(db: Database) -> None:
    remember = Remember(scope="ada POST /studies", key="k", request_digest="d1")
    first = studies.create_study(db, definition(), created_by="ada", remember=remember)
    assert studies.create_study(db, definition(), created_by="ada", remember=remember) == first
    assert access.remembered(db, remember) == {"study_id": first.id}
    assert access.remembered(db, Remember(scope="bob", key="k", request_digest="d1")) is None
    with pytest.raises(Conflict, match="Idempotency-Key"):
        studies.create_study(
            db,
            definition(),
            created_by="ada",
            remember=Remember(scope="ada POST /studies", key="k", request_digest="d2"),
        )
    assert studies.list_studies(db).total == 1


def test_finding_by_id_and_name(db: Database) -> None:
    one = studies.create_study(db, definition(name="mnist"), created_by="ada")
    assert studies.find_study(db, one.id) == studies.find_study(db, "mnist") == one
    with pytest.raises(NotFound, match="did you mean 'mnist'"):
        studies.find_study(db, "mnits")
    two = studies.create_study(db, definition(name="mnist"), created_by="ada")
    with pytest.raises(Ambiguous) as caught:
        studies.find_study(db, "mnist")
    assert one.id in str(caught.value)
    assert two.id in str(caught.value)
    with pytest.raises(NotFound):
        studies.find_study(db, "mnist", project="elsewhere")
    with pytest.raises(NotFound):
        studies.get_study(db, "nobody")


def test_listing_pages_newest_first(db: Database) -> None:
    wanted = [definition(name=f"s{i}", tags=["even"] if i % 2 == 0 else []) for i in range(7)]
    made = [studies.create_study(db, one, created_by="ada") for one in wanted]
    seen: list[str] = []
    cursor = None
    while True:
        page = studies.list_studies(db, cursor=cursor, limit=3)
        assert page.total == 7
        seen += [row.id for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [row.id for row in reversed(made)]
    assert [r.name for r in studies.list_studies(db, tag="even").rows] == ["s6", "s4", "s2", "s0"]
    assert [r.name for r in studies.list_studies(db, search="S3").rows] == ["s3"]
    assert studies.list_studies(db, search="%").rows == ()
    assert studies.list_studies(db, state=StudyState.RUNNING).rows == ()
    with pytest.raises(InvalidInput, match="cursor"):
        studies.list_studies(db, cursor="nonsense!")


def test_states_follow_the_table(world: World) -> None:
    (n,) = world.start()
    studies.set_state(world.db, world.id, StudyState.PAUSED, "by hand")
    before = world.study
    assert studies.set_state(world.db, world.id, StudyState.PAUSED, "again") == before
    with pytest.raises(Conflict, match="becomes failed only from preflight"):
        studies.set_state(world.db, world.id, StudyState.FAILED, "?")
    with pytest.raises(DecisionMoved, match="open"):
        studies.set_state(world.db, world.id, StudyState.FINISHED, "over")
    with pytest.raises(DecisionMoved):
        studies.set_state(world.db, world.id, StudyState.RUNNING, "?", decision=99)
    studies.set_state(world.db, world.id, StudyState.RUNNING, "resumed", epoch=world.epoch, decision=before.decision)
    world.collect(world.report(n, 0, 0.5), world.ended(n))
    ended = studies.set_state(world.db, world.id, StudyState.FINISHED, "budget.trials")
    assert ended.ended_at is not None
    assert ended.reason == "budget.trials"


def test_active_studies(db: Database) -> None:
    running, paused, ended = World(db), World(db), World(db)
    preflight = studies.create_study(db, definition(), created_by="ada")
    paused.start()
    studies.set_state(db, paused.id, StudyState.PAUSED, "by hand")
    studies.set_state(db, ended.id, StudyState.STOPPED, "enough")
    assert [s.id for s in studies.active_studies(db)] == [running.id, paused.id, preflight.id]
    paused.collect(paused.ended(0, "paused"))
    assert [s.id for s in studies.active_studies(db)] == [running.id, preflight.id]


def test_a_patch_is_an_event_and_a_raised_budget_goes_on(world: World) -> None:
    studies.set_state(world.db, world.id, StudyState.FINISHED, "budget.trials: 100 of 100")
    lower = studies.patch_study(world.db, world.id, definition(budget={"trials": 50}), changed=("budget.trials",))
    assert lower.state is StudyState.FINISHED
    raised = definition(budget={"trials": 200}, name="renamed")
    row = studies.patch_study(world.db, world.id, raised, changed=("budget.trials", "name"))
    assert (row.state, row.ended_at, row.name, row.definition_version) == (StudyState.RUNNING, None, "renamed", 3)
    assert row.space_version == 1
    changed, running = (e.payload for e in decisions.load_events(world.db, world.id)[-2:])
    assert isinstance(changed, DefinitionChanged)
    assert changed.changed == ("budget.trials", "name")
    assert isinstance(running, StudyStateChanged)
    narrower = {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1.0},
        "optimizer": {"type": "constant", "value": "sgd"},
    }
    row = studies.patch_study(
        world.db, world.id, definition(space=narrower, budget={"trials": 200}), changed=("space",)
    )
    assert row.space_version == 2


def test_of_two_who_change_the_same_version_the_second_is_told(world: World) -> None:
    before = world.study
    shared = definition(parallel=3)
    row = studies.patch_study(
        world.db, world.id, shared, changed=("parallel",), reason="why", epoch=world.epoch, version=1
    )
    assert (row.definition_version, row.decision) == (2, before.decision + 1)
    event = decisions.load_events(world.db, world.id)[-1]
    assert isinstance(event.payload, DefinitionChanged)
    assert (event.payload.reason, event.epoch) == ("why", world.epoch)
    with pytest.raises(DecisionMoved, match="version 1"):
        studies.patch_study(world.db, world.id, definition(parallel=4), changed=("parallel",), version=1)
    with pytest.raises(DecisionMoved, match="epoch"):
        studies.patch_study(world.db, world.id, shared, changed=("parallel",), epoch=world.epoch - 1)
    assert world.study.definition_version == 2


def test_an_ending_is_declared_and_taken_back(world: World) -> None:
    studies.set_ending(world.db, world.id, "budget.hours: over", world.epoch)
    studies.set_ending(world.db, world.id, "budget.hours: over", world.epoch)
    assert world.study.ending_reason == "budget.hours: over"
    studies.set_ending(world.db, world.id, "", world.epoch)
    declared = [e.payload for e in decisions.load_events(world.db, world.id) if isinstance(e.payload, EndingDeclared)]
    assert [d.reason for d in declared] == ["budget.hours: over", ""]
    with pytest.raises(DecisionMoved):
        studies.set_ending(world.db, world.id, "x", world.epoch + 1)


def test_annotations(world: World) -> None:
    (n,) = world.start()
    studies.annotate_trial(world.db, world.id, n, tags=["keep", "keep", "odd"], notes="look at it")
    trial = reading.trial(world.db, world.id, n)
    assert (trial.tags, trial.notes) == (("keep", "odd"), "look at it")
    studies.annotate_trial(world.db, world.id, n, tags=[])
    trial = reading.trial(world.db, world.id, n)
    assert (trial.tags, trial.notes) == ((), "look at it")
    with pytest.raises(NotFound):
        studies.annotate_trial(world.db, world.id, 99, notes="")


def _rows(db: Database, *, without: tuple[str, ...] = ("studies", "alembic_version", "environments")) -> dict[str, int]:
    with db.read() as tx:
        counted = {
            table.name: tx.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
            if table.name not in without
        }
    return {name: n for name, n in counted.items() if n}


def _full(db: Database) -> World:
    world = World(db, tags=["t"])
    a, b = world.start(2)
    world.collect(world.started(a), world.report(a, 0, 0.5), world.saved(a, 0), world.saved(b, 0, digest="shared"))
    logs.append_logs(db, [(world.id, a, 1, "hello")])
    studies.annotate_trial(db, world.id, a, tags=["x"])
    return world


def test_deleting_leaves_a_tombstone_and_nothing_else(db: Database) -> None:
    world, other = _full(db), World(db)
    other.start()
    other.collect(other.saved(0, 0, digest="shared"))
    with pytest.raises(Conflict, match="stop it first"):
        studies.delete_study(db, world.id)
    studies.set_state(db, world.id, StudyState.STOPPED, "enough")
    paths = studies.delete_study(db, world.id)
    assert sorted(paths) == sorted([world.checkpoint(0, 0).path, world.checkpoint(1, 0).path])
    for verb in (studies.get_study, studies.delete_study, decisions.load_events):
        with pytest.raises(NotFound):
            verb(db, world.id)
    assert world.statuses(world.report(0, 0, 0.5)) == ["unknown"]
    assert [s.id for s in studies.list_studies(db).rows] == [other.id]
    assert _rows(db) == {"events": 3, "trials": 1, "trial_params": 2, "attempts": 1, "checkpoints": 1, "blobs": 1}
    with db.read() as tx:
        tombstone = tx.first(select(studies_table).where(studies_table.c.id == world.id))
    assert tombstone is not None
    assert tombstone.purged
    other.check_counters()


def test_an_interrupted_deletion_is_finished_later(db: Database) -> None:
    world = _full(db)
    studies.set_state(db, world.id, StudyState.STOPPED, "enough")

    def crash(name: str) -> None:
        if name == "commit:before:studies.delete.chunk":
            raise KeyboardInterrupt

    db.failpoint = crash
    with pytest.raises(KeyboardInterrupt):
        studies.delete_study(db, world.id)
    db.failpoint = lambda name: None
    with pytest.raises(NotFound):
        studies.get_study(db, world.id)
    assert len(deleting.finish_deletions(db)) == 2
    assert _rows(db) == {}
    assert deleting.finish_deletions(db) == []
