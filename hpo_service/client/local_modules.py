"""Which files of this machine a module needs that workers will not have: itself, and what it imports, except what is
installed. Reads sources; imports nothing.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpo_service.errors import InvalidInput

_INSTALLED = tuple(
    Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_OURS = frozenset({"hpo_service", "workers", "search_spaces"})
_OUR_ROOT = Path(__file__).resolve().parents[2]


def local_files(modules: Iterable[str]) -> dict[str, bytes]:
    """name in a bundle → content of the files that these modules (`pkg.train`) and their imports come from."""
    found: dict[str, bytes] = {}
    roots: dict[str, Path | None] = {}
    waiting = list(modules)
    seen = set(waiting)
    while waiting:
        module = waiting.pop()
        top = module.partition(".")[0]
        if top not in roots:
            roots[top] = root_of(top)
        root = roots[top]
        if root is None:
            continue
        for file in _files_of(root, module):
            name = file.relative_to(root).as_posix()
            if name in found:
                continue
            found[name] = file.read_bytes()
            fresh = [one for one in imported(found[name], _package(name), str(file)) if one not in seen]
            seen.update(fresh)
            waiting += fresh
    return found


def root_of(top: str) -> Path | None:
    """The folder that holds the top-level module; None where it is installed, built in, ours or nowhere."""
    if top in sys.builtin_module_names or top == "__main__":
        return None
    try:
        spec = importlib.machinery.PathFinder.find_spec(top) or importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    if spec.origin and spec.origin.endswith(".py"):
        root = Path(spec.origin).resolve().parent
        root = root.parent if places else root
    elif places:  # a package without __init__.py
        root = Path(places[0]).resolve().parent
    else:
        return None
    ours = top in _OURS and root == _OUR_ROOT
    installed = any(root.is_relative_to(place) for place in _INSTALLED) or "site-packages" in root.parts
    return None if ours or installed else root


def imported(source: bytes, package: str, file: str) -> Iterator[str]:
    """Full names that a module of `package` imports, and those that may be modules: `from a import b` is `a.b`, too."""
    try:
        tree = ast.parse(source, file)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 1)
        raise InvalidInput(
            f"code is Python, but {file}, line {line}, is not: {getattr(error, 'msg', error)}", remedy="correct it"
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _package(name: str) -> str:
    """The package in which the module of that file lies: `pkg.sub` of `pkg/sub/a.py` and of `pkg/sub/__init__.py`."""
    return ".".join(name.split("/")[:-1])


def _files_of(root: Path, module: str) -> Iterator[Path]:
    """The module's file and its packages' `__init__.py`, as far as there are any."""
    parts = module.split(".")
    for size in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:size])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if place.name and file.is_file():
                yield file
                break
