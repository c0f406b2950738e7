"""What stands where Ray Tune keeps its session while one of its trainables trains here: reports go to our trial.

Ray's place for it (`ray.train._internal.session._session`) is private, so Ray is pinned, and the conformance suite
holds what is used of it. Imports Ray Tune when it is first needed: plain functions never pay for that.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workers import reports
from workers.contract import Outcome, WorkOrder
from workers.errors import AttemptEnd, InvalidOrderError, ReportError
from workers.trial import Ending, Trial
from workers.tune_files import packed, unpacked

ITERATION = "training_iteration"
_CONTROL = frozenset({"done", "should_checkpoint", ITERATION, "checkpoint_dir_name"})
_TRAIN_NAMES = ("report", "get_checkpoint", "get_context")  # of ray.train, which refuses them inside of Tune


class Reporter:
    """Turns results of a Ray Tune trainable into reports of our trial; every result is one training iteration."""

    def __init__(self, trial: Trial, order: WorkOrder, *, iteration: int = 0) -> None:
        self._trial = trial
        self._wanted = frozenset((order.metric, *order.metrics))
        self._told: set[str] = set()
        self.iteration = iteration

    def record(self, result: Mapping[str, Any], *, state: Callable[[], Any] | None = None) -> None:
        """Report a result; `state` makes its checkpoint. A result that is `done` ends the attempt as completed.

        Raises:
            ReportError: not a mapping, or the objective is no number.
        """
        if not isinstance(result, Mapping):
            raise ReportError(
                f"a result must be a dictionary of metrics, but got {type(result).__name__}; "
                "report for example {'loss': 0.5}"
            )
        self.iteration += 1
        flat = dict(_flat(result))
        resource = flat.get(ITERATION)
        self._trial.record(
            self.iteration,
            self._numbers(flat),
            resource=None if resource is None else float(resource),
            state=state,
        )
        if flat.get("should_checkpoint"):
            self._trial.settle()
        if flat.get("done"):
            self._trial.settle()
            self._trial.ending = Ending(outcome=Outcome.COMPLETED, reason="the trainable reported that it is done")
            raise AttemptEnd

    def warn_once(self, text: str) -> None:
        """A line in the trial's log, the first time that it is said."""
        if text not in self._told:
            self._told.add(text)
            self._trial.log(f"warning: {text}")

    def _numbers(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        kept = {}
        for name, value in flat.items():
            if name in self._wanted or (name not in _CONTROL and _is_number(value)):
                kept[name] = value
            elif name not in _CONTROL:
                self.warn_once(f"{name!r} is no number ({type(value).__name__}) and is not stored as a metric")
        return kept


class Session:
    """The session of one function trainable: the names that Ray reads of its own one, and nothing else."""

    world_rank = world_size = local_rank = local_world_size = node_rank = None  # what tells Ray that this is Tune
    dataset_shard = metadata = run_id = storage = accelerator = None

    def __init__(self, reporter: Reporter, trial: Trial, order: WorkOrder, folder: Path) -> None:
        self._reporter = reporter
        self._folder = folder
        self._count = 0
        self._state: dict[str, Any] = {}
        self._latest: Path | None = None
        self.experiment_name = order.key.study_id
        self.trial_id = trial_id(order)
        self.trial_name = trial_name(order)
        self.trial_dir = str(folder)
        self._trial = trial
        self._loaded: Any = None
        if trial.restored is not None:
            self._latest = folder / "restored"
            reporter.iteration = int(unpacked(trial.restored, self._latest)["iteration"])
            self._loaded = _checkpoint(self._latest)

    @property
    def loaded_checkpoint(self) -> Any:
        """What `tune.get_checkpoint` returns."""
        self._trial.asked_for_state = True
        return self._loaded

    @property
    def trial_resources(self) -> Any:
        return resources()

    def report(self, metrics: Mapping[str, Any], checkpoint: Any = None) -> None:
        """What `tune.report` calls. The directory of a checkpoint is copied at once: the caller may remove it then."""
        if checkpoint is None:
            self._reporter.record(metrics)
            return
        copy = self._copied(checkpoint)
        iteration = self._reporter.iteration + 1
        self._reporter.record(metrics, state=lambda: packed(copy, iteration=iteration))

    def warn_once(self, text: str) -> None:
        """A line in the trial's log."""
        self._reporter.warn_once(text)

    def get_state(self, key: str) -> Any:
        return self._state.get(key)

    def set_state(self, key: str, value: Any) -> None:
        self._state[key] = value

    def get_dataset_shard(self, dataset_name: str | None = None) -> Any:
        raise InvalidOrderError(
            f"a Ray Tune trainable has no dataset shards here, but asked for {dataset_name!r}; "
            "load the data in the trainable"
        )

    def _copied(self, checkpoint: Any) -> Path:
        if not hasattr(checkpoint, "to_directory"):
            raise ReportError(
                f"the checkpoint of a report must be a ray.tune.Checkpoint, but got {type(checkpoint).__name__}; "
                "make it with Checkpoint.from_directory(folder)"
            )
        self._count += 1
        copy = self._folder / f"checkpoint_{self._count:06d}"
        checkpoint.to_directory(copy)
        before, self._latest = self._latest, copy
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)
        self._loaded = _checkpoint(copy)
        return copy


@contextmanager
def installed(session: Session) -> Iterator[None]:
    """While the block runs, `ray.tune` finds this session."""
    place: Any = importlib.import_module("ray.train._internal.session")
    before = place._session
    place._session = session
    try:
        yield
    finally:
        place._session = before


def accept_ray_train() -> None:
    """Let `ray.train.report` and the like work inside of a Ray Tune trainable, with a warning, before the user's module
    is imported; Ray 2.60 raises there. Outside of one they stay what they are."""
    train = importlib.import_module("ray.train")
    tune = importlib.import_module("ray.tune")
    for name in _TRAIN_NAMES:
        original = getattr(train, name)
        if not hasattr(original, "_hpo_accepts"):
            setattr(train, name, _accepting(original, getattr(tune, name), name))


def _accepting(original: Callable[..., Any], instead: Callable[..., Any], name: str) -> Callable[..., Any]:
    place: Any = importlib.import_module("ray.train._internal.session")

    @functools.wraps(original)
    def accepted(*args: Any, **kwargs: Any) -> Any:
        session = place._session
        if not isinstance(session, Session):
            return original(*args, **kwargs)
        session.warn_once(
            f"ray.train.{name} is an error inside of Ray Tune; it was taken as ray.tune.{name}: write that"
        )
        return instead(*args, **{key: value for key, value in kwargs.items() if key in ("metrics", "checkpoint")})

    accepted._hpo_accepts = True  # type: ignore[attr-defined]
    return accepted


def trial_id(order: WorkOrder) -> str:
    """What Ray Tune would call the trial: unique among all studies."""
    return f"{order.key.study_id}_{order.key.trial:05d}"


def trial_name(order: WorkOrder) -> str:
    """The same, after the trainable's name."""
    return f"{(order.trainer.ray_tune or '').rpartition(':')[2]}_{trial_id(order)}"


def resources() -> Any:
    """What the worker holds, as Ray Tune's `PlacementGroupFactory`; one CPU where this is no worker of Ray's."""
    import ray
    from ray.tune import PlacementGroupFactory

    held: dict[str, float] = {}
    if ray.is_initialized():
        context: Any = ray.get_runtime_context()
        with contextlib.suppress(AssertionError):  # what Ray says in a process that it did not start
            held = context.get_assigned_resources()
    return PlacementGroupFactory([{name: held[name] for name in ("CPU", "GPU") if held.get(name)} or {"CPU": 1.0}])


def _checkpoint(directory: Path) -> Any:
    from ray.tune import Checkpoint

    return Checkpoint.from_directory(directory)


def _flat(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested dictionaries as Ray Tune flattens them: `a/b`."""
    for name, value in result.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _is_number(value: Any) -> bool:
    try:
        reports.number("", value)
    except ReportError:
        return False
    return True
