"""Every error that the service raises on purpose, server and client alike.

    HpoError
    ├── InvalidInput            a field breaks a rule                          422
    │   └── Unsupported         right in form, not served by this algorithm    422
    ├── NotFound                unknown id, name, trial, route                 404
    ├── Ambiguous               a name that several studies share              409
    ├── Conflict                the state does not allow it                    409
    │   ├── FenceRefused        comes under an older fence                     409
    │   ├── ReportContradicts   another value for a stored (trial, fence, step) 409
    │   └── DecisionMoved       another decider was faster: fold again         409
    ├── Unauthorized            no token, or an unknown, expired one           401
    ├── Forbidden               the token's role does not allow it             403
    ├── TooLarge                a body over the limit                          413
    ├── TooManyRequests         slow down                                      429
    └── Unavailable             database, storage or server cannot be reached  503

A message gives the rule, the value and the remedy. On the wire each is an RFC 9457 problem document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class FieldProblem:
    """One broken rule: `path` is dotted from the document's root, `space.lr.low`; `line` and `column`, counted from 1,
    say where that is in the text, where a text was read."""

    path: str
    rule: str
    value: Any = None
    remedy: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        text = f"{self.path}: {self.rule}" if self.path else self.rule
        if self.value is not None:
            text += f", but got {_short(self.value)}"
        return f"{text}; {self.remedy}" if self.remedy else text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "…"


class HpoError(Exception):
    """Root of the tree. `status` is the HTTP status, `slug` names the problem type."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "The service met an error of its own"

    def __init__(self, message: str, *, remedy: str = "", problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def to_problem(self) -> dict[str, Any]:
        """The RFC 9457 document of this error."""
        document: dict[str, Any] = {
            "type": f"urn:hpo:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": str(self),
        }
        if self.remedy:
            document["remedy"] = self.remedy
        if self.problems:
            document["errors"] = [_wire(problem) for problem in self.problems]
        return document


def _wire(problem: FieldProblem) -> dict[str, Any]:
    found = {"path": problem.path, "rule": problem.rule, "value": _short(problem.value), "remedy": problem.remedy}
    return found if problem.line is None else {**found, "line": problem.line, "column": problem.column}


class InvalidInput(HpoError):
    status, slug, title = 422, "invalid-input", "The request breaks a rule"

    @classmethod
    def of(cls, *problems: FieldProblem) -> InvalidInput:
        """An error from one or more broken rules; the message names the first and counts the others."""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return cls(f"{problems[0]}{more}", problems=problems)


class Unsupported(InvalidInput):
    slug, title = "unsupported", "The algorithm does not serve this"


class NotFound(HpoError):
    status, slug, title = 404, "not-found", "There is nothing by that name"


class Conflict(HpoError):
    status, slug, title = 409, "conflict", "The present state does not allow it"


class Ambiguous(Conflict):
    slug, title = "ambiguous", "Several studies have that name"


class FenceRefused(Conflict):
    slug, title = "fence-refused", "A newer attempt of this trial exists"


class ReportContradicts(Conflict):
    slug, title = "report-contradicts", "Another report is stored for that step"


class DecisionMoved(Conflict):
    slug, title = "decision-moved", "Another decision was committed first"


class Unauthorized(HpoError):
    status, slug, title = 401, "unauthorized", "A valid token is needed"


class Forbidden(HpoError):
    status, slug, title = 403, "forbidden", "The token does not allow it"


class TooLarge(HpoError):
    status, slug, title = 413, "too-large", "The body is too large"


class TooManyRequests(HpoError):
    status, slug, title = 429, "too-many-requests", "Too many requests"


class Unavailable(HpoError):
    status, slug, title = 503, "unavailable", "The service cannot be reached or is not ready"


def _tree(root: type[HpoError]) -> dict[str, type[HpoError]]:
    found = {root.slug: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


ERRORS_BY_SLUG: Mapping[str, type[HpoError]] = _tree(HpoError)


def from_problem(document: Mapping[str, Any], status: int) -> HpoError:
    """The error that a problem document names; one of the same status, else the root, for an unknown type."""
    slug = str(document.get("type", "")).rsplit(":", 1)[-1]
    by_status = {kind.status: kind for kind in reversed(list(ERRORS_BY_SLUG.values()))}
    kind = ERRORS_BY_SLUG.get(slug) or by_status.get(status, HpoError)
    problems = [
        FieldProblem(
            path=str(e.get("path", "")),
            rule=str(e.get("rule", "")),
            value=e.get("value"),
            remedy=str(e.get("remedy", "")),
            line=e.get("line") if isinstance(e.get("line"), int) else None,
            column=e.get("column") if isinstance(e.get("column"), int) else None,
        )
        for e in document.get("errors", ())
    ]
    remedy = str(document.get("remedy", ""))
    detail = str(document.get("detail") or document.get("title") or f"HTTP {status}")
    return kind(detail.removesuffix(f"; {remedy}") if remedy else detail, remedy=remedy, problems=problems)
