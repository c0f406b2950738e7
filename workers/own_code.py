"""The bundle of code that this process serves: where it lies, which it is, and how its modules are found.

A process serves one bundle and no other. Our own modules are loaded first; where the bundle has a module of the same
name (a `workers.py`, say), the bundle's files get theirs when they import it, and all others get ours. Such a module
is imported under another full name, below the package `ALIAS`. Not here: who unpacked the bundle.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

ALIAS = "hpo_own_code"
_joined: _Joined | None = None
_path_before = ""


class _Joined:
    """A bundle whose folder stands on `sys.path`."""

    def __init__(self, folder: str, digest: str) -> None:
        self.folder = folder
        self.prefix = folder + os.sep
        self.digest = digest
        self.hidden = frozenset(name for name in _top_level(folder) if self._is_hidden(name))
        self.real = builtins.__import__

    def _is_hidden(self, name: str) -> bool:
        """Whether another module of that name was loaded already, so that Python would not look for this one."""
        loaded = sys.modules.get(name)
        return loaded is not None and name not in sys.builtin_module_names and not self.owns(vars(loaded))

    def owns(self, names: Mapping[str, Any] | None) -> bool:
        """Whether these are the globals of a module of the bundle."""
        file = (names or {}).get("__file__")
        return isinstance(file, str) and file.startswith(self.prefix)

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """In place of `__import__`: the bundle's files get the bundle's module where ours hides it."""
        top = name.partition(".")[0]
        if level != 0 or top not in self.hidden or not self.owns(globals):
            return self.real(name, globals, locals, fromlist or (), level)
        own = f"{ALIAS}.{name}"
        importlib.import_module(own)
        if fromlist:
            return self.real(own, globals, locals, fromlist, 0)
        return sys.modules[f"{ALIAS}.{top}"]


def join(folder: str, digest: str) -> None:
    """Let the modules in `folder` be imported from now on, and by processes that this one starts. Call it once, after
    everything of ours was imported."""
    global _joined, _path_before
    folder = os.path.abspath(folder)
    _path_before = os.environ.get("PYTHONPATH", "")
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != folder]
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *paths])
    importlib.invalidate_caches()
    _joined = _Joined(folder, digest)
    if _joined.hidden:
        package = ModuleType(ALIAS)
        package.__path__ = [folder]
        sys.modules[ALIAS] = package
        builtins.__import__ = _joined


def importable(module: str) -> str:
    """The name under which a module that the user names is imported: another one where ours hides it."""
    if _joined is not None and module.partition(".")[0] in _joined.hidden:
        return f"{ALIAS}.{module}"
    return module


def identity() -> dict[str, str]:
    """What is recorded of the bundle with each attempt; nothing without one."""
    return {} if _joined is None else {"bundle": _joined.digest}


def before() -> dict[str, str]:
    """Variables as they were before `join`, for a child that loads our own modules first and joins then itself."""
    return {} if _joined is None else {"PYTHONPATH": _path_before}


def missing(module: str) -> str | None:
    """The remedy where the bundle lacks a module; None where this process serves no bundle."""
    if _joined is None:
        return None
    known = ", ".join(sorted(_top_level(_joined.folder))) or "none"
    return f"the bundle of code has none of that name, its modules are: {known}; correct the name, or bundle its folder"


def _top_level(folder: str) -> list[str]:
    """Modules and packages that lie in the folder."""
    with os.scandir(folder) as entries:
        return [
            entry.name.removesuffix(".py")
            for entry in entries
            if entry.name.removesuffix(".py").isidentifier()
            and (entry.name.endswith(".py") or (entry.is_dir() and os.path.isfile(f"{entry.path}/__init__.py")))
        ]
