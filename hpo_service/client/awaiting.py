"""The awaiting SDK, for asyncio: `AsyncClient`, `AsyncStudy`, `AsyncTrial`. The twin of `blocking`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

import httpx

from hpo_service.client import artifacts, asking, importing, lineage, operations, repeats, reproductions, training
from hpo_service.client import confirming as of_confirming
from hpo_service.client import study_operations as of_study
from hpo_service.client.artifacts import ArtifactInfo
from hpo_service.client.bundling import Code, Folder, Kind, upload_code
from hpo_service.client.connection import connection
from hpo_service.client.core import Core, Handle, awaiting, awaiting_chain, default_client_id
from hpo_service.client.drivers import AsyncDriver, broken
from hpo_service.client.events import EventStream
from hpo_service.client.operations import Definition
from hpo_service.client.paging import AsyncPages
from hpo_service.client.protocol import Answer, Program, RetryPolicy, address
from hpo_service.client.pulse import TaskKeeper
from hpo_service.client.results import Assignment, Notice, StudySnapshot, TrialSnapshot

if TYPE_CHECKING:
    from hpo_service.client.pulse import Pulse


class AsyncArtifact(artifacts.ArtifactBase):
    """A file that a trial kept."""

    save = awaiting(artifacts.save)


class AsyncTrial(asking.AskedTrial):
    """One trial; see `Trial`."""

    refresh = awaiting_chain(of_study.refresh_trial)
    annotate = awaiting_chain(of_study.annotate)
    stop = awaiting_chain(of_study.stop_trial)
    reports = awaiting(of_study.reports)
    launch = awaiting(training.launch)
    lineage = awaiting(lineage.lineage)
    record = awaiting(reproductions.record)
    save_record = awaiting(reproductions.save_record)
    reproduce = awaiting(reproductions.reproduce)
    reproductions = awaiting(reproductions.reproductions)
    log = awaiting(of_study.log)
    checkpoint = awaiting(of_study.checkpoint)
    artifact = awaiting(artifacts.keep)
    report = awaiting(asking.report)
    tell = awaiting_chain(asking.tell_trial)

    def artifacts(self, limit: int | None = None) -> AsyncPages[AsyncArtifact]:
        """The files that the trial kept, for `async for`; see `Trial.artifacts`."""
        found = artifacts.artifact_pages(self)
        return AsyncPages(self._run, found, lambda item: self._artifact(ArtifactInfo.parse(item)), limit)

    def _artifact(self, info: ArtifactInfo) -> AsyncArtifact:
        return AsyncArtifact(self._core, self._run, self.study_id, info)

    async def __aenter__(self) -> Self:
        """`async with await study.ask() as trial:` tells completed at the end, or failed with the exception."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._run(asking.leave(self, error))


class AsyncStudy(of_study.StudyBase):
    """One study; see `Study`."""

    def __init__(self, client: AsyncClient, info: StudySnapshot) -> None:
        super().__init__(client._core, client._run, info)
        self._client = client

    refresh = awaiting_chain(of_study.refresh)
    pause = awaiting_chain(of_study.pause)
    resume = awaiting_chain(of_study.resume)
    stop = awaiting_chain(of_study.stop)
    patch = awaiting_chain(of_study.patch)
    wait = awaiting_chain(of_study.wait)
    delete = awaiting(of_study.delete)
    retry = awaiting(of_study.retry)
    enqueue = awaiting(of_study.enqueue)
    import_history = awaiting(importing.import_into_study)
    rungs = awaiting(of_study.rungs)
    methods = awaiting(training.methods)
    confirmation = awaiting(of_confirming.confirmation)
    confirmations = awaiting(of_confirming.confirmations)
    report = awaiting(of_confirming.report)
    curves = awaiting(of_study.curves)
    event_log = awaiting(of_study.event_log)
    export = awaiting(of_study.export)
    to_dataframe = awaiting(of_study.to_dataframe)
    tell = awaiting(asking.tell)
    replay = awaiting(repeats.replay)
    digest = awaiting(repeats.digest)
    archive = awaiting(repeats.archive)

    def _trial(self, info: TrialSnapshot) -> AsyncTrial:
        return AsyncTrial(self._core, self._run, info)

    async def trial(self, number: int) -> AsyncTrial:
        """One trial with its attempts; raises `NotFound`."""
        return self._trial(await self._client._do(of_study.get_trial(self, number)))

    def trials(
        self, *, filter: str | None = None, sort: str | None = None, limit: int | None = None
    ) -> AsyncPages[AsyncTrial]:
        """Trials for `async for`, read page by page; see `Study.trials`."""

        def fetch(cursor: str | None, size: int) -> Program[Any]:
            place = address("studies", self.id, "trials")
            return operations.list_page(self, place, cursor=cursor, limit=size, filter=filter, sort=sort)

        return AsyncPages(self._run, fetch, lambda item: self._trial(TrialSnapshot.parse(item)), limit)

    def search_logs(
        self, text: str, *, trial: int | None = None, fence: int | None = None, limit: int | None = None
    ) -> AsyncPages[artifacts.FoundLine]:
        """Lines of logs that hold `text`, for `async for`; see `Study.search_logs`."""
        found = artifacts.found_pages(self, text, trial, fence)
        return AsyncPages(self._run, found, artifacts.FoundLine.parse, limit)

    async def confirm(self, *, top: int = 5, seeds: int = 5, trials: of_confirming.Numbers | None = None) -> AsyncStudy:
        """Begins a study that trains the best trials again with new seeds; see `Study.confirm`."""
        begun = of_confirming.confirm(self, top=top, seeds=seeds, trials=trials)
        return AsyncStudy(self._client, await self._client._do(begun))

    async def best(self, limit: int = 1) -> list[AsyncTrial]:
        """The best trials, best first, among those at the highest resource reached."""
        return [self._trial(info) for info in await self._client._do(of_study.best_page(self, limit))]

    def events(self, *, after: int | None = None) -> AsyncIterator[Notice]:
        """Notices while the study changes, for `async for`; see `Study.events`."""
        last_id = None if after is None else f"{self.id}:{after}"
        place = address("studies", self.id, "events")
        return self._client._notices(EventStream(place, last_id=last_id, policy=self._core.policy))

    @overload
    async def ask(
        self,
        n: None = None,
        *,
        client_id: str | None = None,
        lease_s: float = asking.LEASE_S,
        wait_s: float | None = None,
    ) -> AsyncTrial | None: ...
    @overload
    async def ask(
        self,
        n: int,
        *,
        client_id: str | None = None,
        lease_s: float = asking.LEASE_S,
        wait_s: float | None = None,
    ) -> list[AsyncTrial]: ...
    async def ask(
        self,
        n: int | None = None,
        *,
        client_id: str | None = None,
        lease_s: float = asking.LEASE_S,
        wait_s: float | None = None,
    ) -> AsyncTrial | list[AsyncTrial] | None:
        """A trial to train yourself, or with `n` a list; a task keeps the lease. See `Study.ask`."""
        pulse = asking.pulse_of(self._core, self.id, client_id, lease_s)
        given = await self._client._do(asking.ask_for(self, pulse, n=n or 1, wait_s=wait_s))
        found = [self._asked(one, pulse) for one in given]
        if found:
            self._client._keep(pulse)
        return found if n is not None else (found[0] if found else None)

    def _asked(self, assignment: Assignment, pulse: Pulse) -> AsyncTrial:
        trial = self._trial(asking.snapshot_of(self.id, assignment))
        trial._assign(assignment, pulse)
        return trial


class AsyncClient(Handle):
    """A connection to the server, for asyncio; see `Client`."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
        client_id: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        found = connection(url, token, timeout_s)
        self._driver = AsyncDriver(httpx.AsyncClient(**found.http_options(), transport=transport))
        core = Core(url=found.url, policy=retry or RetryPolicy(), client_id=client_id or default_client_id())
        super().__init__(core, self._driver.run)
        self._do = self._driver.run

    validate = awaiting(operations.validate)
    compare = awaiting(operations.compare)
    workers = awaiting(operations.workers)
    diff = awaiting(repeats.diff)
    schema = awaiting(operations.schema)
    doctor = awaiting(operations.doctor)
    import_history = awaiting(importing.import_history)

    @property
    def url(self) -> str:
        """The server's address."""
        return self._core.url

    async def create_study(
        self,
        definition: Definition,
        *,
        name: str | None = None,
        code: Folder | None = None,
        objective: Callable[..., Any] | None = None,
        kind: Kind | None = None,
    ) -> AsyncStudy:
        """Submits a definition, and code with it; see `Client.create_study`."""
        made = operations.create_study(self, definition, name=name, code=code, objective=objective, kind=kind)
        return AsyncStudy(self, await self._do(made))

    async def upload_code(self, folder: Folder, *, project: str = "default") -> Code:
        """Bundles a folder and uploads it, unless the server has it; definitions name it as `trainer.bundle`."""
        return await self._do(upload_code(self, folder, project=project))

    async def restore(self, path: str | Path) -> AsyncStudy:
        """Makes the study anew that `Study.archive` wrote to a file: all of it, with the same digest."""
        return AsyncStudy(self, StudySnapshot.parse(await self._do(repeats.restore(self, path))))

    async def study(self, id_or_name: str) -> AsyncStudy:
        """The study of that id or name; raises `NotFound`, or `Ambiguous` with the candidates."""
        return AsyncStudy(self, await self._do(operations.find_study(self, id_or_name)))

    def studies(
        self,
        *,
        state: str | None = None,
        project: str | None = None,
        tag: str | None = None,
        search: str | None = None,
        name: str | None = None,
        limit: int | None = None,
    ) -> AsyncPages[AsyncStudy]:
        """Studies for `async for`, newest first, read page by page."""
        filters = {"state": state, "project": project, "tag": tag, "search": search, "name": name}

        def fetch(cursor: str | None, size: int) -> Program[Any]:
            return operations.list_page(self, address("studies"), cursor=cursor, limit=size, **filters)

        return AsyncPages(self._run, fetch, lambda item: AsyncStudy(self, StudySnapshot.parse(item)), limit)

    def events(self, *, since: str | None = None) -> AsyncIterator[Notice]:
        """Notices of all studies, for `async for`; `since` is the id of the last one seen, `STUDY:SEQ`."""
        return self._notices(EventStream(address("events"), last_id=since, policy=self._core.policy))

    async def _notices(self, stream: EventStream) -> AsyncIterator[Notice]:
        while True:
            answer: Answer
            try:
                async with self._driver.lines(stream.request()) as (reply, lines):
                    answer = reply
                    stream.opened(reply)
                    if reply.status < 400:
                        async for line in lines:
                            notice = stream.feed(line)
                            if notice is not None:
                                yield notice
            except httpx.TransportError as error:
                answer = broken(error, self._driver.http.base_url)
            await self._driver.sleep(stream.pause(answer))

    def _keep(self, pulse: Pulse) -> None:
        if pulse.keeper is None:
            pulse.keeper = TaskKeeper(pulse, lambda: self._do(asking.beat(self._core, pulse)))
        pulse.keeper.ensure()

    async def close(self) -> None:
        """Ends heartbeats and connections; trials that are still open go to others when their lease lapses."""
        for pulse in self._core.pulses.values():
            if pulse.keeper is not None:
                pulse.keeper.close()
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
