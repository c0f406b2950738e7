"""One round of asking and telling: what several external workers of a study want, served by one decision.

What was told is stored first; then the algorithm is asked once, for all who want trials, and the endings that it
proposes are committed with the starts. Where asking it takes no time all of this is one transaction; else the thinking
is done between two, for collecting never waits for a proposal. Who waits for whom is `desk`'s business, what telling
means `telling`'s.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hpo_service import algorithms
from hpo_service import decider as deciding
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.events import Event
from hpo_service.core.proposals import Continue, Proposal, Start
from hpo_service.core.states import StudyState
from hpo_service.decider import Decider, decided
from hpo_service.errors import Conflict, DecisionMoved, NotFound, Unavailable
from hpo_service.store import asking, external, studies
from hpo_service.store.asking import Chosen, Gathered, Heard, Joined, Telling
from hpo_service.store.database import Database
from hpo_service.store.rows import OpenAttempt, Placement, StudyRow, TrialRow

TRIES = 16
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """A client wants its open trials topped up to `n`."""

    client_id: str
    n: int
    lease_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The answer to a wish: the client's open trials, and why there will be no more, or None."""

    attempts: Sequence[OpenAttempt]
    ended: str | None
    study: StudyRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What came of a round, in the order of what was wanted: answers, or the error that is one client's alone."""

    wishes: Sequence[Given | Exception] = ()
    tellings: Sequence[tuple[TrialRow | None, Heard]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What several clients want of one study. `tellings` are about different trials."""

    wishes: Sequence[Wish] = ()
    tellings: Sequence[Telling] = ()


@dataclass
class _Clients:
    """What the clients who ask hold, and what each still lacks."""

    largest: Mapping[str, Wish]
    held: dict[str, list[OpenAttempt]] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)  # those who got something new

    def lacks(self, client_id: str) -> int:
        return max(0, self.largest[client_id].n - len(self.held.get(client_id, ())))

    def places(self, study: StudyRow) -> tuple[list[Wish], int]:
        """One wish per trial that is lacking, in the order of arrival, and how many of them `parallel` allows."""
        lacking = [wish for wish in self.largest.values() for _ in range(self.lacks(wish.client_id))]
        return lacking, max(0, min(len(lacking), study.parallel - study.open_attempts))

    def take(self, opened: Sequence[OpenAttempt], takers: Mapping[int, Wish]) -> None:
        """What was opened is held by whom it was opened for."""
        for attempt in opened:
            client_id = takers[attempt.trial].client_id
            self.held.setdefault(client_id, []).append(attempt)
            self.started.add(client_id)


Take = Callable[[bool], Wanted]
"""Gives what waits to be served. Told True, what was told alone, where there is any: then whoever told it need not wait
for those for whom a model thinks, and the model knows it."""


class _Party:
    """Who is served in a round: known when its turn comes, and the same however often its transaction is tried."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._known = False
        self.apart = False  # whether tellings come alone

    @property
    def starts(self) -> bool:
        """Whether trials may have to be started."""
        return not self._known or bool(self.wanted.wishes)

    @functools.cached_property
    def wanted(self) -> Wanted:
        found = self._take(self.apart)
        self._known = True
        return found

    @functools.cached_property
    def clients(self) -> _Clients:
        return _Clients(_largest(self.wanted.wishes))


def serve(
    db: Database, decider: Decider, study_id: str, *, wishes: Sequence[Wish] = (), tellings: Sequence[Telling] = ()
) -> Served:
    """Serve everything at once. `tellings` are about different trials.

    A client gets its own open trials first, then those whose client went silent, then new ones: asking again after a
    crash returns the same. Raises NotFound for an unknown study, and what keeps all of it from being stored.
    """
    return serve_waiting(db, decider, study_id, lambda _: Wanted(wishes=wishes, tellings=tellings))


def serve_waiting(db: Database, decider: Decider, study_id: str, take: Take) -> Served:
    """`serve` for those who wait when it is this round's turn at the study: another process may have it until then, and
    who comes meanwhile has a place in the round. `take` is called once at most, and not where there never is a turn."""
    party = _Party(take)
    quick = _at_once(db, decider, study_id, party)
    if quick is not None:
        return _served(party, quick)
    with asking.seat(db, study_id):
        party.apart = True
        if not party.wanted.wishes:
            quick = _at_once(db, decider, study_id, party)
        return _served(party, quick or _in_turn(db, decider, study_id, party.clients, party.wanted.tellings))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """What a round came to. `failure`: why nothing could be asked for, though what was told is stored."""

    study: StudyRow
    heard: Sequence[Heard]
    told: Mapping[int, TrialRow]
    ended: str | None = None
    failure: Exception | None = None


def _served(party: _Party, outcome: _Outcome) -> Served:
    wanted, study = party.wanted, outcome.study
    return Served(
        wishes=[outcome.failure or _given(wish, party.clients, outcome.ended, study) for wish in wanted.wishes],
        tellings=[(outcome.told.get(t.trial), one) for t, one in zip(wanted.tellings, outcome.heard, strict=True)],
    )


def _in_turn(
    db: Database, decider: Decider, study_id: str, clients: _Clients, tellings: Sequence[Telling]
) -> _Outcome:  # fmt: skip
    """Store what was told, then think, then commit: for whatever takes its time, and for all that is not everyday."""
    gathered = _gather(db, decider, study_id, tellings, clients)
    heard = gathered.heard
    ended: str | None = None
    failure: Exception | None = None
    try:
        gathered, ended = _decide(db, decider, gathered, clients)
    except Exception as error:
        failure = error
        if not tellings:
            raise
        log.info("study %s: nothing could be asked for: %s", study_id, error)
        deciding.settle(db, decider, study_id)  # what was told stands, and asks for no configuration
    told = asking.told_trials(db, study_id, [telling.trial for telling in tellings])
    return _Outcome(study=gathered.study, heard=heard, told=told, ended=ended, failure=failure)


class _InTurnError(Exception):
    """This round is to be served in turn."""


def _at_once(db: Database, decider: Decider, study_id: str, party: _Party) -> _Outcome | None:
    """Everything in one transaction, where the algorithm proposes in no time; None, and nothing done, where it does
    not, or where there is more to do than to start and to end trials."""
    takers: dict[int, Wish] = {}
    tries = 0

    def join() -> Joined:
        wanted, clients = party.wanted, party.clients.largest
        return Joined(tellings=wanted.tellings, clients=clients, after_seq=decider.seq(study_id))

    def choose(gathered: Gathered, appended: Sequence[Event]) -> Chosen | None:
        nonlocal tries
        tries += 1
        if tries > 1:  # the transaction is tried again, and the fold has seen what was rolled back
            decider.forget(study_id)
        takers.clear()
        clients = party.clients
        clients.held = {client_id: list(held) for client_id, held in gathered.held.items()}
        if any(clients.lacks(client_id) for client_id in gathered.adopters):
            raise _InTurnError
        if not _served_here(gathered.study):
            return None
        fold = decider.fold_under(study_id, (*gathered.missed, *appended), gathered.study.last_seq)
        lacking, slots = clients.places(gathered.study)
        proposals = tuple(fold.algorithm.propose(slots))
        placements = _placed(proposals, lacking, takers)
        return Chosen(event=decided(gathered.study, fold, proposals), placements=placements) if proposals else None

    with decider.lock(study_id):
        if not decider.knows(study_id) and not _served_here(studies.get_study(db, study_id)):
            return None  # nothing will be decided: its log, which may be long, need not be folded for that
        if not _everyday(decider.definition(study_id), starts=party.starts):
            return None
        try:
            done = asking.serve(db, study_id, join=join, choose=choose)
            if done.committed is not None:
                decider.fold_under(study_id, done.appended, done.committed.seq)
        except _InTurnError:  # before the fold took anything in
            return None
        except BaseException as error:
            decider.forget(study_id)
            if isinstance(error, NotFound | Unavailable) or not isinstance(error, Exception):
                raise
            log.info("study %s is served in turn: %r", study_id, error)
            return None
    study, opened = done.gathered.study, done.committed.opened if done.committed is not None else ()
    party.clients.take(opened, takers)
    ended = _afterwards(db, decider, study, party.clients, len(opened))
    return _Outcome(study=study, heard=done.gathered.heard, told=done.told, ended=ended)


def _served_here(study: StudyRow) -> bool:
    return study.external and study.state is StudyState.RUNNING


def _everyday(definition: StudyDefinition, *, starts: bool) -> bool:
    """Whether a decision takes no time, and no clock has a say in it. Models think only where trials are started."""
    budget = definition.budget
    thinks = starts and algorithms.surrogate(definition) is not None
    return not thinks and budget.hours is None and budget.dollars is None


def _placed(
    proposals: Sequence[Proposal], lacking: Sequence[Wish], takers: dict[int, Wish]
) -> dict[int, Placement]:  # fmt: skip
    """Who gets which trial, in the order of both; noted in `takers` too."""
    starts = [p.trial for p in proposals if isinstance(p, Start | Continue)]
    takers.update(zip(starts, lacking, strict=False))
    return {
        trial: Placement(client_id=wish.client_id, lease_s=wish.lease_s, method="external")
        for trial, wish in takers.items()
    }


def _afterwards(
    db: Database, decider: Decider, study: StudyRow, clients: _Clients, opened: int
) -> str | None:  # fmt: skip
    """Where somebody goes without, or nothing is open, the study may be over. Why there will be no more, or None."""
    if not study.external:
        return None
    if study.state is not StudyState.RUNNING:
        return _ended_reason(study)
    if study.open_attempts + opened and not any(clients.lacks(client_id) for client_id in clients.largest):
        return None
    with decider.lock(study.id):
        algorithm = decider.fold(study.id).algorithm
        if algorithm.ending() is None and not algorithm.propose(0):
            return None
    settled = deciding.settle(db, decider, study.id)
    if settled.state is not StudyState.RUNNING:
        return _ended_reason(settled)
    with decider.lock(study.id):
        return decider.fold(study.id).algorithm.ending()


def ask(
    db: Database, decider: Decider, study_id: str, *, client_id: str, n: int, lease_s: float
) -> tuple[list[OpenAttempt], str | None]:
    """A round of one wish. The second value says why there will be no more trials, or None.

    Raises Conflict where the study trains on our own workers, NotFound for an unknown id.
    """
    served = serve(db, decider, study_id, wishes=[Wish(client_id=client_id, n=n, lease_s=lease_s)])
    (given,) = served.wishes
    if isinstance(given, Exception):
        raise given
    return list(given.attempts), given.ended


def _largest(wishes: Sequence[Wish]) -> dict[str, Wish]:
    """By client, the wish for most: a smaller one is a part of it."""
    found: dict[str, Wish] = {}
    for wish in wishes:
        if wish.client_id not in found or found[wish.client_id].n < wish.n:
            found[wish.client_id] = wish
    return found


def _given(wish: Wish, clients: _Clients, ended: str | None, study: StudyRow) -> Given | Exception:
    if not study.external:
        return Conflict(
            f"study {study.id} trains on the service's own workers", remedy="set trainer: {external: true} to ask"
        )
    attempts = clients.held.get(wish.client_id, [])[: wish.n]
    whole = len(attempts) >= wish.n or wish.client_id in clients.started
    return Given(attempts=attempts, ended=None if whole and study.state is StudyState.RUNNING else ended, study=study)


def _decide(
    db: Database, decider: Decider, gathered: Gathered, clients: _Clients
) -> tuple[Gathered, str | None]:  # fmt: skip
    """Open what is lacking, and commit endings. The study as it was decided on, and why there will be no more."""
    study_id, adopted = gathered.study.id, False
    for _ in range(TRIES):
        study = gathered.study
        if not _served_here(study):
            return gathered, _afterwards(db, decider, study, clients, 0)
        moved = _declare_spent(db, decider, study)
        if not moved and not adopted:
            adopted, moved = True, _adopt(db, gathered, clients)
        if not moved:
            try:
                opened = _open(decider, study, clients)
                return gathered, _afterwards(db, decider, study, clients, opened)
            except DecisionMoved:
                pass
        gathered = _gather(db, decider, study_id, (), clients)
    return gathered, None


def _gather(
    db: Database, decider: Decider, study_id: str, tellings: Sequence[Telling], clients: _Clients
) -> Gathered:  # fmt: skip
    """Store what was told, and see what the clients hold and what the log says by now."""
    after_seq = decider.seq(study_id)
    joined = Joined(tellings=tellings, clients=clients.largest, after_seq=after_seq)
    gathered = asking.gather(db, study_id, joined)
    clients.held = dict(gathered.held)
    if after_seq is not None and _served_here(gathered.study):
        with decider.lock(study_id):
            decider.fold_to(study_id, gathered.missed, gathered.study.last_seq)
    return gathered


def _declare_spent(db: Database, decider: Decider, study: StudyRow) -> bool:
    budget = study.definition.get("budget") or {}
    if not (budget.get("hours") or budget.get("dollars") or study.ending_reason):
        return False
    with decider.lock(study.id):
        return deciding.declare_spent(db, study, decider.fold(study.id).definition)


def _adopt(db: Database, gathered: Gathered, clients: _Clients) -> bool:
    """Give trials of silent clients to those who lack some; True when there were any."""
    found = False
    for client_id in [c for c in clients.largest if c in gathered.adopters]:
        lacking = clients.lacks(client_id)
        lease_s = clients.largest[client_id].lease_s
        found |= bool(external.adopt_expired(db, gathered.study.id, client_id, lacking, lease_s))
    return found


def _open(decider: Decider, study: StudyRow, clients: _Clients) -> int:
    """One decision for all who lack trials; how many were opened. Raises DecisionMoved."""
    lacking, slots = clients.places(study)
    takers: dict[int, Wish] = {}
    committed, _ = decider.decide(study, slots, lambda proposals: _placed(proposals, lacking, takers), as_read=True)
    opened = committed.opened if committed is not None else ()
    clients.take(opened, takers)
    return len(opened)


def _ended_reason(study: StudyRow) -> str:
    return study.reason or f"the study is {study.state.value}"
