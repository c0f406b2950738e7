"""How an attempt ends, and where it goes on from: the rules that one trial alone and the lanes of a launch share.

Nothing here sends a message or trains.
"""

from __future__ import annotations

from collections.abc import Callable

from workers import checkpoints, hints, memory
from workers.contract import CancelMode, CheckpointRef, Ended, FailureKind, Outcome, WorkOrder
from workers.errors import AttemptEnd, CheckpointError, InvalidOrderError, ParameterError, StorageError
from workers.tracebacks import format_exception, summary
from workers.trial import Ending, Resumed, Trial


def newest_readable(order: WorkOrder, *, weights_only: bool, log: Callable[[str], None]) -> Resumed | None:
    """The first of the order's checkpoints that reads and matches its digest; None: from zero.

    Raises:
        StorageError: there is none, and the trial goes on from another one's weights.
    """
    if order.size is not None:
        return None  # of another size, it is no beginning of this one
    for ref in order.checkpoints:
        try:
            state = checkpoints.load(order.storage_root, ref, weights_only=weights_only)
        except CheckpointError as error:
            log(f"{error}; going on from the one before\n")
            continue
        return Resumed(ref=ref, state=state)
    if order.parent is not None:
        raise StorageError(
            f"trial {order.key.trial} goes on from trial {order.parent}'s weights, but none of the "
            f"{len(order.checkpoints)} checkpoints that are stored can be read; see that every node reads HPO_STORAGE"
        )
    return None


def never_started(order: WorkOrder, mode: CancelMode) -> Ended:
    """How an attempt ends whose cancellation came before it began."""
    newest = order.checkpoints[0] if order.checkpoints else None
    return Ended(
        key=order.key,
        outcome=Outcome.PAUSED if mode is CancelMode.PAUSE else Outcome.CANCELLED,
        resource=newest.resource if newest else 0.0,
        seconds=0.0,
        reason="cancelled before it started",
        checkpoint=newest,
    )


def conclude(
    order: WorkOrder, trial: Trial | None, error: BaseException | None, *, log: Callable[[str], None]
) -> tuple[Ending, str]:
    """The ending, and the traceback that goes with it, of a trainable that returned (None) or raised `error`.

    `trial` is None where the error came before the attempt had begun.
    """
    decided = trial.ending if trial is not None else None
    if error is None:
        assert trial is not None
        return decided or _returned(order, trial), ""
    if isinstance(error, AttemptEnd):
        ending = decided or Ending(
            outcome=Outcome.FAILED,
            failure=FailureKind.EXCEPTION,
            reason="the function raised the end of an attempt",
        )
        return ending, format_exception(error) if ending.with_traceback else ""
    traceback = "" if isinstance(error, InvalidOrderError) else format_exception(error)
    if decided is not None:
        log(f"after the end of the attempt: {traceback or error}")
        return decided, traceback
    kind, reason = _classify(error, started=trial is not None)
    return Ending(outcome=Outcome.FAILED, failure=kind, reason=reason + hints.remedy(error, order)), traceback


def last_checkpoint(trial: Trial | None, ending: Ending) -> tuple[CheckpointRef | None, Ending]:
    """Close the trial: its newest stored checkpoint, and the ending, which storage may still change."""
    if trial is None:
        return None, ending
    try:
        trial.close()
    except StorageError as error:
        ending = storage_failed(error)
    return trial.checkpoint, ending


def storage_failed(error: StorageError) -> Ending:
    """The checkpoint that the segment ends with could not be stored."""
    return Ending(outcome=Outcome.FAILED, failure=FailureKind.STORAGE, reason=str(error))


def _returned(order: WorkOrder, trial: Trial) -> Ending:
    if order.size is not None and trial.finish():
        return Ending(outcome=Outcome.REACHED)
    if trial.reported or trial.resource > 0:
        return Ending(outcome=Outcome.COMPLETED, reason="the trainable ended on its own")
    return Ending(
        outcome=Outcome.FAILED,
        failure=FailureKind.MISSING_METRIC,
        reason=f"a trial must report {order.metric!r} at least once, "
        "but it returned without a report; "
        + (
            f"call tune.report({{{order.metric!r}: …}}), or return such a dictionary"
            if order.trainer.ray_tune
            else f"call trial.report(step, {order.metric}=…)"
        ),
    )


def _classify(error: BaseException, *, started: bool) -> tuple[FailureKind, str]:
    if isinstance(error, InvalidOrderError | ParameterError):
        return FailureKind.INVALID, str(error)
    if isinstance(error, StorageError):
        return FailureKind.STORAGE, str(error)
    if memory.is_out_of_memory(error):
        return FailureKind.OUT_OF_MEMORY, summary(error)
    if not started:
        return FailureKind.INVALID, f"the trainer must import and prepare without an error, but: {summary(error)}"
    return FailureKind.EXCEPTION, summary(error)
