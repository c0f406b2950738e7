"""Tracebacks as a user wants to read them: from the user's own file on, without this package's frames."""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_OURS = str(Path(__file__).resolve().parent) + "/"
_BASE = sysconfig.get_paths()["stdlib"] + "/"


def format_exception(error: BaseException) -> str:
    """The traceback of `error` from the first frame of the user's own on, without ours; where none is the user's (a
    recipe, a library's fault), all frames."""
    tree = traceback.TracebackException.from_exception(error)
    _strip(tree, set())
    return "".join(tree.format())


def summary(error: BaseException) -> str:
    """`ValueError: text`, on one line."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def raise_at(function: Callable[..., Any], error: BaseException) -> NoReturn:
    """Raise `error` as if in the first line of a user's function: for what it returned, when it is over, no frame of it
    is left that a traceback could start with."""
    target = inspect.unwrap(getattr(function, "func", function))
    code = getattr(target, "__code__", None)
    if code is None:
        raise error
    error.__suppress_context__ = True
    line = "\n" * (code.co_firstlineno - 1) + "raise error"
    frame = compile(line, code.co_filename, "exec").replace(co_name=code.co_name, co_qualname=code.co_qualname)
    exec(frame, {"error": error})
    raise error


def _strip(tree: traceback.TracebackException, seen: set[int]) -> None:
    if id(tree) in seen:
        return
    seen.add(id(tree))
    foreign = [frame for frame in tree.stack if not frame.filename.startswith(_OURS)]
    first = next((i for i, frame in enumerate(foreign) if not _of_library(frame)), None)
    if first is not None:  # what called the user's code, import machinery or Ray, tells a user nothing
        tree.stack = traceback.StackSummary.from_list(foreign[first:])
    for linked in (tree.__cause__, tree.__context__):
        if linked is not None:
            _strip(linked, seen)


def _of_library(frame: traceback.FrameSummary) -> bool:
    """Whether the frame belongs to an installed library or to Python itself."""
    return (
        "/site-packages/" in frame.filename
        or "/lib/python3" in frame.filename
        or frame.filename.startswith("<")
        or frame.filename.startswith(_BASE)
    )
