"""A study in MLflow: a run for the study, and below it a run for each trial with parameters, metrics by step, and tags.

Written over MLflow's tracking client alone, to any tracking store (a server, a database, a folder). The position in the
log is a tag of the study's run; each trial's run carries the batch that touched it last, so a batch that was
interrupted is found again and completed. A stopped trial's run is KILLED, MLflow's word for what was ended early.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hpo_service.client import Study
from hpo_service.client.results import StudySnapshot, TrialSnapshot
from hpo_service.core import seeds
from hpo_service.errors import Conflict
from hpo_service.integrations.feed import POLL_S, Batch, Feed, Point
from hpo_service.integrations.needs import need
from hpo_service.integrations.sending import Sent, send

PIP = "mlflow"
STUDY, TRIAL, SEQ, BATCH, STATE, URL = "hpo.study", "hpo.trial", "hpo.seq", "hpo.batch", "hpo.state", "hpo.url"
PARENT, NAME, NOTE = "mlflow.parentRunId", "mlflow.runName", "mlflow.note.content"
STATUS = {"waiting": "SCHEDULED", "finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
MOST_PARAMS, MOST_METRICS, MOST_LETTERS = 100, 1000, 6000  # what MLflow takes at once
_STRANGE = re.compile(r"[^\w\-./ :]")


def export(
    study: Study,
    tracking_uri: str,
    *,
    experiment: str | None = None,
    follow: bool = False,
    poll_s: float = POLL_S,
    progress: Callable[[Sent], None] | None = None,
) -> Sent:
    """Writes the study to an MLflow tracking store: `http://…`, `sqlite:///mlflow.db` or a folder.

    `experiment` is the MLflow experiment, made where it is missing; of the study's name unless given. Raises
    `Unsupported` without MLflow, `Conflict` where that experiment is deleted in MLflow.
    """
    sink = MlflowSink(tracking_uri, experiment=experiment)
    return send(study, sink, place=tracking_uri, follow=follow, poll_s=poll_s, progress=progress)


class MlflowSink:
    """Writes batches to one run and the runs below it. Remembered are the runs of trials that have not ended."""

    def __init__(self, tracking_uri: str, *, experiment: str | None = None) -> None:
        self._mlflow = need("mlflow", pip=PIP)
        self._entities = need("mlflow.entities", pip=PIP)
        self._client = self._mlflow.MlflowClient(tracking_uri)
        self._names: dict[str, str] = {}
        self._experiment_name = experiment
        self.notes: list[str] = []

    def open(self, feed: Feed) -> int:
        """Finds or makes the study's run, and finds the runs of trials that have not ended."""
        self._feed = feed
        self._first = True
        info = feed.study.info
        self._seed = int(info.definition.get("seed") or 0)
        self._experiment = self._ready_experiment(self._experiment_name or info.name)
        found = self._search(f"tags.`{STUDY}` = '{info.id}' and tags.`{TRIAL}` = 'study'")
        parent = next(iter(found), None)
        self._parent = parent.info.run_id if parent else self._make_parent(info)
        if parent is not None and SEQ not in parent.data.tags:
            self._describe(self._parent, info)  # it may have died between the run and its parameters
        self._open = True if parent is None else parent.info.status == "RUNNING"
        self._runs = {
            int(run.data.tags[TRIAL]): run.info.run_id
            for status in ("RUNNING", "SCHEDULED")
            for run in self._search(f"tags.`{PARENT}` = '{self._parent}' and attributes.status = '{status}'")
        }
        return int(parent.data.tags.get(SEQ, 0)) if parent else 0

    def _ready_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return str(self._client.create_experiment(name))
        if found.lifecycle_stage != "active":
            raise Conflict(f"the MLflow experiment {name!r} is deleted", remedy="restore it, or give another name")
        return str(found.experiment_id)

    def _search(self, filter: str) -> Iterable[Any]:
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], filter, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _make_parent(self, info: StudySnapshot) -> str:
        tags = {STUDY: info.id, TRIAL: "study", URL: self._feed.study.url, **({NOTE: info.notes} if info.notes else {})}
        tags |= {self._name(f"hpo.tag.{tag}"): "true" for tag in info.tags}
        run = self._client.create_run(self._experiment, _ms(info.created_at), tags=tags, run_name=info.name)
        self._describe(run.info.run_id, info)
        return str(run.info.run_id)

    def _describe(self, run_id: str, info: StudySnapshot) -> None:
        algorithm = info.definition.get("algorithm") or {}
        self._log_params(run_id, {"algorithm": algorithm.get("name"), "objective": info.metric, **algorithm})

    def write(self, batch: Batch) -> None:
        """Makes, fills and ends the trials' runs; then moves the position."""
        if not self._open:
            self._client.update_run(self._parent, status="RUNNING")
            self._open = True
        told: set[str] = set(self._runs.values()) if self._first else set()
        if self._first:
            found = self._search(f"tags.`{PARENT}` = '{self._parent}' and tags.`{BATCH}` = '{batch.after}'")
            again = {int(run.data.tags[TRIAL]): run.info.run_id for run in found}
            self._runs |= again
            told |= set(again.values())
        points = batch.points_of()
        for trial in batch.trials:
            run_id = self._runs.get(trial.number) or self._make_run(trial, batch)
            self._runs[trial.number] = run_id
            fresh = points.get(trial.number, [])
            if run_id in told:  # whatever was written before it died: parameters, some of the metrics, or neither
                self._log_params(run_id, trial.params)
                fresh = self._untold(run_id, fresh)
            self._log_metrics(run_id, fresh)
            self._settle(run_id, trial, batch)
        for number in batch.ended:
            self._runs.pop(number, None)
        self._client.set_tag(self._parent, SEQ, str(batch.seq))
        self._first = False

    def _make_run(self, trial: TrialSnapshot, batch: Batch) -> str:
        tags = {
            PARENT: self._parent,
            STUDY: batch.study.id,
            TRIAL: str(trial.number),
            BATCH: str(batch.after),
            STATE: trial.state,
            URL: self._feed.url(trial.number),
            "hpo.seed": str(seeds.trial_seed(self._seed, trial.number)),
            "hpo.origin": trial.origin,
        }
        began = _ms(trial.started_at or trial.created_at)
        run = self._client.create_run(self._experiment, began, tags=tags, run_name=f"trial {trial.number}")
        self._log_params(run.info.run_id, trial.params)
        return str(run.info.run_id)

    def _settle(self, run_id: str, trial: TrialSnapshot, batch: Batch) -> None:
        """The run's status; what is known at the end."""
        if trial.number not in batch.ended:
            status = STATUS["waiting"] if trial.state == "waiting" else "RUNNING"
            self._client.update_run(run_id, status=status)
            return
        tags = {BATCH: str(batch.after), STATE: trial.state, "hpo.attempts": str(trial.attempts)}
        tags |= {"hpo.reason": trial.reason[:MOST_LETTERS]} if trial.reason else {}
        tags |= {"hpo.retry_of": str(trial.retry_of)} if trial.retry_of is not None else {}
        ended = _ms(trial.ended_at)
        own = {"hpo.resource": trial.resource, "hpo.seconds": trial.seconds}
        own["hpo.cost_dollars"] = trial.cost_microdollars / 1e6
        metrics = [self._entities.Metric(name, value, ended, 0) for name, value in own.items()]
        told = [self._entities.RunTag(name, value) for name, value in tags.items()]
        self._client.log_batch(run_id, metrics=metrics, tags=told)
        self._client.set_terminated(run_id, STATUS[trial.state], ended)

    def _log_params(self, run_id: str, params: Any) -> None:
        told = [
            self._entities.Param(self._name(str(name)), str(value)[:MOST_LETTERS])
            for name, value in params.items()
            if value is not None or name in params
        ]
        for start in range(0, len(told), MOST_PARAMS):
            self._client.log_batch(run_id, params=told[start : start + MOST_PARAMS])

    def _log_metrics(self, run_id: str, points: Sequence[Point]) -> None:
        told = [
            self._entities.Metric(self._name(name), value, _ms(point.at), point.step)
            for point in points
            for name, value in point.metrics.items()
        ]
        for start in range(0, len(told), MOST_METRICS):
            self._client.log_batch(run_id, metrics=told[start : start + MOST_METRICS])

    def _untold(self, run_id: str, points: Sequence[Point]) -> list[Point]:
        """What of the points the run does not have, of a batch that may have been written in part."""
        names = {name for point in points for name in point.metrics}
        known = {
            (name, one.step, one.timestamp)
            for name in names
            for one in self._client.get_metric_history(run_id, self._name(name))
        }
        return [
            replace(one, metrics={n: v for n, v in one.metrics.items() if (n, one.step, _ms(one.at)) not in known})
            for one in points
        ]

    def _name(self, name: str) -> str:
        if name not in self._names:
            told = _STRANGE.sub("_", name)
            if any(part in ("", ".", "..") for part in told.split("/")):  # names may be files there
                told = told.replace("/", "_") if told.strip("./") else "_"
            while told in self._names.values():
                told += "_"
            if told != name:
                self.notes.append(f"{name}: MLflow does not take that name; written as {told}")
            self._names[name] = told
        return self._names[name]

    def close(self, study: StudySnapshot) -> None:
        """The study's best value, and its end."""
        if study.best is not None and study.best.value is not None:
            ended = _ms(study.ended_at)
            best = self._entities.Metric(self._name(f"best {study.metric}"), study.best.value, ended, study.last_seq)
            tag = self._entities.RunTag("hpo.best_trial", str(study.best.trial))
            self._client.log_batch(self._parent, metrics=[best], tags=[tag])
        if study.ended and self._open:
            self._client.set_terminated(self._parent, STATUS[study.state], _ms(study.ended_at))
            self._open = False


def _ms(moment: datetime | None) -> int:
    """Milliseconds since 1970; now where nothing is known."""
    return int((moment or datetime.now(UTC)).timestamp() * 1000)
