"""A study in Weights & Biases: a run for each trial, in a group named after the study.

Written against W&B's public interface (`wandb.init`, `Run.log`, `Run.summary`, `Run.finish`). A trial's run is sent
whole when the trial has ended: W&B keeps one run open per process and takes steps in rising order only. The position
stands in a small file of state; a run's id is made of study and trial, so one that is sent again is the same run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hpo_service.client import Study
from hpo_service.client.results import Report, StudySnapshot, TrialSnapshot
from hpo_service.core import seeds
from hpo_service.errors import Conflict
from hpo_service.integrations.feed import POLL_S, Batch, Feed, Point
from hpo_service.integrations.needs import need
from hpo_service.integrations.sending import Sent, send

PIP = "wandb"
MOST_NAME, MOST_TAG = 128, 64  # letters that W&B takes
FOLDER = "wandb"  # where W&B keeps its own files too


def export(
    study: Study,
    project: str,
    *,
    entity: str | None = None,
    state: str | Path | None = None,
    follow: bool = False,
    poll_s: float = POLL_S,
    progress: Callable[[Sent], None] | None = None,
) -> Sent:
    """Sends the study's ended trials to a W&B project; credentials and server are those of `wandb` itself.

    `state` is the file that keeps the position; `wandb/hpo-STUDY.json` below the working directory unless given.
    Raises `Unsupported` without wandb.
    """
    path = Path(state) if state is not None else Path(FOLDER) / f"hpo-{study.id}.json"
    sink = WandbSink(project, entity=entity, state=path)
    return send(study, sink, place=f"W&B project {project}", follow=follow, poll_s=poll_s, progress=progress)


class WandbSink:
    """Sends the trials that ended in a batch, one run after another."""

    def __init__(self, project: str, *, entity: str | None, state: Path) -> None:
        self._wandb = need("wandb", pip=PIP)
        self._project, self._entity, self._path = project, entity, state
        self.notes: list[str] = []

    def open(self, feed: Feed) -> int:
        """Reads the position."""
        self._feed = feed
        self._study = feed.study.info
        self._seed = int(self._study.definition.get("seed") or 0)
        self._kept: dict[str, Any] = {"study": self._study.id, "project": self._project, "seq": 0}
        if self._path.exists():
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if (found.get("study"), found.get("project")) != (self._study.id, self._project):
                raise Conflict(
                    f"{self._path} keeps the position of study {found.get('study')} in project {found.get('project')}",
                    remedy="give another file with state",
                )
            self._kept = found
        return int(self._kept["seq"])

    def write(self, batch: Batch) -> None:
        """Sends what ended; a curve that began in an earlier batch is read whole."""
        points = batch.points_of()
        for trial in batch.trials:
            if trial.number in batch.ended:
                whole = trial.number in batch.begun
                curve = _canonical(points.get(trial.number, ())) if whole else self._feed.reports(trial.number)
                self._send(trial, curve)
        self._kept["seq"] = batch.seq
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_name(f".{self._path.name}")
        aside.write_text(json.dumps(self._kept), encoding="utf-8")
        os.replace(aside, self._path)

    def _send(self, trial: TrialSnapshot, curve: Iterable[Point | Report]) -> None:
        run = self._wandb.init(
            project=self._project,
            entity=self._entity,
            group=self._study.name[:MOST_NAME],
            job_type="trial",
            id=f"{self._study.id}-{trial.number}",
            name=f"{self._study.name[: MOST_NAME - 12]} {trial.number}",
            config=dict(trial.params),
            tags=list(dict.fromkeys([*(tag[:MOST_TAG] for tag in self._study.tags), trial.state])),
            notes=self._feed.url(trial.number),
            resume="allow",
        )
        for point in curve:
            run.log({name: value for name, value in point.metrics.items() if value is not None}, step=point.step)
        run.summary.update(
            {
                "hpo/state": trial.state,
                "hpo/trial": trial.number,
                "hpo/seed": str(seeds.trial_seed(self._seed, trial.number)),
                "hpo/resource": trial.resource,
                "hpo/seconds": trial.seconds,
                "hpo/cost_dollars": trial.cost_microdollars / 1e6,
                "hpo/reason": trial.reason,
                "hpo/url": self._feed.url(trial.number),
            }
        )
        run.finish(exit_code=1 if trial.state == "failed" else 0)

    def close(self, study: StudySnapshot) -> None:
        """Says which trials W&B does not have yet."""
        open_trials = sum(study.counts.get(state, 0) for state in ("waiting", "running", "paused"))
        if open_trials:
            self.notes.append(f"{open_trials} trials have not ended; W&B gets a trial when it has")


def _canonical(points: Iterable[Point]) -> list[Point]:
    """Per step the newest attempt's report, in the order of steps."""
    found = {point.step: point for point in sorted(points, key=lambda point: point.fence)}
    return [found[step] for step in sorted(found)]
