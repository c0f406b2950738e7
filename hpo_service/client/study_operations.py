"""Every operation of one study and of its trials, except asking and telling: written once, run by either driver.

Not here: how a method is made of an operation (`core`), what external training needs (`asking`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from hpo_service.client.core import Core, Handle
from hpo_service.client.definitions import with_space
from hpo_service.client.operations import list_page
from hpo_service.client.protocol import Program, Request, Save, Sleep, address, query, send
from hpo_service.client.results import (
    Best,
    Curves,
    Event,
    Log,
    Page,
    Report,
    Rung,
    StudySnapshot,
    TrialSnapshot,
    View,
    items_of,
)
from hpo_service.errors import HpoError, InvalidInput, NotFound, Unavailable

EXPORT_FORMATS = ("csv", "json", "parquet")
UNREACHABLE_S = 120.0  # how long `wait` goes on while the server cannot be reached
RUNNING_SHOWN = 6


class StudyBase(Handle):
    """What a study knows without asking: its id and the snapshot of the last answer."""

    def __init__(self, core: Core, run: Callable[[Program[Any]], Any], info: StudySnapshot) -> None:
        super().__init__(core, run)
        self.info = info

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.name!r} {self.state}, {self.info.trials} trials>"

    @property
    def id(self) -> str:
        return self.info.id

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def state(self) -> str:
        """preflight, running, paused, finished, stopped or failed, as of the last answer."""
        return self.info.state

    @property
    def ended(self) -> bool:
        """Whether nothing more happens unless somebody acts, as of the last answer."""
        return self.info.ended

    @property
    def url(self) -> str:
        """The page of this study."""
        return f"{self._core.url}/studies/{self.id}"

    @property
    def best_trial(self) -> Best:
        """The best trial as of the last answer; raises `NotFound` while no trial has a value."""
        if self.info.best is None:
            raise NotFound(
                f"study {self.name!r} has no trial with a value yet (it is {self.state})", remedy="wait for a report"
            )
        return self.info.best

    @property
    def best_params(self) -> Mapping[str, Any]:
        """The parameters of `best_trial`."""
        return self.best_trial.params

    @property
    def best_value(self) -> float | None:
        """The value of `best_trial`."""
        return self.best_trial.value


class TrialBase(Handle):
    """What a trial knows without asking: the snapshot of the last answer."""

    def __init__(self, core: Core, run: Callable[[Program[Any]], Any], info: TrialSnapshot) -> None:
        super().__init__(core, run)
        self.info = info

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.study_id}/{self.number} {self.state} value={self.value}>"

    @property
    def study_id(self) -> str:
        return self.info.study_id

    @property
    def number(self) -> int:
        return self.info.number

    @property
    def state(self) -> str:
        """waiting, running, paused, finished, stopped or failed, as of the last answer."""
        return self.info.state

    @property
    def params(self) -> Mapping[str, Any]:
        return self.info.params

    @property
    def value(self) -> float | None:
        """The value of the first objective as of the last answer; None before the first report."""
        return self.info.value

    @property
    def values(self) -> Mapping[str, float | None]:
        """The values of every metric as of the last answer."""
        return self.info.values

    @property
    def resource(self) -> float:
        """How far it is trained as of the last answer."""
        return self.info.resource


Observer = Callable[[View], None]


def refresh(study: StudyBase) -> Program[None]:
    """Brings `info` and the properties up to date."""
    study.info = StudySnapshot.parse((yield from study._core.get(address("studies", study.id))))


def _change(study: StudyBase, verb: str, reason: str) -> Program[None]:
    body = {"reason": reason} if reason else {}
    study.info = StudySnapshot.parse((yield from study._core.post(address("studies", study.id, verb), body)))


def pause(study: StudyBase, reason: str = "") -> Program[None]:
    """Launches nothing more; running trials save a checkpoint at their next report."""
    yield from _change(study, "pause", reason)


def resume(study: StudyBase, reason: str = "") -> Program[None]:
    """Goes on after `pause` or `stop`."""
    yield from _change(study, "resume", reason)


def stop(study: StudyBase, reason: str = "") -> Program[None]:
    """Ends the study now; running trials are stopped, what is stored stays."""
    yield from _change(study, "stop", reason)


def delete(study: StudyBase) -> Program[None]:
    """Removes the study with its trials and checkpoints; refused while trials are running."""
    yield from study._core.call("DELETE", address("studies", study.id))


def retry(study: StudyBase, trials: Iterable[int] | None = None) -> Program[list[int]]:
    """Enqueues failed trials again as new trials: all of them, or those numbered. Returns the new numbers."""
    body: dict[str, Any] = {"failed": True} if trials is None else {"trials": list(trials)}
    answer = yield from study._core.post(address("studies", study.id, "retry"), body)
    return [int(number) for number in answer["trials"]]


def patch(study: StudyBase, /, **changes: Any) -> Program[None]:
    """Changes a living study: parallel, priority, budget (merged), notes, tags, name, space, forbid, timeouts, retries.

    A finished study whose budget grows goes on.
    """
    if not changes:
        raise InvalidInput("patch changes something, but got nothing", remedy="write for example parallel=8")
    body = with_space(changes)
    found = yield from study._core.call("PATCH", address("studies", study.id), body=body)
    study.info = StudySnapshot.parse(found)


def enqueue(study: StudyBase, configurations: Iterable[Mapping[str, Any]]) -> Program[list[int]]:
    """Adds configurations of your own, tried before sampled ones. Returns their trial numbers."""
    body = {"configurations": list(configurations)}
    answer = yield from study._core.post(address("studies", study.id, "trials"), body)
    return [int(number) for number in answer["trials"]]


def get_trial(study: StudyBase, number: int) -> Program[TrialSnapshot]:
    """One trial with its attempts."""
    return TrialSnapshot.parse((yield from study._core.get(address("studies", study.id, "trials", number))))


def best_page(study: StudyBase, limit: int) -> Program[list[TrialSnapshot]]:
    """The best trials, best first."""
    found = yield from study._core.get(address("studies", study.id, "best"), query(limit=limit))
    return items_of(TrialSnapshot.parse)(found)


def rungs(study: StudyBase) -> Program[list[Rung]]:
    """The rung table: per bracket and resource level how many entered and were promoted."""
    return items_of(Rung.parse)((yield from study._core.get(address("studies", study.id, "rungs"))))


def curves(
    study: StudyBase,
    metric: str | None = None,
    *,
    trials: Iterable[int] | None = None,
    top: int | None = None,
    max_points: int | None = None,
) -> Program[Curves]:
    """Metric over resource of the numbered or the `top` trials, thinned on the server; the objective by default."""
    numbers = None if trials is None else ",".join(map(str, trials))
    asked = query(metric=metric, trials=numbers, top=top, max_points=max_points)
    return Curves.parse((yield from study._core.get(address("studies", study.id, "curves"), asked)))


def event_log(
    study: StudyBase, after: int = 0, *, limit: int | None = None, metrics: bool = False
) -> Program[list[Event]]:
    """The study's event log after a sequence number, at most `limit` events (500, up to 1,000).

    With `metrics` each row of a `reported` event (trial, fence, step, resource, values) ends with all metrics of that
    report. Values: the first objective's of that report; then what the trial had come to in the other objectives and in
    the constraints' metrics.
    """
    asked = query(after=after, limit=limit, metrics=metrics or None)
    found = yield from study._core.get(address("studies", study.id, "log"), asked)
    return items_of(Event.parse)(found)


def export(study: StudyBase, path: str | Path | BinaryIO, format: str | None = None) -> Program[None]:
    """Writes every trial as csv, json or parquet to a path (whole or not at all) or a binary file object.

    The format follows the path's suffix unless given.
    """
    suffix = Path(path).suffix.lower().lstrip(".") if isinstance(path, str | Path) else ""
    format = format or suffix
    if format not in EXPORT_FORMATS:
        raise InvalidInput(
            f"an export's format is one of {', '.join(EXPORT_FORMATS)}, but got {format!r}",
            remedy="give format= or a path that ends so",
        )
    asked = Request(method="GET", path=address("studies", study.id, "export"), query=query(format=format))
    yield from send(Save.to(asked, path), study._core.policy)


def all_trials(study: StudyBase) -> Program[list[TrialSnapshot]]:
    """Every trial, by number."""
    found: list[TrialSnapshot] = []
    cursor: str | None = None
    while True:
        page: Page = yield from list_page(
            study, address("studies", study.id, "trials"), cursor=cursor, limit=1000, sort="number"
        )
        found += map(TrialSnapshot.parse, page.items)
        cursor = page.next_cursor
        if cursor is None:
            return found


def to_dataframe(study: StudyBase) -> Program[Any]:
    """A pandas DataFrame, one row per trial: its fields, `param.NAME` and `metric.NAME`. Needs pandas."""
    try:
        import pandas  # an extra: the SDK works without it
    except ImportError:
        raise Unavailable(
            "to_dataframe needs pandas, which is not installed", remedy="pip install 'hpo-service[dataframe]'"
        ) from None
    trials = yield from all_trials(study)
    return pandas.DataFrame([trial.to_record() for trial in trials])


def observe(study: StudyBase, *, running: bool = True) -> Program[View]:
    """Refreshes the study and gathers what a progress display shows; rungs and running trials where they can be had."""
    yield from refresh(study)
    try:
        found, now = yield from _details(study, running=running and not study.ended)
    except HpoError:
        found, now = [], []
    return View(study=study.info, rungs=tuple(found), running=tuple(now), url=study.url)


def _details(study: StudyBase, *, running: bool) -> Program[tuple[list[Rung], list[TrialSnapshot]]]:
    found = yield from rungs(study)
    now: list[TrialSnapshot] = []
    if running:
        page = yield from list_page(
            study, address("studies", study.id, "trials"), cursor=None, limit=RUNNING_SHOWN, filter="state:running"
        )
        now = [TrialSnapshot.parse(item) for item in page.items]
    return found, now


def wait(
    study: StudyBase,
    *,
    progress: bool | Observer = False,
    timeout_s: float | None = None,
    poll_s: float = 0.5,
) -> Program[None]:
    """Returns when the study has ended; raises `TimeoutError` after `timeout_s` (the study goes on).

    `progress=True` shows a live display on a terminal and lines elsewhere; a function is called with each `View`.
    A server that is away (a restart, say) is waited for, up to two minutes.
    """
    observer, close = _observer(progress)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    away_since: float | None = None
    try:
        while True:
            try:
                view = yield from _look(study, observer)
                away_since = None
            except Unavailable:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > UNREACHABLE_S:
                    raise
                view = None
            if view is not None and view.ended:
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"study {study.id} has not ended after {timeout_s:g} s; it goes on")
            yield Sleep(poll_s)
    finally:
        close()


def _look(study: StudyBase, observer: Observer | None) -> Program[StudySnapshot]:
    if observer is None:
        yield from refresh(study)
    else:
        observer((yield from observe(study)))
    return study.info


def _observer(progress: bool | Observer) -> tuple[Observer | None, Callable[[], None]]:
    if progress is False:
        return None, lambda: None
    if progress is not True:
        return progress, lambda: None
    from hpo_service.client.display import open_display  # rich is only loaded where something is shown

    display = open_display()
    return display.show, display.close


def refresh_trial(trial: TrialBase) -> Program[None]:
    """Brings `info` and the properties up to date, attempts included."""
    place = address("studies", trial.study_id, "trials", trial.number)
    trial.info = TrialSnapshot.parse((yield from trial._core.get(place)))


def annotate(trial: TrialBase, *, tags: Iterable[str] | None = None, notes: str | None = None) -> Program[None]:
    """Sets the trial's tags and notes; what is left out stays."""
    given = {"tags": None if tags is None else list(tags), "notes": notes}
    body = {name: value for name, value in given.items() if value is not None}
    place = address("studies", trial.study_id, "trials", trial.number)
    trial.info = TrialSnapshot.parse((yield from trial._core.call("PATCH", place, body=body)))


def stop_trial(trial: TrialBase, reason: str = "") -> Program[None]:
    """Ends this trial alone: a running one at its next report, an enqueued one at once."""
    place = address("studies", trial.study_id, "trials", trial.number, "stop")
    trial.info = TrialSnapshot.parse((yield from trial._core.post(place, {"reason": reason} if reason else {})))


def reports(trial: TrialBase, *, fence: int | None = None) -> Program[list[Report]]:
    """The trial's curve: per step the newest attempt's report, or those of the attempt with that fence."""
    place = address("studies", trial.study_id, "trials", trial.number, "reports")
    return items_of(Report.parse)((yield from trial._core.get(place, query(fence=fence))))


def log(trial: TrialBase, *, fence: int | None = None, after: int = 0) -> Program[Log]:
    """What the trial's newest attempt (or that with the fence) wrote; `after` is the `next` of an earlier piece."""
    place = address("studies", trial.study_id, "trials", trial.number, "log")
    return Log.parse((yield from trial._core.get(place, query(fence=fence, after=after or None))))


def checkpoint(trial: TrialBase, path: str | Path | BinaryIO) -> Program[None]:
    """Saves the trial's newest checkpoint, the trained model, to a path or a binary file object."""
    place = address("studies", trial.study_id, "trials", trial.number, "checkpoint")
    yield from send(Save.to(Request(method="GET", path=place), path), trial._core.policy)
