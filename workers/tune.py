"""A Ray Tune trainable, unmodified: functions that report, return or yield, and `Trainable` classes.

Here: finding it, and the two loops. Where its reports go is in `tune_session`, its files are in `tune_files`.
Imports Ray Tune when an order asks for it, not before.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from workers import functions, isolation
from workers.contract import WorkOrder
from workers.errors import AttemptEnd, InvalidOrderError, ReportError
from workers.tracebacks import raise_at, summary
from workers.trial import Trial
from workers.tune_files import attempt_folder, packed, unpacked
from workers.tune_session import (
    ITERATION,
    Reporter,
    Session,
    accept_ray_train,
    installed,
    resources,
    trial_id,
    trial_name,
)

REUSE = "reuse_actors"
"""The fixed parameter by which a study asks for `reset_config`: Ray Tune's own name for it."""
_FILLED = ("trial_id", "date", "timestamp", "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip", "config")
_FILLED_SINCE = ("time_since_restore", "iterations_since_restore", "timesteps_since_restore")
_KEPT_COUNTERS = (ITERATION, "time_total_s", "timesteps_total", "episodes_total")


@dataclass
class _Kept:
    """The object of the attempt before, which `reset_config` may turn into the next one's."""

    path: str = ""
    made: Any = None


_kept = _Kept()


def find(path: str) -> Any:
    """The trainable named by `pkg.module:name`: a function of one argument, or a subclass of `ray.tune.Trainable`.

    Raises:
        InvalidOrderError: no such thing, or a thing that is neither. Its module's own errors pass through.
    """
    try:
        from ray import tune  # lazy: half a second, for those who need it
    except ImportError as error:
        raise InvalidOrderError(
            f"a Ray Tune trainable needs ray[tune] on the workers, but: {error}; pip install 'ray[tune]'"
        ) from error
    accept_ray_train()
    target = functions.find_object(path, what="Ray Tune trainable")
    if inspect.isclass(target):
        if issubclass(target, tune.Trainable):
            return target
        raise InvalidOrderError(
            f"a class must derive from ray.tune.Trainable, but {path!r} does not; derive it, or name a function"
        )
    if isinstance(target, tune.Tuner) or hasattr(target, "as_trainable"):
        raise InvalidOrderError(
            f"{path!r} must be a trainable, but it is a {type(target).__name__}, which runs a search or a cluster of "
            "its own; name the function or class that it was given"
        )
    if not callable(target):
        raise InvalidOrderError(
            f"{path!r} must be a function or a class, but it is a {type(target).__name__}; name a def train(config)"
        )
    _require_one_argument(path, target)
    return target


def _require_one_argument(path: str, target: Any) -> None:
    if inspect.iscoroutinefunction(target):
        raise InvalidOrderError(f"{path!r} must be an ordinary function, but it is async; wrap it with asyncio.run")
    try:
        inspect.signature(target).bind({})
    except TypeError as error:
        raise InvalidOrderError(
            f"a Ray Tune function must take one argument, the config, but {path!r} does not: {error}; "
            "give the others defaults, or bind them with tune.with_parameters"
        ) from None
    except ValueError:  # built in: it has no signature to look at
        return


def run(target: Any, order: WorkOrder, trial: Trial) -> None:
    """Train one segment in a folder of the attempt's own."""
    _tell_of_resources(target, trial)
    with attempt_folder() as folder:
        if inspect.isclass(target):
            _run_class(target, order, trial, folder)
        else:
            _run_function(target, order, trial, folder)


def config_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as Ray Tune hands it over: `optimizer.lr` is `config["optimizer"]["lr"]`."""
    config: dict[str, Any] = {}
    for name, value in params.items():
        *path, last = name.split(".")
        place = config
        for part in path:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                break
            place = inner
        else:
            place[last] = value
            continue
        config[name] = value
    return config


def _tell_of_resources(target: Any, trial: Trial) -> None:
    asked = getattr(target, "_resources", None)
    if asked is not None:
        what = getattr(asked, "required_resources", "by a function of the config")
        trial.log(f"note: tune.with_resources asks for {what}; a trial has what the study's `resources` say")


# Functions


def _run_function(target: Callable[..., Any], order: WorkOrder, trial: Trial, folder: Path) -> None:
    reporter = Reporter(trial, order)
    session = Session(reporter, trial, order, folder)
    params = {name: value for name, value in trial.params.items() if name != REUSE}
    isolation.seed_globals(trial.seed)
    with installed(session):
        try:
            for output in _outputs(target(config_of(params))):
                try:
                    _take(output, reporter, order)
                except ReportError as error:
                    raise_at(target, error)
        finally:
            trial.settle()


def _outputs(returned: Any) -> Iterator[Any]:
    """What a function hands over: all that it yields, or what it returned."""
    if not inspect.isgenerator(returned):
        yield returned
        return
    with contextlib.closing(returned):  # its `finally` blocks run when a report ends the attempt
        yield from returned


def _take(output: Any, reporter: Reporter, order: WorkOrder) -> None:
    if output is None or (isinstance(output, Mapping) and not output):
        return
    if isinstance(output, Mapping):
        reporter.record(output)
    elif isinstance(output, (int, float)) or hasattr(output, "item"):
        reporter.record({order.metric: output})
    else:
        raise ReportError(
            f"a Ray Tune function must return or yield a number or a dictionary, but got {type(output).__name__}; "
            f"return for example {{{order.metric!r}: 0.5}}"
        )


# Classes


class _Storage:
    """The little that `Trainable` asks of Ray Tune's storage, with the attempt's folder behind it."""

    def __init__(self, folder: Path) -> None:
        self.trial_working_directory = self.trial_fs_path = self.trial_driver_staging_path = str(folder)
        self.experiment_dir_name = self.trial_dir_name = folder.name
        self.sync_config = SimpleNamespace(sync_artifacts_on_checkpoint=False, sync_artifacts=False)

    def persist_artifacts(self, force: bool = False) -> None:
        """Nothing: files in the folder go with the attempt."""

    def persist_current_checkpoint(self, checkpoint: Any) -> Any:
        """The checkpoint as it is; it is stored with the trial's report."""
        return checkpoint

    def _update_checkpoint_index(self, metrics: Mapping[str, Any]) -> None:
        """Nothing: checkpoints are counted by us."""


def _run_class(target: type, order: WorkOrder, trial: Trial, folder: Path) -> None:
    params = trial.params
    reuse = bool(params.pop(REUSE, False)) and order.ends_at is None  # what is trained again hangs on nobody before it
    isolation.seed_globals(trial.seed)
    made = _made(target, order, trial, config_of(params), folder, reuse=reuse)
    over = False
    try:
        if trial.restored is not None:
            _restore(made, trial.restored, folder)
        _loop(made, order, trial, folder)
    except AttemptEnd:
        over = True
        raise
    finally:
        if over and reuse:
            _kept.path, _kept.made = order.trainer.ray_tune or "", made
        else:
            made.stop()


def _made(target: Any, order: WorkOrder, trial: Trial, config: dict[str, Any], folder: Path, *, reuse: bool) -> Any:
    """A new object of the class; or the one of the attempt before, if it says that it could be reset."""
    from ray.tune.result import TRIAL_INFO

    info = SimpleNamespace(
        trial_name=trial_name(order),
        trial_id=trial_id(order),
        trial_resources=resources(),
        experiment_name=order.key.study_id,
    )
    config[TRIAL_INFO] = info
    before, _kept.made = _kept.made, None
    if before is not None:
        same = reuse and type(before) is target and _kept.path == order.trainer.ray_tune
        if same and before.reset(dict(config), storage=_Storage(folder)):
            return before
        _stop(before, trial)
    return target(config=config, storage=_Storage(folder))


def _stop(before: Any, trial: Trial) -> None:
    """Let go of an earlier trial's object: what goes wrong there is no fault of this one."""
    try:
        before.stop()
    except Exception as error:
        trial.log(f"note: the object of the trial before could not be stopped: {summary(error)}")


def _restore(made: Any, state: Any, folder: Path) -> None:
    from ray.tune import Checkpoint

    outcome = importlib.import_module("ray.train._internal.checkpoint_manager")._TrainingResult

    directory = folder / "restored"
    facts = unpacked(state, directory)
    metrics = {name: facts["counters"][name] for name in _KEPT_COUNTERS if name in facts["counters"]}
    made.restore(outcome(checkpoint=Checkpoint.from_directory(directory), metrics=metrics))


def _loop(made: Any, order: WorkOrder, trial: Trial, folder: Path) -> None:
    from ray.tune import Trainable

    reporter = Reporter(trial, order, iteration=made.iteration)
    saves = type(made).save_checkpoint is not Trainable.save_checkpoint
    trial.asked_for_state = saves
    while True:
        result = _trained(made)
        try:
            reporter.record(
                _own(result, order),
                state=(lambda: _saved(made, result, folder)) if saves else None,  # noqa: B023 - called before the next
            )
        except ReportError as error:
            raise_at(type(made).step, error)


def _trained(made: Any) -> Mapping[str, Any]:
    try:
        result: Mapping[str, Any] = made.train()
    except AssertionError as error:
        if str(error) != "step() needs to return a dict.":  # Ray's own words
            raise
        told = ReportError("step must return a dictionary of metrics, but it did not; return for example {'loss': 0.5}")
        raise_at(type(made).step, told)
    return result


def _own(result: Mapping[str, Any], order: WorkOrder) -> dict[str, Any]:
    """A result without what `Trainable.train` filled in, as far as no objective asks for it."""
    filled = {*_FILLED, *_FILLED_SINCE} - {order.metric, *order.metrics}
    return {name: value for name, value in result.items() if name not in filled}


def _saved(made: Any, result: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    directory = folder / f"saved_{made.iteration:06d}"
    directory.mkdir()
    try:
        made.save(checkpoint_dir=str(directory))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        if "pickle" not in str(error):
            raise
        told = ReportError(
            f"save_checkpoint must return what can be pickled, but: {error}; keep state dictionaries, tensors and "
            "numbers, and leave out locks, files, lambdas"
        )
        raise_at(type(made).save_checkpoint, told)
    counters = {name: result[name] for name in _KEPT_COUNTERS if result.get(name) is not None}
    return packed(directory, iteration=made.iteration, counters=counters)
