"""What the routes of one process share. Built once by `app.create_app`; holds nothing that must survive."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from hpo_service.api.access import ANY_PROJECT, Principal
from hpo_service.api.answers import Answers
from hpo_service.api.background import Background
from hpo_service.api.cluster import Glance
from hpo_service.api.desk import Desk
from hpo_service.api.metrics import Metrics
from hpo_service.api.notices import Notices
from hpo_service.api.replay import Replay
from hpo_service.api.standing import Paces
from hpo_service.artifact_files import ArtifactFiles
from hpo_service.decider import Decider
from hpo_service.errors import NotFound
from hpo_service.model_views import SurrogateViews
from hpo_service.settings import Settings
from hpo_service.store import studies
from hpo_service.store.database import Database
from hpo_service.store.groupwriter import GroupWriter
from hpo_service.store.rows import StudyRow
from hpo_service.views.columns import ColumnsCache


@dataclass
class Shared:
    """The process's database, writers and caches."""

    settings: Settings
    db: Database
    decider: Decider
    desk: Desk
    views: SurrogateViews
    writer: GroupWriter
    notices: Notices
    replay: Replay
    metrics: Metrics
    columns: ColumnsCache
    glance: Glance
    notify: Callable[[str], None]
    controller_alive: Callable[[], bool] | None = None  # None: this process supervises none
    patching: threading.Lock = field(default_factory=threading.Lock)
    answers: Answers = field(default_factory=Answers)
    background: Background = field(default_factory=Background)
    replays: Background = field(default_factory=Background)  # of minutes, some: others must not wait for them
    replayed: dict[str, list[int]] = field(default_factory=dict)  # how far they came
    projects: Projects = field(default_factory=lambda: Projects())
    params: BestParams = field(default_factory=lambda: BestParams())
    beginnings: BestParams = field(default_factory=lambda: BestParams(keep=256))
    paces: Paces = field(default_factory=Paces)

    @functools.cached_property
    def artifacts(self) -> ArtifactFiles:
        """Where artifacts lie."""
        return ArtifactFiles(self.settings.resolved_artifacts)


class Projects:
    """Projects of studies by id. They never change, so that they can be kept; at most `keep`."""

    def __init__(self, keep: int = 4096) -> None:
        self._keep = keep
        self._known: OrderedDict[str, str] = OrderedDict()

    def get(self, study_id: str) -> str | None:
        """The project, where the study was looked up before; it may be deleted by now."""
        return self._known.get(study_id)

    def put(self, study_id: str, project: str) -> None:
        """Keep it."""
        self._known[study_id] = project
        while len(self._known) > self._keep:
            self._known.popitem(last=False)


class BestParams:
    """Parameters of best trials by (study, trial), or what else never changes, and so can be kept; at most `keep`."""

    def __init__(self, keep: int = 4096) -> None:
        self._keep = keep
        self._known: OrderedDict[tuple[str, int], Mapping[str, Any]] = OrderedDict()

    def get(self, key: tuple[str, int], load: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """The parameters of `key`, loaded once."""
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = load()
            while len(self._known) > self._keep:
                self._known.popitem(last=False)
        return found


async def shared(request: Request) -> Shared:
    """What the process shares. Async, though it waits for nothing: what is not goes through a thread."""
    found: Shared = request.app.state.shared
    return found


async def principal(request: Request) -> Principal:
    """Who calls; set by `routing.Route` before anything else runs."""
    found: Principal = request.state.principal
    return found


SharedDep = Annotated[Shared, Depends(shared)]
PrincipalDep = Annotated[Principal, Depends(principal)]


def visible_study(study_id: str, state: SharedDep, caller: PrincipalDep) -> StudyRow:
    """The study in the path. Raises NotFound where there is none or the caller's token is for another project."""
    return find_visible(state, caller, study_id)


def find_visible(state: Shared, caller: Principal, study_id: str) -> StudyRow:
    """The study of that id, if the caller may see it; else NotFound naming the nearest names that they may see."""
    try:
        row = studies.get_study(state.db, study_id)
        if caller.sees(row.project):
            return row
    except NotFound:
        pass
    project = None if caller.project == ANY_PROJECT else caller.project
    named = studies.find_study(state.db, study_id[:200], project)
    raise NotFound(
        f"there is no study with the id {study_id[:200]!r}, but one of that name", remedy=f"its id is {named.id}"
    )


async def served_study(study_id: str, state: SharedDep, caller: PrincipalDep) -> str:
    """The id of the study in the path, for verbs that read the study themselves: looked up once in this process.
    Raises like `visible_study`."""
    if state.projects.get(study_id) is None:
        row = await run_in_threadpool(find_visible, state, caller, study_id)
        state.projects.put(study_id, row.project)
    elif not caller.sees(state.projects.get(study_id) or ""):
        await run_in_threadpool(find_visible, state, caller, study_id)
    return study_id


StudyDep = Annotated[StudyRow, Depends(visible_study)]
ServedDep = Annotated[str, Depends(served_study)]
