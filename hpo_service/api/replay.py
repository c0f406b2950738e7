"""Idempotency keys: a repeated request is answered as the first time, for 24 hours.

Creating verbs keep their result under the key in their own transaction; the whole response is added right after it.
Should the process die between the two, the repeated request finds the result and is answered from that. Verbs that are
idempotent by themselves (reports, ask …) keep their responses in memory only: told again, they do nothing more.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Response
from starlette.concurrency import run_in_threadpool

from hpo_service.errors import Conflict
from hpo_service.store import idempotency
from hpo_service.store.database import Database
from hpo_service.store.rows import Remember
from hpo_service.store.tx import Tx

KEPT = 4096
Answer = Callable[[], Coroutine[Any, Any, Response]]


class Replay:
    """Duplicates within this process wait for the first one; what another process does at the same time is settled by
    the verb's own transaction."""

    def __init__(self, db: Database, *, kept: int = KEPT) -> None:
        self._db = db
        self._kept = kept
        self._natural: OrderedDict[tuple[str, str], tuple[str, dict[str, Any]]] = OrderedDict()
        self._locks: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()

    async def run(self, remember: Remember, answer: Answer, *, natural: bool, secret: bool) -> Response:
        """The stored response of the key, else `answer()`'s, kept if it is good. Raises Conflict where the key was
        used for another request, or where the answer held a secret, which is shown once."""
        key = (remember.scope, remember.key)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            stored = self._recall(remember) if natural else await run_in_threadpool(recall, self._db, remember)
            if stored is not None:
                return _response(stored)
            response = await answer()
            if 200 <= response.status_code < 300:
                document = _document(response, secret=secret)
                if natural:
                    self._keep(remember, document)
                else:
                    await run_in_threadpool(keep, self._db, remember, document)
            return response

    def _recall(self, remember: Remember) -> dict[str, Any] | None:
        found = self._natural.get((remember.scope, remember.key))
        if found is not None and found[0] != remember.request_digest:
            raise Conflict(
                f"an Idempotency-Key names one request, but {remember.key!r} was used for another one",
                remedy="send a fresh key with a new request",
            )
        return found[1] if found is not None else None

    def _keep(self, remember: Remember, document: dict[str, Any]) -> None:
        self._natural[remember.scope, remember.key] = (remember.request_digest, document)
        while len(self._natural) > self._kept:
            self._natural.popitem(last=False)


def recall(db: Database, remember: Remember) -> dict[str, Any] | None:
    """The whole response kept under the key, or None. Raises Conflict where it was used for another request."""
    with db.read() as tx:
        found = idempotency.look(tx, remember)
    response: dict[str, Any] | None = (found or {}).get("response")
    return response


def keep(db: Database, remember: Remember, response: dict[str, Any]) -> None:
    """Write the whole response beside what the verb kept under the key."""

    def work(tx: Tx) -> None:
        before = idempotency.claim(tx, remember) or {}
        idempotency.keep(tx, remember, {**before, "response": response})

    db.run_write("replay.keep", work)


def _document(response: Response, *, secret: bool) -> dict[str, Any]:
    if secret:
        return {"status": response.status_code, "secret": True}
    return {
        "status": response.status_code,
        "body": bytes(response.body).decode(),
        "media_type": response.media_type or "application/json",
    }


def _response(stored: dict[str, Any]) -> Response:
    if stored.get("secret"):
        raise Conflict(
            "this request was carried out before, and its answer held a secret, which is shown once",
            remedy="revoke what it made and send a new request with a fresh key",
        )
    headers = {"idempotent-replayed": "true"}
    return Response(stored["body"], stored["status"], media_type=stored["media_type"], headers=headers)
