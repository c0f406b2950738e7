"""Operations without I/O: what they ask of a driver, and when an exchange is repeated.

An operation is a generator (`Program`): it yields steps (`Exchange`, `Save`, `Sleep`), is sent what came of them, and
returns its result. Each is written once here and beside; the two drivers (`drivers`) carry steps out, blocking or
awaiting. Not here: sockets, threads, event loops.
"""

from __future__ import annotations

import json
import math
import random
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

from hpo_service.errors import HpoError, InvalidInput, Unauthorized, Unavailable, from_problem

T = TypeVar("T")
Query = tuple[tuple[str, str], ...]
API = "/api/v1"
BUSY = frozenset({429, 502, 503, 504})
_INFINITY = {True: "Infinity", False: "-Infinity"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request, without the server's address and without credentials."""

    method: str
    path: str
    query: Query = ()
    body: bytes | Path | None = None  # of a path: the file's bytes, read as they are sent
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None  # None: the client's

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice is the same as once: idempotent methods, and whatever carries a key."""
        return self.method in ("GET", "HEAD", "PUT", "DELETE") or "Idempotency-Key" in self.headers


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP answer, its body read. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """No answer came: what the transport said."""

    message: str


Answer = Reply | Broken


@dataclass(frozen=True)
class Exchange:
    """Step: send the request, read the whole answer."""

    request: Request


@dataclass(frozen=True)
class Save:
    """Step: send the request and write a good answer's body to `target` as it comes; the reply's body stays empty."""

    request: Request
    target: Path | BinaryIO
    start: int = 0  # where a file object stood

    @classmethod
    def to(cls, request: Request, target: str | Path | BinaryIO) -> Save:
        """To a path (which then appears whole or not at all), or to a file object from where it stands."""
        if isinstance(target, str | Path):
            return cls(request, Path(target))
        return cls(request, target, target.tell() if target.seekable() else 0)

    @property
    def rewindable(self) -> bool:
        """Whether what was written of a broken answer can be taken back."""
        return isinstance(self.target, Path) or self.target.seekable()


@dataclass(frozen=True)
class Sleep:
    """Step: do nothing for a while."""

    seconds: float


Step = Exchange | Save | Sleep
Program = Generator[Step, Any, T]


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently an exchange is repeated: full jitter over an exponential bound."""

    retries: int = 5
    first_s: float = 0.2
    most_s: float = 10.0
    rng: random.Random = field(default_factory=random.Random, compare=False)

    def pause(self, attempt: int, answer: Answer) -> float | None:
        """Seconds before repeating after the failed `attempt` (0 is the first); None where it is not repeated."""
        if attempt >= self.retries or (isinstance(answer, Reply) and answer.status not in BUSY):
            return None
        bound = min(self.most_s, self.first_s * 2.0**attempt)
        asked = retry_after(answer) if isinstance(answer, Reply) else None
        if asked is None:
            return bound * self.rng.uniform(0.5, 1.0)
        return None if asked > 6 * self.most_s else asked


def retry_after(reply: Reply) -> float | None:
    """Seconds that `Retry-After` asks for, which is a number or a date; None without one."""
    text = reply.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def send(step: Exchange | Save, policy: RetryPolicy) -> Program[Reply]:
    """Carries a request out, with retries where they are safe; raises the server's error, or `Unavailable`."""
    if step.request.method == "POST" and not step.request.repeatable:
        headers = {**step.request.headers, "Idempotency-Key": uuid.uuid4().hex}
        step = replace(step, request=replace(step.request, headers=headers))
    repeatable = step.request.repeatable and (isinstance(step, Exchange) or step.rewindable)
    attempt = 0
    while True:
        answer: Answer = yield step
        pause = policy.pause(attempt, answer) if repeatable else None
        if pause is None:
            return checked(answer)
        yield Sleep(pause)
        attempt += 1


def checked(answer: Answer) -> Reply:
    """The reply if it is a good one; raises the error that it (or its absence) means."""
    if isinstance(answer, Broken):
        raise Unavailable(answer.message, remedy="start one with `hpo serve`, or point HPO_URL or --url at it")
    if answer.status < 400:
        return answer
    raise _error(answer)


def _error(reply: Reply) -> HpoError:
    try:
        document = json.loads(reply.body)
    except ValueError:
        document = None
    if isinstance(document, Mapping) and ("detail" in document or "title" in document):
        detail = document.get("detail")
        found = from_problem(document, reply.status)
        if detail is not None and not isinstance(detail, str):
            found.message = json.dumps(detail)
    else:
        start = reply.body[:200].decode("utf-8", "replace").strip()
        found = from_problem({"detail": f"HTTP {reply.status}" + (f": {start}" if start else "")}, reply.status)
    if isinstance(found, Unauthorized) and not found.remedy:
        found.remedy = "set HPO_TOKEN or --token; `hpo token create` makes one on the server's machine"
    return found


def address(*parts: str | int) -> str:
    """The path of a resource: `/api/v1/…`, each part quoted."""
    return API + "".join(f"/{quote(str(part), safe='')}" for part in parts)


def query(**items: Any) -> Query:
    """Query parameters: None is left out, a list repeats its name, booleans are 1 and 0."""
    found: list[tuple[str, str]] = []
    for name, value in items.items():
        values = value if isinstance(value, list | tuple) else [value]
        found += [(name, _word(one)) for one in values if one is not None]
    return tuple(found)


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def encode(value: Any) -> bytes:
    """JSON of plain values, with NaN and infinities as the words of the REST contract."""
    try:
        return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"what is sent must be JSON, but {error}", remedy="use plain values") from None


def plain(value: Any) -> Any:
    """`value` as JSON carries it: NumPy's scalars and arrays as Python's, tuples as lists, special floats as words."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else _INFINITY[value > 0]
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if callable(getattr(value, "to_dict", None)):
        return plain(value.to_dict())
    if callable(getattr(value, "tolist", None)):
        return plain(value.tolist())
    return value
