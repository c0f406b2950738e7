"""Tracebacks as a user wants to read them: from the user's own file on, without this package's frames."""

from __future__ import annotations

import traceback
from pathlib import Path

_OURS = str(Path(__file__).resolve().parent) + "/"


def format_exception(error: BaseException) -> str:
    """The traceback of `error` without our frames; where all frames are ours (a recipe), all of them."""
    tree = traceback.TracebackException.from_exception(error)
    _strip(tree, set())
    return "".join(tree.format())


def summary(error: BaseException) -> str:
    """`ValueError: text`, on one line."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _strip(tree: traceback.TracebackException, seen: set[int]) -> None:
    if id(tree) in seen:
        return
    seen.add(id(tree))
    foreign = [frame for frame in tree.stack if not frame.filename.startswith(_OURS)]
    starts = next((i for i, frame in enumerate(tree.stack) if not frame.filename.startswith(_OURS)), None)
    if starts is not None and not _library_only(foreign):
        tree.stack = traceback.StackSummary.from_list(foreign)
    for linked in (tree.__cause__, tree.__context__):
        if linked is not None:
            _strip(linked, seen)


def _library_only(frames: list[traceback.FrameSummary]) -> bool:
    """True if every foreign frame belongs to an installed library: the fault then lies between us and it."""
    return all(
        "/site-packages/" in f.filename or "/lib/python3" in f.filename or f.filename.startswith("<") for f in frames
    )
