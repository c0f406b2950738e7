"""Copying a study into another tool: batches of its log into a sink, which knows how far it came.

A sink keeps its position with what it wrote (`Sink.open` gives it back), writes a batch so that writing it once more
changes nothing, and only then moves the position. So a copy goes on after any interruption without loss or repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hpo_service.client import Study
from hpo_service.client.results import StudySnapshot
from hpo_service.integrations.feed import POLL_S, Batch, Feed


class Sink(Protocol):
    """Where a study is copied to."""

    notes: list[str]
    """What could not be said there, and what was written instead; one line each, for people."""

    def open(self, feed: Feed) -> int:
        """Makes ready for the study of the feed; returns the position up to which it was written before, 0 at first.
        Raises `Conflict` where something else stands in the place."""
        ...

    def write(self, batch: Batch) -> None:
        """Writes a batch, then moves the position to its `seq`. The first one after `open` may have been written
        before, whole or in part."""
        ...

    def close(self, study: StudySnapshot) -> None:
        """Everything up to now was written; `study` as it stands."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a copy wrote: trials (each as often as it was brought up to date), reports, and up to where in the log."""

    place: str
    seq: int
    trials: int = 0
    points: int = 0
    notes: tuple[str, ...] = ()


def send(
    study: Study,
    sink: Sink,
    *,
    place: str,
    follow: bool = False,
    poll_s: float = POLL_S,
    progress: Callable[[Sent], None] | None = None,
) -> Sent:
    """Copies what is new of the study into the sink; with `follow` until the study has ended.

    `progress` hears of every batch. Interrupt it at any time; the next call goes on.
    """
    feed = Feed(study.refresh())  # a handle out of a list has no definition
    seq, trials, points = sink.open(feed), 0, 0
    for batch in feed.batches(seq, follow=follow, poll_s=poll_s):
        sink.write(batch)
        seq, trials, points = batch.seq, trials + len(batch.trials), points + len(batch.points)
        if progress is not None:
            progress(Sent(place=place, seq=seq, trials=trials, points=points))
    sink.close(study.info)
    return Sent(place=place, seq=seq, trials=trials, points=points, notes=tuple(dict.fromkeys(sink.notes)))
