"""A study for TensorBoard: a folder per trial with its scalars, and the HParams page over all of them.

Event files are written directly, one per trial, without TensorFlow or torch: `tensorboard` alone is needed. A file of
state beside them holds the position in the log and, while a batch is written, how long each file was before: after an
interruption files are cut back to that, so every scalar stands there once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hpo_service.client import Study
from hpo_service.client.results import StudySnapshot, TrialSnapshot
from hpo_service.core.definition import parse
from hpo_service.errors import Conflict
from hpo_service.integrations.feed import POLL_S, Batch, Feed, Point
from hpo_service.integrations.needs import need
from hpo_service.integrations.sending import Sent, send
from search_spaces.grids import ListScale
from search_spaces.parameters import BaseParameter, Constant

PIP = "tensorboard"
STATE = "hpo-state.json"
FILE = "events.out.tfevents.0000000000.hpo"
FINISHED, FAILED = 1, 2  # tensorboard.hparams.Status: STATUS_SUCCESS, STATUS_FAILURE
MOST_BYTES = 200  # of a folder's name; file systems take 255
MOST_CHOICES = 50  # a list of more values is told as numbers or text, without its values


def export(
    study: Study,
    folder: str | Path,
    *,
    follow: bool = False,
    poll_s: float = POLL_S,
    progress: Callable[[Sent], None] | None = None,
) -> Sent:
    """Writes the study below `folder/NAME` (a log directory of TensorBoard), NAME being the study's.

    Raises `Conflict` where that folder holds another study, `Unsupported` without the package `tensorboard`.
    """
    place = Path(folder) / _plain(study.name)
    return send(study, TensorboardSink(place), place=str(place), follow=follow, poll_s=poll_s, progress=progress)


class TensorboardSink:
    """Writes batches to event files below one folder. No file stays open between batches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._records = need("tensorboard.summary.writer.record_writer", pip=PIP)
        self._events = need("tensorboard.compat.proto.event_pb2", pip=PIP)
        self._summaries = need("tensorboard.compat.proto.summary_pb2", pip=PIP)
        self._hparams = need("tensorboard.plugins.hparams.summary_v2", pip=PIP)
        self._plugin = need("tensorboard.plugins.hparams.plugin_data_pb2", pip=PIP)
        self._metadata = need("tensorboard.plugins.hparams.metadata", pip=PIP)
        self.notes: list[str] = []

    def open(self, feed: Feed) -> int:
        """Makes the folder, or reads its state and takes back a batch that was interrupted."""
        self._feed = feed
        info = feed.study.info
        self._state: dict[str, Any] = {"study": info.id, "seq": 0, "metrics": [], "described": 0}
        path = self._folder / STATE
        if path.exists():
            self._state |= json.loads(path.read_text(encoding="utf-8"))
            if self._state["study"] != info.id:
                raise Conflict(
                    f"the folder {self._folder} holds study {self._state['study']}, not {info.id}",
                    remedy="give another folder",
                )
            self._take_back()
        space = parse(info.definition).search_space
        self._as_text = {name for name, one in space.parameters.items() if _of_several_kinds(one)}
        return int(self._state["seq"])

    def _take_back(self) -> None:
        for name, size in self._state.pop("before", {}).items():
            path = self._folder / name
            if path.exists():
                os.truncate(path, size)

    def _keep(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._folder / f".{STATE}"
        with aside.open("w", encoding="utf-8") as file:
            json.dump(self._state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self._folder / STATE)

    def write(self, batch: Batch) -> None:
        """Appends a batch to the trials' files; the state is kept before and after."""
        files = {trial.number: self._file(trial.number) for trial in batch.trials}
        sizes = {name: (self._folder / name).stat().st_size for name in files.values() if self._exists(name)}
        self._state["before"] = {name: sizes.get(name, 0) for name in files.values()}
        self._keep()
        self._describe(batch)
        points = batch.points_of()
        for trial in batch.trials:
            name = files[trial.number]
            records = [] if sizes.get(name) else [self._version(), self._start(trial)]
            records += [self._scalars(point) for point in points.get(trial.number, ())]
            if trial.number in batch.ended:
                records += self._end(trial)
            self._append(name, records)
        self._state.pop("before")
        self._state["seq"] = batch.seq
        self._keep()

    def _exists(self, name: str) -> bool:
        return (self._folder / name).exists()

    def _append(self, name: str, records: Sequence[Any]) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            writer = self._records.RecordWriter(file)
            for record in records:
                writer.write(record.SerializeToString())

    def _file(self, number: int) -> str:
        return f"trial-{number:05d}/{FILE}"

    def _version(self) -> Any:
        return self._events.Event(wall_time=time.time(), file_version="brain.Event:2")

    def _event(self, summary: Any, at: datetime | None, step: int = 0) -> Any:
        return self._events.Event(wall_time=_seconds(at), step=step, summary=summary)

    def _describe(self, batch: Batch) -> None:
        """Tells the HParams page of parameters and metrics; again when a metric is new or the space changed."""
        metrics = sorted({*self._state["metrics"], *(name for point in batch.points for name in point.metrics)})
        version = batch.study.space_version
        if not metrics or (metrics == self._state["metrics"] and version == self._state["described"]):
            return
        space = parse(batch.study.definition).search_space
        hparams = [self._hparams.HParam(name, self._domain(one)) for name, one in space.parameters.items()]
        config = self._hparams.hparams_config_pb(
            hparams=hparams,
            metrics=[self._hparams.Metric(name) for name in metrics],
            time_created_secs=_seconds(batch.study.created_at),
        )
        path = self._folder / FILE
        path.unlink(missing_ok=True)
        self._append(FILE, [self._version(), self._event(config, batch.study.created_at)])
        self._state |= {"metrics": metrics, "described": version}

    def _domain(self, parameter: BaseParameter) -> Any:
        scale = parameter.scale
        if isinstance(parameter, Constant):
            return self._hparams.Discrete([_text(parameter.value)])
        if not isinstance(scale, ListScale):
            return self._hparams.RealInterval(float(parameter.from_unit(0.0)), float(parameter.from_unit(1.0)))
        if scale.count > MOST_CHOICES:
            return None
        text = _of_several_kinds(parameter)
        return self._hparams.Discrete([_text(value) if text else value for value in scale.values])

    def _start(self, trial: TrialSnapshot) -> Any:
        """The trial's parameters; of those whose values are of several kinds as text."""
        told = {name: _text(value) if name in self._as_text else value for name, value in trial.params.items()}
        began = _seconds(trial.started_at or trial.created_at)
        summary = self._hparams.hparams_pb(told, trial_id=f"trial {trial.number}", start_time_secs=began)
        return self._event(summary, trial.started_at or trial.created_at)

    def _scalars(self, point: Point) -> Any:
        values = [self._summaries.Summary.Value(tag=name, simple_value=value) for name, value in point.metrics.items()]
        return self._event(self._summaries.Summary(value=values), point.at, point.step)

    def _end(self, trial: TrialSnapshot) -> list[Any]:
        """The end of the session; what the trial cost, as scalars of their own."""
        info = self._plugin.SessionEndInfo(
            status=FAILED if trial.state == "failed" else FINISHED, end_time_secs=_seconds(trial.ended_at)
        )
        data = self._metadata.create_summary_metadata(self._plugin.HParamsPluginData(session_end_info=info))
        summary = self._summaries.Summary()
        summary.value.add(tag=self._metadata.SESSION_END_INFO_TAG, metadata=data, tensor=self._metadata.NULL_TENSOR)
        own = {"hpo/resource": trial.resource, "hpo/seconds": trial.seconds}
        own["hpo/cost_dollars"] = trial.cost_microdollars / 1e6
        values = [self._summaries.Summary.Value(tag=name, simple_value=value) for name, value in own.items()]
        step = trial.step or 0
        cost = self._event(self._summaries.Summary(value=values), trial.ended_at, step)
        return [cost, self._event(summary, trial.ended_at, step)]

    def close(self, study: StudySnapshot) -> None:
        """Nothing is open between batches."""


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else time.time()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _of_several_kinds(parameter: BaseParameter) -> bool:
    values = [parameter.value] if isinstance(parameter, Constant) else getattr(parameter.scale, "values", ())
    kinds = {type(value) for value in values}
    return bool(kinds) and not (len(kinds) == 1 and kinds <= {int, float, bool})


def _plain(name: str) -> str:
    """The study's name as a folder's."""
    kept = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name).strip(". ")
    return kept.encode()[:MOST_BYTES].decode(errors="ignore").rstrip(". ") or "study"
