"""Bodies that are files: taken as they come, a piece at a time, bounded by their route and not by HPO_MAX_BODY_BYTES.

Which routes take them is said here once; the guard of bodies (`middleware`) and the parsing of them (`routing`) leave
those alone. Not here: where a file goes.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import IO

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from hpo_service.errors import TooLarge

_PATHS = re.compile(r"/api/v1/(studies/[^/]+/trials/[0-9]+/artifacts|bundles|studies/restore)")
_IN_MEMORY = 1 << 20


def takes_files(method: str, path: str) -> bool:
    """Whether the body of such a request is a file."""
    return method == "POST" and _PATHS.fullmatch(path) is not None


@asynccontextmanager
async def received(
    request: Request, *, most_bytes: int, remedy: str, into: Callable[[bytes], None] | None = None
) -> AsyncIterator[IO[bytes]]:
    """The body as a file on the disk, which goes away with the block; it stands at its start. `into` sees each piece.

    Raises:
        TooLarge: the body has more than `most_bytes`; what has come by then is thrown away.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most_bytes:
        raise _too_large(int(declared), most_bytes, remedy)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > most_bytes:
                raise _too_large(size, most_bytes, remedy)
            if into is not None:
                into(piece)
            await run_in_threadpool(file.write, piece)
        file.seek(0)
        yield file


def _too_large(size: int, most_bytes: int, remedy: str) -> TooLarge:
    return TooLarge(f"a file has at most {most_bytes} bytes, but got {size} or more", remedy=remedy)
