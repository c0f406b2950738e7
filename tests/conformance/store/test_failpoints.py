"""Every writing verb is all or nothing: a crash before its commit leaves no trace, one after it leaves all of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import hpo_service.store
from hpo_service.core.events import Decided, MethodChoice, MethodsChosen
from hpo_service.core.proposals import Proposal
from hpo_service.core.states import StudyState, TrialState
from hpo_service.store import (
    access,
    archiving,
    artifacts,
    asking,
    bundles,
    decisions,
    deleting,
    external,
    importing,
    logs,
    narrowing,
    reproductions,
    retention,
    stopping,
    studies,
    surrogate_views,
    workers,
)
from hpo_service.store.database import Database
from hpo_service.store.rows import GivenTrial, Placement, Remember, StudyRow, WorkerRow
from hpo_service.store.tables import metadata, study_tags
from tests.storelib import HOLDER, World, definition, start


class CrashError(Exception):
    """What the fail-point raises."""


def _worker(db: Database) -> WorkerRow:
    return WorkerRow(
        id="w1", node="n1", state="idle", device="cpu", cpu=1, gpu=0, detail={}, controller="c1", seen_at=db.now()
    )


def _silent(w: World) -> None:
    w.commit([start(4)], placements={4: Placement(client_id="alice", lease_s=-1.0)})


def _buried(w: World) -> None:
    other = studies.create_study(w.db, definition(name="other"), created_by="ada")

    def crash(name: str) -> None:
        if name == "commit:after:studies.delete":
            raise CrashError

    w.db.failpoint = crash
    with pytest.raises(CrashError):
        studies.delete_study(w.db, other.id)
    w.db.failpoint = lambda name: None


def _buried_with_trials(w: World) -> None:
    w.collect(w.ended(1, "failed"), w.ended(2, "failed"), w.ended(3, "failed"))

    def crash(name: str) -> None:
        if name == "commit:after:studies.delete":
            raise CrashError

    w.db.failpoint = crash
    with pytest.raises(CrashError):
        studies.delete_study(w.db, w.id)
    w.db.failpoint = lambda name: None


def _nothing(_: World) -> None:
    """No preparation."""


def _asked(w: World) -> None:
    reproductions.ask(w.db, w.id, 0, asked_by="ada")


def _taken(w: World) -> None:
    _asked(w)
    reproductions.take(w.db, "c1", lease_s=9, most=1)


def _repeated(w: World) -> str:
    return reproductions.of_trial(w.db, w.id, 0)[0].id


def _bundled(w: World) -> None:
    bundles.put_bundle(w.db, digest="1" * 64, size_bytes=1, files={}, project="default", created_by="ada")


def _stopped(w: World) -> None:
    other = studies.create_study(w.db, definition(name="other"), created_by="ada")
    studies.set_state(w.db, other.id, StudyState.STOPPED, "enough")


def _hide(w: World) -> None:
    other = studies.find_study(w.db, "other")
    archiving.begin(w.db, "scopy", archiving.study_of(w.db, other.id), project="default")


def _hidden(w: World) -> None:
    _stopped(w)
    _hide(w)


def _token(w: World) -> None:
    access.create_token(w.db, name="ci", role="viewer")


def _decided(study: StudyRow, *proposals: Proposal) -> Decided:
    return Decided(
        decision=study.decision + 1,
        observed_seq=study.last_seq,
        algorithm="random",
        algorithm_version=1,
        proposals=proposals,
    )


Case = tuple[Callable[[World], None], Callable[[World], Any]]
CHOSEN = MethodsChosen(
    lanes=("lr",),
    choices=(MethodChoice(structure={"optimizer": "sgd"}, method="fused", width=8, device="cpu", reason="faster"),),
)
REMEMBER = Remember(scope="s", key="k", request_digest="d")
CASES: dict[str, Case] = {
    "studies.create": (_nothing, lambda w: studies.create_study(w.db, definition(), created_by="a", remember=REMEMBER)),
    "studies.patch": (
        _nothing,
        lambda w: studies.patch_study(w.db, w.id, definition(parallel=2), changed=("parallel",)),
    ),
    "studies.set_state": (_nothing, lambda w: studies.set_state(w.db, w.id, StudyState.STOPPED, "enough")),
    "studies.set_ending": (_nothing, lambda w: studies.set_ending(w.db, w.id, "budget.hours", w.epoch)),
    "studies.enqueue": (_nothing, lambda w: studies.enqueue(w.db, w.id, [{"lr": 0.1}], remember=REMEMBER)),
    "studies.annotate_trial": (_nothing, lambda w: studies.annotate_trial(w.db, w.id, 0, tags=["x"], notes="y")),
    "studies.delete": (
        lambda w: _nothing(w) if w.collect(w.ended(1, "failed"), w.ended(2, "failed"), w.ended(3, "failed")) else None,
        lambda w: studies.delete_study(w.db, w.id),
    ),
    "studies.delete.chunk": (_buried_with_trials, lambda w: deleting.finish_deletions(w.db)),
    "studies.delete.end": (_buried, lambda w: deleting.finish_deletions(w.db)),
    "archiving.begin": (_stopped, _hide),
    "archiving.put": (
        _hidden,
        lambda w: archiving.put(w.db, "scopy", study_tags, [["a"], ["b"]]),
    ),
    "archiving.put_environments": (
        _nothing,
        lambda w: archiving.put_environments(w.db, [(hashlib.sha256(b"{}").hexdigest(), "{}")]),
    ),
    "archiving.reveal": (_hidden, lambda w: archiving.reveal(w.db, "scopy")),
    "leases.take": (
        lambda w: decisions.release_leases(w.db, HOLDER),
        lambda w: decisions.take_lease(w.db, w.id, "b", 9),
    ),
    "leases.renew": (_nothing, lambda w: decisions.renew_leases(w.db, HOLDER, 99)),
    "leases.release": (_nothing, lambda w: decisions.release_leases(w.db, HOLDER)),
    "decisions.commit": (_nothing, lambda w: w.commit([start(4), start(5)], remember=REMEMBER)),
    "decisions.reopen": (
        lambda w: w.collect(w.ended(1, "lost")) and None,
        lambda w: decisions.reopen(w.db, w.id, [1], epoch=w.epoch, placements={}),
    ),
    "collecting.collect": (
        _nothing,
        lambda w: w.collect(w.started(1), w.report(1, 0, 0.5), w.saved(1, 0), w.ended(1), w.report(2, 0, 0.4)),
    ),
    "asking.gather": (
        _nothing,
        lambda w: asking.gather(
            w.db,
            w.id,
            asking.Joined(
                tellings=[
                    asking.Telling(trial=n, fence=1, items=lambda *_, n=n: (w.report(n, 0, 0.5), w.ended(n)))
                    for n in (1, 2)
                ],
                clients=["alice"],
            ),
        ),
    ),
    "asking.serve": (
        _nothing,
        lambda w: asking.serve(
            w.db,
            w.id,
            join=lambda: asking.Joined(
                tellings=[asking.Telling(trial=1, fence=1, items=lambda *_: (w.report(1, 0, 0.5), w.ended(1)))],
                clients=["alice"],
            ),
            choose=lambda gathered, _: asking.Chosen(event=_decided(gathered.study, start(4)), placements={}),
        ),
    ),
    "external.adopt": (_silent, lambda w: external.adopt_expired(w.db, w.id, "bob", 9, 60)),
    "external.heartbeat": (_silent, lambda w: external.heartbeat(w.db, w.id, "alice", None, 60)),
    "importing.import_trials": (
        _nothing,
        lambda w: importing.import_trials(
            w.db,
            w.id,
            [
                GivenTrial(
                    params={"lr": 0.1},
                    state=TrialState.FINISHED,
                    resource=1.0,
                    reports=[(0, 1.0, {"loss": 0.1})],
                    tags=["old"],
                )
            ],
            remember=REMEMBER,
        ),
    ),
    "artifacts.add": (_nothing, lambda w: artifacts.add_artifacts(w.db, [w.artifact(1)])),
    "logs.append": (_nothing, lambda w: logs.append_logs(w.db, [(w.id, 1, 1, "text")])),
    "access.create_token": (_nothing, lambda w: access.create_token(w.db, name="n", role="admin", ttl=timedelta(1))),
    "access.revoke_token": (_token, lambda w: access.revoke_token(w.db, access.list_tokens(w.db)[0].id)),
    "access.keep_result": (_nothing, lambda w: access.keep_result(w.db, REMEMBER, {"a": 1})),
    "narrowing.narrow_attempts": (_nothing, lambda w: narrowing.narrow_attempts(w.db, w.id, [(1, 1)], width=4)),
    "reproductions.ask": (_nothing, lambda w: reproductions.ask(w.db, w.id, 0, asked_by="ada", remember=REMEMBER)),
    "reproductions.take": (_asked, lambda w: reproductions.take(w.db, "c1", lease_s=9, most=1)),
    "reproductions.renew": (_taken, lambda w: reproductions.renew(w.db, "c1", [_repeated(w)], lease_s=99)),
    "reproductions.give_back": (_taken, lambda w: reproductions.give_back(w.db, "c1", [_repeated(w)], lost=True)),
    "reproductions.end": (
        _taken,
        lambda w: reproductions.end(w.db, "c1", _repeated(w), document={"equal": True}, cost_microdollars=3),
    ),
    "retention.let_go": (
        lambda w: w.collect(w.saved(1, 0), w.ended(1, "failed")) and None,
        lambda w: retention.let_go(w.db, retention_s=60),
    ),
    "bundles.put": (_nothing, lambda w: _bundled(w)),
    "bundles.use": (lambda w: _bundled(w), lambda w: bundles.use_bundle(w.db, "1" * 64, "default")),
    "bundles.let_go": (
        lambda w: _bundled(w),
        lambda w: bundles.let_bundles_go(w.db, retention_s=-1, remove=lambda _: None),
    ),
    "stopping.stop_trial": (_nothing, lambda w: stopping.stop_trial(w.db, w.id, 1, "enough", remember=REMEMBER)),
    "surrogate_views.put": (
        lambda w: surrogate_views.put_view(w.db, w.id, seq=1, document={"trial": 1}),
        lambda w: surrogate_views.put_view(w.db, w.id, seq=2, document={"trial": 2}),
    ),
    "methods.choose": (
        _nothing,
        lambda w: decisions.choose_methods(w.db, w.id, CHOSEN, epoch=w.epoch, measured={"key": {"width": 8}}),
    ),
    "workers.see": (_nothing, lambda w: workers.see_workers(w.db, [_worker(w.db)])),
    "workers.forget": (
        lambda w: workers.see_workers(w.db, [_worker(w.db)]),
        lambda w: workers.forget_workers(w.db, "c1"),
    ),
}
BESIDE = {"access.use_token"}
"""Verbs that write only when a token was used; `test_tokens` covers what they write."""


@pytest.fixture
def busy(world: World) -> World:
    """A study with one finished and three running trials."""
    world.start(4)
    world.collect(world.report(0, 0, 0.5), world.ended(0))
    world.finish(0)
    return world


def snapshot(db: Database) -> str:
    """Everything in the database."""
    with db.read() as tx:
        return repr({t.name: sorted(map(repr, tx.all(select(t)))) for t in metadata.sorted_tables})


def test_every_writing_verb_is_covered() -> None:
    root = Path(hpo_service.store.__file__).parent
    text = "".join(path.read_text() for path in root.glob("*.py"))
    named = set(re.findall(r'run_write\(\s*"([a-z_.]+)"', text))
    assert named == set(CASES) | BESIDE


@pytest.mark.parametrize("verb", sorted(CASES))
def test_a_crash_before_the_commit_leaves_no_trace(busy: World, verb: str) -> None:
    prepare, act = CASES[verb]
    prepare(busy)
    before = snapshot(busy.db)

    def crash(name: str) -> None:
        if name == f"commit:before:{verb}":
            raise CrashError

    busy.db.failpoint = crash
    with pytest.raises(CrashError):
        act(busy)
    assert snapshot(busy.db) == before
    busy.db.failpoint = lambda name: None
    act(busy)
    assert snapshot(busy.db) != before


@pytest.mark.parametrize("verb", sorted(CASES))
def test_a_crash_after_the_commit_leaves_all_of_it(busy: World, verb: str) -> None:
    prepare, act = CASES[verb]
    prepare(busy)
    before = snapshot(busy.db)

    def crash(name: str) -> None:
        if name == f"commit:after:{verb}":
            raise CrashError

    busy.db.failpoint = crash
    with pytest.raises(CrashError):
        act(busy)
    assert snapshot(busy.db) != before
    busy.db.failpoint = lambda name: None
    if verb not in ("studies.delete", "studies.delete.chunk"):
        busy.check_counters()
