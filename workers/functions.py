"""A user's own function or recipe, found by its import path `pkg.module:name`.

Imports the module, and imports it afresh when any of its files changed since: a warm worker must not train yesterday's
code. Calls nothing. What importing it changed in the process holds for every attempt that uses it, not for the first
alone.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from workers import environment, isolation, own_code
from workers.errors import InvalidOrderError, nearest

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_OURS = ("workers", "search_spaces", "hpo_service")
_Stamp = tuple[str, int, int]  # path, mtime in ns, size in bytes
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))


def find(path: str) -> Callable[..., Any]:
    """The callable named by `pkg.module:name`.

    Raises:
        InvalidOrderError: malformed path, no such module or name, not callable. Its own errors pass through.
    """
    target = find_object(path, what="function")
    if not callable(target):
        raise InvalidOrderError(
            f"{path!r} must be a function, but it is a {type(target).__name__}; name a def train(trial)"
        )
    function: Callable[..., Any] = target
    return function


def find_object(path: str, *, what: str) -> Any:
    """Whatever `pkg.module:name` names; `what` says in messages what it should be.

    Raises:
        InvalidOrderError: malformed path, no such module or name. Its own errors pass through.
    """
    if not _PATH.fullmatch(path):
        raise InvalidOrderError(
            f"a {what} must be named 'pkg.module:name', but got {path!r}; write it like 'train:main'"
        )
    module_name, _, name = path.partition(":")
    module_name = own_code.importable(module_name)
    if module_name.partition(".")[0] in _OURS:
        raise InvalidOrderError(
            f"a {what}'s module must not be named like the service's own packages {_OURS}, but got {path!r}; rename it"
        )
    target: Any = _module(module_name, what=what)
    for part in name.split("."):
        if not hasattr(target, part):
            raise InvalidOrderError(
                f"the {what} must exist in its module, but {module_name!r} has no {name!r}"
                + (nearest(part, _own_names(target)) or "; check the name after the colon")
            )
        target = getattr(target, part)
    return target


def _own_names(holder: Any) -> list[str]:
    """Names that may have been meant: the holder's own functions and classes, not what it imported."""
    own = getattr(holder, "__name__", "")
    return [name for name, one in vars(holder).items() if callable(one) and getattr(one, "__module__", None) == own]


def describe(path: str) -> dict[str, Any]:
    """Code identity of what `find` or `find_object` has imported: entry point, digest of its sources, git state."""
    name = own_code.importable(path.partition(":")[0])
    files = _imported[name]
    found = _identity(sys.modules[name].__file__, tuple(sorted(files.items())))
    return {"entry_point": path, **found, **own_code.identity()}


@functools.lru_cache(maxsize=64)
def _identity(own: str | None, files: tuple[tuple[str, _Stamp], ...]) -> dict[str, Any]:
    sources = {name: Path(stamp[0]) for name, stamp in files}
    git = environment.git_state(Path(own).resolve().parent) if own else None
    return {"sha256": environment.files_digest(sources), "git": git}


_imported: dict[str, dict[str, _Stamp]] = {}  # by function module: what lies in its folder, as it was when imported
_modules_then: dict[str, int] = {}
_effects: dict[str, isolation.Effects] = {}


def _module(name: str, *, what: str) -> ModuleType:
    if any(_stamp(stamp[0]) != stamp for stamp in _imported.get(name, {}).values()):
        for stale in _imported.pop(name):
            sys.modules.pop(stale, None)
        importlib.invalidate_caches()
    try:
        module = _import(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            remedy = own_code.missing(name) or "bundle it with --code, install it there, or set PYTHONPATH"
            raise InvalidOrderError(
                f"the {what}'s module must be importable on the workers, but there is no module {error.name!r}; "
                + remedy
            ) from error
        raise
    if name not in _imported or _modules_then[name] != len(sys.modules):
        _imported[name] = _files(module)
        _modules_then[name] = len(sys.modules)
    return module


def _import(name: str) -> ModuleType:
    if name in sys.modules:
        if name in _effects:
            _effects[name].again()
        return importlib.import_module(name)
    effects = isolation.Effects()
    with effects.noted():
        module = importlib.import_module(name)
    _effects[name] = effects
    return module


def _files(module: ModuleType) -> dict[str, _Stamp]:
    """Stamps of the module and of whatever else is imported from its top folder, libraries and our own code aside."""
    if not module.__file__:
        return {}
    own = Path(module.__file__).resolve()
    root = own.parents[module.__name__.count(".")]
    prefix = f"{root}/"
    stamps = {module.__name__: _stamp(str(own))}
    for name, other in list(sys.modules.items()):
        file = getattr(other, "__file__", None)
        if not isinstance(file, str) or not file.startswith(prefix) or file.startswith(_LIBRARIES):
            continue
        if name.partition(".")[0] not in _OURS and name != "__main__":
            stamps[name] = _stamp(file)
    return stamps


def _stamp(file: str) -> _Stamp:
    try:
        status = os.stat(file)
    except OSError:
        return (file, 0, 0)
    return (file, status.st_mtime_ns, status.st_size)
