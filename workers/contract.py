"""What a controller and a worker say to each other: work orders, messages, outcomes.

The one module that both sides import, so it uses the standard library only. Nothing here does I/O,
and nothing here knows Ray: every value is a frozen dataclass of plain types that pickles and turns into JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

CONTRACT_VERSION = 3
PLAIN = "plain"
FUSED = "fused"
EPOCHS = "epochs"
"""The fidelity that is training time: what is trained so far goes on. Any other is a size, and begins from zero."""


class Outcome(StrEnum):
    """How an attempt ended, as the worker (or the executor, for a lost worker) says it."""

    REACHED = "reached"  # trained to the target resource
    COMPLETED = (
        "completed"  # the trainable ended on its own before the target (early stopping, a function that returned)
    )
    PAUSED = "paused"  # cancelled with CancelMode.PAUSE: a checkpoint was saved at the last report, if there can be one
    CANCELLED = "cancelled"  # cancelled with CancelMode.STOP
    FAILED = "failed"  # the trainable is to blame: see FailureKind
    LOST = "lost"  # worker, node or actor died: the trainable may be innocent


class FailureKind(StrEnum):
    """Why an attempt failed; stored as the first word of its reason."""

    EXCEPTION = "exception"
    DIVERGED = "diverged"  # the objective is NaN or infinite
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"
    TIMED_OUT = "timed_out"  # trial_timeout_s
    STALLED = "stalled"  # stall_timeout_s without a report
    MISSING_METRIC = "missing_metric"
    INVALID = "invalid"  # cannot be carried out: trainer does not import, bad parameter, data file missing
    STORAGE = "storage"


class CancelMode(StrEnum):
    """What a cancelled attempt does at its next report."""

    PAUSE = "pause"  # save a checkpoint, end with PAUSED
    STOP = "stop"  # end with CANCELLED


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptKey:
    """Names an attempt: trial `trial` of study `study_id` under fence `fence`."""

    study_id: str
    trial: int
    fence: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRef:
    """A stored checkpoint: `path` is relative to the storage root; `digest` is the SHA-256 of the file."""

    path: str
    digest: str
    resource: float
    step: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class TrainerSpec:
    """What trains the trial: a recipe of ours by name, or a user's own recipe, function, Ray Tune trainable or Optuna
    objective by import path `pkg.module:name`. Exactly one of the four is given.

    `bundle` is the SHA-256 of the archive of code in which the path is found; empty where the code lies on the worker.
    """

    recipe: str | None = None
    function: str | None = None
    ray_tune: str | None = None
    optuna: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # fixed arguments of the recipe, shared by all trials
    bundle: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrate:
    """Asks a preflight to measure, too, how trials of this structure are best trained: see `Calibrated`.

    `most` bounds the width; `width` fixes it, so that nothing is measured; `seconds` is how long measuring may take.
    """

    most: int
    width: int | None = None
    seconds: float = 1.0


@dataclass(frozen=True, kw_only=True)
class WorkOrder:
    """One attempt's segment: train this configuration from `from_resource` to `target_resource`.

    `horizon` is the resource at which learning-rate schedules end; it never changes within a trial.
    `checkpoints` holds the trial's stored checkpoints, newest first; a worker goes on from the first one
    that reads and matches its digest, else from zero.
    """

    key: AttemptKey
    trainer: TrainerSpec
    params: Mapping[str, Any]
    seed: int  # 63 bits, from (study seed, trial number): the root of the trial's named streams
    metric: str  # the objective's metric: must be in every report
    metrics: tuple[str, ...]  # every objective's metric; `metric` is the first
    from_resource: float
    target_resource: float
    horizon: float
    storage_root: str
    deterministic: bool = False
    checkpoints: tuple[CheckpointRef, ...] = ()
    launch: str = ""
    lane: int = 0
    width: int = 1
    trial_timeout_s: float | None = None  # for the attempt
    stall_timeout_s: float | None = None
    preflight: bool = False  # one cheap step only: import, data, one report; no checkpoint
    calibrate: Calibrate | None = None  # of a preflight: measure afterwards
    processes: int = 1  # how many train the trial together under torch.distributed
    test: bool = False  # of a confirmation: report the test metrics of the trained model beside the others
    artifacts_root: str = ""  # folder or fsspec URL; empty: beside the checkpoints
    artifact_most_bytes: int = 1 << 30
    directions: tuple[str, ...] = ()  # maximize or minimize, one for each of `metrics`
    reproduce: Mapping[str, Any] | None = (
        None  # a trial's record (`workers.record`): train it again from it, and compare
    )
    ends_at: int | None = None  # of what is trained again: the first report at this step or beyond ends it as `ends_as`
    ends_as: CancelMode = CancelMode.STOP
    parent: int | None = None  # the trial whose checkpoint its first attempt goes on from; without one it fails
    forks: bool = False  # of a preflight: trials go on from others' checkpoints, so the trainable must ask for one
    fidelity: str = EPOCHS  # what resource is; of another one `target_resource` is the size to train at, from zero

    @property
    def size(self) -> float | None:
        """The size to train at, where resource is no training time: then nothing is resumed, and one report counts."""
        return None if self.fidelity == EPOCHS else self.target_resource

    @property
    def longest_s(self) -> float | None:
        """How long the attempt may take: a trial's limit for every lane that shares the worker's time."""
        return None if self.trial_timeout_s is None else self.trial_timeout_s * self.width

    @property
    def longest_silence_s(self) -> float | None:
        """How long it may be without a report; the lanes of a launch report together."""
        return None if self.stall_timeout_s is None else self.stall_timeout_s * self.width


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """What a worker's process is made with, beside its shape: a process serves one runtime and no other.

    `bundle` is the SHA-256 of an archive of the user's code, `bundle_path` where it lies below the storage root; `pip`
    names packages to be installed beside it.
    """

    bundle: str = ""
    bundle_path: str = ""
    pip: tuple[str, ...] = ()


NO_RUNTIME = Runtime()


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Work orders that are sent to a worker together: trained one after another where `method` is plain, as the lanes
    of one program where it is fused. Such a program has `width` lanes; those without an order are filled with clones of
    the first one, which report nothing: sums of numbers may hang on the width, and on nothing else."""

    launch_id: str
    orders: tuple[WorkOrder, ...]
    method: str = PLAIN
    width: int = 1
    cpu: float = 1.0
    gpu: float = 0.0
    runtime: Runtime = NO_RUNTIME


@dataclass(frozen=True, kw_only=True)
class Started:
    """The worker took up the attempt. `resumed_from` is where training really starts (0: nothing was loaded)."""

    key: AttemptKey
    worker_id: str
    node: str
    device: str
    resumed_from: float
    environment: Mapping[str, Any]  # see workers.environment; hashed and stored once
    resumed_path: str = ""  # of the checkpoint that was loaded, as in `CheckpointRef`


@dataclass(frozen=True, kw_only=True)
class Reported:
    """Metric values of the trial at `step`; `resource` is how far training is at that step."""

    key: AttemptKey
    step: int
    resource: float
    metrics: Mapping[str, float]
    seconds: float  # training time since the attempt began, by the worker's monotonic clock
    sent_at: float  # time.time() on the worker, for latency measurements only; never used to decide


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint is safely stored while the attempt goes on: what a lost attempt's successor can start from.

    The checkpoint that ends a segment comes in `Ended`, and comes here first. Of one attempt the newest two are kept.
    """

    key: AttemptKey
    checkpoint: CheckpointRef


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A piece of the attempt's stdout, stderr or log."""

    key: AttemptKey
    text: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The attempt is over; nothing under its key follows."""

    key: AttemptKey
    outcome: Outcome
    resource: float  # how far training came
    seconds: float
    failure: FailureKind | None = None
    reason: str = ""
    traceback: str = ""
    checkpoint: CheckpointRef | None = None
    peak_memory_bytes: int | None = None
    gpu_peak_memory_bytes: int | None = None
    gpu_utilisation: float | None = None  # 0 … 1, mean over the attempt; None without a GPU
    charged_seconds: float | None = None  # its share of the worker's time, where lanes shared it; None: `seconds`


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """How trials of the preflight's structure are best trained on this device; comes before the preflight's `Ended`.

    `lanes` names the parameters in which trials of one launch may differ, empty where the trainable cannot be fused.
    `width` is the greatest number of lanes; 1 where `method` is plain. `plain_s` and `fused_s` (by width) are seconds
    per step of the optimiser and trial, as far as they were measured; `seconds` is what measuring took.
    """

    key: AttemptKey
    lanes: tuple[str, ...]
    method: str
    width: int
    device: str
    reason: str
    plain_s: float | None = None
    fused_s: Mapping[int, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactStored:
    """A file that the trainable gave to `Trial.artifact` is safely stored.

    `artifact_id` is opaque and names it everywhere; `location` is relative to the artifacts' root; `name` is what the
    trainable called it; `digest` is the SHA-256 of its bytes.
    """

    key: AttemptKey
    artifact_id: str
    name: str
    location: str
    digest: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduced:
    """A trial was trained again from its record: `document` compares every report (`workers.comparison`). Comes before
    the order's `Ended`."""

    key: AttemptKey
    document: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Narrowed:
    """A launch ran out of memory and goes on in parts of `width` lanes; `key` is of one of its trials, `keys` are the
    attempts that are trained at that width from now on."""

    key: AttemptKey
    width: int
    reason: str
    keys: tuple[AttemptKey, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WorkerSeen:
    """A worker joined, changed or left; `state` is starting, idle, busy or gone."""

    worker_id: str
    node: str
    state: str
    device: str
    cpu: float
    gpu: float
    detail: Mapping[str, Any] = field(default_factory=dict)


AttemptMessage = Started | Reported | Saved | Logged | Ended | Calibrated | Narrowed | ArtifactStored | Reproduced
Message = AttemptMessage | WorkerSeen
