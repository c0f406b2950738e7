"""The one error of this package, and how Pydantic's errors become it.

Here: the error, the shortening of values for messages, the nearest known name.
Not here: rules. Each rule stands where the value is checked.

    ValueError
      └── SpaceError      a space, a parameter, a condition or a configuration breaks a rule
"""

from __future__ import annotations

import difflib
import heapq
import math
import reprlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from pydantic import ValidationError

MAX_ERRORS = 20

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
_short.maxlong = 40
_short.maxlevel = 3


def shorten(value: object) -> str:
    """A readable text of any value, at most a few hundred characters and three levels deep."""
    return _short.repr(value)


def _plain(value: object) -> Any:
    """The value as JSON can carry it: finite scalars stay, all else becomes a short text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str) and len(value) <= 200:
        return value
    return shorten(value)


class SpaceError(ValueError):
    """A broken rule of a search space.

    Attributes: `path` (such as `space.lr.low`), `rule`, `value` (a JSON scalar, or a short text of
    something larger), `remedy`, and `errors`: everything that was found at once, itself included
    (at most 20).
    """

    def __init__(
        self,
        rule: str,
        *,
        value: object = None,
        remedy: str = "",
        path: str = "",
        got: str | None = None,
        errors: Sequence[SpaceError] = (),
    ) -> None:
        self.path = path
        self.rule = rule
        self.value = _plain(value)
        self.remedy = remedy
        self.got = shorten(value) if got is None else got
        self.errors: tuple[SpaceError, ...] = tuple(errors) or (self,)
        super().__init__(self._message())

    def _message(self) -> str:
        head = f"{self.path}: " if self.path else ""
        tail = f"; {self.remedy}" if self.remedy else ""
        more = len(self.errors) - 1
        rest = f" (and {more} more)" if more > 0 else ""
        return f"{head}{self.rule}, but got {self.got}{tail}{rest}"

    def under(self, prefix: str) -> SpaceError:
        """The same error (and its companions) seen from further out: its path gets a prefix."""
        if len(self.errors) > 1:
            return combine([error.under(prefix) for error in self.errors])
        path = ".".join(part for part in (prefix, self.path) if part)
        found = SpaceError(self.rule, value=None, remedy=self.remedy, path=path, got=self.got)
        found.value = self.value
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, ([(e.rule, e.value, e.remedy, e.path, e.got) for e in self.errors],)


def _rebuild(parts: list[tuple[str, Any, str, str, str]]) -> SpaceError:
    """Unpickle: an error crosses process borders with everything that it says."""
    return combine([SpaceError(r, value=v, remedy=m, path=p, got=g) for r, v, m, p, g in parts])


def combine(errors: Sequence[SpaceError]) -> SpaceError:
    """One error that stands for several: it reads as the first, and carries the others (at most 20)."""
    flat = [one for error in errors for one in error.errors][:MAX_ERRORS]
    first = flat[0]
    if len(flat) == 1:
        return first
    return SpaceError(first.rule, value=first.value, remedy=first.remedy, path=first.path, got=first.got, errors=flat)


def nearest(name: object, known: Iterable[str]) -> str:
    """A remedy that names the nearest known name, or the known names when none is near.

    Takes a millisecond or two even among thousands of long names: pairs of letters in common choose
    the few that are compared closely. Only the first 48 characters count.
    """
    names = list(islice(known, 1_000))
    if not names:
        return "remove it"
    wanted = str(name)[:48]
    if len(names) > 24:
        pairs = _pairs(wanted[:24])
        candidates = heapq.nlargest(8, names, key=lambda one: _likeness(pairs, _pairs(one[:24])))
    else:
        candidates = names
    by_start = {one[:48]: one for one in reversed(candidates)}
    close = difflib.get_close_matches(wanted, by_start, n=1, cutoff=0.5)
    if close:
        return f"did you mean {by_start[close[0]][:128]!r}?"
    listed = ", ".join(one[:40] for one in names[:12]) + (", …" if len(names) > 12 else "")
    return f"use one of {listed}"


@lru_cache(maxsize=4_096)
def _pairs(name: str) -> frozenset[str]:
    padded = f" {name} "
    return frozenset(padded[k : k + 2] for k in range(len(padded) - 1)) | frozenset(name)


def _likeness(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / (len(a) + len(b))


def from_pydantic(error: ValidationError, fields: Iterable[str]) -> SpaceError:
    """Turn what Pydantic found in one parameter into our error; `fields` are the known field names."""
    known = list(fields)
    return combine([_one(found, known) for found in error.errors(include_url=False)[:MAX_ERRORS]])


def _one(found: Any, known: list[str]) -> SpaceError:
    path = ".".join(str(part)[:128] for part in found["loc"])
    kind = found["type"]
    inner = (found.get("ctx") or {}).get("error")
    if isinstance(inner, SpaceError):
        return inner.under(path)
    if kind == "extra_forbidden":
        name = str(found["loc"][-1])
        return SpaceError("the field must be a known one", value=name[:128], remedy=nearest(name, known), path=path)
    if kind == "missing":
        return SpaceError("the field is required", got="nothing", remedy="add it", path=path)
    message = str(found["msg"])
    return SpaceError(message[:1].lower() + message[1:], value=found.get("input"), path=path)
