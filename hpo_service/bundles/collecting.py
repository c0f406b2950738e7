"""Which files of a folder belong into a bundle. Looks at the disk; reads no file but `.gitignore`.

Left out are what `.gitignore` leaves out (of the folder, of every folder below it, and of those above it up to the
root of the git repository), and always: `.git` and its likes, virtual environments, caches, `.env`, the server's data.
A link that stays inside the folder is followed; one that leaves it is refused by name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from hpo_service.errors import InvalidInput

NEVER = frozenset(
    {
        ".git", ".hg", ".svn", "__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache",
        ".hypothesis", ".tox", ".nox", ".eggs", "node_modules", "hpo-data", ".env", ".DS_Store",
    }
)  # fmt: skip
"""Names of files and folders that are never taken along."""
NEVER_ENDING = (".pyc", ".pyo")
ENVIRONMENT_SIGNS = ("pyvenv.cfg", "conda-meta")
"""What lies in a folder that is a virtual environment."""
DATA_SIGN = "hpo.db"
"""What lies in a server's data folder."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """A `.gitignore`, and the folder that it is of."""

    folder: Path
    spec: GitIgnoreSpec

    def verdict(self, path: Path, *, is_folder: bool) -> bool | None:
        """True: ignored; False: taken by a `!` line; None: nothing said."""
        name = path.relative_to(self.folder).as_posix() + ("/" if is_folder else "")
        return self.spec.check_file(name).include


def collect(folder: Path, *, leave_out: Collection[Path] = ()) -> list[tuple[str, Path]]:
    """(name in the bundle, file) for each file that belongs in, sorted by name; `leave_out` are folders beside.

    Raises InvalidInput where `folder` is none, where a link leaves it or leads in a circle, for special files, and for
    names that are no text.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InvalidInput(f"code is a folder, but {str(folder)!r} {what}", remedy="name the folder of your code")
    root = folder.resolve()
    out = frozenset(path.resolve() for path in leave_out)
    walk = _Walk(root, out)
    return sorted(walk.files("", root, _rules_above(root), (root,)))


class _Walk:
    """One pass over a folder."""

    def __init__(self, root: Path, leave_out: frozenset[Path]) -> None:
        self._root = root
        self._out = leave_out

    def files(
        self, name: str, folder: Path, rules: Sequence[_Rules], above: Sequence[Path]
    ) -> Iterator[tuple[str, Path]]:
        """Files of `folder`, which is called `name` in the bundle; `above` are the real folders it lies in."""
        rules = [*rules, *_rules_of(folder)]
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                path, inner = folder / entry.name, f"{name}{entry.name}"
                if entry.name in NEVER or entry.name.endswith(NEVER_ENDING):
                    continue
                mode = self._mode(path, inner)
                if mode is None or _ignored(rules, path, is_folder=stat.S_ISDIR(mode)):
                    continue
                real = self._inside(path, inner) if entry.is_symlink() else path
                if stat.S_ISDIR(mode):
                    yield from self._folder(inner, real, rules, above)
                elif stat.S_ISREG(mode):
                    yield self._named(inner), real
                else:
                    raise InvalidInput(
                        f"a bundle holds files and folders, but {inner!r} is a socket, pipe or device",
                        remedy="remove it, or put it into .gitignore",
                    )

    def _folder(
        self, name: str, real: Path, rules: Sequence[_Rules], above: Sequence[Path]
    ) -> Iterator[tuple[str, Path]]:
        if real in self._out or (real / DATA_SIGN).is_file():
            return
        if any((real / sign).exists() for sign in ENVIRONMENT_SIGNS):
            return
        if real in above:
            raise InvalidInput(
                f"the link {name!r} leads to a folder that it lies in", remedy="remove it, or put it into .gitignore"
            )
        within = [one for one in rules if real.is_relative_to(one.folder)]
        yield from self.files(f"{name}/", real, within, (*above, real))

    def _mode(self, path: Path, name: str) -> int | None:
        """What it is, links followed; None for a link to nothing that git ignores or not: nothing is lost with it."""
        try:
            return path.stat().st_mode
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidInput(
                f"a bundle holds files that can be read, but {name!r} cannot ({error.strerror})",
                remedy="correct it, or put it into .gitignore",
            ) from None

    def _inside(self, path: Path, name: str) -> Path:
        real = path.resolve()
        if not real.is_relative_to(self._root):
            raise InvalidInput(
                f"a link must stay inside the folder, but {name!r} leads to {str(real)!r}",
                remedy="copy what it leads to, or put the link into .gitignore",
            )
        return real

    @staticmethod
    def _named(name: str) -> str:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"names of files are UTF-8, but got {name!r}", remedy="rename it") from None
        if "\\" in name or any(ord(one) < 32 for one in name):
            raise InvalidInput(
                f"names of files have no backslash and no control character, but got {name!r}", remedy="rename it"
            )
        return name


def _ignored(rules: Sequence[_Rules], path: Path, *, is_folder: bool) -> bool:
    """By the last word of the nearest `.gitignore` that says anything, as git has it."""
    for one in reversed(rules):
        verdict = one.verdict(path, is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False


def _rules_of(folder: Path) -> list[_Rules]:
    file = folder / ".gitignore"
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [_Rules(folder, GitIgnoreSpec.from_lines(lines))]


def _rules_above(root: Path) -> list[_Rules]:
    """Those of the folders that `root` lies in, outermost first; none where no git repository holds it."""
    if (root / ".git").exists():
        return []
    found: list[_Rules] = []
    for folder in root.parents:
        found += _rules_of(folder)
        if (folder / ".git").exists():
            return found[::-1]
    return []
