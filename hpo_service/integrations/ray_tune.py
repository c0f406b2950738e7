"""An existing Ray Tune `Tuner` that draws its configurations from a study here, and reports to it.

`HpoSearcher` gives configurations, `HpoScheduler` carries out what the study's algorithm decides (Tune lets a scheduler
alone stop and pause a trial at a result), `HpoCallback` knows why a trial failed and when the Tuner is done, and
`HpoStopper` brings stops from the study's page to a Tuner that keeps a scheduler of its own. Importing this module
imports Ray; without it that raises `Unsupported`. What they share stands in `tune_session`.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo_service.client import Study
from hpo_service.errors import InvalidInput
from hpo_service.integrations.needs import need
from hpo_service.integrations.tune_session import Key, TuneSession, Verdict, key_for, session_of

PIP = "'ray[tune]>=2.60,<2.61'"
_search: Any = need("ray.tune.search", pip=PIP)
_schedulers: Any = need("ray.tune.schedulers", pip=PIP)
_domains: Any = need("ray.tune.search.sample", pip=PIP)
_tune: Any = need("ray.tune", pip=PIP)
_results: Any = need("ray.tune.result", pip=PIP)
_cloudpickle: Any = need("ray.cloudpickle", pip=PIP)
_storage: Any = need("pyarrow.fs", pip=PIP)

log = logging.getLogger(__name__)
RECORDS = ("experiment_state-*.json", "search_gen_state-*.json", "searcher-state-*.pkl", "callback-states-*.pkl")
MODES = {"minimize": "min", "maximize": "max"}
OWN = frozenset({*_results.AUTO_RESULT_KEYS, *_results.DEBUG_METRICS, _results.DONE, _results.SHOULD_CHECKPOINT,
                 _results.EXPERIMENT_TAG, "iterations_since_restore", _results.RESULT_DUPLICATE})  # fmt: skip


class _Hook:
    """A part of a Tuner that belongs to a study. Pickled is the key alone."""

    _key: Key
    _resource: str

    def _attach(self, study: Study | str, url: str | None, resource: str) -> None:
        self._key, self._resource = key_for(study, url), resource

    @property
    def session(self) -> TuneSession:
        """What the hooks of one Tuner share."""
        return session_of(self._key)

    def _report(self, trial_id: str, result: Mapping[str, Any]) -> Verdict:
        step = int(result[_results.TRAINING_ITERATION])
        if self._resource not in result:
            raise InvalidInput(
                f"results must have {self._resource!r}, by which training is measured", remedy="name another resource"
            )
        return self.session.report(
            trial_id, step=step, resource=float(result[self._resource]), metrics=metrics_of(result)
        )


class HpoSearcher(_Hook, _search.Searcher):  # type: ignore[misc]  # Ray is imported lazily
    """Configurations come from the study: `TuneConfig(search_alg=HpoSearcher(study), num_samples=-1)`.

    `study` is a handle, or an id or name at `url` (else HPO_URL). The study's budget ends the search. `resource` is the
    result by which training is measured, in the unit of the algorithm's `max_resource`.
    """

    def __init__(self, study: Study | str, *, url: str | None = None, resource: str = "training_iteration") -> None:
        self._attach(study, url, resource)
        objective = self.session.info.objective
        metric, mode = str(objective["metric"]), MODES[str(objective.get("direction", "minimize"))]
        super().__init__(metric=metric, mode=mode)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Checks that the Tuner and the study want the same; the study's parameters stand in for those of
        `param_space`."""
        for name, theirs, ours in (("metric", metric, self._metric), ("mode", mode, self._mode)):
            if theirs and theirs != ours:
                raise InvalidInput(
                    f"TuneConfig has {name}={theirs!r}, but the study has {ours!r}", remedy=f"leave {name} out"
                )
        space = self.session.info.definition.get("space") or {}
        left = [
            name
            for name, value in (config or {}).items()
            if name not in space and (isinstance(value, _domains.Domain) or _is_grid(value))
        ]
        if left:
            raise InvalidInput(
                f"the study decides the parameters, but param_space also searches {', '.join(left)}",
                remedy="add them to the study's space, or give them one value",
            )
        samples = spec.get("num_samples")
        self.session.samples = math.inf if not samples or samples < 0 else samples
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """At most so many trials train at once; paused ones do not count."""
        self.session.most = max_concurrent
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A configuration; None while the study has none to give, FINISHED when it has ended."""
        params = self.session.next(trial_id)
        if params is not None:
            return dict(params)
        return str(self.FINISHED) if self.session.over and not self.session.fresh else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Reports the result, unless the scheduler has done so."""
        if not self.session.segments:
            self._report(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Reports the last result and tells the end; why a trial failed is the callback's to say."""
        session = self.session
        if trial_id not in session.open or (result is None and not error):
            session.forget(trial_id)  # told before, or never begun: then another client gets it
        elif error and session.reasons:
            return
        elif error:
            session.tell(trial_id, error="the Tune trial failed; its error file says why")
        else:
            if result and metrics_of(result):
                session.segments, kept = False, session.segments  # it has ended, whatever its target
                self._report(trial_id, result)
                session.segments = kept
            session.tell(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Keeps which Tune trial is which; Tune calls it as it goes."""
        Path(checkpoint_path).write_text(json.dumps(self.session.state()), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Goes on with the trials of a Tuner that was interrupted."""
        self.session.take_up(json.loads(Path(checkpoint_path).read_text(encoding="utf-8")))

    def get_state(self) -> dict[str, Any]:
        """As `save`, for wrappers."""
        return self.session.state()

    def set_state(self, state: dict[str, Any]) -> None:
        """As `restore`, for wrappers."""
        self.session.take_up(state)


class HpoScheduler(_Hook, _schedulers.FIFOScheduler):  # type: ignore[misc]  # Ray is imported lazily
    """Carries out what the study's algorithm decides: `TuneConfig(scheduler=HpoScheduler(study))`.

    A trial that came to its target is paused in Tune (it saves a checkpoint and frees its place), goes on when the
    study says so, and is stopped when it never will.
    """

    _supports_buffered_results = False

    def __init__(self, study: Study | str, *, url: str | None = None, resource: str = "training_iteration") -> None:
        self._attach(study, url, resource)
        super().__init__()

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Tells the session that trials can be paused."""
        self.session.segments = True
        self.session.restarts = spec.get("num_samples") == 1
        return True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Reports the result; the answer is the study's."""
        verdict = self._report(trial.trial_id, result)
        if verdict is Verdict.PAUSE and result.get(_results.DONE):
            return str(self.STOP)
        return str({Verdict.PAUSE: self.PAUSE, Verdict.STOP: self.STOP}.get(verdict, self.CONTINUE))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """A paused trial that the study lets go on, else a pending one. Paused ones that never will are stopped."""
        trials = list(tune_controller.get_trials())
        paused = [trial for trial in trials if trial.status == trial.PAUSED]
        session = self.session
        never = session.look() if paused else set()
        for trial in paused:
            if trial.trial_id in session.continued:
                return trial
        for trial in paused:
            if trial.trial_id in never or trial.trial_id not in session.numbers:
                tune_controller.stop_trial(trial)
        return next((trial for trial in trials if trial.status == trial.PENDING), None)


class HpoCallback(_Hook, _tune.Callback):  # type: ignore[misc]  # Ray is imported lazily
    """Says why trials failed, and gives leases back at the end: `RunConfig(callbacks=[HpoCallback(study)])`."""

    def __init__(self, study: Study | str, *, url: str | None = None) -> None:
        self._attach(study, url, "")

    def setup(self, **info: Any) -> None:
        """Tells the session that reasons will come."""
        self.session.reasons = True
        self.session.restarts = info.get("num_samples") == 1

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tells the failure with the last line of the trial's traceback."""
        self.session.tell(trial.trial_id, error=_reason(trial))

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Ends heartbeats; what Tune left open goes to others when its lease lapses."""
        self.session.close()


class HpoStopper(_Hook, _tune.Stopper):  # type: ignore[misc]  # Ray is imported lazily
    """For a Tuner with a scheduler of its own: `RunConfig(stop=HpoStopper(study))`.

    A trial that was stopped on the study's page ends at a result soon after, and all of them with the study.
    """

    def __init__(self, study: Study | str, *, url: str | None = None) -> None:
        self._attach(study, url, "")

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the study wants no more of the trial, as heartbeats and earlier results told."""
        trial = self.session.open.get(trial_id)
        return trial is not None and trial.should_stop

    def stop_all(self) -> bool:
        """Whether the study was stopped or failed."""
        return self.session.state_now() in ("stopped", "failed")


def can_restore(path: str | Path) -> bool:
    """Whether `Tuner.restore(path)` goes on with the run in that folder (or URI): `Tuner.can_restore` says so, and the
    newest of each of Tune's records can be read. Tune copies them in the background; a driver that is killed meanwhile
    leaves a torn one, and Tune would begin anew with a single trial. Logs which file that is."""
    if not _tune.Tuner.can_restore(path):
        return False
    uri = str(path) if "://" in str(path) else str(Path(path).expanduser().resolve())
    filesystem, folder = _storage.FileSystem.from_uri(uri)
    names = [found.base_name for found in filesystem.get_file_info(_storage.FileSelector(folder)) if found.is_file]
    newest = [max(kept) for pattern in RECORDS if (kept := fnmatch.filter(names, pattern))]
    for name in newest:
        with filesystem.open_input_stream(f"{folder}/{name}") as stream:
            if not _whole(stream.readall()):
                log.warning("%s/%s is torn: the run cannot be restored", path, name)
                return False
    return bool(fnmatch.filter(newest, RECORDS[0]))


def _whole(record: bytes) -> bool:
    try:
        json.loads(record)
    except ValueError:
        try:
            _cloudpickle.loads(record)
        except Exception:  # whatever it is, Tune would come to it, too
            return False
    return True


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a Tune result that are the user's own: not Tune's counters and clocks, nothing of `config`."""
    return {
        name: float(value)
        for name, value in result.items()
        if name not in OWN and not name.startswith("config/") and _is_number(value)
    }


def _is_number(value: Any) -> bool:
    kind = getattr(getattr(value, "dtype", None), "kind", None)  # NumPy's scalars
    return (isinstance(value, int | float) and not isinstance(value, bool)) or kind in ("f", "i", "u")


def _is_grid(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"grid_search"}


def _reason(trial: Any) -> str:
    path = trial.error_file
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n") if path else []
    except OSError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), "the Tune trial failed")
