"""One round of asking and telling: what several external workers of a study want, served by one decision.

What was told is stored first, in one transaction; then the algorithm is asked once, for all who want trials, and the
endings that it proposes are committed with the starts. Who waits for whom is `desk`'s business, what telling means
`telling`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpo_service import decider as deciding
from hpo_service.core.proposals import Continue, Proposal, Start
from hpo_service.core.states import StudyState
from hpo_service.decider import Decider
from hpo_service.errors import Conflict, DecisionMoved
from hpo_service.store import asking, external, reading
from hpo_service.store.asking import Gathered, Heard, Telling
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


@dataclass
class _Clients:
    """What the clients who ask hold, and what each still lacks."""

    largest: Mapping[str, Wish]
    held: dict[str, list[OpenAttempt]] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)  # those who got something new

    def lacks(self, client_id: str) -> int:
        return max(0, self.largest[client_id].n - len(self.held.get(client_id, ())))

    def places(self) -> list[Wish]:
        """One wish per trial that is lacking, in the order of arrival."""
        return [wish for wish in self.largest.values() for _ in range(self.lacks(wish.client_id))]


def serve(
    db: Database, decider: Decider, study_id: str, *, wishes: Sequence[Wish] = (), tellings: Sequence[Telling] = ()
) -> Served:
    """Serve everything at once. `tellings` are about different trials.

    A client gets its own open trials first, then those whose client went silent, then new ones: asking again after a
    crash returns the same. Raises NotFound for an unknown study, and what keeps all of it from being stored.
    """
    clients = _Clients(_largest(wishes))
    gathered = asking.gather(db, study_id, tellings=tellings, clients=clients.largest)
    clients.held = dict(gathered.held)
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
    numbers = [telling.trial for telling in tellings]
    rows = {row.number: row for row in reading.some(db, study_id, numbers)} if numbers else {}
    return Served(
        wishes=[failure or _given(wish, clients, ended, gathered.study) for wish in wishes],
        tellings=[(rows.get(n), one) for n, one in zip(numbers, heard, strict=True)],
    )


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
        if not study.external:
            return gathered, None
        if study.state is not StudyState.RUNNING:
            return gathered, _ended_reason(study)
        moved = _declare_spent(db, decider, study)
        if not moved and not adopted:
            adopted, moved = True, _adopt(db, gathered, clients)
        if not moved:
            try:
                return gathered, _open(db, decider, study, clients)
            except DecisionMoved:
                pass
        gathered = asking.gather(db, study_id, tellings=(), clients=clients.largest)
        clients.held = dict(gathered.held)
    return gathered, None


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


def _open(db: Database, decider: Decider, study: StudyRow, clients: _Clients) -> str | None:
    """One decision for all who lack trials. Why there will be no more, where somebody goes without.

    Raises DecisionMoved."""
    lacking = clients.places()
    slots = max(0, min(len(lacking), study.parallel - study.open_attempts))
    takers: dict[int, Wish] = {}

    def place(proposals: Sequence[Proposal]) -> Mapping[int, Placement]:
        starts = [p.trial for p in proposals if isinstance(p, Start | Continue)]
        takers.update(zip(starts, lacking, strict=False))
        return {
            trial: Placement(client_id=wish.client_id, lease_s=wish.lease_s, method="external")
            for trial, wish in takers.items()
        }

    committed, _ = decider.decide(study, slots, place)
    opened = committed.opened if committed is not None else ()
    for attempt in opened:
        client_id = takers[attempt.trial].client_id
        clients.held.setdefault(client_id, []).append(attempt)
        clients.started.add(client_id)
    if len(opened) < len(lacking) or study.open_attempts + len(opened) == 0:
        return _after_nothing(db, decider, study.id)
    return None


def _after_nothing(db: Database, decider: Decider, study_id: str) -> str | None:
    """The study may be over. Why there will be no more trials, or None."""
    settled = deciding.settle(db, decider, study_id)
    if settled.state is not StudyState.RUNNING:
        return _ended_reason(settled)
    with decider.lock(study_id):
        return decider.fold(study_id).algorithm.ending()


def _ended_reason(study: StudyRow) -> str:
    return study.reason or f"the study is {study.state.value}"
