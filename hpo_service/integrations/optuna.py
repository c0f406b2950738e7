"""A study as an Optuna study, in any Optuna storage: optuna-dashboard and Optuna's own analyses open it.

Trials keep their numbers. finished is COMPLETE, stopped PRUNED, failed FAIL; what runs or is paused is RUNNING.
The position in the log stands in the study's user attributes, so exporting again adds only what is new.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hpo_service.client import Study
from hpo_service.client.results import StudySnapshot, TrialSnapshot
from hpo_service.core import seeds, values
from hpo_service.core.definition import parse
from hpo_service.errors import Conflict, InvalidInput
from hpo_service.integrations.feed import POLL_S, TERMINAL, Batch, Feed, Point
from hpo_service.integrations.needs import need
from hpo_service.integrations.optuna_spaces import Distributions
from hpo_service.integrations.sending import Sent, send

PIP = "optuna sqlalchemy"
STUDY, SEQ, URL, SPACE = "hpo:study", "hpo:seq", "hpo:url", "hpo:distributions"
STATES = {
    "waiting": "WAITING",
    "running": "RUNNING",
    "paused": "RUNNING",
    "finished": "COMPLETE",
    "stopped": "PRUNED",
    "failed": "FAIL",
}


def export(
    study: Study,
    storage: Any,
    *,
    name: str | None = None,
    follow: bool = False,
    poll_s: float = POLL_S,
    progress: Callable[[Sent], None] | None = None,
) -> Sent:
    """Writes the study to an Optuna storage: a URL (`sqlite:///out.db`), a file of a journal (`out.log`), or a storage.

    `name` is the Optuna study's, the study's own unless given. Raises `Conflict` where an Optuna study of that name is
    no export of this study, `Unsupported` without Optuna.
    """
    sink = OptunaSink(storage, name=name)
    place = storage if isinstance(storage, str) else type(storage).__name__
    return send(study, sink, place=place, follow=follow, poll_s=poll_s, progress=progress)


class OptunaSink:
    """Writes batches to one Optuna study."""

    def __init__(self, storage: Any, *, name: str | None = None) -> None:
        self._optuna = need("optuna", pip=PIP)
        self._storage = self._opened(storage)
        self._name = name
        self.notes: list[str] = []

    def _opened(self, storage: Any) -> Any:
        if not isinstance(storage, str):
            return storage
        if "://" not in storage:
            if not storage.endswith(".log"):
                raise InvalidInput(
                    f"an Optuna storage is a database URL or a journal file, but got {storage!r}",
                    remedy="write for example sqlite:///out.db, or out.log for a journal",
                )
            backend = self._optuna.storages.journal.JournalFileBackend(storage)
            return self._optuna.storages.JournalStorage(backend)
        need("sqlalchemy", pip=PIP)
        logging.getLogger("optuna.storages").setLevel(logging.WARNING)  # it would tell of every study that it makes
        return self._optuna.storages.RDBStorage(storage)

    def open(self, feed: Feed) -> int:
        """Makes the Optuna study, or finds the one that an earlier export made."""
        self._feed = feed
        info = feed.study.info
        name = self._name or info.name
        store = self._storage
        objectives = _objectives(info)
        try:
            self._id = store.get_study_id_from_name(name)
        except KeyError:
            kinds = self._optuna.study.StudyDirection
            directions = [kinds[str(one.get("direction", "minimize")).upper()] for one in objectives]
            self._id = store.create_new_study(directions, name)
            store.set_study_user_attr(self._id, STUDY, info.id)
            store.set_study_user_attr(self._id, URL, feed.study.url)
            store.set_study_system_attr(self._id, "study:metric_names", [str(one["metric"]) for one in objectives])
        attributes = store.get_study_user_attrs(self._id)
        if attributes.get(STUDY) != info.id:
            raise Conflict(
                f"the Optuna study {name!r} in this storage is not an export of study {info.id}",
                remedy="give another name",
            )
        self._metrics = [str(one["metric"]) for one in objectives]
        self._count = store.get_n_trials(self._id)
        self._version = 0
        self._learn_space(info)
        return int(attributes.get(SEQ, 0))

    def _learn_space(self, info: StudySnapshot) -> None:
        """Distributions of the space as it stands now; of choices those that the export began with."""
        if info.space_version == self._version:
            return
        module = self._optuna.distributions
        self._space = Distributions.of(parse(info.definition).search_space, module)
        stored = self._storage.get_study_user_attrs(self._id).get(SPACE)
        if stored:
            self._space.keep_choices({name: module.json_to_distribution(text) for name, text in stored.items()})
        told = {name: module.distribution_to_json(one) for name, one in self._space.by_name.items()}
        self._storage.set_study_user_attr(self._id, SPACE, told)
        self._seed = int(info.definition.get("seed") or 0)
        self._version = info.space_version
        self.notes += self._space.notes

    def write(self, batch: Batch) -> None:
        """Adds the trials that are new, brings the others up to date."""
        self._learn_space(batch.study)
        points = batch.points_of()
        last = batch.trials[-1].number if batch.trials else -1
        known = {trial.number: trial for trial in batch.trials}
        unnamed = [number for number in range(self._count, last + 1) if number not in known]
        known |= {trial.number: trial for trial in self._feed.trials(unnamed)}
        for number in sorted(known):
            whole = number in batch.begun and number in batch.ended
            if number >= self._count:
                self._add(known[number], points.get(number, []), whole=whole)
            else:
                self._update(known[number], points.get(number, []), ended=number in batch.ended)
        self._storage.set_study_user_attr(self._id, SEQ, batch.seq)

    def _add(self, trial: TrialSnapshot, points: Sequence[Point], *, whole: bool) -> None:
        """Adds a trial; one that ended comes with its whole curve, wherever in the log that stands."""
        curve = self._curve(points)
        if trial.state in TERMINAL and not whole:
            curve = self._curve(self._feed.reports(trial.number))
        params, distributions, left = self._space.place(trial.params)
        state, scores = self._ending(trial)
        now = datetime.now(UTC)
        began = trial.started_at or trial.created_at or now
        frozen = self._optuna.trial.FrozenTrial(
            number=-1,  # the storage counts
            trial_id=-1,
            state=state,
            value=None,
            values=scores,
            datetime_start=None if trial.state == "waiting" else _local(began),
            datetime_complete=_local(trial.ended_at or now) if state.is_finished() else None,
            params=params,
            distributions=distributions,
            user_attrs={**self._attributes(trial), **{f"param.{name}": value for name, value in left.items()}},
            system_attrs={},
            intermediate_values=curve,
        )
        self._storage.create_new_trial(self._id, template_trial=frozen)
        self._count += 1

    def _update(self, trial: TrialSnapshot, points: Sequence[Point], *, ended: bool) -> None:
        store = self._storage
        trial_id = store.get_trial_id_from_study_id_trial_number(self._id, trial.number)
        state = store.get_trial(trial_id).state
        if state.is_finished():
            return
        states = self._optuna.trial.TrialState
        if state == states.WAITING and trial.state != "waiting":
            store.set_trial_state_values(trial_id, states.RUNNING)
        for step, value in self._curve(points).items():
            store.set_trial_intermediate_value(trial_id, step, value)
        if ended:
            for name, value in self._attributes(trial).items():
                store.set_trial_user_attr(trial_id, name, value)
            final, scores = self._ending(trial)
            store.set_trial_state_values(trial_id, final, scores)

    def _curve(self, points: Sequence[Any]) -> dict[int, float]:
        """The first objective's value by step; of a step that was trained again the newer one."""
        metric = self._metrics[0]
        found = ((one.step, one.metrics.get(metric)) for one in sorted(points, key=lambda one: one.fence))
        return {step: float(value) for step, value in found if value is not None}

    def _ending(self, trial: TrialSnapshot) -> tuple[Any, list[float] | None]:
        """Optuna's state and values. A finished trial without a number for every objective is FAIL there."""
        states = self._optuna.trial.TrialState
        state = states[STATES.get(trial.state, "RUNNING")]
        scores = [trial.values.get(metric) for metric in self._metrics]
        told = [float(score) for score in scores if score is not None and not math.isnan(score)]
        complete = len(told) == len(scores)
        if state == states.COMPLETE and not complete:
            return states.FAIL, None
        return state, told if complete and state in (states.COMPLETE, states.PRUNED) else None

    def _attributes(self, trial: TrialSnapshot) -> dict[str, Any]:
        """What Optuna has no place for."""
        own = {
            "state": trial.state,
            "origin": trial.origin,
            "seed": seeds.trial_seed(self._seed, trial.number),
            "resource": values.to_json(trial.resource),
            "attempts": trial.attempts,
            "seconds": trial.seconds,
            "cost_dollars": trial.cost_microdollars / 1e6,
            "url": self._feed.url(trial.number),
            "reason": trial.reason or None,
            "retry_of": trial.retry_of,
            "parent": trial.parent,
            "bracket": trial.bracket,
            "rung": trial.rung,
        }
        metrics = {f"metric.{name}": values.to_json(value) for name, value in trial.values.items() if value is not None}
        return {name: value for name, value in own.items() if value is not None} | metrics

    def close(self, study: StudySnapshot) -> None:
        """Nothing is open between batches."""


def _objectives(info: StudySnapshot) -> list[Mapping[str, Any]]:
    found = info.definition.get("objective") or {}
    return [found] if isinstance(found, Mapping) else list(found)


def _local(moment: datetime) -> datetime:
    """Optuna's times are the machine's, without a zone."""
    return moment.astimezone().replace(tzinfo=None)
