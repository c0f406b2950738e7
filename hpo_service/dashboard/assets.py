"""The files that pages load: the modules beside this file, and plotly.js out of the `plotly` wheel. Compressed once
per process; nothing is fetched from elsewhere and nothing is copied into the project.
"""

from __future__ import annotations

import functools
import gzip
import importlib.metadata
import importlib.util
import os
import threading
from pathlib import Path

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from hpo_service.dashboard.modules import Modules

PLOTLY_ROUTE = "/static/vendor/plotly-{version}.min.js"
FOREVER = "public, max-age=31536000, immutable"
TEXTS = frozenset({".js", ".css", ".svg"})
LEAST = 600  # bytes; below, compressing gains nothing
_once = threading.Lock()


class StaticGzip(StaticFiles):
    """Static files, compressed for those who take it. Under `@BUILD/` they are kept for ever, for another file has
    another build; without it they are asked for again each time, and mostly unchanged."""

    def __init__(self, *, modules: Modules) -> None:
        super().__init__(directory=modules.folder)
        self._modules = modules

    async def get_response(self, path: str, scope: Scope) -> Response:
        build, _, rest = path.removeprefix("@").partition("/") if path.startswith("@") else ("", "", path)
        response = await self._compressed(rest, scope)
        if build and build == self._modules.build and response.status_code in (200, 304):
            response.headers["cache-control"] = FOREVER
        return response

    async def _compressed(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code != 200 or Path(path).suffix not in TEXTS:
            return response
        response.headers["vary"] = "accept-encoding"
        full, stat = self.lookup_path(path)
        if stat is None or stat.st_size < LEAST or not takes_gzip(Headers(scope=scope)):
            return response
        headers = {
            "content-encoding": "gzip",
            "etag": f"W/{response.headers['etag']}",
            "vary": "accept-encoding",
        }
        return Response(_zipped(full, stat.st_mtime_ns, stat.st_size), headers=headers, media_type=response.media_type)


def takes_gzip(headers: Headers) -> bool:
    """Whether the client accepts gzip."""
    offers = [offer.replace(" ", "") for offer in headers.get("accept-encoding", "").lower().split(",")]
    return any(offer.split(";")[0] == "gzip" and not offer.endswith(("q=0", "q=0.0")) for offer in offers)


@functools.lru_cache(maxsize=256)
def _zipped(path: str | os.PathLike[str], _mtime_ns: int, _size: int) -> bytes:
    return gzip.compress(Path(path).read_bytes(), 6, mtime=0)


@functools.cache
def plotly_path() -> str:
    """Where pages load plotly.js from; names the version, so that it may be kept for ever."""
    return PLOTLY_ROUTE.format(version=importlib.metadata.version("plotly"))


@functools.cache
def _plotly_file() -> Path:
    spec = importlib.util.find_spec("plotly")
    origin = spec.origin if spec is not None else None
    assert origin is not None, "the extra `server` brings plotly"
    return Path(origin).parent / "package_data" / "plotly.min.js"


@functools.cache
def _plotly_zipped() -> bytes:
    return gzip.compress(_plotly_file().read_bytes(), 6, mtime=0)


def plotly(request: Request) -> Response:
    """plotly.js of the installed wheel; 404 for any other version."""
    if request.scope["path"] != plotly_path():
        raise HTTPException(404)
    headers = {"cache-control": FOREVER, "vary": "accept-encoding"}
    if not takes_gzip(request.headers):
        return Response(_plotly_file().read_bytes(), headers=headers, media_type="text/javascript")
    with _once:  # the first readers wait for one compression
        body = _plotly_zipped()
    return Response(body, headers={**headers, "content-encoding": "gzip"}, media_type="text/javascript")
