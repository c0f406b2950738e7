"""Answers about one study, made once for all who ask: cached by (study, sequence, question), with an ETag.

A question is a path and its query. The sequence number is the log's: whatever the answer depends on moves it. Many
pages that ask the same at once wait for one of them to make it. What depends on more than the log (tags) is not kept.
A crowd of readers is answered once per notice: what shows the state that they were told of, or a later one, will do.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import Request, Response
from pydantic import BaseModel

MAX_BYTES = 64 * 1024 * 1024
Build = Callable[[], Mapping[str, Any]]
Key = tuple[str, int, str]
Told = Callable[[str], int | None]
"""What sequence number of a study its readers were last told; None: they are few, each gets the newest state."""
MAX_QUESTIONS = 4096
_SINGLE = (1e-30, 1e30)
VERSION = secrets.token_hex(4)
"""Of this process: another one may be a newer program, which answers the same question otherwise."""


class Answers:
    """Bodies by question; the ones asked for longest ago go first."""

    def __init__(self, *, max_bytes: int = MAX_BYTES, told: Told = lambda study_id: None) -> None:
        self._max_bytes = max_bytes
        self._told = told
        self._asked: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._guard = threading.Lock()
        self._making: dict[Key, threading.Lock] = {}

    def seq_for(self, study_id: str, seq: int, question: str) -> int:
        """For which sequence number the study, now at `seq`, is to answer: an earlier one that was asked for already,
        where a crowd asks and was told of nothing later."""
        told = self._told(study_id)
        with self._guard:
            known = self._asked.get((study_id, question))
            if told is not None and known is not None and told <= known <= seq:
                return known
            self._asked[study_id, question] = max(seq, known or 0)
            self._asked.move_to_end((study_id, question))
            if len(self._asked) > MAX_QUESTIONS:
                self._asked.popitem(last=False)
            return seq

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
            self._bytes += len(body) - len(self._kept.get(key, b""))
            self._kept[key] = body
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
    answers: Answers,
    request: Request,
    *,
    study_id: str,
    seq: int,
    build: Build,
    keep: bool = True,
    exact: bool = False,
    moment: int = 0,
) -> Response:
    """The answer to a question about a study whose log stands at `seq`; 304 where the caller has it. `exact`: also
    before a crowd never that of an earlier `seq`, for it is not the log's. `moment`: for which few
    seconds an answer is true that moves without the log, too."""
    asked = sorted(request.query_params.multi_items(), key=lambda item: item[0])  # of one name, the order may matter
    question = f"{request.url.path}?{urlencode(asked)}" + (f" {moment}" if moment else "")
    if keep and not exact:
        seq = answers.seq_for(study_id, seq, question)
    tag = hashlib.blake2b(f"{VERSION}:{study_id}:{seq}:{question}".encode(), digest_size=9).hexdigest()
    headers = {"etag": f'"{tag}"', "cache-control": "private, no-cache"}
    if keep and headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = answers.get((study_id, seq, question), build) if keep else encode(build())
    return Response(body, media_type="application/json", headers=headers if keep else {"cache-control": "no-store"})
