"""What Ray Tune's three hooks share: which Tune trial is which trial of the study, and what is told of each.

A Tuner's searcher, scheduler and callback find the same session by its key, which is all of them that is pickled (no
connection and no token): a restored Tuner opens the session again and goes on with the same open trials. No Ray in
here. Not thread-safe: Tune calls its hooks from one thread; leases are kept by the SDK's own.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hpo_service.client import Client, Study, Trial
from hpo_service.client.results import StudySnapshot
from hpo_service.errors import Conflict, FenceRefused, InvalidInput, ReportContradicts, Unsupported

log = logging.getLogger(__name__)
LEASE_S = 30.0
ASK_S = 0.5  # after an answer without trials the next question waits so long, unless a trial ended
LOOK_S = 5.0  # how often paused trials are looked up
TERMINAL = frozenset({"finished", "stopped", "failed"})
PASSING = (Conflict, FenceRefused)  # the server knows better: stopped, or given to another


Told = tuple[int, float, Mapping[str, float]]  # step, resource, metrics


class Verdict(StrEnum):
    """What is to become of a Tune trial after a result."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Key:
    """Names a session: where the study is, and under which name its trials are asked for."""

    url: str
    study_id: str
    client_id: str


@dataclass(kw_only=True)
class TuneSession:
    """The trials of one study that one Tuner trains. Keys of the mappings are Tune's trial ids."""

    key: Key
    client: Client | None = None
    found: Study | None = None
    segments: bool = False  # a scheduler of ours is there, which can pause
    reasons: bool = False  # a callback of ours is there, which knows why trials fail
    most: int | None = None  # how many may train at once; None: as many as the study gives
    samples: float = math.inf  # how many Tune will ever ask for
    adopted: bool = False  # of a Tuner that was pickled: restored, or sent to another process
    restarts: bool = False  # Tune was called with the one sample that `Tuner.restore` leaves: its state says the rest
    taken_up: bool = False  # that state came
    numbers: dict[str, int] = field(default_factory=dict)  # of every trial that may still be trained
    open: dict[str, Trial] = field(default_factory=dict)  # asked for and not told
    continued: set[str] = field(default_factory=set)  # paused in Tune, and given again by the study
    fresh: deque[Trial] = field(default_factory=deque)  # given, and not suggested to Tune yet
    steps: dict[str, int] = field(default_factory=dict)  # the last one reported
    ahead: dict[str, Told] = field(default_factory=dict)  # a result that came while the study had the trial paused
    suggested: int = 0
    closing: bool = False
    quiet_until: float = 0.0
    looked_at: float = 0.0

    @property
    def study(self) -> Study:
        """The study: the handle that was given, else one over a connection of the session's own, made when first used
        (by HPO_TOKEN where a token is needed)."""
        if self.found is None:
            self.client = Client(self.key.url)
            self.found = self.client.study(self.key.study_id)
        return self.found

    @property
    def info(self) -> StudySnapshot:
        return self.study.info

    @property
    def over(self) -> bool:
        """Whether no paused trial will ever go on."""
        return self.closing or self.study.ended

    def state_now(self) -> str:
        """The study's state, looked up every few seconds."""
        if time.monotonic() >= self.looked_at + LOOK_S:
            self.looked_at = time.monotonic()
            self.study.refresh()
        return self.study.state

    # Asking

    def next(self, tune_id: str) -> Mapping[str, Any] | None:
        """The configuration of a new trial, which is `tune_id` from now on; None while there is none. Raises `Conflict`
        where Tune was to go on with an interrupted run and lost it."""
        if self.adopted and self.restarts and not self.taken_up:
            raise Conflict(
                f"Ray Tune could not read what it kept of the interrupted run for {self.study.name!r} (its log says "
                "why), so it would train a single trial and wait for ever",
                remedy="build a new Tuner for the study instead of restoring this one: what was open is given to it "
                f"within {LEASE_S:g} s; hpo_service.integrations.ray_tune.can_restore(path) tells before",
            )
        if not self.fresh and (self.most is None or len(self.open) < self.most):
            self.top_up()
        if not self.fresh or (self.most is not None and len(self.open) >= self.most):
            return None
        trial = self.fresh.popleft()
        self.check(trial)
        self.open[tune_id], self.numbers[tune_id] = trial, trial.number
        self.suggested += 1
        return trial.params

    def check(self, trial: Trial) -> None:
        """Refuses a study that trains in segments where nothing can pause."""
        horizon = trial.info.horizon
        if not self.segments and trial.target is not None and horizon is not None and trial.target < horizon:
            name = (self.info.definition.get("algorithm") or {}).get("name")
            raise Unsupported(
                f"{name} trains in segments (first to {trial.target:g} of {horizon:g}), and in Tune only HpoScheduler "
                "can pause a trial",
                remedy="give TuneConfig(scheduler=HpoScheduler(study)), or an algorithm without rungs such as tpe",
            )

    def top_up(self) -> None:
        """Asks for one more trial; what comes is a new one, or one that goes on."""
        if self.fresh or self.over or time.monotonic() < self.quiet_until:
            return
        held = {(trial.number, trial.fence) for trial in self.open.values()}
        given = self._ask(len(held) + 1)
        names = {number: tune_id for tune_id, number in self.numbers.items()}
        came = False
        for trial in given:
            if (trial.number, trial.fence) in held:
                continue
            came = True
            tune_id = names.get(trial.number)
            if tune_id is None:
                self.fresh.append(trial)
            else:
                self.open[tune_id] = trial
                self.continued.add(tune_id)
        if not came:
            self.quiet_until = time.monotonic() + ASK_S
        if self.fresh and self.suggested >= self.samples:
            self.let_go_of_fresh()
            self.closing = True

    def _ask(self, n: int) -> list[Trial]:
        return self.study.ask(n, client_id=self.key.client_id, lease_s=LEASE_S, wait_s=0)

    def look(self) -> set[str]:
        """Asks whether paused trials go on, and gives those that never will."""
        self.top_up()
        paused = {tune_id: number for tune_id, number in self.numbers.items() if tune_id not in self.open}
        if self.over:
            return set(paused)
        if not paused or time.monotonic() < self.looked_at + LOOK_S:
            return set()
        self.looked_at = time.monotonic()
        self.study.refresh()
        states: dict[int, str] = {}
        numbers = sorted(paused.values())
        for start in range(0, len(numbers), 400):
            told = ",".join(map(str, numbers[start : start + 400]))
            states |= {one.number: one.state for one in self.study.trials(filter=f"number:{told}")}
        return {tune_id for tune_id, number in paused.items() if states.get(number) in TERMINAL}

    # Telling

    def report(self, tune_id: str, *, step: int, resource: float, metrics: Mapping[str, float]) -> Verdict:
        """Reports a result and says what becomes of the trial; at its target it is told, and asked for again."""
        trial = self.open.get(tune_id)
        if trial is None:  # told before a restored Tuner was killed, or another client has it
            if not self.segments or tune_id not in self.numbers or self.over:
                return Verdict.STOP
            self.ahead[tune_id] = (step, resource, metrics)
            return Verdict.PAUSE
        self.continued.discard(tune_id)
        try:
            for one in filter(None, (self.ahead.pop(tune_id, None), (step, resource, metrics))):
                if one[2] and one[0] > self.steps.get(tune_id, 0):
                    trial.report(one[0], one[1], **one[2])
                    self.steps[tune_id] = one[0]
        except ReportContradicts:
            log.warning("trial %s trained step %s again and came to other values; the first ones stay", tune_id, step)
        except PASSING:
            self.forget(tune_id)
            return Verdict.STOP
        if trial.should_stop:
            self.tell(tune_id)
            return Verdict.STOP
        if trial.target is None or resource < trial.target:
            return Verdict.CONTINUE
        return self._at_target(tune_id)

    def _at_target(self, tune_id: str) -> Verdict:
        if not self.segments:
            return Verdict.CONTINUE  # the Tune trial ends by itself
        state = self.tell(tune_id, keep=True)
        if state in TERMINAL:
            self.forget(tune_id)
            return Verdict.STOP
        self.top_up()
        if tune_id in self.continued:
            self.continued.discard(tune_id)
            return Verdict.CONTINUE
        return Verdict.PAUSE

    def tell(self, tune_id: str, *, error: str = "", keep: bool = False) -> str:
        """Says how an open trial ended; returns the state that it came to. `keep`: it may be given again."""
        trial = self.open.pop(tune_id, None)
        state = ""
        if trial is not None:
            try:
                state = self._told(trial, error)
            except PASSING:
                state = "failed"
            self.quiet_until = 0.0
        if not keep:
            self.forget(tune_id)
        return state

    def _told(self, trial: Trial, error: str) -> str:
        try:
            return trial.tell(state="failed", reason=error[:2000]).state if error else trial.tell().state
        except InvalidInput as without_value:  # it ended and never reported the objective
            return trial.tell(state="failed", reason=without_value.message[:2000]).state

    def forget(self, tune_id: str) -> None:
        """Tune trains this trial no more."""
        trial = self.open.pop(tune_id, None)
        if trial is not None and trial.pulse is not None:
            trial.pulse.let_go(trial.number)
        self.continued.discard(tune_id)
        self.numbers.pop(tune_id, None)
        self.steps.pop(tune_id, None)
        self.ahead.pop(tune_id, None)

    def let_go_of_fresh(self) -> None:
        """Trials that Tune does not want go to others when their lease lapses."""
        while self.fresh:
            trial = self.fresh.pop()
            if trial.pulse is not None:
                trial.pulse.let_go(trial.number)

    # Keeping

    def state(self) -> dict[str, Any]:
        """What a restored Tuner needs to know."""
        return {"numbers": dict(self.numbers), "suggested": self.suggested}

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state`: the study gives the same open trials to the same client. Steps that are trained again
        from a checkpoint are reported again, which is no mistake."""
        self.taken_up = True
        self.numbers = {str(tune_id): int(number) for tune_id, number in state["numbers"].items()}
        self.suggested = int(state["suggested"])
        self.open, self.continued, self.steps = {}, set(), {}
        names = {number: tune_id for tune_id, number in self.numbers.items()}
        for trial in self._ask(max(1, len(names))):
            tune_id = names.get(trial.number)
            if tune_id is None:
                self.fresh.append(trial)
            else:
                self.open[tune_id] = trial

    def close(self) -> None:
        """The Tuner is done: leases that are still held lapse."""
        self.let_go_of_fresh()
        for tune_id in list(self.open):
            self.forget(tune_id)
        if self.client is not None:
            self.client.close()
        self.client = self.found = None
        for place in [place for place, key in _current.items() if key == self.key]:
            del _current[place]
        _sessions.pop(self.key, None)


_sessions: dict[Key, TuneSession] = {}
_current: dict[tuple[str, str], Key] = {}


def key_for(study: Study | str, url: str | None = None) -> Key:
    """The key that a Tuner's hooks for this study share; of the Tuner under construction, if there is one."""
    given = study if isinstance(study, Study) else None
    if isinstance(study, str):
        with Client(url) as client:
            study = client.study(study)
    if not study.info.external:
        raise InvalidInput(
            f"a Tuner draws from a study with external trainers, but {study.name!r} trains its trials itself",
            remedy="write trainer: {external: true} in its definition",
        )
    place = (study._core.url, study.id)
    if place not in _current:
        _current[place] = Key(url=place[0], study_id=place[1], client_id=f"tune-{uuid.uuid4().hex[:12]}")
    if given is not None:
        session_of(_current[place]).found = given.refresh()  # a handle out of a list has no definition
    return _current[place]


def session_of(key: Key) -> TuneSession:
    """The session of a key, opened anew where this process has none."""
    if key not in _sessions:
        _sessions[key] = TuneSession(key=key, adopted=key not in _current.values())
    return _sessions[key]
