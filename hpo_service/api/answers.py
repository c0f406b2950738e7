"""Answers about one study, made once for all who ask: cached by (study, sequence, question), with an ETag.

A question is a path and its query. The sequence number is the log's: whatever the answer depends on moves it. Many
pages that ask the same at once wait for one of them to make it. What depends on more than the log (tags) is not kept.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import Request, Response
from pydantic import BaseModel

MAX_BYTES = 64 * 1024 * 1024
Build = Callable[[], Mapping[str, Any]]
Key = tuple[str, int, str]
_SINGLE = (1e-30, 1e30)
VERSION = secrets.token_hex(4)
"""Of this process: another one may be a newer program, which answers the same question otherwise."""


class Answers:
    """Bodies by question; the ones asked for longest ago go first."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._guard = threading.Lock()
        self._making: dict[Key, threading.Lock] = {}

    def get(self, key: Key, build: Build) -> bytes:
        """The body for `key`, made by `build` unless it is there."""
        with self._guard:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return found
            mine = self._making.setdefault(key, threading.Lock())
        try:
            with mine:
                with self._guard:
                    if (found := self._kept.get(key)) is not None:
                        return found
                body = encode(build())
                self._keep(key, body)
                return body
        finally:
            with self._guard:
                self._making.pop(key, None)

    def _keep(self, key: Key, body: bytes) -> None:
        with self._guard:
            self._kept[key] = body
            self._bytes += len(body)
            while self._bytes > self._max_bytes and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= len(gone)


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON of plain values and numpy arrays; what is not finite is null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def as_sent(answer: BaseModel) -> orjson.Fragment:
    """An answer inside another one as it is sent by itself: what is not finite stays one of the three words."""
    return orjson.Fragment(answer.model_dump_json())


def short(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """The numbers with seven digits, as charts need them: single precision writes less than half as many characters.
    Columns with numbers beyond its range stay as they are."""
    column = np.ascontiguousarray(values, dtype=np.float64)
    size = np.abs(column[np.isfinite(column) & (column != 0)])
    if size.size and (size.min() < _SINGLE[0] or size.max() > _SINGLE[1]):
        return column
    return column.astype(np.float32)


def respond(
    answers: Answers, request: Request, *, study_id: str, seq: int, build: Build, keep: bool = True
) -> Response:
    """The answer to a question about a study whose log stands at `seq`; 304 where the caller has it."""
    question = f"{request.url.path}?{'&'.join(sorted(request.url.query.split('&')))}"
    tag = hashlib.blake2b(f"{VERSION}:{study_id}:{seq}:{question}".encode(), digest_size=9).hexdigest()
    headers = {"etag": f'"{tag}"', "cache-control": "private, no-cache"}
    if keep and headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = answers.get((study_id, seq, question), build) if keep else encode(build())
    return Response(body, media_type="application/json", headers=headers if keep else {"cache-control": "no-store"})
