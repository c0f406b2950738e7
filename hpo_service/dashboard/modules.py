"""Which modules a page loads, known before the browser asks: so it fetches them at once instead of import by import,
and keeps them until one of the files changes. Reads only the folder of static files.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from pathlib import Path

IMPORT = re.compile(r"""(?:^|[\s;}])(?:import|export)\s*(?:[\w*{}\s,$]+\sfrom\s*)?["'](\.[^"']+)["']""")
LOOK_S = 1.0
HASH = 12


class Modules:
    """The static files under `folder` as one build: its name changes whenever a file does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._lock = threading.Lock()
        self._looked = -LOOK_S
        self._build = ""
        self._graphs: dict[str, tuple[str, ...]] = {}

    @property
    def build(self) -> str:
        """The name of the files as they are now; looked at once a second."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= LOOK_S:
                self._looked = now
                build = self._digest()
                if build != self._build:
                    self._build, self._graphs = build, {}
            return self._build

    def needed(self, *entries: str) -> tuple[str, ...]:
        """The modules that `entries` import, and what those import, by path from the folder; entries first."""
        self.build  # noqa: B018  # forgets what it knew of older files
        key = "\n".join(entries)
        found = self._graphs.get(key)
        if found is None:
            found = self._graphs[key] = self._walk(entries)
        return found

    def _walk(self, entries: tuple[str, ...]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        waiting = list(entries)
        while waiting:
            name = waiting.pop(0)
            path = self.folder / name
            if name in found or not path.is_file():
                continue
            found[name] = None
            for imported in IMPORT.findall(path.read_text(encoding="utf-8")):
                target = (path.parent / imported).resolve()
                if target.is_relative_to(self.folder):
                    waiting.append(target.relative_to(self.folder).as_posix())
        return tuple(found)

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                stat = path.stat()
                digest.update(f"{path.relative_to(self.folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:HASH]
