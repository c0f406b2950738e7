"""The blocking SDK: `Client`, `Study`, `Trial`. Its twin is `awaiting`; the operations stand in neither.

client = hpo.Client()
study = client.create_study("study.yaml")
study.wait(progress=True).best_trial.params
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from hpo_service.client.core import Core, Handle, blocking, blocking_chain, default_client_id
from hpo_service.client.drivers import SyncDriver, broken
from hpo_service.client.events import EventStream
from hpo_service.client.operations import Definition
from hpo_service.client.paging import Pages
from hpo_service.client.protocol import Answer, Program, RetryPolicy, address
from hpo_service.client.pulse import ThreadKeeper
from hpo_service.client.results import Assignment, Notice, StudySnapshot, TrialSnapshot

if TYPE_CHECKING:
    from hpo_service.client.pulse import Pulse


class Artifact(artifacts.ArtifactBase):
    """A file that a trial kept."""

    save = blocking(artifacts.save)


class Trial(asking.AskedTrial):
    """One trial: what is known of it, what can be asked about it and, for one that you asked for, done to it."""

    refresh = blocking_chain(of_study.refresh_trial)
    annotate = blocking_chain(of_study.annotate)
    stop = blocking_chain(of_study.stop_trial)
    reports = blocking(of_study.reports)
    launch = blocking(training.launch)
    lineage = blocking(lineage.lineage)
    record = blocking(reproductions.record)
    save_record = blocking(reproductions.save_record)
    reproduce = blocking(reproductions.reproduce)
    reproductions = blocking(reproductions.reproductions)
    log = blocking(of_study.log)
    checkpoint = blocking(of_study.checkpoint)
    artifact = blocking(artifacts.keep)
    report = blocking(asking.report)
    tell = blocking_chain(asking.tell_trial)

    def artifacts(self, limit: int | None = None) -> Pages[Artifact]:
        """The files that the trial kept, of all its attempts, read page by page."""
        found = artifacts.artifact_pages(self)
        return Pages(self._run, found, lambda item: self._artifact(ArtifactInfo.parse(item)), limit)

    def _artifact(self, info: ArtifactInfo) -> Artifact:
        return Artifact(self._core, self._run, self.study_id, info)

    def __enter__(self) -> Self:
        """`with study.ask() as trial:` tells completed at the end, or failed with the exception."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(asking.leave(self, error))


class Study(of_study.StudyBase):
    """One study: the snapshot of the last answer, and everything that can be done with it."""

    def __init__(self, client: Client, info: StudySnapshot) -> None:
        super().__init__(client._core, client._run, info)
        self._client = client

    refresh = blocking_chain(of_study.refresh)
    pause = blocking_chain(of_study.pause)
    resume = blocking_chain(of_study.resume)
    stop = blocking_chain(of_study.stop)
    patch = blocking_chain(of_study.patch)
    wait = blocking_chain(of_study.wait)
    delete = blocking(of_study.delete)
    retry = blocking(of_study.retry)
    enqueue = blocking(of_study.enqueue)
    import_history = blocking(importing.import_into_study)
    rungs = blocking(of_study.rungs)
    methods = blocking(training.methods)
    confirmation = blocking(of_confirming.confirmation)
    confirmations = blocking(of_confirming.confirmations)
    report = blocking(of_confirming.report)
    curves = blocking(of_study.curves)
    event_log = blocking(of_study.event_log)
    export = blocking(of_study.export)
    to_dataframe = blocking(of_study.to_dataframe)
    tell = blocking(asking.tell)
    replay = blocking(repeats.replay)
    digest = blocking(repeats.digest)
    archive = blocking(repeats.archive)

    def _trial(self, info: TrialSnapshot) -> Trial:
        return Trial(self._core, self._run, info)

    def trial(self, number: int) -> Trial:
        """One trial with its attempts; raises `NotFound`."""
        return self._trial(self._client._do(of_study.get_trial(self, number)))

    def trials(self, *, filter: str | None = None, sort: str | None = None, limit: int | None = None) -> Pages[Trial]:
        """Trials, read page by page while you iterate. `filter="lr>1e-3 state:failed"`, `sort="-val_accuracy"`
        (a leading minus sorts downwards; a field, parameter or metric)."""

        def fetch(cursor: str | None, size: int) -> Program[Any]:
            place = address("studies", self.id, "trials")
            return operations.list_page(self, place, cursor=cursor, limit=size, filter=filter, sort=sort)

        return Pages(self._run, fetch, lambda item: self._trial(TrialSnapshot.parse(item)), limit)

    def search_logs(
        self, text: str, *, trial: int | None = None, fence: int | None = None, limit: int | None = None
    ) -> Pages[artifacts.FoundLine]:
        """Lines of logs that hold `text`, whatever the case of its letters: of the study, a trial or an attempt."""
        found = artifacts.found_pages(self, text, trial, fence)
        return Pages(self._run, found, artifacts.FoundLine.parse, limit)

    def confirm(self, *, top: int = 5, seeds: int = 5, trials: of_confirming.Numbers | None = None) -> Study:
        """Is the winner real? Begins a study that trains the best `top` trials, or these `trials`, again with `seeds`
        new seeds each; its `confirmation()` tells what came of it."""
        return Study(self._client, self._client._do(of_confirming.confirm(self, top=top, seeds=seeds, trials=trials)))

    def best(self, limit: int = 1) -> list[Trial]:
        """The best trials, best first, among those at the highest resource reached."""
        return [self._trial(info) for info in self._client._do(of_study.best_page(self, limit))]

    def events(self, *, after: int | None = None) -> Iterator[Notice]:
        """Notices while the study changes, for ever (break out of it); connects again after a break, missing none.

        `after` is a sequence number to start from; from now on unless given.
        """
        last_id = None if after is None else f"{self.id}:{after}"
        place = address("studies", self.id, "events")
        return self._client._notices(EventStream(place, last_id=last_id, policy=self._core.policy))

    @overload
    def ask(
        self,
        n: None = None,
        *,
        client_id: str | None = None,
        lease_s: float = asking.LEASE_S,
        wait_s: float | None = None,
    ) -> Trial | None: ...
    @overload
    def ask(
        self,
        n: int,
        *,
        client_id: str | None = None,
        lease_s: float = asking.LEASE_S,
        wait_s: float | None = None,
    ) -> list[Trial]: ...
    def ask(
        self,
        n: int | None = None,
        *,
        client_id: str | None = None,
        lease_s: float = asking.LEASE_S,
        wait_s: float | None = None,
    ) -> Trial | list[Trial] | None:
        """A trial to train yourself, or with `n` a list: this client's open trials topped up to `n`.

        Waits while none can be started. None (or an empty list) when the study has ended or `wait_s` passed. A thread
        keeps the lease until the trial is told or the client closed. Asking again under the same `client_id`, after a
        crash say, gives the same open trials.
        """
        pulse = asking.pulse_of(self._core, self.id, client_id, lease_s)
        given = self._client._do(asking.ask_for(self, pulse, n=n or 1, wait_s=wait_s))
        found = [self._asked(one, pulse) for one in given]
        if found:
            self._client._keep(pulse)
        return found if n is not None else (found[0] if found else None)

    def _asked(self, assignment: Assignment, pulse: Pulse) -> Trial:
        trial = self._trial(asking.snapshot_of(self.id, assignment))
        trial._assign(assignment, pulse)
        return trial


class Client(Handle):
    """A connection to the server. Arguments, else HPO_URL and HPO_TOKEN, else http://127.0.0.1:8421.

    Thread-safe. Close it, or use it in a `with` block, to end its heartbeats and connections.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_s: float = 30.0,
        retry: RetryPolicy | None = None,
        client_id: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        found = connection(url, token, timeout_s)
        self._driver = SyncDriver(httpx.Client(**found.http_options(), transport=transport))
        core = Core(url=found.url, policy=retry or RetryPolicy(), client_id=client_id or default_client_id())
        super().__init__(core, self._driver.run)
        self._do = self._driver.run

    validate = blocking(operations.validate)
    compare = blocking(operations.compare)
    workers = blocking(operations.workers)
    diff = blocking(repeats.diff)
    schema = blocking(operations.schema)
    doctor = blocking(operations.doctor)
    import_history = blocking(importing.import_history)

    @property
    def url(self) -> str:
        """The server's address."""
        return self._core.url

    def create_study(
        self,
        definition: Definition,
        *,
        name: str | None = None,
        code: Folder | None = None,
        objective: Callable[..., Any] | None = None,
        kind: Kind | None = None,
    ) -> Study:
        """Submits a definition: a mapping (parameter objects may stand in `space`), or the path of a YAML or JSON
        file. `name` replaces the definition's.

        Code travels with it: `code` is a folder, in which `trainer` names a module; `objective` is a function or class
        itself, of this program or a notebook, which takes the place of `trainer.function` (or of the `kind` given, or
        told from it). Raises `InvalidInput` naming every broken field, or what of the code cannot be sent."""
        made = operations.create_study(self, definition, name=name, code=code, objective=objective, kind=kind)
        return Study(self, self._do(made))

    def upload_code(self, folder: Folder, *, project: str = "default") -> Code:
        """Bundles a folder and uploads it, unless the server has it; definitions name it as `trainer.bundle`."""
        return self._do(upload_code(self, folder, project=project))

    def restore(self, path: str | Path) -> Study:
        """Makes the study anew that `Study.archive` wrote to a file: all of it, with the same digest."""
        return Study(self, StudySnapshot.parse(self._do(repeats.restore(self, path))))

    def study(self, id_or_name: str) -> Study:
        """The study of that id or name; raises `NotFound`, or `Ambiguous` with the candidates."""
        return Study(self, self._do(operations.find_study(self, id_or_name)))

    def studies(
        self,
        *,
        state: str | None = None,
        project: str | None = None,
        tag: str | None = None,
        search: str | None = None,
        name: str | None = None,
        limit: int | None = None,
    ) -> Pages[Study]:
        """Studies, newest first, read page by page while you iterate."""
        filters = {"state": state, "project": project, "tag": tag, "search": search, "name": name}

        def fetch(cursor: str | None, size: int) -> Program[Any]:
            return operations.list_page(self, address("studies"), cursor=cursor, limit=size, **filters)

        return Pages(self._run, fetch, lambda item: Study(self, StudySnapshot.parse(item)), limit)

    def events(self, *, since: str | None = None) -> Iterator[Notice]:
        """Notices of all studies, for ever; `since` is the id of the last one seen, `STUDY:SEQ`."""
        return self._notices(EventStream(address("events"), last_id=since, policy=self._core.policy))

    def _notices(self, stream: EventStream) -> Iterator[Notice]:
        while True:
            answer: Answer
            try:
                with self._driver.lines(stream.request()) as (answer, lines):
                    stream.opened(answer)
                    for line in lines if answer.status < 400 else ():
                        notice = stream.feed(line)
                        if notice is not None:
                            yield notice
            except httpx.TransportError as error:
                answer = broken(error, self._driver.http.base_url)
            self._driver.sleep(stream.pause(answer))

    def _keep(self, pulse: Pulse) -> None:
        if pulse.keeper is None:
            pulse.keeper = ThreadKeeper(pulse, lambda: self._do(asking.beat(self._core, pulse)))
        pulse.keeper.ensure()

    def close(self) -> None:
        """Ends heartbeats and connections; trials that are still open go to others when their lease lapses."""
        for pulse in self._core.pulses.values():
            if pulse.keeper is not None:
                pulse.keeper.close()
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
