"""How large a zip archive's directory is, found before it is read: it takes far more memory than it has bytes.

The end of an archive is looked for just as `zipfile` does, by `zipfile` itself: whoever looked for it in another way
would bound another directory than the one that is read. Nothing but the end is read.
"""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from typing import IO

ENTRY_BYTES = 512
"""What an entry of a directory may have on average."""
_SIZE, _LOCATION = 5, 9
_LOCATOR_BYTES = 20


@dataclass(frozen=True, slots=True)
class End:
    """What the end of an archive tells. `zip64`: another end stands before it, and is believed."""

    directory_bytes: int
    zip64: bool


def end_of(file: IO[bytes]) -> End | None:
    """The archive's end; None for what has none, which whoever reads it refuses. The file stands at its start then."""
    try:
        found = zipfile._EndRecData(file)  # type: ignore[attr-defined]
        if found is None:
            return None
        file.seek(max(0, found[_LOCATION] - _LOCATOR_BYTES))
        return End(directory_bytes=int(found[_SIZE]), zip64=file.read(4) == b"PK\6\7")
    except (zipfile.BadZipFile, OSError, struct.error):
        return None
    finally:
        file.seek(0)
