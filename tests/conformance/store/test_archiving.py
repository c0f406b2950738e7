"""A study as rows to carry elsewhere: into another database, of another kind, and back to the same digest."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_service.core.states import StudyState
from hpo_service.errors import Conflict, InvalidInput, NotFound
from hpo_service.store import archiving, deleting, logs, reading, studies, texts
from hpo_service.store.database import Database, open_database
from hpo_service.store.tables import events, reports, trial_values, trials
from tests.storelib import World, check_counters


@pytest.fixture
def elsewhere(tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    shutil.copy(sqlite_template, tmp_path / "elsewhere.db")
    found = open_database(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    yield found
    found.close()


@pytest.fixture
def rested(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A study that was stopped, with everything that a study can have: names that databases sort differently too."""
    monkeypatch.setattr(archiving, "ROWS", 3)
    world.start(6)
    world.collect(*(world.started(n) for n in range(4)))
    for step in range(3):
        metrics = {"Beta": 1.0, "alpha": 0.1 * step, "_": math.inf, "Äpfel": -0.0}
        world.collect(*(world.report(n, step, 0.1 * n + 0.3**step, **metrics) for n in range(5)))
    world.collect(world.report(5, 0, math.nan))
    logs.append_logs(world.db, [(world.id, 0, 1, "first line\n"), (world.id, 0, 1, "Ω\n")])
    studies.annotate_trial(world.db, world.id, 2, tags=["b", "A", "ä"], notes="look")
    world.collect(*(world.ended(n, "failed" if n == 3 else "reached") for n in range(6)))
    studies.set_state(world.db, world.id, StudyState.STOPPED, "enough")
    return world


def carry(source: Database, study_id: str, target: Database, as_id: str) -> None:
    archiving.begin(target, as_id, archiving.study_of(source, study_id), project="default")
    for table in archiving.TABLES:
        # Through JSON, as an archive does.
        rows = [json.loads(json.dumps(list(row))) for row in archiving.rows_of(source, study_id, table)]
        archiving.put(target, as_id, table, rows)
    archiving.put_environments(target, list(archiving.environments_of(source, study_id)))
    archiving.reveal(target, as_id)


def test_carried_elsewhere_and_back_it_is_the_same(rested: World, elsewhere: Database) -> None:
    digest = archiving.digest(rested.db, rested.id)
    carry(rested.db, rested.id, elsewhere, rested.id)
    for table in archiving.TABLES:
        there, here = (list(archiving.rows_of(one, rested.id, table)) for one in (elsewhere, rested.db))
        assert there == here, table.name
    assert archiving.study_of(elsewhere, rested.id) == archiving.study_of(rested.db, rested.id)
    assert archiving.digest(elsewhere, rested.id) == digest
    carry(elsewhere, rested.id, rested.db, "sback")
    assert archiving.digest(rested.db, "sback") == digest
    check_counters(elsewhere, rested.id, maximize=False)
    assert list(reading.iter_trials(elsewhere, rested.id)) == list(reading.iter_trials(rested.db, rested.id))
    assert repr(list(reading.iter_reports(elsewhere, rested.id))) == repr(
        list(reading.iter_reports(rested.db, rested.id))
    )
    assert logs.read_log(elsewhere, rested.id, 0)[0] == "first line\nΩ\n"
    digests = {a.environment_digest for a in reading.attempts(rested.db, rested.id, 0)} - {None}
    for one in digests:
        assert reading.environment(elsewhere, str(one)) == reading.environment(rested.db, str(one))


def test_what_changes_a_study_changes_its_digest(rested: World) -> None:
    seen = {archiving.digest(rested.db, rested.id)}
    studies.annotate_trial(rested.db, rested.id, 2, notes="another")
    seen.add(archiving.digest(rested.db, rested.id))
    logs.append_logs(rested.db, [(rested.id, 1, 1, "more")])
    seen.add(archiving.digest(rested.db, rested.id))
    assert len(seen) == 3


def test_pages_leave_nothing_out_and_keep_the_order(rested: World) -> None:
    for table, names in ((reports, ("trial", "fence", "step")), (trial_values, ("trial", "name")), (events, ("seq",))):
        columns = archiving.columns_of(table)
        rows = list(archiving.rows_of(rested.db, rested.id, table))
        keys = [tuple(row[columns.index(name)] for name in names) for row in rows]
        assert len(rows) > archiving.ROWS
        assert keys == sorted(keys)  # by code points, whatever the database's own rules are
        assert len(set(keys)) == len(keys)


def test_a_study_under_way_is_not_archived(world: World) -> None:
    world.start(1)
    with pytest.raises(Conflict, match="at rest"):
        archiving.study_of(world.db, world.id)
    with pytest.raises(NotFound):
        archiving.study_of(world.db, "snothing")


def test_until_it_is_whole_nobody_sees_it_and_what_broke_off_is_removed(rested: World, elsewhere: Database) -> None:
    study = archiving.study_of(rested.db, rested.id)
    archiving.begin(elsewhere, rested.id, study, project="default")
    archiving.put(elsewhere, rested.id, trials, archiving.rows_of(rested.db, rested.id, trials))
    with pytest.raises(NotFound):
        studies.get_study(elsewhere, rested.id)
    assert studies.list_studies(elsewhere).rows == ()
    deleting.finish_deletions(elsewhere)  # the next start of a server
    assert list(archiving.rows_of(elsewhere, rested.id, trials)) == []
    with pytest.raises(Conflict, match="removed"):
        archiving.reveal(elsewhere, rested.id)
    with pytest.raises(Conflict, match="given once"):
        archiving.begin(elsewhere, rested.id, study, project="default")


@pytest.mark.parametrize(
    "row",
    [
        [1, "x"],
        ["loss", "finite", "0.5", 1],
        [True, "loss", "finite", 0.5],
        [1, None, "finite", 0.5],
        [1, "loss", "finite", "0.5"],
        [1.5, "loss", "finite", 0.5],
    ],
)
def test_values_belong_in_their_columns(row: list[Any], rested: World) -> None:
    with pytest.raises(InvalidInput):
        archiving.put(rested.db, rested.id, trial_values, [row])


def test_an_environment_is_what_its_digest_says(db: Database) -> None:
    with pytest.raises(InvalidInput, match="digest"):
        archiving.put_environments(db, [("0" * 64, '{"python":"3.11","digest":"' + "0" * 64 + '"}')])
    with pytest.raises(InvalidInput, match="SHA-256"):
        archiving.put_environments(db, [], [("0" * 64, "diff")])


def test_a_text_whose_bytes_were_no_utf8_is_carried(db: Database) -> None:
    """The diff of a file in Latin-1 is stored with marks in the place of its bytes, under the digest of the bytes."""
    diff = "+é\n".encode("latin-1")
    name = hashlib.sha256(diff).hexdigest()
    archiving.put_environments(db, [], [(name, diff.decode("utf-8", "replace"))])
    assert texts.read(db, [name]) == {name: "+\ufffd\n"}
