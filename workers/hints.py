"""What to change, in a clause: the remedy that goes behind an exception of a user's code, where there is one to give.

Looks at the exception and its traceback only; how an attempt ends is decided in `endings`.
"""

from __future__ import annotations

import pickle
import re
import traceback
from pathlib import Path

from workers import memory
from workers.contract import WorkOrder
from workers.errors import WorkerError, nearest
from workers.trial import Trial

_MOST_NAMES = 12
_NAME = re.compile(r"[A-Za-z_][\w.\-]*")


def remedy(error: BaseException, order: WorkOrder) -> str:
    """`"; change this"`, or an empty string where the exception speaks for itself or for the user's own code."""
    if isinstance(error, WorkerError):  # ours: rule, value and remedy are in its message
        return ""
    for fits in (_memory, _exit, _pickle, _key, _import, _signal, _file, _optuna):
        found = fits(error, order)
        if found:
            return f"; {found}"
    return ""


def _memory(error: BaseException, order: WorkOrder) -> str:
    if memory.is_out_of_memory(error):
        return "use a smaller batch or model, or give the trial more memory"
    return ""


def _exit(error: BaseException, order: WorkOrder) -> str:
    if isinstance(error, SystemExit):
        return "return from the function to end a trial, and raise an error to fail it: exiting fails it, too"
    return "nobody may interrupt a trial from inside: return, or raise an error" if _interrupts(error) else ""


def _interrupts(error: BaseException) -> bool:
    return isinstance(error, (KeyboardInterrupt, GeneratorExit))


def _pickle(error: BaseException, order: WorkOrder) -> str:
    if isinstance(error, pickle.PicklingError) or "pickle" in str(error):
        return "keep tensors, arrays, numbers and state dictionaries in a checkpoint; leave out locks, files, lambdas"
    return ""


def _key(error: BaseException, order: WorkOrder) -> str:
    """A KeyError raised by the user's own line may well be a parameter's name."""
    if not isinstance(error, KeyError) or not error.args or not isinstance(error.args[0], str) or not _own(error):
        return ""
    name, params = error.args[0], {**order.trainer.params, **order.params}
    if name in params or not _NAME.fullmatch(name):
        return ""
    known = ", ".join(sorted(params)[:_MOST_NAMES]) or "none"
    near = nearest(name, params).removeprefix("; ") or f"add {name} to the space or to trainer.params"
    return f"if it is meant to be a parameter: the trial has {known}; {near}"


def _import(error: BaseException, order: WorkOrder) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"install {error.name.partition('.')[0]} on the workers or name it in trainer.pip; if it is your own, "
            "submit its folder with the code"
        )
    return ""


def _signal(error: BaseException, order: WorkOrder) -> str:
    if isinstance(error, ValueError) and "only works in main thread" in str(error):
        return (
            "a trial trains on a thread of its worker: leave signal handlers out, or set them only on the main thread"
        )
    return ""


def _file(error: BaseException, order: WorkOrder) -> str:
    if isinstance(error, FileNotFoundError) and error.filename and not Path(str(error.filename)).is_absolute():
        return "name files by absolute paths, or beside the module by Path(__file__).parent: workers run elsewhere"
    return ""


def _optuna(error: BaseException, order: WorkOrder) -> str:
    """A `trial` of ours asked for what Optuna's has: the trainer names an objective of Optuna's as a function."""
    if isinstance(error, AttributeError) and isinstance(error.obj, Trial) and str(error.name).startswith("suggest_"):
        return f"an objective of Optuna's is named as trainer: {{optuna: {order.trainer.function or 'module:name'!r}}}"
    return ""


def _own(error: BaseException) -> bool:
    """Whether the line that raised is in no library: a KeyError from inside of one is the library's."""
    last = next(iter(traceback.extract_tb(error.__traceback__)[-1:]), None)
    return last is not None and "/site-packages/" not in last.filename and "/lib/python3" not in last.filename
