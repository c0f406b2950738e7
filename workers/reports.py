"""The rules of a report, and what is said where one is broken: step, resource, values, the objective.

Pure: what follows from a broken rule is the trial's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from workers.contract import WorkOrder
from workers.errors import ReportError, nearest

_MOST_STEPS = 2**53  # what JSON and every database hold exactly


def require_own_process(process: int) -> None:
    """Raises ReportError unless this is the process of that number: a forked child reports to nobody."""
    if os.getpid() != process:
        raise ReportError(
            f"a report must come from the process that trains (pid {process}), but it came from its fork "
            f"{os.getpid()}; hand values back to the parent and report there"
        )


def checked_step(step: Any, *, after: int | None) -> int:
    """The step as an integer larger than the one before. Raises ReportError."""
    try:
        number = step.__index__()
    except AttributeError:
        number = None
    if not isinstance(number, int) or isinstance(step, bool):
        raise ReportError(
            f"the step of a report must be an integer, but got {step!r}; "
            "pass the epoch or step number first: trial.report(3, val_loss=…)"
        )
    if number < 0:
        raise ReportError(f"the step of a report must be 0 or more, but got {number}; count steps upwards from 1")
    if number >= _MOST_STEPS:
        raise ReportError(f"the step of a report must be below 2^53, but got {number}; count steps upwards from 1")
    if after is not None and number <= after:
        raise ReportError(
            f"the step of a report must be larger than the one before ({after}), but got {number}; "
            "report each step once, in order"
        )
    return number


def checked_resource(resource: Any, *, after: float | None) -> float:
    """How far training is, finite and not less than before. Raises ReportError."""
    level = number("resource", resource)
    if not math.isfinite(level) or level < 0:
        raise ReportError(f"the resource of a report must be finite and 0 or more, but got {level}")
    if after is not None and level < after:
        raise ReportError(
            f"the resource of a report must not fall (it was {after}), but got {level}; "
            "report how far training is in all"
        )
    return level


def number(name: str, value: Any) -> float:
    """`value` as a float; takes anything with one numeric element. Raises ReportError."""
    try:
        if isinstance(value, (str, bytes)) or value is None:
            raise TypeError
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        raise ReportError(
            f"metric {name!r} must be one number, but got {type(value).__name__} {str(value)[:60]!r}; "
            "report a float, or the .item() of a tensor"
        ) from None


_ADD_OR_CHANGE = "; add it to the report, or change the objective"


def missing_metric(name: str, values: Mapping[str, float]) -> str:
    """Why a report without the objective fails."""
    reported = ", ".join(sorted(values)) or "nothing"
    near = nearest(name, values)
    remedy = f"{near} Then name that one in the objective, or report {name}" if near else _ADD_OR_CHANGE
    return f"every report must hold the objective's metric {name!r}, but it holds {reported}{remedy}"


def diverged(name: str, value: float, step: int | None) -> str:
    """Why an objective that is no finite number fails."""
    return (
        f"the objective {name!r} must be finite, but it is {value} at step {step}; "
        "try a smaller learning rate or gradient clipping"
    )


def never_resumes(order: WorkOrder) -> str:
    """Why a preflight fails whose trainable cannot go on from another trial's weights."""
    asked = "trial.load_checkpoint()" if order.trainer.function else "its checkpoint (tune.get_checkpoint)"
    return (
        "population based training copies weights from trial to trial, but the trainable never asked for "
        f"{asked} before its first report; load and save checkpoints (docs/own-function.md), or use asha"
    )


def size_not_read(order: WorkOrder) -> str:
    """Why a preflight fails whose trainable cannot know the size that it is to train at."""
    return (
        f"a study with fidelity: {order.fidelity} trains trials at several sizes, but the function never asked for "
        f"its own ({order.size:g} here); read trial.fidelity and train at that size, or set fidelity to epochs"
    )


def timed_out(seconds: float, order: WorkOrder) -> str:
    """Why an attempt that takes too long fails."""
    lanes = f" for each of {order.width} lanes" if order.width > 1 else ""
    return (
        f"an attempt must end within trial_timeout_s={order.trial_timeout_s:g}{lanes}, "
        f"but it has run for {seconds:.1f} s; raise the limit or train less"
    )
