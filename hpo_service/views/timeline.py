"""When which worker trained what: a page of attempts, newest first, and how busy each worker was meanwhile. Pure.

A page holds the attempts that were opened before a moment; the next page goes on from the oldest of them. Rows are the
store's (`looking.attempts_before`), times come in microseconds and go out in seconds. The lanes of a fused launch are
attempts like any others; `launches` says what they were together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PAGE = 1_000
"""Attempts of a page, where nobody asks for more or fewer."""
FUSED_PAGE = 5_000
"""The same where trials train together: a launch may have hundreds of lanes, and is one block of the picture."""
OVERLAP = 200
"""Older attempts that are looked at, beyond the page, for what they kept busy within it."""
FUSED_OVERLAP = 1_000
FEW = 64
"""So many of the newest tell whether trials train together."""
MAX_OPEN = 1_000
"""Open attempts that the newest page shows besides, however long ago they were opened."""
FAILURES = frozenset({"failed", "lost"})


@dataclass(frozen=True, slots=True)
class Page:
    """Attempts to be shown, newest first; those before them, for the overlap; the window in microseconds."""

    shown: Sequence[Any]
    before: Sequence[Any]
    since: int
    until: int
    more_before: int | None


def page(rows: Sequence[Any], opened: Sequence[Any], *, limit: int, until: int | None, now: int) -> Page:
    """Cut the page from `rows` (newest first, `limit + OVERLAP` of them at most); `opened` are the open attempts, for
    the newest page. Attempts that were opened at the same moment stay together, unless they are more than a page."""
    kept = list(rows[:limit])
    more = len(rows) > len(kept)
    if more and rows[limit].opened_at == kept[-1].opened_at:
        oldest = kept[-1].opened_at
        kept = [row for row in kept if row.opened_at > oldest] or kept
    since = min((row.opened_at for row in kept), default=until or now)
    known = {(row.trial, row.fence) for row in kept}
    long = [row for row in opened if (row.trial, row.fence) not in known] if until is None else []
    ends = [_end(row, now) for row in kept]
    running = any(row.state == "open" for row in [*kept, *long])
    if until is None:
        until = now if running or not ends else max(ends)
    before = [row for row in rows[len(kept) :] if (row.trial, row.fence) not in {(r.trial, r.fence) for r in long}]
    return Page([*kept, *long], before, since, max(until, since), since if more else None)


def timeline(found: Page, *, of: int, now: int) -> dict[str, Any]:
    """The answer: workers, attempts as columns, the window. Attempts that no worker began are counted, not shown."""
    workers = _workers(found, now)
    index = {worker["id"]: place for place, worker in enumerate(workers)}
    rows = [row for row in found.shown if _worker(row) is not None]
    launches = _launches(rows)
    place = {name: at for at, name in enumerate(launches)}
    opened = {name: min(row.opened_at for row in lanes) for name, lanes in launches.items()}  # later: a lane fell free
    waiting = sum(row.state == "open" and _worker(row) is None for row in found.shown)
    return {
        "from": found.since / 1e6,
        "until": found.until / 1e6,
        "workers": workers,
        "attempts": {
            "worker": [index[_worker(row) or ""] for row in rows],
            "trial": [row.trial for row in rows],
            "fence": [row.fence for row in rows],
            "start": [round(_start(row) / 1e6, 3) for row in rows],
            "end": [None if row.state == "open" else round(_end(row, now) / 1e6, 3) for row in rows],
            "outcome": [row.outcome for row in rows],
            "state": [row.state for row in rows],
            "from_resource": [row.from_resource if row.resumed_from is None else row.resumed_from for row in rows],
            "resource": [row.resource for row in rows],
            "lane": [row.lane for row in rows],
            "width": [row.width for row in rows],
            "launch": [place.get(row.launch, -1) for row in rows],
            "filled": [row.opened_at > opened.get(row.launch, row.opened_at) for row in rows],
        },
        "launches": [_launch(name, lanes, index, now) for name, lanes in launches.items()],
        "waiting": waiting,
        "shown": len(rows),
        "of": of,
        "chosen": _chosen(found, len(rows), waiting, of),
        "more_before": None if found.more_before is None else found.more_before / 1e6,
    }


def _chosen(found: Page, shown: int, waiting: int, of: int) -> str:
    if shown == of:
        return "all attempts"
    if found.more_before is None and shown + waiting >= of:
        return "all that a worker has begun"
    return f"the {shown:,} attempts opened last before then"


def fused(rows: Sequence[Any]) -> bool:
    """Whether any of these attempts shared its launch."""
    return any(row.width > 1 for row in rows)


def _launches(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """The fused launches among the attempts, in their order."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        if row.launch and row.width > 1:
            found.setdefault(row.launch, []).append(row)
    return found


def _launch(name: str, lanes: Sequence[Any], index: dict[str, int], now: int) -> dict[str, Any]:
    """What the lanes of a launch were together."""
    is_open = any(row.state == "open" for row in lanes)
    return {
        "id": name,
        "method": lanes[0].method,
        "width": lanes[0].width,
        "trials": len(lanes),
        "worker": index[_worker(lanes[0]) or ""],
        "start": round(min(_start(row) for row in lanes) / 1e6, 3),
        "end": None if is_open else round(max(_end(row, now) for row in lanes) / 1e6, 3),
        "outcomes": dict(Counter("open" if row.state == "open" else str(row.outcome) for row in lanes).most_common()),
    }


def _workers(found: Page, now: int) -> list[dict[str, Any]]:
    """Per worker the time that it trained in the window: lanes of a launch, and whatever else overlaps, count once."""
    spans: dict[str, list[tuple[int, int]]] = {}
    newest: dict[str, Any] = {}
    counts: dict[str, list[int]] = {}
    for row, is_shown in [*((row, True) for row in found.shown), *((row, False) for row in found.before)]:
        worker = _worker(row)
        if worker is None:
            continue
        first, last = max(_start(row), found.since), min(_end(row, now), found.until)
        if not is_shown and last <= first:
            continue
        newest.setdefault(worker, row)
        spans.setdefault(worker, []).append((first, last))
        count = counts.setdefault(worker, [0, 0])
        count[0] += is_shown
        count[1] += is_shown and row.outcome in FAILURES
    window = max(found.until - found.since, 1)
    return [_about(newest[w], w, union(spans[w]), window, counts[w]) for w in sorted(spans, key=_natural)]


def _about(row: Any, worker: str, busy: int, window: int, count: Sequence[int]) -> dict[str, Any]:
    return {
        "id": worker,
        "node": row.node,
        "device": row.device,
        "busy_s": round(busy / 1e6, 3),
        "utilisation": round(min(1.0, busy / window), 4),
        "attempts": count[0],
        "failures": count[1],
    }


def union(spans: Sequence[tuple[int, int]]) -> int:
    """The length of all spans together, overlaps counted once."""
    total, reached = 0, None
    for first, last in sorted(spans):
        begin = first if reached is None else max(first, reached)
        if last > begin:
            total += last - begin
        reached = last if reached is None else max(reached, last)
    return total


def _worker(row: Any) -> str | None:
    """Who trained it: our worker, or the client of an external one; None where nobody began yet."""
    found: str | None = row.worker_id or row.client_id
    return found


def _start(row: Any) -> int:
    return int(row.opened_at if row.started_at is None else row.started_at)


def _end(row: Any, now: int) -> int:
    """An open attempt goes on; one that was closed without a word ended with its last report."""
    if row.state == "open":
        return now
    return max(int(row.ended_at or row.reported_at or 0), _start(row))


def _natural(worker: str) -> tuple[int, str]:
    """worker-2 before worker-10."""
    return len(worker), worker
