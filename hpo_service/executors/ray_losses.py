"""What Ray's errors mean, in words: how a worker was lost, why one could not be started. No state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workers.contract import NO_RUNTIME, Runtime

if TYPE_CHECKING:
    from hpo_service.executors.ray_workers import PooledWorker

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST = 400


def reason(worker: PooledWorker, error: Exception | None) -> str:
    """Why the attempts of a lost worker are lost."""
    pid = f", process {worker.detail['pid']}" if "pid" in worker.detail else ""
    return f"the worker {worker.worker_id} on {worker.node.name}{pid} was lost: {_cause(error)}"


def start_reason(error: Exception | None, runtime: Runtime = NO_RUNTIME) -> str:
    """Why a worker could not be started; names the remedy where a package is missing."""
    from ray.exceptions import RuntimeEnvSetupError  # lazy, with Ray

    text = _cause(error)
    if isinstance(error, RuntimeEnvSetupError):
        return _unprepared(str(error), text, runtime)
    if "ModuleNotFoundError" in text:
        text += "; install hpo-service[worker] on every node of the cluster"
    return text


def _unprepared(whole: str, last: str, runtime: Runtime) -> str:
    """What went wrong before the process began: the bundle's archive, or pip."""
    if not runtime.pip or any(sign in whole for sign in ("working_dir.py", "zipfile")):
        return (
            f"the bundle of code {runtime.bundle[:12]} could not be unpacked ({last}); "
            "submit the code again, and look whether every node reads HPO_STORAGE"
        )
    told = [line.strip() for line in _COLOURS.sub("", whole).splitlines() if line.strip().startswith("ERROR:")]
    said = (told[0].removeprefix("ERROR: ") if told else last)[:_LONGEST]
    return f"pip could not install {', '.join(runtime.pip)} for the study ({said}); correct trainer.pip"


def out_of_memory(error: Exception | None) -> str | None:
    """The reason to blame the attempt in training, where Ray's memory monitor ended its worker."""
    from ray.exceptions import OutOfMemoryError  # lazy, with Ray

    if not isinstance(error, OutOfMemoryError):
        return None
    return (
        "out_of_memory: its node ran low on memory, and Ray ended the worker that used the most; "
        "use a smaller batch or model, or fewer workers per node"
    )


def _cause(error: Exception | None) -> str:
    if error is None:
        return "its stream ended before the attempt did"
    text = _COLOURS.sub("", str(error)).strip()
    if "connection error code 2" in text:
        return "its process died without a word (killed, out of memory, or crashed in native code)"
    if "is temporarily unavailable" in text:
        return "its process or its node can no longer be reached"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    return last if len(last) <= _LONGEST else last[: _LONGEST - 1] + "…"
