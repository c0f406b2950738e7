"""States of studies, trials and attempts, and the one table of allowed transitions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class StudyState(StrEnum):
    PREFLIGHT = "preflight"  # accepted; a cheap step is tried before anything is dispatched
    RUNNING = "running"
    PAUSED = "paused"  # by a user: nothing is launched, running segments pause at their next report
    FINISHED = "finished"  # the budget or the algorithm ended; goes on when the budget is raised
    STOPPED = "stopped"  # by a user
    FAILED = "failed"  # preflight failed: nothing was dispatched


class TrialState(StrEnum):
    WAITING = "waiting"  # to be placed: enqueued, or interrupted before its target
    RUNNING = "running"  # has an open attempt
    PAUSED = "paused"  # at its target, the algorithm decides
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class AttemptState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class Origin(StrEnum):
    BASELINE = "baseline"
    SAMPLED = "sampled"
    ENQUEUED = "enqueued"
    RETRY = "retry"
    IMPORTED = "imported"
    PORTFOLIO = "portfolio"
    CONFIRM = "confirm"


TERMINAL_TRIAL = frozenset({TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED})
ENDED_STUDY = frozenset({StudyState.FINISHED, StudyState.STOPPED, StudyState.FAILED})

_T, _S = TrialState, StudyState
TRIAL_TRANSITIONS: Mapping[TrialState, frozenset[TrialState]] = {
    _T.WAITING: frozenset({_T.RUNNING, _T.STOPPED, _T.FAILED}),
    _T.RUNNING: frozenset({_T.WAITING, _T.PAUSED, _T.FINISHED, _T.STOPPED, _T.FAILED}),
    _T.PAUSED: frozenset({_T.RUNNING, _T.WAITING, _T.FINISHED, _T.STOPPED, _T.FAILED}),
    _T.FINISHED: frozenset(),
    _T.STOPPED: frozenset(),
    _T.FAILED: frozenset(),
}
STUDY_TRANSITIONS: Mapping[StudyState, frozenset[StudyState]] = {
    _S.PREFLIGHT: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPED, _S.FAILED}),
    _S.RUNNING: frozenset({_S.PAUSED, _S.FINISHED, _S.STOPPED, _S.FAILED}),
    _S.PAUSED: frozenset({_S.PREFLIGHT, _S.RUNNING, _S.FINISHED, _S.STOPPED}),
    _S.FINISHED: frozenset({_S.RUNNING}),
    _S.STOPPED: frozenset({_S.PREFLIGHT, _S.RUNNING}),
    _S.FAILED: frozenset({_S.PREFLIGHT}),
}


def trial_sources(target: TrialState) -> frozenset[TrialState]:
    """The states from which a trial may go to `target`: the WHERE of the UPDATE that takes it there."""
    return frozenset(source for source, targets in TRIAL_TRANSITIONS.items() if target in targets)


def goes_on_to(state: StudyState, *, begun: bool) -> StudyState:
    """Where a study goes on that was paused or has ended: one that failed, or never began, from its preflight."""
    untried = state in (StudyState.PAUSED, StudyState.STOPPED) and not begun
    return StudyState.PREFLIGHT if untried or state is StudyState.FAILED else StudyState.RUNNING


def study_sources(target: StudyState) -> frozenset[StudyState]:
    """The states from which a study may go to `target`."""
    return frozenset(source for source, targets in STUDY_TRANSITIONS.items() if target in targets)
